import type { Column, ColumnType } from '../../../src/batch.ts'

/**
 * The rules of the JSON reader once more, slow and plain: a text becomes a tree, the tree is held against the columns.
 * Values come out in one comparable form: strings, and arrays and pairs of them; null is null.
 */
export type Plain = null | string | readonly Plain[]

export type Verdict =
  | { readonly kind: 'row'; readonly values: readonly Plain[]; readonly extra: string | null }
  | { readonly kind: 'dead'; readonly code: string }

export function judge(bytes: Uint8Array, columns: readonly Column[], unknown: 'extra' | 'ignore' | 'fail'): Verdict {
  try {
    if (bytes.length > 16 * 1024 * 1024) throw new Misfit('too_large')
    const text = textOf(bytes)
    const parser = new Parser(text)
    let tree: Tree | Misfit
    try {
      tree = parser.whole()
    } catch (error) {
      tree = error as Misfit
    }
    checkAgainstNative(text, tree)
    if (tree instanceof Misfit) throw tree
    if (tree.kind !== 'object') throw new Misfit('type')
    const extra = new Map<string, unknown>()
    const values = struct(tree, columns, unknown, extra)
    return { kind: 'row', values, extra: unknown === 'extra' && extra.size > 0 ? extraText(extra) : null }
  } catch (error) {
    if (error instanceof Misfit) return { kind: 'dead', code: `decode.${error.code}` }
    throw error
  }
}

class Misfit {
  readonly code: string
  constructor(code: string) {
    this.code = code
  }
}

type Tree =
  | { readonly kind: 'null' | 'true' | 'false' }
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly Tree[] }
  | { readonly kind: 'object'; readonly fields: readonly Field[] }

interface Field {
  readonly key: string
  readonly rawKey: string
  readonly value: Tree
  readonly rawValue: string
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new Misfit('utf8')
  }
}

/** JSON.parse must refuse exactly what we call no JSON; where we stop earlier for another fault it may do either. */
function checkAgainstNative(text: string, tree: Tree | Misfit): void {
  let isJson = true
  try {
    JSON.parse(text)
  } catch {
    isJson = false
  }
  const ours = tree instanceof Misfit ? (tree.code === 'json' ? false : undefined) : true
  if (ours !== undefined && ours !== isJson) throw new Error(`the reference parser disagrees with JSON.parse: ${text}`)
}

class Parser {
  #at = 0
  readonly #text: string
  constructor(text: string) {
    this.#text = text
  }

  whole(): Tree {
    const tree = this.#value(0)
    this.#space()
    if (this.#at < this.#text.length) throw new Misfit('json')
    return tree
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found !== undefined) this.#at += found.length
    return found
  }

