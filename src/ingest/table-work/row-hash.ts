import { createHash } from 'node:crypto'
import { typeName, type IcebergType } from '../../lake/table.ts'
import { avalanche, mix1, mix2, mix3, mix4 } from '../key-hash.ts'

/**
 * Hashes of rows, by which states of a table are compared: 128 bits, MurmurHash3_x86_128's rounds over blocks of 16
 * bytes, computed here and not by DuckDB, so that no quirk of an engine hides a difference.
 *
 * The state begins as the first 16 bytes of SHA-256 over the columns' names and types (`seedOf`). Then come the values,
 * columns in the order of their names, each filled up with zeros to whole blocks: 4 bytes of length and the bytes of the
 * value; the length of null is 0xffffffff. Everything is big-endian, the words of a block too:
 *
 *   boolean                 1 byte                       int, date            4 bytes, two's complement
 *   float, double           IEEE 754; every NaN is       long, timestamp(tz)  8 bytes, two's complement
 *                           7fc00000, 7ff8…0; −0 is 0    decimal              16 bytes of the unscaled value
 *   uuid                    16 bytes                     string, binary       UTF-8, the bytes
 *   list                    the values of its elements, each with its length
 *   struct                  the values of its fields, in the order of their names
 *   map                     key and value of each entry, in the order of the keys' bytes
 */

/** Length of null. */
export const NULL_LENGTH = -1

/** Four words of state per row, all of them at the seed. */
export function resetStates(states: Int32Array, rows: number, seed: Int32Array): void {
  for (let at = 0; at < 4 * rows; at += 4) {
    states[at] = seed[0]!
    states[at + 1] = seed[1]!
    states[at + 2] = seed[2]!
    states[at + 3] = seed[3]!
  }
}

/** One block into the state at `at`. Two blocks never lead from one state to the same one. */
export function mixBlock(states: Int32Array, at: number, k1: number, k2: number, k3: number, k4: number): void {
  const h1 = mix1(states[at]!, states[at + 1]!, k1)
  states[at + 1] = mix2(states[at + 1]!, states[at + 2]!, k2)
  states[at + 2] = mix3(states[at + 2]!, states[at + 3]!, k3)
  states[at + 3] = mix4(states[at + 3]!, h1, k4)
  states[at] = h1
}

/** A value that has `length` bytes from `start` on, its length before them. */
export function mixBytes(states: Int32Array, at: number, view: DataView, start: number, length: number): void {
  const end = start + length
  mixBlock(states, at, length, wordAt(view, start, end), wordAt(view, start + 4, end), wordAt(view, start + 8, end))
  for (let next = start + 12; next < end; next += 16)
    mixBlock(
      states,
      at,
      wordAt(view, next, end),
      wordAt(view, next + 4, end),
      wordAt(view, next + 8, end),
      wordAt(view, next + 12, end),
    )
}

/** Ends the hash of each row: its four words are the number that is summed, the most significant first. */
export function finishStates(states: Int32Array, rows: number): void {
  for (let at = 0; at < 4 * rows; at += 4) {
    let h1 = states[at]!
    let h2 = states[at + 1]!
    let h3 = states[at + 2]!
    let h4 = states[at + 3]!
    for (let round = 0; round < 2; round++) {
      h1 = (h1 + h2 + h3 + h4) | 0
      h2 = avalanche((h2 + h1) | 0)
      h3 = avalanche((h3 + h1) | 0)
      h4 = avalanche((h4 + h1) | 0)
      h1 = avalanche(h1)
    }
    h1 = (h1 + h2 + h3 + h4) | 0
    states[at] = h1
    states[at + 1] = (h2 + h1) | 0
    states[at + 2] = (h3 + h1) | 0
    states[at + 3] = (h4 + h1) | 0
  }
}

/** What the hash of a row of these columns begins with; they come in the order of their names. */
export function seedOf(columns: readonly { readonly name: string; readonly type: IcebergType }[]): Int32Array {
  const text = JSON.stringify(columns.map(({ name, type }) => [name, typeName(type)]))
  const digest = createHash('sha256').update(text).digest()
  return Int32Array.from([0, 4, 8, 12], (at) => digest.readInt32BE(at))
}

/** Columns in the order in which they are hashed. */
export function byName<T extends { readonly name: string }>(columns: readonly T[]): T[] {
  return columns.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
}

/** Four bytes, of which those from `end` on are 0. */
function wordAt(view: DataView, at: number, end: number): number {
  if (at + 4 <= end) return view.getInt32(at)
  let word = 0
  for (let k = 0; at + k < end; k++) word |= view.getUint8(at + k) << (24 - 8 * k)
  return word
}

/** Values within a value, written one after the other. */
export class CanonicalBytes {
  bytes = new Uint8Array(1_024)
  end = 0
  view = new DataView(this.bytes.buffer)

  reset(): void {
    this.end = 0
  }

  /** A value whose bytes come next; gives what `close` wants. */
  open(): number {
    this.#reserve(4)
    this.end += 4
    return this.end
  }

  close(opened: number): void {
    this.view.setInt32(opened - 4, this.end - opened)
  }

  null(): void {
    this.word(NULL_LENGTH)
  }

  word(value: number): void {
    this.#reserve(4)
    this.view.setInt32(this.end, value)
    this.end += 4
  }

  byte(value: number): void {
    this.#reserve(1)
    this.bytes[this.end++] = value
  }

  copy(from: Uint8Array, start: number, length: number): void {
    this.#reserve(length)
    this.bytes.set(from.subarray(start, start + length), this.end)
    this.end += length
  }

  #reserve(length: number): void {
    if (this.end + length <= this.bytes.length) return
    const grown = new Uint8Array(2 * (this.end + length))
    grown.set(this.bytes.subarray(0, this.end))
    this.bytes = grown
    this.view = new DataView(grown.buffer)
  }
}
