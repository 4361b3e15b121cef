import { RECORD_BYTES_MAX, type Reason } from './codes.ts'
import type { ReadRecord } from './compiled-reader.ts'

/** Reads values of a format that has a schema into the builders of a plan. */
export interface FormatReader {
  /** Where the `_extra` text of the last record starts in our own buffer, −1 when it has none. */
  extraStart: number
  /** Why the last record does not fit. */
  readonly reason: Reason
  /** The reader for the records of one buffer. Valid until the next call. */
  open(bytes: Uint8Array, segment: number): ReadRecord
}

export function tooLarge(bytes: number): Reason {
  return { code: 'decode.too_large', message: `the value has ${bytes} bytes, the limit is ${RECORD_BYTES_MAX}` }
}
