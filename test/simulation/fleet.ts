import type { FaultyStorage } from '../support/faulty-storage.ts'
import { codeHash } from '../../src/define-code.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { runJobs } from '../../src/ingest/job-runner.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Storage } from '../../src/lake/table.ts'
import { parsePartitionId, type PartitionId, type Positions, type Source } from '../../src/log.ts'
import { Administrator } from './administrator.ts'
import { definitionOf, PIPELINE } from './definition.ts'
import { FaultyLanes } from './faulty-lanes.ts'
import { LetterStory } from './letters.ts'
import { tablesOf, type Plan } from './plan.ts'
import { SimProcess } from './process.ts'
import { Random } from './random.ts'
import { ReplayStory } from './replay.ts'
import { workBeside } from './replay-work.ts'
import { RowEncoder } from './row-encoder.ts'
import { RowLetters } from './row-letters.ts'
import { RowWork } from './row-work.ts'
import type { Shop } from './shop.ts'
import { ProcessSource } from './source.ts'
import { SimFold } from './window-fold.ts'
import { Witness, type Append } from './witness.ts'
import type { World } from './world.ts'

export interface FleetOptions {
  readonly world: World
  readonly plan: Plan
  readonly shop: Shop
  /** The store as processes see it, and as it is. */
  readonly faulty: FaultyStorage
  readonly memory: Storage
  readonly admin: Chain
  readonly onCommit: (positions: Positions) => void
}

interface Slot {
  readonly index: number
  life: number
  process: SimProcess | undefined
  supervisor: Supervisor | undefined
  /** What it does beside ingesting ends with this. */
  stop: AbortController
  isEnded: boolean
}

/** All processes of a run, and what happens to them. */
export class Fleet {
  readonly #options: FleetOptions
  readonly #witness: Witness
  readonly #random: Random
  readonly #administrator: Administrator
  /** Of the story of that name. */
  readonly #replay: ReplayStory | undefined
  readonly #letters: LetterStory | undefined
  readonly #slots: Slot[]
  readonly #groupOffsets = new Map<PartitionId, bigint>()
  #isEnding = false

