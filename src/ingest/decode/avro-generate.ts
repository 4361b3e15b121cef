import type { AvroSchema } from '../../avro-schema.ts'
import type { ColumnType } from '../../batch.ts'
import { CELLS_MAX, EMPTY_ITEMS_MAX } from './avro-bytes.ts'
import { cells, emitScalar, LENGTH, VARINT } from './avro-generate-scalar.ts'
import type { AvroRead, RecordRead } from './avro-resolve.ts'
import { MapKeys, type AvroValues } from './avro-values.ts'
import type { ReadRecord } from './compiled-reader.ts'
import { STORE } from './generate.ts'
import { MISFIT } from './json-text.ts'
import type { KeptColumns, PlanNode } from './plan.ts'

/** The generated reader of one schema, for the records of one buffer. */
export type OpenAvro = (bytes: Uint8Array, view: DataView, segment: number) => ReadRecord

/**
 * Writes the reader of a schema's records as JavaScript: one straight line of code in the writer's order, which stores
 * plain values in the builders' arrays and calls `AvroValues` for others. Names appear in it only as numbers. A record
 * that does not fit makes it return false; `AvroBytes` has the reason, and what was stored in the row is to be reset.
 *
 * Variables of the code: b bytes, d their view, seg their segment, p the current place, start and end of the record, n
 * the row, x l h the last number and its halves, e the end of the last text.
 */
export function generateAvro(
  record: RecordRead,
  values: AvroValues,
  kept: KeptColumns,
  unknown: 'extra' | 'ignore' | 'fail',
): OpenAvro {
  const code = new Code(unknown, values.changes !== undefined)
  return code.open(code.record(record, 'n'), values, kept)
}

/** The same of a value that stands alone and fills one column. */
export function generateAvroValue(read: AvroRead, values: AvroValues, kept: KeptColumns): OpenAvro {
  const code = new Code('ignore', values.changes !== undefined)
  return code.open(code.value(read, 'n'), values, kept)
}

/** What the code refers to by number. */
export class Code {
  readonly nodes: PlanNode[] = []
  readonly #numbers = new Map<PlanNode, number>()
  readonly #declarations: string[] = []
  readonly #locals: string[] = []
  readonly #schemas: AvroSchema[] = []
  readonly #keys: Uint8Array[] = []
  readonly #tables: (readonly (string | undefined)[])[] = []
  readonly #unknown: 'extra' | 'ignore' | 'fail'
  /** Whether a text may stand for a value that the record does not carry. */
  readonly mayLack: boolean
  #names = 0

  constructor(unknown: 'extra' | 'ignore' | 'fail', mayLack: boolean) {
    this.#unknown = unknown
    this.mayLack = mayLack
  }

