import type { ReadRecord, Support } from './compiled-reader.ts'
import type { FieldNames, Plan, PlanNode } from './plan.ts'
import type { Shape } from './shape.ts'

/**
 * Writes the reader of a plan, for records of one shape, as JavaScript: one straight line of code that compares the expected keys four bytes at a
 * time, reads plain values in place and stores them in the builders' arrays. Names appear in it only as numbers.
 * A value that it cannot read at a glance goes to `hand`; a record of another shape makes it return false, with
 * whatever was stored in the row to be overwritten.
 *
 * Variables of the code: b bytes, d their view, seg their segment, p the current place, start and end of the record,
 * n the row, h whether a string had bytes over 127.
 */
export function generate(
  plan: Plan,
  shape: Shape,
  support: Support,
): (bytes: Uint8Array, view: DataView, segment: number) => ReadRecord {
  const code = new Code(shape)
  const body = code.object(plan.root, plan.fields, 1)
  const hasUnknown = shape.order.get(plan.fields)!.some((key) => typeof key === 'string')
  const source = `'use strict'
const { MISFIT, POW, kept, RECORD_BYTES_MAX, isUtf8, hand, pass, beginExtra, finishExtra, sawHighByte, instant, date, uuid } = support
${code.declarations.join('\n')}
${HELPERS}
function read(b, d, seg, start, end, n) {
  let p = start, h = 0
  if (end - start > RECORD_BYTES_MAX || b[p] !== 123) return false
  ${hasUnknown ? 'beginExtra()' : ''}
  ${body}
  while (p < end && (b[p] === 32 || b[p] === 10 || b[p] === 13 || b[p] === 9)) p++
  if (p !== end || (h !== 0 && !isUtf8(b.subarray(start, end)))) return false
  ${hasUnknown ? 'finishExtra()' : ''}
  return true
}
return (b, d, seg) => (start, end, n) => {
  try { return read(b, d, seg, start, end, n) } catch (error) { if (error === MISFIT) return false; throw error }
}`
  const make = new Function('support', 'nodes', source) as (
    support: Support,
    nodes: readonly PlanNode[],
  ) => (bytes: Uint8Array, view: DataView, segment: number) => ReadRecord
  return make(support, code.nodes)
}

class Code {
  readonly nodes: PlanNode[] = []
  readonly declarations: string[] = []
  readonly #shape: Shape

  constructor(shape: Shape) {
    this.#shape = shape
  }

  /** From the opening brace, at p, to behind the closing one. Between fields p is at what stands before the key. */
  object(nodes: readonly PlanNode[], names: FieldNames, depth: number): string {
    const fields = this.#shape.order
      .get(names)!
      .map((key) => (typeof key === 'string' ? this.#unknown(key) : this.#field(nodes[key]!, depth)))
    return `${fields.join('\n')}
if (b[p] !== 125) return false
p++`
  }

  #field(node: PlanNode, depth: number): string {
    const k = this.#declare(node)
    const key = match(Buffer.from(`${JSON.stringify(node.name)}:${this.#shape.colon}`))
    const absent = node.isKept ? `kept.add(N${k}, n)` : node.isRequired ? 'return false' : this.#setNull(node)
    return `if (b[p] !== 125 && p + ${key.length + 1} <= end && ${key.condition}) {
p += ${key.length + 1}
${this.#value(node, k, depth)}
${this.#behindValue()}
} else { ${absent} }`
  }

  /** A field that no column has. `h`: its strings may hold what is no UTF-8. */
  #unknown(rawKey: string): string {
    const raw = Buffer.from(rawKey, 'latin1')
    const key = match(Buffer.concat([raw, Buffer.from(`:${this.#shape.colon}`)]))
    return `if (b[p] !== 125 && p + ${key.length + 1} <= end && ${key.condition}) {
p = pass(p + 1, p + ${raw.length + 1}, p + ${key.length + 1}, start, end)
if (sawHighByte()) h = 1
${this.#behindValue()}
}`
  }

