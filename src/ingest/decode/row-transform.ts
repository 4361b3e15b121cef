import duckdb from '@duckdb/node-bindings'
import type { DuckDBConnection, DuckDBDataChunk } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import { LakeError } from '../../error.ts'
import { partitionId, type RecordBatch } from '../../log.ts'
import { recordText, type RetriedRecords } from '../letters/letters.ts'
import { stopped } from './stopped.ts'
import type { Reason } from './codes.ts'
import { computedColumns, mayRead, sqlOf, tableColumns } from './columns.ts'
import { attempt, foundSql, type Lookup } from '../lookup.ts'
import { quoted } from './data-file-writer.ts'
import { DeadLetters } from './dead-letters.ts'
import type { NativeText } from './native-text.ts'
import { Relation } from './relation.ts'
import { gather, type Slab, type SlabPool } from './slab.ts'
import { fillFrom } from './slab-fill.ts'
import type { Decoded } from './table-decoder.ts'

/** What a row becomes. In the query's first column. */
const KEPT = 0
const FILTERED = 1

/** `again`: rows took values of rows that do not come about; the batch is to be decoded with these records known. */
export type Transformed =
  | { readonly kind: 'judged'; readonly decoded: Decoded }
  | {
      readonly kind: 'again'
      /** Those whose SQL fails, and those that lack values of a row which is not there. */
      readonly unmade: ReadonlySet<string>
      readonly baseless: ReadonlySet<string>
    }

/**
 * Computed columns and the filter of a table, over all rows of a micro-batch in one statement. Values come back into the
 * slabs, which have room for them; rows that fail are dead letters.
 */
export class RowTransform {
  readonly #connection: DuckDBConnection
  readonly #definition: TableDefinition
  readonly #native: NativeText
  readonly #pool: SlabPool
  readonly #input: Relation
  readonly #deadLetters: DeadLetters
  readonly #sql: string
  /** What look-ups find for the rows: a temporary table each, and what fills it. */
  readonly #found: readonly { readonly relation: string; readonly sql: string }[]
  /** Numbers of the computed columns in slabs, in the order of the query's. */
  readonly #computed: readonly number[]
  readonly #partition: number
  readonly #offset: number
  /** The batch of the last dead letter. */
  #opened: RecordBatch | undefined
  #retried: RetriedRecords | undefined

  /** Undefined when the table has neither. `name` is that of a table function. */
  static of(
    definition: TableDefinition,
    connection: DuckDBConnection,
    name: string,
    native: NativeText,
    pool: SlabPool,
    lookups: readonly Lookup[] = [],
  ): RowTransform | undefined {
    if (definition.where === undefined && computedColumns(definition).length === 0) return undefined
    return new RowTransform(definition, connection, name, native, pool, lookups)
  }