  open(body: string, values: AvroValues, kept: KeptColumns): OpenAvro {
    const source = `'use strict'
const { values, kept, MISFIT, MapKeys, cells, nodes, schemas, keys, tables } = given
const { source } = values, W = source.words
${this.#declarations.join('\n')}
${STORE}
${HELPERS}
function read(b, d, seg, start, end, n) {
  let p = start, x = 0, l = 0, h = 0, e = 0, v = 0
  ${this.#locals.join('\n')}
  ${body}
  if (p !== end) source.broken(p, p > end ? 'the bytes end too early' : 'bytes behind the value')
  return true
}
return (b, d, seg) => {
  source.open(b, d, seg)
  return (start, end, n) => {
    try { return read(b, d, seg, start, end, n) } catch (error) { if (error === MISFIT) return false; throw error }
  }
}`
    const given = { values, kept, MISFIT, MapKeys, cells, nodes: this.nodes, schemas: this.#schemas, keys: this.#keys }
    const make = new Function('given', source) as (given: unknown) => OpenAvro
    return make({ ...given, tables: this.#tables })
  }

  /** The fields one after the other into row `n`, and what the schema lacks. */
  record({ fields, absent }: RecordRead, n: string): string {
    const parts = fields.map((field) => {
      if (field.kind === 'unknown') return this.#unknownField(field.name, field.schema)
      if (!this.#keepsInside(field.read)) return this.value(field.read, n)
      const inside = this.value(field.read, n)
      return `values.enter(keys[${this.#key(field.name)}])\n${inside}\nvalues.leave()`
    })
    const lacking = absent.map((node) => {
      const k = this.node(node)
      return node.isKept ? `kept.add(N${k}, ${n})` : this.setNull(node, n)
    })
    return [...parts, ...lacking].join('\n')
  }

  value(read: AvroRead, n: string): string {
    const { node } = read
    const k = this.node(node)
    switch (read.kind) {
      case 'null':
        return node.isRequired ? `values.missing(N${k}, p)` : this.setNull(node, n)
      case 'misfit':
        return `values.misfit(N${k}, p)`
      case 'union':
        return this.#union(read, n)
      case 'struct': {
        const body = this.record(read.record, n)
        return `${body}\n${this.setValid(node, n)}`
      }
      case 'list':
      case 'map':
        return this.#items(read, n)
      case 'scalar':
        return `${emitScalar(this, read, n)}\n${this.setValid(node, n)}`
    }
  }

  /** The number of a node, with its arrays under names of their own where they stay the same. */
  node(node: PlanNode): number {
    const known = this.#numbers.get(node)
    if (known !== undefined) return known
    const k = this.nodes.push(node) - 1
    this.#numbers.set(node, k)
    this.#declarations.push(`const N${k} = nodes[${k}]`)
    if (!node.builder.isInList)
      this.#declarations.push(
        `const V${k} = N${k}.builder.valid, I${k} = N${k}.builder.i32, U${k} = N${k}.builder.u8, F${k} = N${k}.builder.f32, D${k} = N${k}.builder.f64`,
      )
    return k
  }

  /** An array of a node's builder: those of items are replaced as they grow. */
  array(node: PlanNode, name: 'i32' | 'u8' | 'f32' | 'f64'): string {
    const k = this.node(node)
    if (node.builder.isInList) return `N${k}.builder.${name}`
    return `${{ i32: 'I', u8: 'U', f32: 'F', f64: 'D' }[name]}${k}`
  }

  setNull(node: PlanNode, n: string): string {
    const k = this.node(node)
    if (node.builder.isInList || node.builder.layout !== 'fixed') return `N${k}.builder.setNull(${n})`
    return `V${k}[${n} >> 5] &= ~(1 << (${n} & 31))`
  }

  /** Rows are valid until something else is said of them; items are what the item before them was. */
  setValid(node: PlanNode, n: string): string {
    return node.builder.isInList ? `N${this.node(node)}.builder.setValid(${n})` : ''
  }

  /** A number for a variable that no other part of the code has. */
  name(): number {
    return this.#names++
  }

  /** Texts of an enum's symbols, as `tables[…]`. */
  table(symbols: readonly (string | undefined)[]): number {
    return this.#tables.push(symbols) - 1
  }

  declare(declaration: string): void {
    this.#declarations.push(declaration)
  }

  #key(name: string): number {
    return this.#keys.push(Buffer.from(JSON.stringify(name))) - 1
  }

  #unknownField(name: string, schema: AvroSchema): string {
    if (this.#unknown === 'fail') return 'values.unknown(p)'
    const s = this.#schemas.push(schema) - 1
    if (this.#unknown === 'ignore') return `p = values.pass(schemas[${s}], p, end)`
    return `p = values.keep(keys[${this.#key(name)}], schemas[${s}], p, end)`
  }

  /** Whether fields inside of a value go to `_extra`. */
  #keepsInside(read: AvroRead): boolean {
    if (this.#unknown !== 'extra') return false
    switch (read.kind) {
      case 'union':
        return read.branches.some((branch) => this.#keepsInside(branch))
      case 'struct':
        return read.record.fields.some((field) => field.kind === 'unknown' || this.#keepsInside(field.read))
      case 'list':
      case 'map':
        return this.#keepsInside(read.item)
      default:
        return false
    }
  }

  #union({ branches }: Extract<AvroRead, { readonly kind: 'union' }>, n: string): string {
    const cases = branches.map((branch, k) => `case ${k}: {\n${this.value(branch, n)}\nbreak }`)
    return `${VARINT}
if (h !== l >> 31) l = -1
switch (l) {
${cases.join('\n')}
default: source.broken(p, 'no branch of this number')
}`
  }

  #items(read: Extract<AvroRead, { readonly kind: 'list' | 'map' }>, n: string): string {
    const { node, item, itemBytesMin } = read
    const k = this.node(node)
    const m = this.name()
    const isMap = read.kind === 'map'
    const keeps = this.#keepsInside(item)
    const itemsMax = Math.floor(CELLS_MAX / leavesOf(node.type))
    this.#locals.push(`let t${m} = 0`)
    this.#declarations.push(`const C${m} = N${k}.builder.children[0]`)
    if (isMap) this.#declarations.push(`const K${m} = C${m}.children[0], S${m} = new MapKeys()`)
    const key = isMap
      ? `${LENGTH}
if (high(b, d, p, e)) values.utf8(N${k}, p, e)
if (!S${m}.add(b, p, e)) source.fail('decode.duplicate_key', N${k}.path + ': a key that stands twice', p)
C${m}.setValid(i${m}); K${m}.setText(i${m}, b, seg, p, e); K${m}.setValid(i${m})
${keeps ? 'values.enterKey(p, e)' : ''}
p = e`
      : keeps
        ? `values.enterItem(i${m} - f${m})`
        : ''
    return `const f${m} = C${m}.size
${isMap ? `S${m}.clear()` : ''}
for (;;) {
${VARINT}
let c${m} = l, z${m} = -1
if (h !== l >> 31 || l === -2147483648) source.broken(p, 'a count beyond the end')
if (l < 0) {
c${m} = -l
${LENGTH}
z${m} = e
}
if (c${m} === 0) break
if (c${m} * ${itemBytesMin} > end - p) source.broken(p, 'a count beyond the end')
t${m} += c${m}
if (t${m} > ${itemBytesMin === 0 ? EMPTY_ITEMS_MAX : itemsMax}) values.tooMany(N${k}, p)
for (; c${m} > 0; c${m}--) {
const i${m} = C${m}.add()
${key}
${this.value(item, `i${m}`)}
${keeps ? 'values.leave()' : ''}
}
if (z${m} >= 0 && p !== z${m}) source.broken(p, 'a block of another length')
}
{ const I = ${this.array(node, 'i32')}, at = ${n} << 2; I[at] = f${m}; I[at + 1] = 0; I[at + 2] = C${m}.size - f${m}; I[at + 3] = 0 }
${this.setValid(node, n)}`
  }
}

/** Cells that one value of a type has at most side by side. */
function leavesOf(type: ColumnType): number {
  switch (type.kind) {
    case 'list':
      return leavesOf(type.element)
    case 'map':
      return 1 + leavesOf(type.value)
    case 'struct':
      return type.fields.reduce((sum, field) => sum + leavesOf(field.type), 1)
    default:
      return 1
  }
}

/**
 * number: one whose first byte, before p, has more behind it, into W; where it ends. Up to eight bytes are read without
 * a loop, which is every instant; longer ones, and what is no number, are for \`varint\`.
 * high: whether bytes over 127 stand at [p, e). plain: the same of a text, which is stored on the way. MASKS: per length
 * up to 12 which bits of three words are the text's, as no processor guesses the order of lengths.
 */
const HELPERS = `
const MASKS = Int32Array.from({ length: 52 }, (_, k) => {
  const bytes = (k >> 2) - 4 * (k & 3)
  return bytes >= 4 ? -1 : bytes > 0 ? (1 << (8 * bytes)) - 1 : 0
})
function number(b, p, end) {
  const first = p - 1
  if (first + 8 > end) return source.varint(first, end)
  let l = b[first] & 127, h = 0, x = b[p++]
  l |= (x & 127) << 7
  if (x > 127) { x = b[p++]; l |= (x & 127) << 14
    if (x > 127) { x = b[p++]; l |= (x & 127) << 21
      if (x > 127) { x = b[p++]; l |= x << 28; h = (x & 127) >>> 4
        if (x > 127) { x = b[p++]; h |= (x & 127) << 3
          if (x > 127) { x = b[p++]; h |= (x & 127) << 10
            if (x > 127) { x = b[p++]; h |= (x & 127) << 17
              if (x > 127) return source.varint(first, end) } } } } } }
  x = -(l & 1)
  W[0] = ((l >>> 1) | (h << 31)) ^ x
  W[1] = (h >>> 1) ^ x
  return p
}
function high(b, d, p, e) {
  let m = 0
  for (; p + 4 <= e; p += 4) m |= d.getInt32(p, true)
  for (; p < e; p++) m |= b[p]
  return (m & 0x80808080) !== 0
}
function plain(b, d, I, U, n, p, e, seg) {
  const at = n << 2, length = e - p
  let m = 0
  if (length > 12) {
    m = d.getInt32(p, true)
    I[at] = length; I[at + 1] = m; I[at + 2] = p; I[at + 3] = seg
    for (p += 4; p + 4 <= e; p += 4) m |= d.getInt32(p, true)
    m |= d.getInt32(e - 4, true)
  } else if (p + 12 <= b.length) {
    const k = length << 2
    const x = d.getInt32(p, true) & MASKS[k], y = d.getInt32(p + 4, true) & MASKS[k + 1], z = d.getInt32(p + 8, true) & MASKS[k + 2]
    I[at] = length; I[at + 1] = x; I[at + 2] = y; I[at + 3] = z
    m = x | y | z
  } else {
    text(b, d, I, U, n, p, e, seg)
    m = I[at + 1] | I[at + 2] | I[at + 3]
  }
  return (m & 0x80808080) !== 0
}`
