import { isUtf8 } from 'node:buffer'
import { RECORD_BYTES_MAX } from './codes.ts'
import { generate } from './generate.ts'
import type { JsonReader } from './json-reader.ts'
import { MISFIT } from './json-text.ts'
import type { KeptColumns, Plan, PlanNode } from './plan.ts'
import { declaredShape, lastShape, shapeText, type Shape } from './shape.ts'
import { parseDate, parseInstant, parseUuid, type Instant } from './text.ts'

/** Reads one record into a row. False: nothing is said about the record, the JsonReader must judge it. */
export type ReadRecord = (start: number, end: number, row: number) => boolean

/** What the generated code calls; see generate.ts. */
export interface Support {
  readonly MISFIT: unknown
  readonly POW: Float64Array
  readonly kept: KeptColumns
  readonly RECORD_BYTES_MAX: number
  isUtf8(bytes: Uint8Array): boolean
  /** Hands one value over to the JsonReader; gives where it ends, throws MISFIT. */
  hand(node: PlanNode, at: number, row: number, depth: number, start: number, end: number): number
  /** Passes over a value that no column has; keeps the field for `_extra` when the table has that. */
  pass(keyAt: number, keyEnd: number, at: number, start: number, end: number): number
  beginExtra(): void
  finishExtra(): void
  /** Whether a value that was handed over held bytes over 127. */
  sawHighByte(): boolean
  instant(node: PlanNode, at: number, end: number, row: number): number
  date(node: PlanNode, at: number, end: number, row: number): number
  uuid(node: PlanNode, at: number, end: number, row: number): number
}

/** The slow way is looked at after so many records that took it, and then explains at least one in `SLOW_SHARE`. */
const SLOW_MIN = 32
const SLOW_SHARE = 4
/** A producer that changes its mind more often is read the slow way. */
const SHAPES_MAX = 8

/**
 * The generated reader of a plan: a function made for records of one shape, which is how a producer writes all of its
 * records. Everything else goes the slow way, with the same outcome; when much does, the function is made anew for the
 * shape of what came last.
 */
export class CompiledReader {
  readonly #plan: Plan
  readonly #json: JsonReader
  readonly #support: Support
  #make: (bytes: Uint8Array, view: DataView, segment: number) => ReadRecord
  #shape: Shape
  #shapes = 1
  #records = 0
  #slow = 0
  #bytes: Uint8Array = new Uint8Array(0)
  #segment = 0

  constructor(plan: Plan, json: JsonReader) {
    this.#plan = plan
    this.#json = json
    this.#support = this.#makeSupport()
    this.#shape = declaredShape(plan)
    this.#make = generate(plan, this.#shape, this.#support)
  }

  /** The reader for the records of one buffer. Valid until the next call. */
  open(bytes: Uint8Array, segment: number): ReadRecord {
    this.#bytes = bytes
    this.#segment = segment
    return this.#make(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), segment)
  }

  /** So many records were read that no call of `learn` tells of. */
  passed(records: number): void {
    this.#records += records
  }

  /**
   * The last of so many records was read by the JsonReader, and is a row: the shape of a record that does not fit is
   * never learnt. True when there is a new reader to open.
   */
  learn(records: number): boolean {
    this.#records += records
    this.#slow++
    if (this.#slow < SLOW_MIN || this.#shapes === SHAPES_MAX) return false
    const isWorth = this.#slow * SLOW_SHARE >= this.#records
    this.#records = 0
    this.#slow = 0
    const shape = lastShape(this.#plan, this.#json.blanks)
    if (!isWorth || shapeText(shape) === shapeText(this.#shape)) return false
    this.#shapes++
    this.#shape = shape
    this.#make = generate(this.#plan, shape, this.#support)
    return true
  }

  #makeSupport(): Support {
    const instant: Instant = { seconds: 0, micros: 0 }
    const { text, extra } = this.#json
    return {
      MISFIT,
      POW,
      kept: this.#plan.kept,
      RECORD_BYTES_MAX,
      isUtf8,
      hand: (node, at, row, depth, start, end) => {
        text.open(this.#bytes, this.#segment, start, end)
        const { met } = extra
        const until = this.#json.valueAt(node, at, row, depth)
        // Unknown fields inside belong into a text that only the slow way writes.
        if (extra.met !== met) throw MISFIT
        return until
      },
      pass: (keyAt, keyEnd, at, start, end) => {
        text.open(this.#bytes, this.#segment, start, end)
        text.at = at
        text.depth = 1
        text.skip()
        if (this.#json.keepsExtra) extra.add(this.#bytes.subarray(keyAt, keyEnd), this.#bytes.subarray(at, text.at))
        return text.at
      },
      beginExtra: () => extra.begin(),
      finishExtra: () => {
        if (this.#json.keepsExtra) this.#json.extraStart = extra.finish(text.own)
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
