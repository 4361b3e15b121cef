import type { Reason } from './codes.ts'

/** Bytes before a value whose schema stands in a Confluent-compatible registry: a zero, and the schema's id, big endian. */
export const FRAME_BYTES = 5

/** Where the value behind the frame begins; −1 when there is no frame. */
export function frameEnd(bytes: Uint8Array, start: number, end: number): number {
  return end - start >= FRAME_BYTES && bytes[start] === 0 ? start + FRAME_BYTES : -1
}

/** A value without a frame, in a table whose values have one. */
export const NO_FRAME: Reason = {
  code: 'decode.framing',
  message: 'the value does not begin with a zero and the id of a schema',
}
