import type { LakeDefinition, PipelineDefinition, TableDefinition } from '../define.ts'
import { invalidField } from '../define-fields.ts'
import type { ProducedOf } from '../define-produced.ts'
import type { LookupDefinition } from '../define-lookup.ts'
import type { Salts } from '../define-redact.ts'
import { LakeError } from '../error.ts'
import { MemoryStorage } from '../lake/storage/memory.ts'
import { quoted } from '../sql-text.ts'
import { RecordEncoder } from './encode-record.ts'
import { LabLog, RecordedSource } from './lab-log.ts'
import type { LabRegistry } from './lab-registry.ts'
import { Life } from './life.ts'
import { Random } from './random.ts'
import { Reader } from './reader.ts'
import { World } from './world.ts'

/** Rows of a table that others look up, as the version has them that their definition names. */
export interface LookupRows<T extends TableDefinition = TableDefinition> {
  readonly table: T
  /** The version; without one, every version that has no rows of its own. */
  readonly at?: number | string | undefined
  /** Records of its topic, in their order, as `produce` takes them. */
  readonly rows: readonly ProducedOf<NoInfer<T>>[]
}

export interface LookupParts {
  readonly startMs: number
  readonly salts: Salts
  readonly registry: LabRegistry
}

interface Made {
  /** The table that is looked up in the lab, of a pipeline of the same name. */
  readonly name: string
  readonly version: string
}

/** All stores of a lab have one name, by which the files of a table name each other. */
export function labStorage(world: World): MemoryStorage {
  return new MemoryStorage('lab', world.clock)
}

/**
 * The tables that a lab's own look up. Each is made of its rows by a pipeline as in production, and is then one version
 * of a table that nobody writes any more; definitions are changed to look up that one.
 */
export class LookupTables {
  readonly #given: readonly LookupRows[]
  readonly #parts: LookupParts
  readonly #storage: MemoryStorage
  readonly #made = new Map<string, Made>()

  private constructor(given: readonly LookupRows[], parts: LookupParts, storage: MemoryStorage) {
    this.#given = given
    this.#parts = parts
    this.#storage = storage
  }

  /** Throws `config.invalid` for rows that cannot be read. */
  static async make(given: readonly LookupRows[], parts: LookupParts): Promise<LookupTables> {
    const world = new World(parts.startMs, 1)
    const tables = new LookupTables(given, parts, labStorage(world))
    try {
      for (const each of given) tables.#made.set(nameOf(each), await tables.#make(each, world))
      return tables
    } finally {
      // Its objects stay; what is given up is the folder for files.
      await tables.#storage.close()
    }
  }

  /** The definition, its look-ups bound to these rows. Throws `config.invalid` where there are none. */
  bound(definition: LakeDefinition): LakeDefinition {
    const pipelines = definition.pipelines.map((pipeline) => ({
      ...pipeline,
      tables: pipeline.tables.map((table) => this.#bound(table)),
    }))
    return { ...definition, pipelines }
  }

  /** Puts the tables into another store. */
  async copyTo(storage: MemoryStorage): Promise<void> {
    for await (const { key } of this.#storage.list('')) await storage.put(key, (await this.#storage.get(key))!)
  }

  #bound(table: TableDefinition): TableDefinition {
    if (table.lookup === undefined) return table
    const lookup = table.lookup.map((each): LookupDefinition => {
      const found = this.#rowsOf(each)
      const made = found && this.#made.get(nameOf(found))
      if (made !== undefined) return { ...each, table: made.name, version: made.version }
      throw invalidField(
        [table.name, 'lookup', each.name],
        `the lab has no rows of ${each.table} at version ${each.version}`,
        `Open it with them: testLake(lake, { lookups: [{ table: ${each.table}, rows: [{ … }] }] }).`,
      )
    })
    return { ...table, lookup }
  }

  #rowsOf({ table, version }: LookupDefinition): LookupRows | undefined {
    const ofTable = this.#given.filter((each) => each.table.name === table)
    return ofTable.find(({ at }) => String(at) === version) ?? ofTable.find(({ at }) => at === undefined)
  }

  async #make(given: LookupRows, world: World): Promise<Made> {
    const { salts, registry } = this.#parts
    const storage = this.#storage
    const name = nameOf(given)
    if (this.#made.has(name))
      throw invalidField(['lookups'], `${given.table.name} stands twice`, 'Say of each which version it is: at: 42.')
    const table = { ...this.#bound(given.table), name }
    const definition: PipelineDefinition = { name, tables: [table], windows: [], onDataLoss: 'stop' }
    const log = new LabLog()
    log.memory.createTopic(table.topic, 1)
    const encoder = new RecordEncoder(given.table, registry)
    for (const row of given.rows) {
      const { eventMs, routing: _, ...record } = encoder.encode(row)
      log.append(table.topic, 0, { ...record, timestampMs: eventMs ?? world.clock.nowMs() })
    }
    const how = { order: 'as produced', offsetsMax: 1_000, random: new Random(1, name) } as const
    const life = new Life({
      definition,
      world,
      storage,
      salts,
      registry,
      source: new RecordedSource(log, world.clock, how),
      reading: { lanes: 1, microBatch: { recordsMax: 10_000, bytesMax: 1 << 30, ageMsMax: Infinity } },
      intervalMs: Infinity,
      isCompacting: false,
    })
    await world.until(
      () => life.isOver,
      () => life.head?.number,
    )
    if (life.error !== undefined) throw life.error
    if (life.result!.kind !== 'drained') throw new LakeError('internal', `rows of ${name}: ${life.result!.kind}`)
    await assertRead(given.table.name, name, new Reader(storage, [name], world.clock))
    return { name, version: String(life.head!.number) }
  }
}

/** Names with `__` are ours alone; in an error it says which rows are meant. */
function nameOf({ table, at }: LookupRows): string {
  return `${table.name}__${at === undefined ? 'lookup' : `at_${at}`}`
}

/** A row that is none is a mistake of the test, and not a row that nobody finds. */
async function assertRead(table: string, name: string, reader: Reader): Promise<void> {
  const sql = `SELECT _offset, message FROM ${quoted(`${name}__dlq`)} ORDER BY _offset LIMIT 1`
  const [letter] = (await reader.read({ sql })).rows
  if (letter === undefined) return
  throw invalidField(
    ['lookups', table, 'rows', Number(letter['_offset'])],
    String(letter['message']),
    `Write it as ${table} reads it.`,
  )
}
