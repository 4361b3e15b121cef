import { createHash } from 'node:crypto'
import { asLakeError } from '../../src/error.ts'
import { Changes } from '../../src/ingest/changes.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Storage } from '../../src/lake/table.ts'
import { openReplays } from '../../src/replay/replays.ts'
import type { Verify } from '../../src/replay/run-replays.ts'
import type { ReplayDifference, ReplayStatus, Replays } from '../../src/replay-status.ts'
import { definitionOf, PIPELINE } from './definition.ts'
import type { Plan, ReplayPlan } from './plan.ts'
import { Random } from './random.ts'
import { TableReader } from './reader.ts'
import type { World } from './world.ts'

type Stage = 'asking' | 'running' | 'looking' | 'going back' | 'over'

/** Codes with which a replay may end for good, and be asked for anew. */
const MAY_FAIL: ReadonlySet<string> = new Set([
  'replay.base_moved',
  // While nothing was read, whoever comes makes the tables.
  'replay.nothing_changed',
])

/** A person who changes the code: asks for a replay, looks, cuts over, and perhaps goes back, and cuts over once more. */
export class ReplayStory {
  /** Some processes have the new code from now on. */
  isDeployed = false
  readonly violations: string[] = []
  cutovers = 0
  rollbacks = 0
  readonly #world: World
  readonly #plan: ReplayPlan
  readonly #random: Random
  readonly #memory: Storage
  readonly #admin: Chain
  readonly #replays: Replays
  #stage: Stage = 'asking'
  #id = ''
  #asked = 0

  constructor(plan: Plan, world: World, memory: Storage, admin: Chain) {
    this.#world = world
    this.#plan = plan.replay!
    this.#memory = memory
    this.#admin = admin
    this.#random = new Random(plan.seed, 'replay')
    const clock = world.clock(this.#random)
    this.#replays = openReplays({
      pipelines: [definitionOf(plan, true)],
      chains: new Map([[PIPELINE, admin]]),
      storage: memory,
      jobs: openJobs(memory, clock),
      clock,
      changes: new Changes(clock),
    })
  }

  start(onDeploy: () => void): void {
    this.#world.after(this.#plan.deployAtMs, 'deploy', () => {
      this.isDeployed = true
      onDeploy()
      this.#look()
    })
  }

  /** Nothing more is asked. */
  get isOver(): boolean {
    return this.#stage === 'over'
  }

  /** Whether the tables must be those of the new code in the end. */
  get isNewInTheEnd(): boolean {
    return this.cutovers > this.rollbacks
  }

  describe(): string {
    return `replay ${this.#stage} ${this.#id.slice(0, 8)}, ${this.cutovers} cut-overs, ${this.rollbacks} rollbacks`
  }

  /**
   * What production code compares by its digests, compared row by row: a table that was built anew by the code that it
   * had is the table that was there (I9).
   */
  readonly verify: Verify = async (base, fork) => {
    const reader = new TableReader(this.#memory)
    const unlike: string[] = []
    for (const name of fork.fork!.rebuilt) {
      const [was, is] = [base.tables[name], fork.tables[name]]
      if (is === undefined) this.violations.push(`R5 the fork of v${base.number} does not name ${name}`)
      if (was === undefined || is === undefined) continue
      const [before, after] = [await rowsOf(reader, was.metadata), await rowsOf(reader, is.metadata)]
      if (before === after) continue
      unlike.push(name)
      // Markers of deleted keys are thrown away when nobody needs them any more.
      if (was.code === is.code && !name.endsWith('__deletes'))
        this.violations.push(`I9 ${name} of the fork of v${base.number}: ${after}, it was ${before}`.slice(0, 600))
    }
    const id = createHash('sha256').update(`${base.commitId} ${unlike.join()}`).digest('hex')
    const found: ReplayDifference = { id, isEqual: unlike.length === 0, version: String(base.number), tables: [] }
    return found
  }

  #look(): void {
    if (this.isOver) return
    this.#world.after(this.#random.between(200, 2_000), 'replay', () => {
      // What is refused now is asked again.
      void this.#step().catch((error) => this.#world.say(`replay: ${asLakeError(error).message}`))
      this.#look()
    })
  }

  async #step(): Promise<void> {
    if (this.#stage === 'asking') return this.#ask()
    const status = await this.#replays.get(this.#id)
    this.#world.say(`replay ${this.#stage}: ${status.state} ${status.progress?.phase} ${status.error?.message ?? ''}`)
    if (this.#stage === 'running') return this.#drive(status)
    if (this.#stage !== 'going back') return
    if (status.progress?.phase === 'rolled-back') {
      this.rollbacks++
      this.#enter(this.#plan.isRepeated ? 'asking' : 'over')
    } else await this.#replays.order(this.#id, { kind: 'rollback' })
  }

  async #ask(): Promise<void> {
    const { tables, autoCutover } = this.#plan
    try {
      const { id } = await this.#replays.start(PIPELINE, { tables, autoCutover }, `replay ${this.#asked}`)
      this.#id = id
      this.#enter('running')
    } catch (error) {
      const { code } = asLakeError(error)
      // The new code came before there was any version, and made the first one.
      if (code === 'replay.nothing_changed' && (await this.#hasVersion())) return this.#enter('over')
      throw error
    }
  }

  async #drive({ state, progress, difference, error }: ReplayStatus): Promise<void> {
    if (state === 'failed' || state === 'cancelled') {
      if (!MAY_FAIL.has(error?.code ?? ''))
        this.violations.push(`R1 the replay failed: ${error?.code} ${error?.message}`)
      this.#asked++
      return this.#enter('asking')
    }
    if (state === 'done') {
      this.cutovers++
      this.#asked++
      if (!this.#plan.isRolledBack || this.rollbacks > 0) return this.#enter('over')
      this.#enter('looking')
      await this.#world.sleep(this.#random.between(500, 8_000), 'a while')
      return this.#enter('going back')
    }
    if (progress?.phase === 'ready' && difference !== null)
      await this.#replays.order(this.#id, { kind: 'cutover', approve: difference.id })
  }

  async #hasVersion(): Promise<boolean> {
    return (await this.#admin.head()) !== undefined
  }

  #enter(stage: Stage): void {
    if (this.#stage === 'over') return
    this.#world.say(`replay: ${this.#stage} → ${stage}`)
    this.#stage = stage
  }
}

async function rowsOf(reader: TableReader, metadata: string): Promise<string> {
  const { files } = await reader.table(metadata)
  const rows = (await Promise.all(files.map((file) => reader.liveRows(file)))).flat()
  const texts = rows.map(({ p, o, v, k, n, a, b }) => [p, o, v, k, n, a, b].join(' '))
  return texts.sort().join('; ')
}
