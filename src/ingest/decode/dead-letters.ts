import { type TableDefinition } from '../../define.ts'
import { codeHash } from '../../define-code.ts'
import type { RecordBatch } from '../../log.ts'
import type { MappedBatch } from '../map/mapped-records.ts'
import type { RetriedRecord } from '../letters/letters.ts'
import { buildersOf, OWN_SEGMENT, OwnText, VECTOR_ROWS, type ColumnBuilder } from './column-builder.ts'
import { deadLetterColumns } from './columns.ts'
import type { Reason } from './codes.ts'
import type { NativeText } from './native-text.ts'
import { RedactedRecord } from './redacted-record.ts'
import { setHeaders, setOwnText, setRange, setTimestamp } from './raw.ts'
import { seal, type Slab, type SlabPool } from './slab.ts'

/** Rows of `<table>__dlq`, as they come up. Of a table that redacts, values are kept without what is redacted. */
export class DeadLetters {
  readonly #native: NativeText
  readonly #pool: SlabPool
  readonly #own = new OwnText()
  readonly #builders = buildersOf(deadLetterColumns)
  readonly #codeHash: Uint8Array
  readonly #stage: Uint8Array
  readonly #redacted: RedactedRecord | undefined
  #bases: number[] = [0]
  #slabs: Slab[] = []
  #row = 0

  constructor(
    definition: TableDefinition,
    native: NativeText,
    pool: SlabPool,
    stage: 'decode' | 'transform' = 'decode',
  ) {
    this.#stage = Buffer.from(stage)
    this.#native = native
    this.#pool = pool
    this.#codeHash = Buffer.from(codeHash(definition))
    this.#redacted = RedactedRecord.of(definition)
  }

  /** Where the bytes of the batch lie natively that the next records are of. */
  open(base: number): void {
    this.#bases.push(base)
  }

  /** `before`: the record is read again. Clocks are left to who knows them. */
  add(batch: RecordBatch, i: number, reason: Reason, before?: RetriedRecord): void {
    const row = this.#row++
    const segment = this.#bases.length - 1
    const { buffer } = batch
    const [topic, partition, offset, timestamp, key, value, headers, stage, code, message, hash, status, attempts] =
      this.#builders as unknown as Record<number, ColumnBuilder> & Iterable<ColumnBuilder>
    setOwnText(topic!, row, Buffer.from(batch.topic), this.#own)
    partition!.i32[row] = batch.partition
    offset!.i64[row] = batch.offsets[i]!
    setTimestamp(timestamp!, row, batch.timestampsMs[i]!)
    setRange(key!, row, buffer, segment, batch.keyRanges, i)
    const text = this.#redacted === undefined ? reason.message : this.#redact(value!, row, batch, i, reason)
    if (reason.code === 'decode.too_large') value!.setNull(row)
    else if (this.#redacted === undefined) setRange(value!, row, buffer, segment, rangesOf(batch), i)
    setHeaders(headers!, row, batch.headers(i), this.#own)
    setOwnText(stage!, row, this.#stage, this.#own)
    setOwnText(code!, row, Buffer.from(reason.code), this.#own)
    setOwnText(message!, row, Buffer.from(text), this.#own)
    setOwnText(hash!, row, this.#codeHash, this.#own)
    setOwnText(status!, row, PENDING, this.#own)
    attempts!.i32[row] = before === undefined ? 0 : before.attempts + 1
    if (this.#row === VECTOR_ROWS || this.#own.used > OWN_TEXT_MAX) this.#flush()
  }

  /**
   * The value as it may be kept, empty when nothing may: no value at all would be another record, which deletes. Gives
   * the message. A record that ended lanes is not looked into once more.
   */
  #redact(value: ColumnBuilder, row: number, batch: RecordBatch, i: number, { code, message }: Reason): string {
    const ranges = rangesOf(batch)
    const [start, end] = [ranges[2 * i]!, ranges[2 * i + 1]!]
    value.setNull(row)
    if (start < 0) return message
    const kept = code === 'decode.fatal' ? undefined : this.#redacted!.bytes(batch.buffer, start, end)
    setOwnText(value, row, kept ?? NOTHING, this.#own)
    const isLost = kept === undefined && end > start
    return isLost ? `${message}; its ${end - start} bytes are not kept: they may hold what is redacted` : message
  }

  /** All dead letters since `clear`. */
  finish(): readonly Slab[] {
    this.#flush()
    return this.#slabs
  }

  clear(): void {
    this.#bases = [0]
    this.#slabs = []
    this.#row = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }

  #flush(): void {
    if (this.#row === 0) return
    this.#builders.at(-1)!.valid.fill(0)
    this.#bases[OWN_SEGMENT] = this.#native.put(this.#own.bytes.subarray(0, this.#own.used))
    this.#slabs.push(seal(this.#builders, this.#row, this.#bases, this.#pool))
    this.#row = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }
}

/** Where values lie as they came: those of a table with a function are others by then. */
function rangesOf(batch: RecordBatch & Partial<MappedBatch>): Int32Array {
  return batch.recordRanges ?? batch.valueRanges
}

const OWN_TEXT_MAX = 8 * 1024 * 1024
const NOTHING = new Uint8Array(0)
const PENDING = Buffer.from('pending')
