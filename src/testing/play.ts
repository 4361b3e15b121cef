import type { PipelineDefinition } from '../define.ts'
import type { Salts } from '../define-redact.ts'
import { LakeError } from '../error.ts'
import { openChain } from '../lake/chain.ts'
import { failingDoor, type Death } from './failing-door.ts'
import { RecordedSource, type LabLog } from './lab-log.ts'
import type { LabRegistry } from './lab-registry.ts'
import { Life } from './life.ts'
import { labStorage, type LookupTables } from './lookups.ts'
import { Random } from './random.ts'
import { Reader } from './reader.ts'
import { readTables, type TableRows } from './tables.ts'
import type { Variation } from './variation.ts'
import { World } from './world.ts'

export interface PlayParts {
  readonly definition: PipelineDefinition
  readonly log: LabLog
  readonly salts: Salts
  readonly registry: LabRegistry
  readonly startMs: number
  readonly lookups: Pick<LookupTables, 'copyTo'>
}

/** What came of one run of the log. */
export interface Played {
  readonly tables: readonly TableRows[]
  readonly versions: number
  readonly crashes: number
}

/** One run does not commit in more lives. */
const LIVES_MAX = 1_000

/** Runs the whole log once, in a store of its own. Throws what stops the pipeline. */
export async function play(
  { definition, log, salts, registry, startMs, lookups }: PlayParts,
  variation: Variation,
): Promise<Played> {
  const { run, seed, lanes, recordsMax, offsetsMax, order, commits, isCompacting } = variation
  const world = new World(startMs, seed)
  const storage = labStorage(world)
  const random = new Random(seed, `run ${run}`)
  const deaths = new Deaths(variation, random)
  const microBatch = { recordsMax, bytesMax: 1 << 30, ageMsMax: Infinity }
  const topics = new Set(definition.tables.map(({ topic }) => topic))
  try {
    await lookups.copyTo(storage)
    for (let lives = 0; lives < LIVES_MAX; lives++) {
      const door = failingDoor(storage, (version) => deaths.at(version))
      const life: Life = new Life({
        definition,
        world,
        storage,
        door,
        salts,
        registry,
        source: new RecordedSource(log, world.clock, { order, offsetsMax, random }),
        reading: { lanes, microBatch },
        intervalMs: commits === 'each batch' ? 0 : Infinity,
        isCompacting,
      })
      await world.until(
        () => life.isOver,
        () => life.head?.number,
      )
      if (door.isDead) {
        // Where nothing is left to be read, each life would end with a version of its own, and die of it.
        const head = await openChain(storage, definition.name, world.clock).head()
        deaths.isOver = [...log.ends(topics)].every(([id, end]) => (head?.positions.get(id) ?? -1n) >= end)
        continue
      }
      if (life.error !== undefined) throw life.error
      if (life.result!.kind !== 'drained') throw new LakeError('internal', `a run ended as ${life.result!.kind}`)
      const reader = new Reader(storage, [definition.name], world.clock)
      const tables = await readTables(definition, reader)
      return { tables, versions: Number(life.head!.number), crashes: deaths.count }
    }
    throw new LakeError('internal', 'the log did not come to its end')
  } finally {
    await storage.close()
  }
}

/** When the process of a run dies: at a version once before it stands, and once after. */
class Deaths {
  isOver = false
  count = 0
  readonly #crashes: Variation['crashes']
  readonly #random: Random
  readonly #been = new Map<bigint, number>()

  constructor({ crashes }: Variation, random: Random) {
    this.#crashes = crashes
    this.#random = random
  }

  at(version: bigint): Death {
    const been = this.#been.get(version) ?? 0
    this.#been.set(version, been + 1)
    if (this.isOver || been > 1 || this.#crashes === 'never') return undefined
    if (this.#crashes === 'some' && !this.#random.chance(0.25)) return undefined
    this.count++
    return been === 0 ? 'before' : 'after'
  }
}