  constructor(options: FleetOptions) {
    this.#options = options
    this.#witness = new Witness(options)
    this.#random = new Random(options.plan.seed, 'fleet')
    this.#administrator = new Administrator(options)
    const { plan, world, memory, admin } = options
    this.#replay = plan.replay && new ReplayStory(plan, world, memory, admin)
    this.#letters = plan.letters && new LetterStory(plan, world, memory)
    this.#slots = Array.from({ length: options.plan.processes }, (_, index) => ({
      index,
      life: 0,
      process: undefined,
      supervisor: undefined,
      stop: new AbortController(),
      isEnded: true,
    }))
  }

  start(): void {
    const { world } = this.#options
    for (const slot of this.#slots) world.after(this.#random.between(0, 1_500), 'start', () => this.#start(slot))
    this.#witness.watchStore()
    this.#trouble()
    this.#administrator.start()
    this.#letters?.start()
    // The last process is started with the new code, wherever it is; the others keep the old one.
    this.#replay?.start(() => this.#slots.at(-1)!.process?.kill())
  }

  get history(): readonly Append[] {
    return this.#witness.history
  }

  /** Whether all that people ask for is done. */
  get isOver(): boolean {
    return (this.#replay?.isOver ?? true) && (this.#letters?.isOver ?? true)
  }

  /** What was found out while it ran. */
  get violations(): readonly string[] {
    return [...(this.#replay?.violations ?? []), ...(this.#letters?.violations ?? [])]
  }

  /** After the storm: every process runs, nothing is paused, one that stands still is woken by its operator. */
  bringBack(): void {
    const { world, plan } = this.#options
    for (const slot of this.#slots) if (slot.isEnded) this.#start(slot)
    const operate = async () => {
      if (this.#isEnding) return
      const head = await this.#options.admin.head()
      for (const { supervisor, isEnded } of this.#slots) {
        if (supervisor === undefined || isEnded || head?.paused === undefined) continue
        // Not waited for: a process that dies meanwhile never answers, and its operator asks again.
        void supervisor.resume().catch(() => undefined)
        if (this.#replay === undefined) break
      }
      if (plan.story === 'cutover') this.#deployAll()
      world.after(5_000, 'operator', () => void operate())
    }
    void operate()
  }

  /** What the log becomes after the storm, and the code that every pipeline must then stop with. */
  tellStory(): string | undefined {
    const { plan, shop, world } = this.#options
    // Where nothing was read yet, nothing can be missed.
    const partition = [...this.#witness.committed.keys()].find(
      (id) => this.#witness.read.has(id) && this.#witness.committed.get(id)! > 3n,
    )
    if (partition === undefined) return undefined
    const { topic, partition: number } = parsePartitionId(partition)
    const position = this.#witness.committed.get(partition)!
    switch (plan.story) {
      case 'replaced':
        world.fault('K7', topic)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.recreate(topic)
        return 'kafka.topic_replaced'
      case 'truncated': {
        world.fault('K8', partition)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.truncate(topic, number, position - 2n)
        const value = Buffer.from('{"v":-1}')
        const others = Array.from({ length: 2 + this.#random.int(3) }, () => ({
          timestampMs: 1,
          key: undefined,
          value,
        }))
        if (this.#random.chance(0.5)) shop.log.append(topic, number, others)
        return 'kafka.log_truncated'
      }
      case 'lost':
        world.fault('K6', `${partition}, to stop`)
        for (const slot of this.#slots) slot.process?.kill()
        shop.log.append(topic, number, [{ timestampMs: 1, key: undefined, value: undefined }])
        shop.log.deleteRecordsBefore(topic, number, shop.log.end(topic, number))
        return 'kafka.gap'
      case 'plain':
      case 'cutover':
        return undefined
    }
  }

  /** Whether each process that would write has stopped with this code. */
  isStopped(code: string): boolean {
    const states = this.#slots.map(({ supervisor }) => supervisor?.status())
    return (
      states.some((status) => status?.state === 'failed' && status.reason?.code === code) &&
      states.every((status) => status?.state === 'standby' || status?.reason?.code === code)
    )
  }

  describe(): string {
    const states = this.#slots.map(
      ({ supervisor }) => `${supervisor?.status().state} ${supervisor?.status().reason?.message ?? ''}`,
    )
    return [...states, this.#replay?.describe() ?? '', this.#letters?.describe() ?? ''].join('; ')
  }

  /** Ends every process as an operator does; one that does not end is a violation. */
  async end(): Promise<string[]> {
    this.#isEnding = true
    const { world } = this.#options
    for (const slot of this.#slots) slot.process?.deliver(0, 'end', () => close(slot))
    await world.run(world.nowMs + 60_000, () => this.#slots.every(({ isEnded }) => isEnded))
    await world.run(world.nowMs + 1_000)
    return this.#slots.every(({ isEnded }) => isEnded) ? [] : [`I20 a process does not end: ${this.describe()}`]
  }

  /** How attempts to commit were resolved. */
  resolutions(): ReadonlyMap<string, number> {
    const all = new Map(this.#witness.resolutions)
    all.set('R1', this.#replay?.cutovers ?? 0)
    all.set('R2', this.#replay?.rollbacks ?? 0)
    for (const [outcome, name] of [
      ['exists', 'A5'],
      ['conflict', 'A6'],
      ['unknown', 'A7'],
      ['refused', 'A8'],
      ['compacted', 'C1'],
      ['not compacted', 'C2'],
    ] as const)
      all.set(name, this.#witness.outcomes.get(outcome) ?? 0)
    return all
  }

  #start(slot: Slot): void {
    if (this.#isEnding || !slot.isEnded) return
    const { world, plan, shop, faulty } = this.#options
    slot.life++
    slot.isEnded = false
    const name = `p${slot.index}.${slot.life}`
    const process = new SimProcess(name, world, plan, new Random(plan.seed, name), this.#witness.outcomes)
    const storage = process.storage(faulty)
    const source = new ProcessSource(process, shop, this.#groupOffsets)
    const isNew = this.#replay === undefined ? this.#administrator.isNewCode : this.#isNew(slot)
    const definition = definitionOf(plan, isNew)
    const isImpatient = slot.index > 0 && process.happens('K3')
    const isTwin = plan.rates.P4 > 0
    if (isTwin && slot.index > 0) world.fault('P4', name)
    const chain = this.#witness.chain(
      openChain(storage, PIPELINE, process.clock),
      process,
      codeHash(definition.tables[0]!),
    )
    const policy = {
      writer: isTwin ? 'twin' : `writer-${slot.index}`,
      minIntervalMs: plan.minIntervalMs,
      heartbeatMs: plan.heartbeatMs,
    }
    const startLanes = (source: Source) =>
      Promise.resolve(
        new FaultyLanes(
          inlineLanes({
            source,
            encoder: new RowEncoder(process, storage, tablesOf(plan, isNew)),
            work: new RowWork(process, storage),
            ...(plan.letters === undefined ? {} : { letters: new RowLetters(process, storage) }),
            lanes: plan.lanes,
            microBatch: { bytesMax: 4_000, recordsMax: plan.recordsMax, ageMsMax: plan.ageMsMax },
            clock: process.clock,
          }),
          process,
        ),
      )
    const supervisor = new Supervisor({
      definition,
      source,
      storage,
      chain,
      policy,
      ...(plan.compaction === undefined ? {} : { compaction: plan.compaction }),
      takeoverAfterMs: isImpatient ? 100 : plan.takeoverAfterMs,
      clock: process.clock,
      observer: (event) => {
        if (event.kind === 'compaction') this.#witness.count(event.error === undefined ? 'compacted' : 'not compacted')
        if (event.kind === 'compaction')
          world.say(
            `${name} ${event.table}: ${event.error?.message ?? `${event.filesIn} files, ${event.rowsOut} rows`}`,
          )
        if (event.kind === 'state') world.say(`${name} ${event.state} ${event.reason?.message ?? ''}`)
      },
      openFold: () => Promise.resolve(new SimFold(process, storage, plan.tables)),
      startLanes,
    })
    const stop = new AbortController()
    Object.assign(slot, { process, supervisor, stop })
    const end = () => {
      if (slot.process !== process) return
      slot.isEnded = true
      world.after(this.#random.between(100, 3_000), 'restart', () => this.#start(slot))
    }
    process.onDeath = end
    process.onSigterm = () => this.#terminate(slot)
    world.say(`${name} starts`)
    const beside = { process, definition, source, storage, chain, policy, startLanes, supervisor }
    const { clock } = process
    const settling = this.#letters && runJobs(openJobs(storage, clock), supervisor, policy.writer, clock, stop.signal)
    const working = this.#replay && workBeside(this.#replay, beside, stop.signal)
    void Promise.all([supervisor.run(), working, settling]).then(() => {
      if (process.isDead) return
      process.isDead = true
      world.say(`${name} has ended`)
      end()
    })
  }

  /** SIGTERM, and SIGKILL for one that takes too long. */
  #terminate(slot: Slot): void {
    const { process } = slot
    this.#options.world.say(`${process?.name} is asked to end`)
    close(slot)
    this.#options.world.after(20_000, 'sigkill', () => {
      if (!this.#isEnding) process?.kill()
    })
  }

  #isNew({ index }: Slot): boolean {
    return this.#replay!.isDeployed && index === this.#slots.length - 1
  }

  #trouble(): void {
    const { world, plan } = this.#options
    world.after(this.#random.between(100, 900), 'trouble', () => {
      if (!world.isStormy) return
      const slot = this.#random.pick(this.#slots)
      const { process, supervisor } = slot
      if (process !== undefined && supervisor !== undefined && !slot.isEnded) {
        const isOwner = supervisor.status().state === 'running'
        if (process.happens('P2')) process.stall(this.#random.between(0.1, 3) * plan.takeoverAfterMs)
        if (isOwner && this.#slots.length > 1 && process.happens('K1')) this.#terminate(slot)
        if (isOwner && this.#slots.length > 1 && process.happens('K2'))
          process.stall(this.#random.between(1, 3) * plan.takeoverAfterMs + 2_000)
        if (process.happens('X1')) void this.#pauseAndResume(supervisor)
      }
      if (plan.story === 'cutover' && this.#administrator.isNewCode && this.#random.chance(0.3)) this.#deploy(slot)
      this.#trouble()
    })
  }

  async #pauseAndResume(supervisor: Supervisor): Promise<void> {
    await supervisor.pause('because').catch(() => undefined)
    await this.#options.world.sleep(this.#random.between(100, 3_000), 'resume')
    await supervisor.resume().catch(() => undefined)
  }

  #deploy(slot: Slot): void {
    if (slot.isEnded || slot.supervisor?.status().state !== 'superseded') return
    slot.process?.kill()
  }

  #deployAll(): void {
    for (const slot of this.#slots) this.#deploy(slot)
  }
}

/** As SIGTERM does. */
function close({ supervisor, stop }: Slot): void {
  supervisor?.close()
  stop.abort()
}