  #behindValue(): string {
    const blank = this.#shape.comma === '' ? '' : 'if (b[p] === 44 && b[p + 1] === 32) p++; else '
    return `${blank}if (b[p] !== 44 && b[p] !== 125) return false`
  }

  /** The arrays of a node's builder under names of their own; the node's number. */
  #declare(node: PlanNode): number {
    const k = this.nodes.push(node) - 1
    const { builder } = node
    this.declarations.push(`const N${k} = nodes[${k}], V${k} = N${k}.builder.valid`)
    if (builder.layout === 'fixed' || builder.layout === 'text')
      this.declarations.push(
        `const I${k} = N${k}.builder.i32, U${k} = N${k}.builder.u8, F${k} = N${k}.builder.f32, D${k} = N${k}.builder.f64, H${k} = N${k}.builder.i16`,
      )
    return k
  }

  #setNull(node: PlanNode): string {
    const k = this.nodes.indexOf(node)
    if (node.builder.layout === 'fixed') return `V${k}[n >> 5] &= ~(1 << (n & 31))`
    return `N${k}.builder.setNull(n)`
  }

  #value(node: PlanNode, k: number, depth: number): string {
    const hand = `{ p = hand(N${k}, p, n, ${depth}, start, end); if (sawHighByte()) h = 1 }`
    const isNull = node.isRequired
      ? ''
      : `if (b[p] === 110 && p + 4 <= end && d.getInt32(p, true) === 0x6c6c756e) { ${this.#setNull(node)}; p += 4 } else `
    const { type } = node
    switch (type.kind) {
      case 'string':
        return `if (b[p] === 34) {
let e = scan(b, d, p + 1, end)
if (e < -1) { h = 1; e = -2 - e }
if (e < 0) ${hand} else { text(b, d, I${k}, U${k}, n, p + 1, e, seg); p = e + 1 }
} else ${isNull}${hand}`
      case 'enum': {
        const symbols = type.symbols.map((symbol) => match(Buffer.from(JSON.stringify(symbol)), 0))
        const isOne = symbols.map((s) => `(p + ${s.length} <= end && ${s.condition} && (e = p + ${s.length - 1}) > 0)`)
        return `{ let e = 0
if (b[p] === 34 && (${isOne.join(' || ') || 'false'})) { text(b, d, I${k}, U${k}, n, p + 1, e, seg); p = e + 1 }
else ${isNull}${hand} }`
      }
      case 'double':
      case 'float': {
        const array = type.kind === 'float' ? `F${k}` : `D${k}`
        return `{ ${DECIMAL_DIGITS}
if (ok) { if (r > 0) v /= POW[r]; ${array}[n] = g ? 0 - v : v; p = q }
else ${isNull}${hand} }`
      }
      case 'int':
        return `{ ${DECIMAL_DIGITS}
if (ok && r === 0 && v <= 2147483647) { I${k}[n] = g ? -v : v; p = q } else ${isNull}${hand} }`
      case 'long': {
        const limit = node.limit === undefined || node.limit > 1_000_000_000_000_000n ? '' : ` && v <= ${node.limit}`
        return `{ ${DECIMAL_DIGITS}
if (ok && r === 0${limit}) { long(I${k}, 2 * n, g ? 0 - v : v); p = q } else ${isNull}${hand} }`
      }
      case 'decimal': {
        const fits = `ok && r <= ${type.scale} && (v *= POW[${type.scale} - r]) < ${Math.min(10 ** type.precision, 9e15)}`
        const store =
          type.precision <= 4
            ? `H${k}[n] = g ? -v : v`
            : type.precision <= 9
              ? `I${k}[n] = g ? -v : v`
              : type.precision <= 18
                ? `long(I${k}, 2 * n, g ? 0 - v : v)`
                : `long(I${k}, 4 * n, g ? 0 - v : v); I${k}[4 * n + 2] = I${k}[4 * n + 3] = g && v > 0 ? -1 : 0`
        if (type.scale > 18) return `${isNull}${hand}`
        return `{ ${DECIMAL_DIGITS}
if (${fits}) { ${store}; p = q } else ${isNull}${hand} }`
      }
      case 'boolean':
        return `if (b[p] === 116 && p + 4 <= end && d.getInt32(p, true) === 0x65757274) { U${k}[n] = 1; p += 4 }
else if (b[p] === 102 && p + 5 <= end && d.getInt32(p + 1, true) === 0x65736c61) { U${k}[n] = 0; p += 5 }
else ${isNull}${hand}`
      case 'timestamp':
      case 'timestamptz': {
        const text = `{ const e = instant(N${k}, p, end, n); if (e < 0) ${hand} else p = e }`
        if (type.unit === undefined) return `if (b[p] === 34) ${text} else ${isNull}${hand}`
        const factor = { s: 1e6, ms: 1e3, us: 1 }[type.unit]
        return `{ ${DECIMAL_DIGITS}
if (ok && r === 0 && v <= ${9e15 / factor}) { v *= ${factor}; long(I${k}, 2 * n, g ? 0 - v : v); p = q }
else if (b[p] === 34) ${text} else ${isNull}${hand} }`
      }
      case 'date':
      case 'uuid':
        return `if (b[p] === 34) { const e = ${type.kind}(N${k}, p, end, n); if (e < 0) ${hand} else p = e } else ${isNull}${hand}`
      case 'struct':
        return `if (b[p] === 123) {
${this.object(node.children, node.fields!, depth + 1)}
} else ${isNull}${hand}`
      default:
        return `${isNull}${hand}`
    }
  }
}

