import type { Code } from './avro-generate.ts'
import type { AvroRead, BytesTarget, IntegerTarget } from './avro-resolve.ts'
import type { PlanNode } from './plan.ts'

/** A number: its halves in l and h. */
export const VARINT = `x = b[p++]
if (x > 127) { p = number(b, p, end); l = W[0]; h = W[1] } else { l = (x >>> 1) ^ -(x & 1); h = l >> 31 }
if (p > end) source.broken(end, 'the bytes end in a number')`

/** A length, and behind it at p so many bytes, which end at e. */
export const LENGTH = `${VARINT}
if (h !== 0 || l < 0 || l > end - p) source.broken(p, 'a length beyond the end')
e = p + l`

type Scalar = Extract<AvroRead, { readonly kind: 'scalar' }>

/** The code that reads one scalar into row `n`. */
export function emitScalar(code: Code, { node, scalar }: Scalar, n: string): string {
  const k = code.node(node)
  switch (scalar.from) {
    case 'boolean':
      return `x = b[p++]
if (p > end || x > 1) source.broken(p - 1)
${code.array(node, 'u8')}[${n}] = x`
    case 'float':
    case 'double': {
      const size = scalar.from === 'float' ? 4 : 8
      const to = code.array(node, scalar.to === 'float' ? 'f32' : 'f64')
      // Zero has one sign, and NaN one form: readers compare statistics and dictionaries.
      return `if (p + ${size} > end) source.broken(p)
v = d.getFloat${8 * size}(p, true); p += ${size}
${to}[${n}] = v === v ? v + 0 : NaN`
    }
    case 'integer': {
      const is32Bit = scalar.is32Bit ? `\nif (h !== l >> 31) source.broken(p, 'an int of more than 32 bits')` : ''
      return `${VARINT}${is32Bit}\n${fromInteger(code, node, scalar.to, n)}`
    }
    case 'enum':
      return fromEnum(code, node, scalar.symbols, n)
    case 'variable':
      return `p = values.variable(N${k}, p, end, ${n})`
    case 'bytes': {
      const length = scalar.size === undefined ? LENGTH : `e = p + ${scalar.size}\nif (e > end) source.broken(p)`
      const store = fromBytes(code, node, scalar.to, n)
      // The shortest text that stands for a value has 28 bytes.
      const lacking = code.mayLack ? `if (e - p > 27 && values.isLacking(N${k}, p, e, ${n})) p = e; else ` : ''
      return `${length}\n${lacking}{\n${store}\np = e\n}`
    }
  }
}

function fromInteger(code: Code, node: PlanNode, to: IntegerTarget, n: string): string {
  const k = code.node(node)
  const i32 = code.array(node, 'i32')
  switch (to.kind) {
    case 'int':
      return `if (h !== l >> 31) values.range(N${k}, p)\n${i32}[${n}] = l`
    case 'date':
      return `if (h !== l >> 31 || l > ${DAYS_MAX} || l < -${DAYS_MAX}) values.range(N${k}, p)\n${i32}[${n}] = l`
    case 'long': {
      const top = node.limit === undefined ? undefined : Number(node.limit >> 32n)
      const limit = top === undefined ? '' : `if (h >= ${top} || h <= -${top}) values.limit(N${k}, l, h, p)\n`
      return `${limit}${i32}[2 * ${n}] = l; ${i32}[2 * ${n} + 1] = h`
    }
    case 'float':
      return `v = ${DOUBLE(k)}
if (Math.fround(v) !== v) values.range(N${k}, p)
${code.array(node, 'f32')}[${n}] = v`
    case 'double':
      return `${code.array(node, 'f64')}[${n}] = ${DOUBLE(k)}`
    case 'decimal':
      return `values.decimal(N${k}, l, h, ${n}, p)`
    case 'instant': {
      // Divided by a thousand, rounded toward −∞, half by half: what the upper one leaves goes to the lower one.
      if (to.unit === 'ns')
        return `v = Math.floor(h / 1000)
${i32}[2 * ${n} + 1] = v; ${i32}[2 * ${n}] = Math.floor(((h - 1000 * v) * 4294967296 + (l >>> 0)) / 1000)`
      const factor = { s: 1e6, ms: 1e3, us: 1 }[to.unit]
      const slow = `values.instant(N${k}, l, h, '${to.unit}', ${n}, p)`
      return `v = h * 4294967296 + (l >>> 0)
if (v <= ${9e15 / factor} && v >= -${9e15 / factor}) long(${i32}, 2 * ${n}, v * ${factor}); else ${slow}`
    }
  }
}