  private constructor(
    definition: TableDefinition,
    connection: DuckDBConnection,
    name: string,
    native: NativeText,
    pool: SlabPool,
    lookups: readonly Lookup[],
  ) {
    this.#definition = definition
    this.#connection = connection
    this.#native = native
    this.#pool = pool
    this.#deadLetters = new DeadLetters(definition, native, pool, 'transform')
    const columns = tableColumns(definition)
    const computed = computedColumns(definition)
    const at = (name: string): number => columns.findIndex((column) => column.name === name)
    this.#computed = computed.map((column) => at(column.name))
    this.#partition = at(SYSTEM_COLUMNS.partition)
    this.#offset = at(SYSTEM_COLUMNS.offset)
    const texts = sqlOf(definition)
    const read = columns.flatMap((column, k) =>
      column.as === undefined && (k === this.#offset || mayRead(texts, column)) ? [k] : [],
    )
    this.#input = new Relation(
      connection,
      name,
      read.map((k) => columns[k]!),
      read,
    )
    this.#found = lookups.map((lookup) => ({
      relation: `${name}_${lookup.relation}`,
      sql: foundSql(lookup, `${name}()`),
    }))
    // By their places in the order: what was found has a row for each of the input's.
    const found = lookups.map(
      ({ column }, k) =>
        ` POSITIONAL JOIN (SELECT value AS ${quoted(column.name)}, failed AS __failed_${k} FROM ${this.#found[k]!.relation})`,
    )
    this.#sql = transformSql(definition, `${name}()${found.join('')}`, lookups.length)
  }

  /** `batches` are those that were decoded. Throws `decode.stopped`. */
  async apply(decoded: Decoded, batches: readonly RecordBatch[], retried?: RetriedRecords): Promise<Transformed> {
    this.#retried = retried
    const { rows: slabs, counts, operations } = decoded
    if (this.#definition.where !== undefined) for (const count of counts.values()) count.filtered ??= 0
    if (slabs.length === 0) return { kind: 'judged', decoded }
    const verdicts = await this.#evaluate(slabs)
    const baseless = [...(operations?.baseless ?? [])].filter((row) => verdicts[row] === KEPT)
    if (baseless.length > 0 || [...(operations?.givers ?? [])].some((row) => verdicts[row] !== KEPT)) {
      const [{ topic }] = batches as readonly [RecordBatch]
      const lost = new Set(baseless)
      return {
        kind: 'again',
        unmade: this.#records(slabs, topic, (row) => verdicts[row] !== KEPT),
        baseless: this.#records(slabs, topic, (row) => lost.has(row)),
      }
    }
    if (verdicts.every((verdict) => verdict === KEPT)) return { kind: 'judged', decoded }
    return { kind: 'judged', decoded: this.#judged(decoded, verdicts, batches) }
  }

  #judged(decoded: Decoded, verdicts: Uint8Array, batches: readonly RecordBatch[]): Decoded {
    const { rows: slabs } = decoded
    try {
      const rows = this.#keep(slabs, verdicts, decoded, batches)
      const places = placesOf(verdicts)
      decoded.operations?.renumber(places)
      const kept = decoded.kept.map((each) => ({ ...each, row: places[each.row]! })).filter(({ row }) => row >= 0)
      const deadLetters = [...decoded.deadLetters, ...this.#deadLetters.finish()]
      return { ...decoded, rows, kept, deadLetters }
    } finally {
      this.#deadLetters.clear()
      this.#opened = undefined
    }
  }

  /** The records of rows. */
  #records(slabs: readonly Slab[], topic: string, isOne: (row: number) => boolean): ReadonlySet<string> {
    const records = new Set<string>()
    let first = 0
    for (const slab of slabs) {
      const { partitions, offsets } = this.#places(slab)
      for (let row = 0; row < slab.rows; row++)
        if (isOne(first + row)) records.add(recordText(topic, { partition: partitions[row]!, offset: offsets[row]! }))
      first += slab.rows
    }
    return records
  }

  #places({ buffer, columns, rows }: Slab): { partitions: Int32Array; offsets: BigInt64Array } {
    const at = (column: number): number => columns[column]!.dataAt
    return {
      partitions: new Int32Array(buffer, at(this.#partition), rows),
      offsets: new BigInt64Array(buffer, at(this.#offset), rows),
    }
  }

  /** Computes, and tells what becomes of each row. */
  async #evaluate(slabs: readonly Slab[]): Promise<Uint8Array> {
    const verdicts = new Uint8Array(slabs.reduce((sum, { rows }) => sum + rows, 0))
    this.#input.feed(slabs)
    try {
      for (const { relation, sql } of this.#found)
        await this.#connection.run(`CREATE OR REPLACE TEMP TABLE ${relation} AS ${sql}`)
      const result = await this.#connection.run(this.#sql)
      let [slab, row, seen] = [0, 0, 0]
      for (;;) {
        const chunk = await result.fetchChunk()
        if (chunk === null || chunk.rowCount === 0) break
        for (let from = 0; from < chunk.rowCount;) {
          const target = slabs[slab]!
          const rows = Math.min(chunk.rowCount - from, target.rows - row)
          verdicts.set(verdictsOf(chunk).subarray(from, from + rows), seen)
          for (const [k, column] of this.#computed.entries())
            fillFrom(vectorOf(chunk, k + 1), from, rows, target, target.columns[column]!, row, this.#native)
          from += rows
          row += rows
          seen += rows
          if (row < target.rows) continue
          slab++
          row = 0
        }
      }
      if (seen !== verdicts.length)
        throw new LakeError('internal', `${this.#definition.name}: ${verdicts.length} rows were computed as ${seen}`)
      return verdicts
    } finally {
      for (const { relation } of this.#found) await this.#connection.run(`DROP TABLE IF EXISTS ${relation}`)
      this.#input.feed([])
    }
  }

  /** The rows that stay; the others are counted. */
  #keep(slabs: readonly Slab[], verdicts: Uint8Array, { counts }: Decoded, batches: readonly RecordBatch[]): Slab[] {
    const kept: Slab[] = []
    const topic = batches[0]!.topic
    let first = 0
    for (const slab of slabs) {
      const { partitions, offsets } = this.#places(slab)
      const picked: number[] = []
      for (let row = 0; row < slab.rows; row++) {
        const verdict = verdicts[first + row]
        if (verdict === KEPT) {
          picked.push(row)
          continue
        }
        const count = counts.get(partitionId(topic, partitions[row]!))!
        count.rows--
        if (verdict === FILTERED) count.filtered!++
        else if (this.#reject(batches, partitions[row]!, offsets[row]!)) count.deadLetters++
        else count.skipped++
      }
      first += slab.rows
      if (picked.length === slab.rows) kept.push(slab)
      else {
        if (picked.length > 0) kept.push(gather(slab, Int32Array.from(picked), this.#pool))
        this.#pool.give(slab)
      }
    }
    return kept
  }

  /** A record that fails; whether it is a dead letter. */
  #reject(batches: readonly RecordBatch[], partition: number, offset: bigint): boolean {
    const onError = this.#retried === undefined ? this.#definition.onError : 'dead-letter'
    const batch = batches.find(
      (each) => each.partition === partition && each.count > 0 && each.offsets[each.count - 1]! >= offset,
    )!
    if (onError === 'stop') throw stopped(this.#definition, batch, offset, FAILED, 'read', 'expressions')
    if (onError === 'skip') return false
    if (this.#opened !== batch) this.#deadLetters.open(this.#native.put(batch.buffer))
    this.#opened = batch
    const before = this.#retried?.get(recordText(batch.topic, { partition, offset }))
    this.#deadLetters.add(batch, batch.offsets.subarray(0, batch.count).indexOf(offset), FAILED, before)
    return true
  }
}

const FAILED: Reason = {
  code: 'transform.failed',
  message: 'a computed column, the filter or a look-up fails on its values',
}

function transformSql(definition: TableDefinition, from: string, lookups: number): string {
  const computed = computedColumns(definition)
  const packed = computed.map(({ name, as, type }) => `${attempt(as, type)} AS ${quoted(`${name}__try`)}`)
  const values = computed.map(({ name }) => `${quoted(`${name}__try`)}.v AS ${quoted(name)}`)
  const failed = [
    ...Array.from({ length: lookups }, (_, k) => `__failed_${k}`),
    ...computed.map(({ name }) => `${quoted(`${name}__try`)} IS NULL`),
  ]
  const filter = definition.where === undefined ? `{'v': true}` : attempt(definition.where, 'BOOLEAN')
  return `SELECT CASE WHEN __failed OR __filter IS NULL THEN 2 WHEN __filter.v THEN ${KEPT} ELSE ${FILTERED} END::UTINYINT
${computed.map(({ name }) => `, ${quoted(name)}`).join('')}
FROM (SELECT *, ${filter} AS __filter
FROM (SELECT *, ${['false', ...failed].join(' OR ')} AS __failed${values.map((value) => `, ${value}`).join('')}
FROM (SELECT *${packed.map((each) => `, ${each}`).join('')} FROM ${from})))`
}

/** The number of each row that stays, among those that stay; −1 for the others. */
function placesOf(verdicts: Uint8Array): Int32Array {
  const places = new Int32Array(verdicts.length)
  let next = 0
  for (const [row, verdict] of verdicts.entries()) places[row] = verdict === KEPT ? next++ : -1
  return places
}

function verdictsOf(chunk: DuckDBDataChunk): Uint8Array {
  return duckdb.vector_get_data(vectorOf(chunk, 0), chunk.rowCount)
}

function vectorOf(chunk: DuckDBDataChunk, k: number): duckdb.Vector {
  return duckdb.data_chunk_get_vector(chunk.chunk, k)
}