/** A plain number of at most 15 digits from p: its digits in v, how many of them stand behind the point in r, its end in q. */
const DECIMAL_DIGITS = `let q = p, c = b[q], v = 0, r = 0, g = false
if (c === 45) { g = true; c = b[++q] }
const f = q
while (c >= 48 && c <= 57) { v = v * 10 + (c - 48); c = b[++q] }
let k = q - f, ok = k > 0 && (k === 1 || b[f] !== 48)
if (c === 46) { c = b[++q]; const s = q; while (c >= 48 && c <= 57) { v = v * 10 + (c - 48); c = b[++q] } r = q - s; k += r; ok = ok && r > 0 }
ok = ok && k <= 15 && c !== 101 && c !== 69`

/** text: a text at [p, e) into its cell. long: a whole number that a double holds into two words. */
export const STORE = `
function text(b, d, I, U, n, p, e, seg) {
  const at = n << 2, length = e - p
  I[at] = length
  if (length > 12) {
    I[at + 1] = d.getInt32(p, true); I[at + 2] = p; I[at + 3] = seg
  } else if (p + 12 <= b.length) {
    const bits = length << 3
    I[at + 1] = length >= 4 ? d.getInt32(p, true) : d.getInt32(p, true) & ((1 << bits) - 1)
    I[at + 2] = length >= 8 ? d.getInt32(p + 4, true) : length > 4 ? d.getInt32(p + 4, true) & ((1 << (bits - 32)) - 1) : 0
    I[at + 3] = length >= 12 ? d.getInt32(p + 8, true) : length > 8 ? d.getInt32(p + 8, true) & ((1 << (bits - 64)) - 1) : 0
  } else {
    I[at + 1] = 0; I[at + 2] = 0; I[at + 3] = 0
    for (let k = 0; k < length; k++) U[at * 4 + 4 + k] = b[p + k]
  }
}
function long(I, at, v) {
  const high = Math.floor(v * 2.3283064365386963e-10)
  I[at] = v - high * 4294967296
  I[at + 1] = high
}`

/**
 * scan: from behind an opening quote to the closing one; −1 when there is an escape, a control character or the end;
 * −2 − e when the string ends at e and has bytes over 127. Four bytes at a time: a byte that is a quote, a backslash or
 * below 32 sets its highest bit in the mask; a false hit only makes it look at the bytes.
 */
const HELPERS = `
function scan(b, d, p, end) {
  let high = 0
  while (p + 4 <= end) {
    const x = d.getInt32(p, true), q = x ^ 0x22222222, s = x ^ 0x5c5c5c5c
    if (((((q - 0x01010101) & ~q) | ((s - 0x01010101) & ~s) | ((x - 0x20202020) & ~x)) & 0x80808080) !== 0) break
    high |= x
    p += 4
  }
  for (; p < end; p++) {
    const c = b[p]
    if (c === 34) return ((high & 0x80808080) === 0) ? p : -2 - p
    if (c === 92 || c < 32) return -1
    high |= c
  }
  return -1
}
${STORE}`

/** Whether these bytes stand at p + skip, four at a time. */
function match(bytes: Buffer, skip = 1): { readonly condition: string; readonly length: number } {
  const parts: string[] = []
  let k = 0
  for (; k + 4 <= bytes.length; k += 4) parts.push(`d.getInt32(p + ${k + skip}, true) === ${bytes.readInt32LE(k)}`)
  for (; k < bytes.length; k++) parts.push(`b[p + ${k + skip}] === ${bytes[k]}`)
  return { condition: parts.join(' && '), length: bytes.length }
}
