import type { LakeDefinition, TableDefinition } from './define.ts'
import { invalidField, parseInstant } from './define-fields.ts'
import { saltsOf } from './define-redact.ts'
import { withMaps } from './map-bundle.ts'
import { Lab } from './testing/lab.ts'
import { LabLog } from './testing/lab-log.ts'
import { LabRegistry } from './testing/lab-registry.ts'
import { labStorage, LookupTables, type LookupRows } from './testing/lookups.ts'
import { World } from './testing/world.ts'

// `kappalake/testing`: a composition root of its own, since it runs in one process what production runs in several.

export type { Lab, LabReplay, ProduceOptions, RawRecord, RecordPlace } from './testing/lab.ts'
export type { Produced, ProducedKey } from './testing/encode-record.ts'
export type { Held, HoldsOptions } from './testing/holds.ts'
export type { LookupRows } from './testing/lookups.ts'
export type { PlainRow } from './testing/select.ts'

/** `L`: the tables that are looked up. */
export interface LabOptions<L extends readonly TableDefinition[] = readonly TableDefinition[]> {
  /** Decides all that is left to chance; the same seed, the same runs of `holds`. Default: 1. */
  readonly seed?: number
  /** Of each topic, or by topic. Default: 3. */
  readonly partitions?: number | Readonly<Record<string, number>>
  /** The time at which the lab begins. Default: 2026-01-01T00:00:00Z. */
  readonly startAt?: Date | string
  /** Of tables that hash columns. Default: some of the lab's own. */
  readonly salts?: Readonly<Record<string, string>>
  /** Schemas in Avro of each subject, `<topic>-value` or `<topic>-key`: its versions, oldest first, as text or as JSON. */
  readonly registry?: { readonly subjects: Readonly<Record<string, readonly (string | object)[]>> }
  /** Rows of the tables that `lookup` names. */
  readonly lookups?: { readonly [K in keyof L]: LookupRows<L[K]> }
}

const PARTITIONS = 3
const START = '2026-01-01T00:00:00Z'

/**
 * Opens a lab over a definition: the pipelines of production, over a log and a store in memory, in virtual time. Throws
 * `config.invalid`. What stops a pipeline is thrown by the first question.
 */
export async function testLake<const L extends readonly TableDefinition[]>(
  given: LakeDefinition,
  {
    seed = 1,
    partitions = PARTITIONS,
    startAt = START,
    salts: givenSalts = {},
    registry = { subjects: {} },
    lookups: rows,
  }: LabOptions<L> = {},
): Promise<Lab> {
  const written = await withMaps(given, process.cwd())
  const startMs = typeof startAt === 'string' ? parseInstant(startAt) : startAt.getTime()
  const partitionsOf = (topic: string): number =>
    typeof partitions === 'number' ? partitions : Object.hasOwn(partitions, topic) ? partitions[topic]! : PARTITIONS
  const tables = written.pipelines.flatMap((pipeline) => pipeline.tables)
  const log = new LabLog()
  for (const topic of new Set(tables.map((table) => table.topic))) {
    const count = partitionsOf(topic)
    if (!Number.isInteger(count) || count < 1 || count > 1_000)
      throw invalidField(['partitions', topic], `${count} is no number of partitions`, 'Give 1 to 1000.')
    log.memory.createTopic(topic, count)
  }
  const schemas = new LabRegistry()
  for (const [subject, versions] of Object.entries(registry.subjects))
    for (const schema of versions) schemas.register(subject, schema)
  const looked = await withLookedUp((rows ?? []) as readonly LookupRows[])
  const names = saltsOf([...tables, ...looked.map(({ table }) => table)]).keys()
  const salts = { ...Object.fromEntries([...names].map((name) => [name, `salt of ${name}`])), ...givenSalts }
  const lookups = await LookupTables.make(looked, { startMs, salts, registry: schemas })
  const world = new World(startMs, seed)
  const storage = labStorage(world)
  await lookups.copyTo(storage)
  const lab = new Lab({
    definition: lookups.bound(written),
    seed,
    world,
    startMs,
    log,
    storage,
    salts,
    registry: schemas,
    lookups,
    partitionsOf,
  })
  // Where tables begin is decided while the log is empty, whatever their `startAt`.
  await world.turns.quiet()
  return lab
}

/** Their functions are found as those of the definition are. */
async function withLookedUp(rows: readonly LookupRows[]): Promise<readonly LookupRows[]> {
  const pipelines = rows.map(
    ({ table }) => ({ name: table.name, tables: [table], windows: [], onDataLoss: 'stop' }) as const,
  )
  const bundled = await withMaps({ pipelines }, process.cwd())
  return rows.map((each, k) => ({ ...each, table: bundled.pipelines[k]!.tables[0]! }))
}
