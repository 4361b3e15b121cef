import type { Header, RecordBatch } from '../../log.ts'
import { OWN_SEGMENT, type ColumnBuilder, type OwnText } from './column-builder.ts'

/** A record's headers as a list of structs of key and value. */
export function setHeaders(builder: ColumnBuilder, row: number, headers: readonly Header[], own: OwnText): void {
  const entries = builder.children[0]!
  const [key, value] = entries.children as [ColumnBuilder, ColumnBuilder]
  const first = entries.size
  for (const header of headers) {
    const index = entries.add()
    entries.setValid(index)
    setOwnText(key, index, Buffer.from(header.key), own)
    if (header.value === undefined) value.setNull(index)
    else setOwnText(value, index, header.value, own)
  }
  builder.i32.set([first, 0, entries.size - first, 0], row * 4)
  builder.setValid(row)
}

/** Text that lies nowhere else: copied into our own buffer. */
export function setOwnText(builder: ColumnBuilder, row: number, text: Uint8Array, own: OwnText): void {
  const start = own.append(text)
  builder.setText(row, own.bytes, OWN_SEGMENT, start, own.used)
  builder.setValid(row)
}

/** Key or value of record `i`; null when the range is. */
export function setRange(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  segment: number,
  ranges: Int32Array,
  i: number,
): void {
  const start = ranges[2 * i]!
  if (start < 0) builder.setNull(row)
  else builder.setText(row, bytes, segment, start, ranges[2 * i + 1]!)
}

/** Days from 1970 that a calendar has, in milliseconds, before and after. */
const CALENDAR_MS = 8.64e15
const CREATE = Buffer.from('create')
const APPEND = Buffer.from('append')
/** Of 64-bit integers: a double that stands for the largest one is one too many. */
const LONG_MAX = 2n ** 63n - 1n

/** Of an archive: who set the timestamp, and the timestamp where `setTimestamp` has no room for it. */
export function setTimestampType(
  type: ColumnBuilder,
  ms: ColumnBuilder,
  row: number,
  { appendTimes, timestampsMs }: RecordBatch,
  i: number,
): void {
  const text = appendTimes?.[i] === 1 ? APPEND : CREATE
  // Short texts lie in the column itself: no segment is looked at.
  type.setText(row, text, OWN_SEGMENT, 0, text.length)
  type.setValid(row)
  const timestampMs = timestampsMs[i]!
  if (Math.abs(timestampMs) <= CALENDAR_MS) return ms.setNull(row)
  const exact = BigInt(timestampMs)
  ms.i64[row] = exact > LONG_MAX ? LONG_MAX : exact
  ms.setValid(row)
}

/** The columns that say where a row comes from. */
export interface PlaceColumns {
  readonly partition: ColumnBuilder
  readonly offset: ColumnBuilder
  readonly timestamp: ColumnBuilder
}

/** Fills them for rows [from, until) of a chunk, all of one batch; `records` has the number of each row's record. */
export function placeRows(
  { partition, offset, timestamp }: PlaceColumns,
  batch: RecordBatch,
  records: Int32Array,
  from: number,
  until: number,
): void {
  if (from === until) return
  partition.i32.fill(batch.partition, from, until)
  const { offsets, timestampsMs } = batch
  const first = records[from]!
  // Hardly a record is no row.
  if (records[until - 1]! - first === until - 1 - from)
    offset.i64.set(offsets.subarray(first, first + until - from), from)
  else for (let row = from; row < until; row++) offset.i64[row] = offsets[records[row]!]!
  for (let row = from; row < until; row++) setTimestamp(timestamp, row, timestampsMs[records[row]!]!)
}

/** The record's own timestamp, null when it has none, or one that no calendar reaches. */
export function setTimestamp(builder: ColumnBuilder, row: number, timestampMs: number): void {
  if (timestampMs === -1 || Math.abs(timestampMs) > CALENDAR_MS) builder.setNull(row)
  else if (Math.abs(timestampMs) < 9e12) builder.setLong(row, timestampMs * 1000)
  else builder.i64[row] = BigInt(timestampMs) * 1000n
}
