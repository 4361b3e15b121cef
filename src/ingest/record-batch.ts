import { createHash } from 'node:crypto'
import type { RecordBatch, Tail } from '../log.ts'

const NONE = new Uint8Array(0)

export function keyOf(batch: RecordBatch, index: number): Uint8Array | undefined {
  return slice(batch.buffer, batch.keyRanges, index)
}

export function valueOf(batch: RecordBatch, index: number): Uint8Array | undefined {
  return slice(batch.buffer, batch.valueRanges, index)
}

function slice(buffer: Uint8Array, ranges: Int32Array, index: number): Uint8Array | undefined {
  const start = ranges[2 * index]!
  return start < 0 ? undefined : buffer.subarray(start, ranges[2 * index + 1]!)
}

/** Identity of a record's content, 16 hexadecimal digits: SHA-256 over timestamp, key and value, null apart from empty. */
export function recordHash(timestampMs: number, key: Uint8Array | undefined, value: Uint8Array | undefined): string {
  const head = `${timestampMs}|${key?.length ?? -1}|${value?.length ?? -1}|`
  return createHash('sha256')
    .update(head)
    .update(key ?? NONE)
    .update(value ?? NONE)
    .digest('hex')
    .slice(0, 16)
}

/** The last record of a batch, as the version keeps it. The batch must not be empty. */
export function tailOf(batch: RecordBatch): Tail {
  const last = batch.count - 1
  return {
    offset: batch.offsets[last]!,
    leaderEpoch: batch.leaderEpoch,
    hash: recordHash(batch.timestampsMs[last]!, keyOf(batch, last), valueOf(batch, last)),
  }
}
