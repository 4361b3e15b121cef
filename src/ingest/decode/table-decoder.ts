import type { Column } from '../../batch.ts'
import { isSourceVersion, type TableDefinition } from '../../define.ts'
import { keptColumns } from '../../define-computed.ts'
import type { Salts } from '../../define-redact.ts'
import { LakeError } from '../../error.ts'
import { partitionId, type PartitionId, type RecordBatch } from '../../log.ts'
import { AvroReader, type RowReader } from './avro-reader.ts'
import type { Schemas } from './avro-schemas.ts'
import { retriedAt, type RetriedRecords } from '../letters/letters.ts'
import { buildersOf, OWN_SEGMENT, OwnText, VECTOR_ROWS, type ColumnBuilder } from './column-builder.ts'
import { computedColumns, hasExtra, laneColumns, tableColumns, valueColumns } from './columns.ts'
import { stopped } from './stopped.ts'
import type { Reason } from './codes.ts'
import { CompiledReader } from './compiled-reader.ts'
import { DeadLetters } from './dead-letters.ts'
import { ChangeReader } from './debezium.ts'
import { AvroChanges } from './debezium-avro.ts'
import type { Decoded, KeptValues, MutableCounts } from './decoded.ts'
import { EventClock, eventLimits, NO_EVENT } from './event-clock.ts'
import { JsonReader } from './json-reader.ts'
import { KeyedRows, NO_BASE, type KeyContext } from './keyed-rows.ts'
import { frameEnd, NO_FRAME } from './framing.ts'
import type { NativeText } from './native-text.ts'
import { planOf, type Plan } from './plan.ts'
import { protobufReader } from './protobuf-registry.ts'
import { jsonRules } from './redact-text.ts'
import { placeRows, setHeaders, setRange, setTimestampType, type PlaceColumns } from './raw.ts'
import { seal, type Slab, type SlabPool } from './slab.ts'

export type { Decoded, KeptValues, MutableCounts } from './decoded.ts'

export interface DecoderOptions {
  /** Rows get the columns that windows need beside those of the table, empty. */
  readonly hasLaneColumns?: boolean
  /** Of a registry, by id: those that stand in the records which are decoded. */
  readonly schemas?: Schemas | undefined
  /** See `RowParts`. */
  readonly known?: readonly Column[] | undefined
  /** By name, of a table that hashes by them. */
  readonly salts?: Salts
}

/** From raw records to columns, for one table. Keeps no state from call to call but buffers. */
export class TableDecoder {
  readonly #definition: TableDefinition
  readonly #native: NativeText
  readonly #pool: SlabPool
  readonly #own = new OwnText()
  readonly #plan: Plan
  /** The columns of the value, those of the system, then those of the lane. */
  readonly #builders: readonly ColumnBuilder[]
  /** Those that are filled when the rows of a micro-batch are complete. */
  readonly #later: readonly ColumnBuilder[]
  /** Whether clocks move only when it is known which rows there are. */
  readonly #isUnjudged: boolean
  #kept: KeptValues[] = []
  #flushedRows = 0
  readonly #extra: ColumnBuilder | undefined
  readonly #system: PlaceColumns
  /** Per row of the current chunk the number of its record in its batch. */
  readonly #records = new Int32Array(VECTOR_ROWS)
  /** Of a change stream. */
  readonly #changes: ChangeReader | AvroChanges | undefined
  /** The column of a version that stands beside the row, in the change's source. */
  readonly #sourceVersion: ColumnBuilder | undefined
  readonly #json: JsonReader
  readonly #compiled: CompiledReader
  /** Whether a zero and the id of a schema stand before each value. */
  readonly #isFramed: boolean
  /** Of values in a format that has a schema. */
  readonly #avro: RowReader | undefined
  readonly #clock: EventClock
  readonly #deadLetters: DeadLetters
  readonly #keyed: KeyedRows | undefined
  /** Number of the column that is the event time, −1 when it is none of the value's. */
  readonly #eventColumn: number
  #baseless: ReadonlySet<string> = new Set()
  #retried: RetriedRecords | undefined
  readonly #sizes: Float64Array
  #bases: number[] = [0]
  #slabs: Slab[] = []
  #row = 0
  #used = 0