/** That of a JavaScript date: what lies beyond stands for infinity. */
const DAYS_MAX = 100_000_000

/** The last number as a double, which must hold it exactly. */
const DOUBLE = (k: number): string =>
  `h < 2097152 && h >= -2097152 ? h * 4294967296 + (l >>> 0) : values.whole(N${k}, l, h, p)`

function fromBytes(code: Code, node: PlanNode, to: BytesTarget, n: string): string {
  const k = code.node(node)
  const isText = to.kind === 'string' || to.kind === 'enum'
  const store = `text(b, d, ${code.array(node, 'i32')}, ${code.array(node, 'u8')}, ${n}, p, e, seg)`
  switch (to.kind) {
    case 'string':
    case 'enum':
    case 'binary': {
      if (to.kind === 'string')
        return `if (plain(b, d, ${code.array(node, 'i32')}, ${code.array(node, 'u8')}, ${n}, p, e, seg)) values.utf8(N${k}, p, e)`
      const check = isText ? `if (high(b, d, p, e)) values.utf8(N${k}, p, e)\n` : ''
      const symbol = to.kind === 'enum' ? `values.symbolText(N${k}, p, e)\n` : ''
      return `${check}${symbol}${store}`
    }
    case 'uuid':
      return `values.uuidText(N${k}, p, e, ${n})`
    case 'uuid-bytes':
      return `values.uuidBytes(N${k}, p, ${n})`
    case 'date':
      return `values.dateText(N${k}, p, e, ${n})`
    case 'instant':
      return `values.instantText(N${k}, p, e, ${n})`
    case 'json':
      return `values.json(N${k}, p, e, ${n})`
    case 'unscaled':
      return `values.unscaled(N${k}, p, e, ${to.scale}, ${n})`
  }
}

/** Symbols lie in a table as cells that are copied; those that are longer than a cell are texts of their own. */
function fromEnum(code: Code, node: PlanNode, symbols: readonly (string | undefined)[], n: string): string {
  const k = code.node(node)
  const t = code.table(symbols)
  const i32 = code.array(node, 'i32')
  code.declare(`const T${t} = cells(tables[${t}])`)
  return `${VARINT}
if (h !== 0 || l < 0 || l >= ${symbols.length}) source.broken(p, 'no symbol of this number')
e = l << 2
if (T${t}[e] < 0) values.noSymbol(N${k}, p)
if (T${t}[e] > 12) values.symbol(N${k}, tables[${t}][l], ${n})
else { const I = ${i32}, at = ${n} << 2; I[at] = T${t}[e]; I[at + 1] = T${t}[e + 1]; I[at + 2] = T${t}[e + 2]; I[at + 3] = T${t}[e + 3] }`
}

/** Cells of 16 bytes: a length, −1 where there is no text, and up to 12 bytes. */
export function cells(symbols: readonly (string | undefined)[]): Int32Array {
  const words = new Int32Array(4 * symbols.length)
  const bytes = Buffer.from(words.buffer)
  for (const [k, symbol] of symbols.entries()) {
    const text = Buffer.from(symbol ?? '')
    words[4 * k] = symbol === undefined ? -1 : text.length
    if (text.length <= 12) text.copy(bytes, 16 * k + 4)
  }
  return words
}