  #space(): void {
    this.#take(/[ \t\n\r]*/y)
  }

  #mark(mark: string): boolean {
    this.#space()
    if (this.#text[this.#at] !== mark) return false
    this.#at++
    return true
  }

  #value(depth: number): Tree {
    this.#space()
    const word = this.#take(/null|true|false/y)
    if (word !== undefined) return { kind: word as 'null' }
    const number = this.#take(/-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y)
    if (number !== undefined) return { kind: 'number', text: number }
    if (this.#text[this.#at] === '"') return { kind: 'string', value: this.#string() }
    if (this.#text[this.#at] !== '[' && this.#text[this.#at] !== '{') throw new Misfit('json')
    if (depth === 100) throw new Misfit('depth')
    return this.#text[this.#at] === '[' ? this.#array(depth + 1) : this.#object(depth + 1)
  }

  #string(): string {
    const begin = this.#at++
    for (;;) {
      this.#take(/[ !#-[\]-\u{10ffff}]*/uy)
      if (this.#text[this.#at] === '"') break
      const escape = this.#take(/\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y)
      if (escape === undefined) throw new Misfit('json')
      if (/^\\u[dD][89abAB]/.test(escape)) {
        const next = this.#text.slice(this.#at)
        if (/^\\u(?![0-9a-fA-F]{4})/.test(next)) throw new Misfit('json')
        if (this.#take(/\\u[dD][c-fC-F][0-9a-fA-F]{2}/y) === undefined) throw new Misfit('utf8')
      } else if (/^\\u[dD][c-fC-F]/.test(escape)) throw new Misfit('utf8')
    }
    this.#at++
    return JSON.parse(this.#text.slice(begin, this.#at)) as string
  }

  #array(depth: number): Tree {
    this.#at++
    const items: Tree[] = []
    if (this.#mark(']')) return { kind: 'array', items }
    do items.push(this.#value(depth))
    while (this.#mark(','))
    if (!this.#mark(']')) throw new Misfit('json')
    return { kind: 'array', items }
  }

  #object(depth: number): Tree {
    this.#at++
    const fields: Field[] = []
    const keys = new Set<string>()
    if (this.#mark('}')) return { kind: 'object', fields }
    do {
      this.#space()
      if (this.#text[this.#at] !== '"') throw new Misfit('json')
      const keyAt = this.#at
      const key = this.#string()
      const rawKey = this.#text.slice(keyAt, this.#at)
      if (keys.has(key)) throw new Misfit('duplicate_key')
      keys.add(key)
      if (!this.#mark(':')) throw new Misfit('json')
      this.#space()
      const valueAt = this.#at
      const value = this.#value(depth)
      fields.push({ key, rawKey, value, rawValue: this.#text.slice(valueAt, this.#at) })
    } while (this.#mark(','))
    if (!this.#mark('}')) throw new Misfit('json')
    return { kind: 'object', fields }
  }
}

function struct(
  tree: Extract<Tree, { kind: 'object' }>,
  columns: readonly Column[],
  unknown: 'extra' | 'ignore' | 'fail',
  extra: Map<string, unknown>,
): Plain[] {
  const values: (Plain | undefined)[] = columns.map(() => undefined)
  for (const field of tree.fields) {
    const k = columns.findIndex(({ name }) => name === field.key)
    if (k >= 0) values[k] = inner(field.value, columns[k]!, unknown, extra, field.rawKey)
    else if (unknown === 'fail') throw new Misfit('unknown_field')
    else extra.set(field.rawKey, field.rawValue)
  }
  return columns.map((column, k) => {
    const value = values[k]
    if (value === undefined && column.required === true) throw new Misfit('required')
    return value ?? null
  })
}

function inner(
  tree: Tree,
  { type, required }: Pick<Column, 'type' | 'required'>,
  unknown: 'extra' | 'ignore' | 'fail',
  extra: Map<string, unknown>,
  rawKey: string,
): Plain {
  if (tree.kind === 'null') {
    if (required === true) throw new Misfit('required')
    return null
  }
  const below = new Map<string, unknown>()
  const value = plain(tree, type, unknown, below)
  if (below.size > 0) extra.set(rawKey, below)
  return value
}

function plain(tree: Tree, type: ColumnType, unknown: 'extra' | 'ignore' | 'fail', extra: Map<string, unknown>): Plain {
  if (type.kind === 'struct') {
    if (tree.kind !== 'object') throw new Misfit('type')
    return struct(tree, type.fields, unknown, extra)
  }
  if (type.kind === 'list') {
    if (tree.kind !== 'array') throw new Misfit('type')
    return tree.items.map((item, k) => inner(item, { type: type.element }, unknown, extra, `"${k}"`))
  }
  if (type.kind === 'map') {
    if (tree.kind !== 'object') throw new Misfit('type')
    return tree.fields.map((f) => [f.key, inner(f.value, { type: type.value }, unknown, extra, f.rawKey)])
  }
  return scalar(tree, type)
}

function extraText(extra: ReadonlyMap<string, unknown>): string {
  const fields = [...extra].map(([key, value]) => `${key}:${value instanceof Map ? extraText(value) : String(value)}`)
  return `{${fields.join(',')}}`
}

/** Numerator and denominator: exact, whatever the exponent. */
function fraction(text: string): { readonly n: bigint; readonly d: bigint } | 'huge' {
  const [, sign, whole, part = '', power = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)!
  const n = BigInt(`${whole}${part}`) * (sign === '-' ? -1n : 1n)
  const exponent = Number(power) - part.length
  if (n === 0n) return { n: 0n, d: 1n }
  if (Math.abs(exponent) > 2_000) return exponent > 0 ? 'huge' : { n: n < 0n ? -1n : 1n, d: 10n ** 2_000n }
  return exponent >= 0 ? { n: n * 10n ** BigInt(exponent), d: 1n } : { n, d: 10n ** BigInt(-exponent) }
}

function scalar(tree: Tree, type: ColumnType): Plain {
  const isNumber = tree.kind === 'number'
  switch (type.kind) {
    case 'boolean':
      if (tree.kind !== 'true' && tree.kind !== 'false') throw new Misfit('type')
      return tree.kind
    case 'int':
    case 'long': {
      if (!isNumber) throw new Misfit('type')
      const value = fraction(tree.text)
      if (value === 'huge') throw new Misfit('range')
      if (value.n % value.d !== 0n) throw new Misfit('type')
      const bits = type.kind === 'int' ? 32 : 64
      if (BigInt.asIntN(bits, value.n / value.d) !== value.n / value.d) throw new Misfit('range')
      return String(value.n / value.d)
    }
    case 'float':
    case 'double': {
      if (!isNumber) throw new Misfit('type')
      const value = type.kind === 'float' ? Math.fround(Number(tree.text)) : Number(tree.text)
      if (!Number.isFinite(value)) throw new Misfit('range')
      return String(value)
    }
    case 'decimal': {
      const text = tree.kind === 'number' ? tree.text : tree.kind === 'string' ? tree.value : undefined
      if (text === undefined || !/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) throw new Misfit('type')
      const value = fraction(text)
      if (value === 'huge') throw new Misfit('range')
      const unscaled = value.n * 10n ** BigInt(type.scale)
      const limit = 10n ** BigInt(type.precision)
      if (unscaled % value.d !== 0n || unscaled / value.d >= limit || unscaled / value.d <= -limit)
        throw new Misfit('range')
      return String(unscaled / value.d)
    }
    case 'timestamp':
    case 'timestamptz': {
      if (isNumber) return micros(tree.text, type.unit)
      if (tree.kind !== 'string') throw new Misfit('type')
      return rfc3339(tree.value, type.kind === 'timestamp')
    }
    default:
      if (tree.kind !== 'string') throw new Misfit('type')
      return fromText(tree.value, type)
  }
}

function micros(text: string, unit: 's' | 'ms' | 'us' | undefined): string {
  if (unit === undefined) throw new Misfit('type')
  const value = fraction(text)
  if (value === 'huge') throw new Misfit('range')
  const n = value.n * { s: 1_000_000n, ms: 1_000n, us: 1n }[unit]
  const floor = n / value.d - (n < 0n && n % value.d !== 0n ? 1n : 0n)
  if (floor > 8_640_000_000_000_000_000n || floor < -8_640_000_000_000_000_000n) throw new Misfit('range')
  return String(floor)
}

function rfc3339(text: string, zoneIsOptional: boolean): string {
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?$/.exec(text)
  if (match === null || (match[6] === undefined && !zoneIsOptional)) throw new Misfit('type')
  const [, date, hour, minute, second, part = '', zone = 'Z'] = match
  const offset = /[Zz]/.test(zone) ? [0, 0] : [Number(zone.slice(1, 3)), Number(zone.slice(4))]
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59 || offset[0]! > 23 || offset[1]! > 59)
    throw new Misfit('type')
  const sign = zone.startsWith('-') ? -1 : 1
  const seconds =
    Number(hour) * 3600 + Number(minute) * 60 + Number(second) - sign * (offset[0]! * 3600 + offset[1]! * 60)
  return String(BigInt(days(date!) * 86_400 + seconds) * 1_000_000n + BigInt(part.slice(0, 6).padEnd(6, '0')))
}

function days(text: string): number {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) throw new Misfit('type')
  const ms = Date.parse(`${text}T00:00:00Z`)
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== text) throw new Misfit('type')
  return ms / 86_400_000
}

function fromText(text: string, type: ColumnType): Plain {
  switch (type.kind) {
    case 'string':
      return text
    case 'enum':
      if (!type.symbols.includes(text)) throw new Misfit('range')
      return text
    case 'binary': {
      const bytes = Buffer.from(text, 'base64')
      if (bytes.toString('base64') !== text) throw new Misfit('type')
      return bytes.toString('hex')
    }
    case 'date':
      return String(days(text))
    case 'uuid':
      if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text)) throw new Misfit('type')
      return text.toLowerCase()
    default:
      throw new Misfit('type')
  }
}