  constructor(
    definition: TableDefinition,
    native: NativeText,
    pool: SlabPool,
    { hasLaneColumns = false, schemas = new Map(), known, salts = {} }: DecoderOptions = {},
  ) {
    this.#definition = definition
    this.#native = native
    this.#pool = pool
    const columns = tableColumns(definition)
    const computed = computedColumns(definition)
    this.#plan = planOf(columns.slice(0, valueColumns(definition).length), {
      limits: eventLimits(definition),
      key: definition.key,
      keeps: keptColumns(definition),
      computed: computed.map(({ name }) => name),
    })
    const system = planOf(columns.slice(this.#plan.builders.length)).builders
    const lane = hasLaneColumns ? buildersOf(laneColumns) : []
    this.#builders = [...this.#plan.builders, ...system, ...lane]
    this.#later = [...this.#plan.builders.filter((_, k) => columns[k]!.as !== undefined), ...lane]
    this.#isUnjudged = this.#later.length > 0 || definition.where !== undefined
    this.#extra = hasExtra(definition) ? system[0] : undefined
    const [partition, offset, timestamp] = system.slice(-3) as [ColumnBuilder, ColumnBuilder, ColumnBuilder]
    this.#system = { partition, offset, timestamp }
    this.#sourceVersion = isSourceVersion(definition) ? system.at(-4) : undefined
    const { redact = [] } = definition
    for (const [field, how] of redact)
      if (how === 'drop') this.#plan.root.find(({ name }) => name === field)?.builder.willBeNulled()
    const rules = jsonRules(redact, salts)
    const isAvro = definition.avro !== undefined
    const hasChanges = definition.value === 'debezium'
    if (hasChanges && !isAvro) this.#changes = new ChangeReader(this.#plan, this.#own, definition.version)
    this.#json = new JsonReader(this.#plan, this.#own, definition.unknown, this.#changes?.values, rules)
    this.#compiled = new CompiledReader(this.#plan, this.#json)
    const parts = { plan: this.#plan, own: this.#own, extra: this.#json.extra, schemas, known }
    if (isAvro && hasChanges) this.#avro = this.#changes = new AvroChanges(definition, parts)
    else if (isAvro) this.#avro = new AvroReader(definition, parts)
    else if (definition.protobuf !== undefined) this.#avro = protobufReader(definition, parts)
    this.#isFramed = definition.framing !== undefined
    this.#clock = new EventClock(definition, this.#builders, columns)
    this.#deadLetters = new DeadLetters(definition, native, pool)
    this.#eventColumn = definition.columns.findIndex(({ name }) => name === definition.eventTime?.column)
    this.#keyed =
      definition.key.length === 0
        ? undefined
        : new KeyedRows(definition, this.#plan, this.#builders, columns, this.#own, native, pool, schemas)
    this.#sizes = new Float64Array(this.#plan.elements.length)
  }

  /**
   * `fatal` holds `topic/partition@offset` of records that must not be touched; keyed tables need `keys`. Throws
   * `decode.stopped`, `cdc.truncate`. A record that is `retried` and fails is a dead letter again, whatever `onError` says.
   */
  decode(
    batches: readonly RecordBatch[],
    fatal: ReadonlySet<string>,
    keys: KeyContext = NO_KEYS,
    retried?: RetriedRecords,
  ): Decoded {
    const counts = new Map<PartitionId, MutableCounts>()
    this.#begin()
    this.#baseless = keys.baseless
    this.#retried = retried
    this.#keyed?.begin(keys)
    try {
      for (const batch of batches) {
        if (batch.count === 0) continue
        const id = partitionId(batch.topic, batch.partition)
        let count = counts.get(id)
        if (count === undefined) counts.set(id, (count = emptyCounts()))
        this.#batch(batch, id, count, fatal)
      }
      this.#flush()
      const operations = this.#keyed?.operations
      const markers = this.#keyed?.markers?.finish() ?? []
      const [rows, deadLetters] = [this.#slabs, this.#deadLetters.finish()]
      return { rows, deadLetters, counts, operations, markers, kept: this.#kept }
    } finally {
      this.#slabs = []
      this.#deadLetters.clear()
    }
  }

  #begin(): void {
    this.#bases = [0]
    this.#slabs = []
    this.#row = 0
    this.#kept = []
    this.#flushedRows = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }

  #batch(batch: RecordBatch, id: PartitionId, count: MutableCounts, fatal: ReadonlySet<string>): void {
    const segment = this.#bases.push(this.#native.put(batch.buffer)) - 1
    this.#deadLetters.open(this.#bases[segment]!)
    this.#keyed?.open(batch)
    const isRaw = this.#definition.value === 'raw'
    const { offsets, valueRanges } = batch
    const changes = this.#changes
    const avro = this.#avro
    const records = this.#records
    const { recordIndex } = this.#clock
    const keptColumns = this.#plan.kept.columns
    let read = (avro ?? this.#compiled).open(batch.buffer, segment)
    let first = this.#row
    let judged = 0
    for (let i = 0; i < batch.count; i++) {
      const row = this.#row
      let start = valueRanges[2 * i]!
      if (fatal.size > 0 && fatal.has(`${id}@${offsets[i]}`)) this.#reject(batch, i, FATAL, count)
      else if (this.#baseless.size > 0 && this.#baseless.has(`${id}@${offsets[i]}`))
        this.#reject(batch, i, NO_BASE, count)
      else if (isRaw) {
        this.#raw(batch, i, segment, row)
        this.#row++
      } else if (start < 0) this.#tombstone(batch, i, count)
      else {
        this.#mark()
        let end = valueRanges[2 * i + 1]!
        let isPlain = true
        if (this.#isFramed && (start = frameEnd(batch.buffer, start, end)) < 0) {
          this.#reject(batch, i, NO_FRAME, count)
          continue
        }
        if (changes !== undefined) {
          if (!this.#change(changes, batch, i, segment, start, end, count)) continue
          ;({ start, end } = changes.envelope.after)
          isPlain = changes.isPlain
        }
        if (isPlain && read(start, end, row)) this.#finishRow(batch, i, count)
        else if (avro !== undefined) this.#refuse(batch, i, avro.reason, count)
        else {
          if (!this.#slow(batch, i, segment, start, end, count)) continue
          if (this.#compiled.learn(i - judged + 1)) read = this.#compiled.open(batch.buffer, segment)
          judged = i + 1
        }
      }
      if (this.#row > row) {
        records[row] = recordIndex[row] = i
        if (keptColumns.length > 0) this.#placeKept(batch, i, row)
      }
      if (this.#row === VECTOR_ROWS || this.#own.used > OWN_TEXT_MAX) {
        this.#count(batch, first, count)
        this.#flush()
        first = 0
      }
    }
    this.#compiled.passed(batch.count - judged)
    this.#count(batch, first, count)
  }

  /** Rows of the chunk from `first` on, all of one batch. */
  #count(batch: RecordBatch, first: number, count: MutableCounts): void {
    placeRows(this.#system, batch, this.#records, first, this.#row)
    count.rows += this.#row - first
    if (!this.#isUnjudged) count.clockMs = this.#clock.latest(batch, first, this.#row, count.clockMs)
  }

  /** A change event; whether it has a row, which is in `after`. Throws `cdc.truncate`. */
  #change(
    changes: ChangeReader | AvroChanges,
    batch: RecordBatch,
    i: number,
    segment: number,
    start: number,
    end: number,
    count: MutableCounts,
  ): boolean {
    const { envelope } = changes
    const reason = changes.change(batch.buffer, segment, start, end)
    if (reason !== undefined) this.#reject(batch, i, reason, count)
    else if (envelope.kind === 'upsert') {
      if (this.#sourceVersion !== undefined) setVersion(this.#sourceVersion, this.#row, envelope.version)
      return true
    } else if (envelope.kind === 'message') count.skipped++
    else if (envelope.kind === 'tombstone') this.#tombstone(batch, i, count)
    else {
      const misfit = envelope.kind === 'truncate' ? this.#truncate(batch, i) : this.#keyed?.delete(batch, i, envelope)
      if (misfit === undefined) count.tombstones++
      else this.#reject(batch, i, misfit, count)
    }
    return false
  }

  /** An append table keeps what was. No log says what came before a truncate in other partitions. */
  #truncate(batch: RecordBatch, i: number): undefined {
    const { onTruncate, name } = this.#definition
    if (this.#keyed !== undefined && onTruncate === 'stop')
      throw new LakeError('cdc.truncate', `${name}: the source of its changes was truncated`, {
        context: { table: name, topic: batch.topic, partition: batch.partition, offset: String(batch.offsets[i]) },
        fix: 'Set onTruncate: apply when the topic has one partition, or start the table anew from a snapshot.',
      })
    this.#keyed?.truncate(batch, i)
  }

  /** A record that the generated reader was not made for, or one that does not fit at all; whether it is a row. */
  #slow(batch: RecordBatch, i: number, segment: number, start: number, end: number, count: MutableCounts): boolean {
    const row = this.#row
    this.#undo()
    this.#changes?.values.begin()
    const reason = this.#json.record(batch.buffer, segment, start, end, row)
    if (reason !== undefined) {
      this.#refuse(batch, i, reason, count)
      return false
    }
    this.#finishRow(batch, i, count)
    return true
  }

  /** What was read fits the columns; a keyed table has a say too. */
  #finishRow(batch: RecordBatch, i: number, count: MutableCounts): void {
    this.#changes?.values.finish(this.#row)
    const reason = this.#keyed?.row(batch, i, this.#row, this.#slabs, this.#bases)
    if (reason !== undefined) return this.#refuse(batch, i, reason, count)
    const row = this.#row++
    if (this.#extra === undefined) return
    const reader = this.#avro ?? this.#json
    const at = reader.extraStart
    if (at < 0) return this.#extra.setNull(row)
    this.#extra.setText(row, this.#own.bytes, OWN_SEGMENT, at, this.#own.used)
    this.#extra.setValid(row)
    reader.extraStart = -1
  }

  /** The row that was begun does not come about. */
  #refuse(batch: RecordBatch, i: number, reason: Reason, count: MutableCounts): void {
    this.#undo()
    for (const builder of this.#plan.builders) builder.resetRow(this.#row)
    const reader = this.#avro ?? this.#json
    reader.extraStart = -1
    this.#reject(batch, i, reason, count)
  }

  #tombstone(batch: RecordBatch, i: number, count: MutableCounts): void {
    const reason = this.#keyed?.tombstone(batch, i)
    if (reason === undefined) count.tombstones++
    else this.#reject(batch, i, reason, count)
  }

  /** Remembers what a record will add to. */
  #mark(): void {
    this.#used = this.#own.used
    const { elements, kept } = this.#plan
    if (kept.columns.length > 0) kept.columns.length = 0
    for (let k = 0; k < elements.length; k++) this.#sizes[k] = elements[k]!.size
  }

  /** Takes back what was added since. */
  #undo(): void {
    this.#own.used = this.#used
    const { elements, kept } = this.#plan
    if (kept.columns.length > 0) kept.columns.length = 0
    for (let k = 0; k < elements.length; k++) elements[k]!.size = this.#sizes[k]!
  }

  #reject(batch: RecordBatch, i: number, reason: Reason, count: MutableCounts): void {
    const onError = this.#retried === undefined ? this.#definition.onError : 'dead-letter'
    if (onError === 'stop' && reason !== FATAL)
      throw stopped(this.#definition, batch, batch.offsets[i]!, reason, 'read', 'columns')
    if (onError === 'skip' && reason !== FATAL) count.skipped++
    else {
      this.#deadLetters.add(batch, i, reason, retriedAt(this.#retried, batch, i))
      count.deadLetters++
    }
  }

  #raw(batch: RecordBatch, i: number, segment: number, row: number): void {
    const [key, value, headers, type, ms] = this.#plan.builders as [ColumnBuilder, ColumnBuilder, ...ColumnBuilder[]]
    setRange(key, row, batch.buffer, segment, batch.keyRanges, i)
    setRange(value, row, batch.buffer, segment, batch.valueRanges, i)
    setHeaders(headers!, row, batch.headers(i), this.#own)
    if (type !== undefined) setTimestampType(type, ms!, row, batch, i)
  }

  /** What is to be known of a row whose record did not carry all columns. */
  #placeKept(batch: RecordBatch, i: number, row: number): void {
    const { columns } = this.#plan.kept
    // An event time that the record does not say itself moves no clock.
    if (columns.includes(this.#eventColumn)) this.#clock.recordIndex[row] = NO_EVENT
    if (!this.#isUnjudged) return
    const number = this.#flushedRows + row
    this.#kept.push({ row: number, partition: batch.partition, offset: batch.offsets[i]!, columns: [...columns] })
  }

  #flush(): void {
    if (this.#row > 0) {
      if (this.#own.used > 0) this.#bases[OWN_SEGMENT] = this.#native.put(this.#own.bytes.subarray(0, this.#own.used))
      for (const builder of this.#later) builder.valid.fill(0)
      this.#slabs.push(seal(this.#builders, this.#row, this.#bases, this.#pool))
      this.#flushedRows += this.#row
      this.#keyed?.flushed(this.#row)
    }
    this.#row = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }
}

/** A chunk ends early when the texts that it owns reach this many bytes. */
const OWN_TEXT_MAX = 8 * 1024 * 1024

const FATAL: Reason = { code: 'decode.fatal', message: 'the record ended two lanes that tried to read it' }

const NO_KEYS: KeyContext = { uuid: '', baseless: new Set() }

function setVersion(builder: ColumnBuilder, row: number, version: bigint | undefined): void {
  if (version === undefined) return builder.setNull(row)
  builder.i64[row] = version
  builder.setValid(row)
}

function emptyCounts(): MutableCounts {
  return { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
}
