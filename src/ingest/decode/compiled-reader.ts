import { isUtf8 } from 'node:buffer'
import { RECORD_BYTES_MAX } from './codes.ts'
import { generate } from './generate.ts'
import type { JsonReader } from './json-reader.ts'
import { MISFIT } from './json-text.ts'
import type { Plan, PlanNode } from './plan.ts'
import { parseDate, parseInstant, parseUuid, type Instant } from './text.ts'

/** Reads one record into a row. False: nothing is said about the record, the JsonReader must judge it. */
export type ReadRecord = (start: number, end: number, row: number) => boolean

/** What the generated code calls; see generate.ts. */
export interface Support {
  readonly MISFIT: unknown
  readonly POW: Float64Array
  readonly RECORD_BYTES_MAX: number
  isUtf8(bytes: Uint8Array): boolean
  /** Hands one value over to the JsonReader; gives where it ends, throws MISFIT. */
  hand(node: PlanNode, at: number, row: number, depth: number, start: number, end: number): number
  /** Whether a value that was handed over held bytes over 127. */
  sawHighByte(): boolean
  instant(node: PlanNode, at: number, end: number, row: number): number
  date(node: PlanNode, at: number, end: number, row: number): number
  uuid(node: PlanNode, at: number, end: number, row: number): number
}

/**
 * The generated reader of a plan: a function made for records that are written without white space and with their
 * fields in one order, which is how a producer writes all of its records. Everything else goes the slow way, with the
 * same outcome.
 */
export class CompiledReader {
  readonly #json: JsonReader
  readonly #make: (bytes: Uint8Array, view: DataView, segment: number) => ReadRecord
  #bytes: Uint8Array = new Uint8Array(0)
  #segment = 0

  constructor(plan: Plan, json: JsonReader) {
    this.#json = json
    this.#make = generate(plan, this.#support())
  }

  /** The reader for the records of one buffer. Valid until the next call. */
  open(bytes: Uint8Array, segment: number): ReadRecord {
    this.#bytes = bytes
    this.#segment = segment
    return this.#make(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), segment)
  }

  #support(): Support {
    const instant: Instant = { seconds: 0, micros: 0 }
    const { text, extra } = this.#json
    return {
      MISFIT,
      POW,
      RECORD_BYTES_MAX,
      isUtf8,
      hand: (node, at, row, depth, start, end) => {
        text.open(this.#bytes, this.#segment, start, end)
        extra.begin()
        const until = this.#json.valueAt(node, at, row, depth)
        // Unknown fields inside belong into a text that only the slow way writes.
        if (extra.used > 0) throw MISFIT
        return until
      },
      sawHighByte: () => text.sawHighByte,
      instant: (node, at, end, row) => {
        let until = at + 1
        while (until < end && this.#bytes[until] !== 34) until++
        const zone = node.type.kind === 'timestamp' ? 'optional' : 'required'
        if (until === end || !parseInstant(this.#bytes, at + 1, until, zone, instant)) return -1
        const micros = instant.seconds * 1e6 + instant.micros
        if (micros < 9e15 && micros > -9e15) node.builder.setLong(row, micros)
        else node.builder.i64[row] = BigInt(instant.seconds) * 1_000_000n + BigInt(instant.micros)
        return until + 1
      },
      date: (node, at, end, row) => {
        if (at + 12 > end || this.#bytes[at + 11] !== 34) return -1
        const days = parseDate(this.#bytes, at + 1, at + 11)
        if (Number.isNaN(days)) return -1
        node.builder.i32[row] = days
        return at + 12
      },
      uuid: (node, at, end, row) => {
        if (at + 38 > end || this.#bytes[at + 37] !== 34) return -1
        return parseUuid(this.#bytes, at + 1, at + 37, node.builder.u8, row * 16) ? at + 38 : -1
      },
    }
  }
}

const POW = Float64Array.from({ length: 19 }, (_, k) => 10 ** k)
