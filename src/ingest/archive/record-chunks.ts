import duckdb from '@duckdb/node-bindings'
import type { DuckDBDataChunk } from '@duckdb/node-api'
import type { Header, RecordBatch } from '../../log.ts'
import { nullsOf, textsOf, type Texts } from './texts.ts'

/**
 * What a chunk of archived records holds: `partition INTEGER, offset BIGINT, timestamp BIGINT, is_append INTEGER,
 * key_length INTEGER, value_length INTEGER, bytes BLOB, headers`. A length is −1 of a null; key and value lie behind each
 * other in `bytes`.
 */
export const CHUNK_COLUMNS = 8

/** The records of a chunk that is in order of partition and offset, as one batch per partition. */
export function* batchesOf(
  { chunk, rowCount: rows }: DuckDBDataChunk,
  of: Pick<RecordBatch, 'topic' | 'topicId'> & { end(partition: number): bigint },
): Generator<RecordBatch, void, undefined> {
  const column = (k: number): duckdb.Vector => duckdb.data_chunk_get_vector(chunk, k)
  const partitions = ints(column(0), rows)
  const headers = headersOf(column(7), rows)
  for (let from = 0; from < rows;) {
    const partition = partitions[from]!
    let until = from + 1
    while (until < rows && partitions[until] === partition) until++
    const first = from
    const offsets = longs(column(1), rows).slice(from, until)
    const appendTimes = Uint8Array.from(ints(column(3), rows).subarray(from, until))
    yield {
      topic: of.topic,
      topicId: of.topicId,
      partition,
      // Where the next record stands is not known here; whoever does says so with a batch of none.
      nextOffset: offsets.at(-1)! + 1n,
      count: until - from,
      offsets,
      timestampsMs: Float64Array.from(longs(column(2), rows).subarray(from, until), Number),
      ...(appendTimes.includes(1) ? { appendTimes } : {}),
      ...bytesOf(
        textsOf(column(6), from, until),
        ints(column(4), rows).subarray(from),
        ints(column(5), rows).subarray(from),
      ),
      headers: (index) => headers(first + index),
      leaderEpoch: -1,
      end: of.end(partition),
    }
    from = until
  }
}

/** Where keys and values lie that stand behind each other. */
function bytesOf(
  { bytes, starts }: Texts,
  keyLengths: Int32Array,
  valueLengths: Int32Array,
): Pick<RecordBatch, 'buffer' | 'keyRanges' | 'valueRanges'> {
  const count = starts.length - 1
  const keyRanges = new Int32Array(2 * count).fill(-1)
  const valueRanges = new Int32Array(2 * count).fill(-1)
  for (let i = 0; i < count; i++) {
    let at = starts[i]!
    if (keyLengths[i]! >= 0) {
      keyRanges[2 * i] = at
      keyRanges[2 * i + 1] = at += keyLengths[i]!
    }
    if (valueLengths[i]! < 0) continue
    valueRanges[2 * i] = at
    valueRanges[2 * i + 1] = at + valueLengths[i]!
  }
  return { buffer: bytes, keyRanges, valueRanges }
}

/** The headers of a row of the chunk, made when they are asked for. */
function headersOf(vector: duckdb.Vector, rows: number): (row: number) => readonly Header[] {
  const size = duckdb.list_vector_get_size(vector)
  if (size === 0) return () => []
  const entries = duckdb.vector_get_data(vector, rows * 16)
  // Offset and length, 64 bits each; the chunk goes, these stay.
  const words = new Uint32Array(entries.slice().buffer)
  const child = duckdb.list_vector_get_child(vector)
  const values = duckdb.struct_vector_get_child(child, 1)
  const isNull = nullsOf(values, size)
  const nulls = Uint8Array.from({ length: size }, (_, k) => (isNull?.(k) === true ? 1 : 0))
  const keys = textsOf(duckdb.struct_vector_get_child(child, 0), 0, size)
  const bytes = textsOf(values, 0, size)
  return (row) => {
    const first = words[4 * row]!
    return Array.from({ length: words[4 * row + 2]! }, (_, k) => ({
      key: Buffer.from(textAt(keys, first + k)).toString(),
      value: nulls[first + k] === 1 ? undefined : textAt(bytes, first + k),
    }))
  }
}

function textAt({ bytes, starts }: Texts, i: number): Uint8Array {
  return bytes.subarray(starts[i], starts[i + 1])
}

function longs(vector: duckdb.Vector, rows: number): BigInt64Array {
  const bytes = duckdb.vector_get_data(vector, rows * 8)
  return new BigInt64Array(bytes.buffer, bytes.byteOffset, rows)
}

function ints(vector: duckdb.Vector, rows: number): Int32Array {
  const bytes = duckdb.vector_get_data(vector, rows * 4)
  return new Int32Array(bytes.buffer, bytes.byteOffset, rows)
}
