import { SYSTEM_COLUMNS, type Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import { LakeError } from '../../error.ts'
import type { RecordBatch } from '../../log.ts'
import { KeyEncoder, KeyHasher } from '../key-hash.ts'
import { DELETE, TRUNCATE } from '../keys.ts'
import { recordText } from '../letters/letters.ts'
import type { Reason } from './codes.ts'
import { computedColumns, mayRead, sqlOf } from './columns.ts'
import type { ColumnBuilder, OwnText } from './column-builder.ts'
import { copyValue, repeatValue } from './copy-value.ts'
import type { Schemas } from './avro-schemas.ts'
import type { Change } from './debezium-envelope.ts'
import { DeleteMarkers } from './delete-markers.ts'
import { KeyOperations } from './key-ops.ts'
import type { NativeText } from './native-text.ts'
import type { Plan } from './plan.ts'
import { RecordKeys } from './record-key.ts'
import { RowKeys } from './row-keys.ts'
import type { Slab, SlabPool } from './slab.ts'

/** What a keyed table's micro-batch is decoded with. */
export interface KeyContext {
  /** Of the table: it seeds the hashes. */
  readonly uuid: string
  /** Records without a row to keep values of, `topic/partition@offset`. */
  readonly baseless: ReadonlySet<string>
  /** Records whose SQL is known to fail: nothing is kept of their rows. */
  readonly unmade?: ReadonlySet<string> | undefined
}

const NONE: ReadonlySet<string> = new Set()

/** The keyed side of a decoder: which operation on which key each record is, and the values that records keep. */
export class KeyedRows {
  readonly operations: KeyOperations
  /** Of a table with a version: what is deleted, a row for each DELETE. */
  readonly markers: DeleteMarkers | undefined
  readonly #definition: TableDefinition
  readonly #plan: Plan
  readonly #own: OwnText
  readonly #recordKeys: RecordKeys
  readonly #version: ColumnBuilder | undefined
  /** Columns that decide whether and where a row is written, or what it is, and so cannot be filled in later. */
  readonly #fixed: ReadonlySet<number>
  readonly #hasSql: boolean
  #uuid = ''
  #unmade = NONE
  #keys: RowKeys | undefined
  /** Numbers of the first rows of the finished slabs, and of the chunk that is being filled. */
  #starts: number[] = [0]
  /** The last of them. */
  #first = 0

  constructor(
    definition: TableDefinition,
    plan: Plan,
    builders: readonly ColumnBuilder[],
    columns: readonly Column[],
    own: OwnText,
    native: NativeText,
    pool: SlabPool,
    schemas: Schemas,
  ) {
    const { version } = definition
    this.markers = version === undefined ? undefined : new DeleteMarkers(definition, native, pool)
    this.#definition = definition
    this.#plan = plan
    this.#own = own
    this.operations = new KeyOperations(version !== undefined)
    this.#recordKeys = new RecordKeys(definition, schemas)
    const name = columns.some((column) => column.name === version) ? version : SYSTEM_COLUMNS.version
    this.#version = builders[columns.findIndex((column) => column.name === name)]
    const sources = definition.partitionBy.map((text) => /([^\s(),]+)\)?$/.exec(text)?.[1])
    const texts = sqlOf(definition)
    this.#hasSql = computedColumns(definition).length > 0
    this.#fixed = new Set(
      columns.flatMap((column, k) => (sources.includes(column.name) || mayRead(texts, column) ? [k] : [])),
    )
  }

  begin({ uuid, unmade = NONE }: KeyContext): void {
    this.#unmade = unmade
    this.operations.clear()
    this.markers?.clear()
    this.#starts = [0]
    this.#first = 0
    if (uuid === this.#uuid) return
    const { key, columns } = this.#definition
    if (uuid === '') throw new LakeError('internal', `${this.#definition.name}: keys are hashed with the table's uuid`)
    const indexes = key.map((name) => columns.findIndex((column) => column.name === name))
    const encoder = new KeyEncoder()
    const hasher = new KeyHasher(
      uuid,
      indexes.map((k) => columns[k]!),
    )
    this.#uuid = uuid
    this.#keys = new RowKeys(
      hasher,
      encoder,
      indexes.map((k) => this.#plan.builders[k]!),
      this.#own,
    )
    this.#recordKeys.useHasher(hasher, encoder)
  }

  open(batch: RecordBatch): void {
    this.#keys!.open(batch.buffer)
  }

  /** The chunk became a slab of so many rows. */
  flushed(rows: number): void {
    this.#first += rows
    this.#starts.push(this.#first)
  }

  /**
   * A row of the current chunk as an operation on its key, with the values that it keeps as far as this micro-batch
   * knows them. The reason when it is none; the row is then to be reset.
   */
  row(batch: RecordBatch, i: number, row: number, slabs: readonly Slab[], bases: number[]): Reason | undefined {
    const { operations } = this
    if (this.#version?.isNull(row) === true) return NO_VERSION
    const operation = operations.add(batch, i, this.#first + row)
    this.#keys!.hash(row, operations.hashes, 4 * operation)
    if (this.#version !== undefined) this.#setVersion(this.#version, row, operation)
    if (this.#unmade.size > 0 && this.#unmade.has(recordText(batch.topic, placeOf(batch, i)))) {
      operations.setUnmade(operation)
      return undefined
    }
    if (this.#plan.kept.columns.length === 0) return undefined
    const reason = this.#keep(operation, row, slabs, bases)
    if (reason !== undefined) operations.drop()
    return reason
  }

  /** A null value: removes the row that the record's key names. The reason when it names none. */
  tombstone(batch: RecordBatch, i: number): Reason | undefined {
    const { recordKey, value } = this.#definition
    if (recordKey === 'none') return undefined
    const start = batch.keyRanges[2 * i]!
    // In a change stream it follows the delete of a row that has no key.
    if (start < 0) return value === 'debezium' ? undefined : NO_KEY
    const reason = this.#recordKeys.read(batch.buffer, start, batch.keyRanges[2 * i + 1]!)
    if (reason !== undefined) return reason
    const { operations } = this
    const operation = operations.add(batch, i, DELETE)
    const keys = this.#recordKeys.keys(batch.buffer)
    keys.hash(0, operations.hashes, 4 * operation)
    if (this.#version === undefined) return undefined
    operations.setBare(operation)
    this.markers!.add(batch, i, keys, undefined)
    return undefined
  }

  /**
   * A delete event: removes the row of the record's key, or, when that names none, of the key in the row before. Without
   * both, the change of a table without a key, it is no operation. The reason when there is a key that names no row.
   */
  delete(batch: RecordBatch, i: number, envelope: Change): Reason | undefined {
    const { keyRanges, buffer } = batch
    const start = this.#definition.recordKey === 'none' ? -1 : keyRanges[2 * i]!
    if (start < 0 && envelope.before.start < 0) return undefined
    const reason = start < 0 ? NO_KEY : this.#recordKeys.read(buffer, start, keyRanges[2 * i + 1]!)
    if (reason !== undefined) {
      const second = this.#recordKeys.readBefore(buffer, envelope)
      if (second !== undefined) return start < 0 ? second : reason
    }
    const { operations } = this
    const operation = operations.add(batch, i, DELETE)
    const keys = this.#recordKeys.keys(buffer)
    keys.hash(0, operations.hashes, 4 * operation)
    if (this.#version === undefined) return undefined
    if (envelope.version === undefined) operations.setBare(operation)
    else operations.versions[operation] = envelope.version
    this.markers!.add(batch, i, keys, envelope.version)
    return undefined
  }

  truncate(batch: RecordBatch, i: number): void {
    this.operations.add(batch, i, TRUNCATE)
  }

  #setVersion({ width, i32 }: ColumnBuilder, row: number, operation: number): void {
    const { versionWords } = this.operations
    versionWords[2 * operation] = width === 4 ? i32[row]! : i32[2 * row]!
    versionWords[2 * operation + 1] = width === 4 ? i32[row]! >> 31 : i32[2 * row + 1]!
  }

  /** Values of the row of the same key that came before, in this micro-batch; what that lacks too is a hole. */
  #keep(operation: number, row: number, slabs: readonly Slab[], bases: number[]): Reason | undefined {
    const { operations } = this
    const { columns } = this.#plan.kept
    const name = (column: number): string => this.#definition.columns[column]!.name
    const fixed = columns.find((column) => this.#fixed.has(column))
    if (fixed !== undefined)
      return { ...NO_BASE, message: `${name(fixed)}: absent, and the table is partitioned, filtered or computed by it` }
    // The row that it would take them from may be one that the filter drops.
    if (this.#definition.where !== undefined && this.#version === undefined) return NO_FILTERED_BASE
    const names = columns.map(name)
    // Which of the key's records won is known to the committer alone.
    const base = this.#version === undefined ? operations.baseOf(operation) : -1
    const from = base < 0 ? undefined : operations.rows[base]!
    if (from !== undefined && from < 0) {
      if (!this.#hasSql) return NO_BASE
      // Whose SQL fails is a dead letter for that, wherever micro-batches end.
      operations.setBaseless(operation)
      return undefined
    }
    const lacking = base < 0 ? names : names.filter((column) => operations.holesOf(base).includes(column))
    if (from !== undefined) {
      operations.addGiver(from)
      columns.forEach((column, k) => {
        if (!lacking.includes(names[k]!)) this.#copy(column, from, row, slabs, bases)
      })
    }
    if (lacking.length > 0) operations.addHole(operation, lacking)
    return undefined
  }

  #copy(column: number, from: number, row: number, slabs: readonly Slab[], bases: number[]): void {
    const builder = this.#plan.builders[column]!
    const chunk = this.#starts.length - 1
    if (from >= this.#starts[chunk]!) return repeatValue(builder, from - this.#starts[chunk]!, row)
    let low = 0
    for (let high = chunk; high - low > 1;) {
      const middle = (low + high) >> 1
      if (this.#starts[middle]! <= from) low = middle
      else high = middle
    }
    const slab = slabs[low]!
    copyValue(slab, slab.columns[column]!, from - this.#starts[low]!, builder, row, bases)
  }
}

function placeOf({ partition, offsets }: RecordBatch, i: number): { partition: number; offset: bigint } {
  return { partition, offset: offsets[i]! }
}

const NO_VERSION: Reason = { code: 'version.null', message: 'no version: its order among those of its key is unknown' }
const NO_KEY: Reason = { code: 'key.null', message: 'a null value without a key' }
const NO_FILTERED_BASE: Reason = {
  code: 'cdc.unavailable_without_base',
  message: 'values are kept of an earlier row, in a table with a filter and without a version',
}
/** What a record keeps of a row, when there is none. */
export const NO_BASE: Reason = {
  code: 'cdc.unavailable_without_base',
  message: 'values are kept of a row that its key does not have',
}
