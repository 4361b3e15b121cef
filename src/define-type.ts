import { columnText, typeText, type Column, type ColumnType, type TimeUnit } from './batch.ts'
import { didYouMean, problem } from './define-fields.ts'
import type { Expression } from './define-expression.ts'
import type { InstantOf, ValueOf, ValuesByKind } from './define-row.ts'
import { expressionProblem } from './define-sql-tokens.ts'
import type { LakeError } from './error.ts'

type Kind = ColumnType['kind']

declare const value: unique symbol

/** A column's type as `t.string()` makes it, and how the column comes about. `V`: what its values are in a program. */
export interface TypeSpec<K extends Kind = Kind, V = unknown, R extends boolean = boolean> {
  readonly type: ColumnType & { readonly kind: K }
  readonly isRequired: R
  /** SQL of a computed column. */
  readonly sql: string | undefined
  /** Of the compiler alone. */
  readonly [value]?: V
  /** Null and absent values are dead letters. */
  required(): TypeSpec<K, V, true>
  /** Computed from the other columns of the row: `t.decimal(12, 2).as('price * quantity')`. */
  as(sql: string | Expression<unknown>): TypeSpec<K, V, R>
}

/** What a struct of these fields is in a program. */
type Fields = Readonly<Record<string, TypeSpec>>
type StructOf<F extends Fields> = { readonly [N in keyof F]: ValueOf<F[N]> }

/** Types of columns. Every one has a text form, `typeText`, which YAML uses: `t.decimal(12, 2)` is `decimal(12,2)`. */
export const t = {
  boolean: () => spec({ kind: 'boolean' }),
  int: () => spec({ kind: 'int' }),
  long: () => spec({ kind: 'long' }),
  float: () => spec({ kind: 'float' }),
  double: () => spec({ kind: 'double' }),
  string: () => spec({ kind: 'string' }),
  /** Base64 text in JSON. */
  binary: () => spec({ kind: 'binary' }),
  date: () => spec({ kind: 'date' }),
  uuid: () => spec({ kind: 'uuid' }),
  decimal: (precision: number, scale: number) => spec({ kind: 'decimal', precision, scale }),
  enum: <const S extends readonly string[]>(...symbols: S) => spec<'enum', S[number]>({ kind: 'enum', symbols }),
  /** Without a zone. `unit` reads numbers; without it only text forms are accepted. In a program: bigint microseconds. */
  timestamp: <const U extends TimeUnit | undefined = undefined>(unit?: U) =>
    spec<'timestamp', InstantOf<U>>({ kind: 'timestamp', ...(unit === undefined ? {} : { unit }) }),
  /** As `timestamp`, with a zone. */
  timestamptz: <const U extends TimeUnit | undefined = undefined>(unit?: U) =>
    spec<'timestamptz', InstantOf<U>>({ kind: 'timestamptz', ...(unit === undefined ? {} : { unit }) }),
  /** `timestamp('ms')`: numbers are milliseconds. In a program a Date, as every column in milliseconds. */
  timestampMs: () => spec<'timestamp', Date>({ kind: 'timestamp', unit: 'ms' }),
  /** `timestamptz('ms')` */
  timestamptzMs: () => spec<'timestamptz', Date>({ kind: 'timestamptz', unit: 'ms' }),
  list: <V>(element: TypeSpec<Kind, V>) =>
    spec<'list', readonly (V | null)[]>({ kind: 'list', element: bare(element, 'the element of a list') }),
  map: <V>(value: TypeSpec<Kind, V>) =>
    spec<'map', Readonly<Record<string, V | null>>>({ kind: 'map', value: bare(value, 'the value of a map') }),
  struct: <const F extends Fields>(fields: F) =>
    spec<'struct', StructOf<F>>({
      kind: 'struct',
      fields: Object.entries(fields).map(([name, field]) => toField(name, field)),
    }),
} as const

/** The text form of a declared column: what a definition in TypeScript and one in YAML are both made of. */
export function specText(declared: string | TypeSpec): string {
  return typeof declared === 'string' ? declared : columnText(toColumn('', declared))
}

/** A declared column from its text, `decimal(12,2) required`. Throws `config.invalid`. */
export function readColumn(name: string, text: string): Column {
  const problem = columnNameProblem(name)
  if (problem !== undefined) throw problem
  return parseColumn(name, text)
}

/** Reads what `columnText` writes. Throws `config.invalid`. */
export function parseColumn(name: string, text: string): Column {
  const parser = new TypeParser(text)
  const column = parser.column(name)
  const as = parser.expression()
  if (as === undefined) return column
  const wrong = expressionProblem(as)
  if (wrong !== undefined) throw wrong
  return { ...column, as }
}

/** Reads what `typeText` writes. Throws `config.invalid`. */
export function parseType(text: string): ColumnType {
  const parser = new TypeParser(text)
  const type = parser.type()
  parser.end()
  return type
}

/** Columns and fields in one table, and how deep lists, maps and structs may nest. */
const COLUMNS_MAX = 2_000
const DEPTH_MAX = 32

/** What must hold of a table's columns together; `path` is that of the field to blame. */
export function columnsProblem(
  columns: readonly Column[],
): { path: readonly string[]; problem: LakeError } | undefined {
  let count = 0
  const visit = (
    fields: readonly Column[],
    depth: number,
  ): { path: readonly string[]; problem: LakeError } | undefined => {
    const seen = new Map<string, string>()
    for (const field of fields) {
      const twin = seen.get(field.name.toLowerCase())
      seen.set(field.name.toLowerCase(), field.name)
      if (twin !== undefined) {
        const message = `"${twin}" and "${field.name}" differ only in case`
        return { path: [field.name], problem: problem(message, 'SQL ignores case: rename one of them.') }
      }
      if (++count > COLUMNS_MAX) return { path: [], problem: problem(`there are more than ${COLUMNS_MAX} columns`) }
      const inner = visitType(field.type, depth)
      if (inner !== undefined) return { path: [field.name, ...inner.path], problem: inner.problem }
    }
    return undefined
  }
  const visitType = (type: ColumnType, depth: number): ReturnType<typeof visit> => {
    if (depth > DEPTH_MAX) return { path: [], problem: problem(`types nest deeper than ${DEPTH_MAX}`) }
    if (type.kind === 'list') return visitType(type.element, depth + 1)
    if (type.kind === 'map') return visitType(type.value, depth + 1)
    return type.kind === 'struct' ? visit(type.fields, depth + 1) : undefined
  }
  return visit(columns, 1)
}

const SCALARS = ['boolean', 'int', 'long', 'float', 'double', 'string', 'binary', 'date', 'uuid'] as const
const KINDS = [...SCALARS, 'decimal', 'enum', 'timestamp', 'timestamptz', 'list', 'map', 'struct'] as const
const OTHER_WORDS: Readonly<Record<string, string>> = {
  bool: 'boolean',
  integer: 'int',
  int32: 'int',
  int64: 'long',
  bigint: 'long',
  number: 'double',
  real: 'float',
  text: 'string',
  varchar: 'string',
  bytes: 'binary',
  blob: 'binary',
  numeric: 'decimal(12,2)',
  datetime: 'timestamp',
  array: 'list<string>',
  object: 'struct<name:string>',
  json: 'string',
}

/** Recursive descent over the one text form; blanks are allowed between tokens. */
class TypeParser {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  column(name: string): Column {
    const type = this.type()
    this.#blanks()
    const isRequired = /^required\b/.test(this.#rest())
    if (isRequired) this.#at += 'required'.length
    return isRequired ? { name, type, required: true } : { name, type }
  }

  /** What is computed: the rest after `=`. Undefined at the end of the text. */
  expression(): string | undefined {
    if (this.#accept('=')) return this.#rest().trim()
    this.end()
    return undefined
  }

  type(): ColumnType {
    if (++this.#depth > DEPTH_MAX) throw problem(`types nest deeper than ${DEPTH_MAX}`)
    const type = this.#type(this.#word())
    this.#depth--
    return type
  }

  end(): void {
    this.#blanks()
    if (this.#at < this.#text.length) throw this.#problem(`unexpected "${this.#rest().slice(0, 20)}"`)
  }

  #type(kind: string): ColumnType {
    switch (kind) {
      case 'decimal': {
        const [precision, scale] = this.#arguments(kind, '(precision,scale), such as decimal(12,2)')
        return checked({ kind, precision: wholeOf(precision), scale: wholeOf(scale ?? '0') })
      }
      case 'enum':
        return checked({ kind, symbols: this.#arguments(kind, '(symbols), such as enum(created,paid)') })
      case 'timestamp':
      case 'timestamptz': {
        if (!this.#rest().trimStart().startsWith('(')) return { kind }
        const [unit] = this.#arguments(kind, '(s), (ms) or (us)')
        return checked({ kind, unit: unit as TimeUnit })
      }
      case 'list': {
        this.#expect('<', 'list<string>')
        const element = this.type()
        this.#notRequired('the element of a list')
        this.#expect('>', 'list<string>')
        return { kind, element }
      }
      case 'map': {
        this.#expect('<', 'map<string,long>')
        if (this.#word() !== 'string') throw this.#problem('the keys of a map are strings', 'Write map<string,…>.')
        this.#expect(',', 'map<string,long>')
        const value = this.type()
        this.#notRequired('the value of a map')
        this.#expect('>', 'map<string,long>')
        return { kind, value }
      }
      case 'struct':
        return checked({ kind, fields: this.#fields() })
      default:
        if ((SCALARS as readonly string[]).includes(kind)) return { kind: kind as 'string' }
        throw unknownType(kind)
    }
  }

  #fields(): Column[] {
    const fields: Column[] = []
    this.#expect('<', 'struct<a:int,b:string>')
    do {
      this.#blanks()
      const name = /^[^\s<>(),:]+/.exec(this.#rest())?.[0]
      if (name === undefined) throw this.#problem('a field name is missing', 'Write struct<name:type,…>.')
      this.#at += name.length
      this.#expect(':', 'struct<a:int,b:string>')
      fields.push(this.column(name))
    } while (this.#accept(','))
    this.#expect('>', 'struct<a:int,b:string>')
    return fields
  }

  #arguments(kind: string, form: string): string[] {
    if (!this.#accept('(')) throw this.#problem(`${kind} needs ${form}`, `Write ${kind}${form}.`)
    const end = this.#text.indexOf(')', this.#at)
    if (end < 0) throw this.#problem('")" is missing')
    const list = this.#text.slice(this.#at, end).split(',')
    this.#at = end + 1
    return list.map((item) => item.trim())
  }

  #notRequired(what: string): void {
    this.#blanks()
    if (/^required\b/.test(this.#rest())) throw this.#problem(`${what} is always optional`, 'Remove this "required".')
  }

  #word(): string {
    this.#blanks()
    const word = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#rest())?.[0]
    if (word === undefined) throw this.#problem('a type is missing', `Types: ${KINDS.join(' ')}.`)
    this.#at += word.length
    return word
  }

  #accept(token: string): boolean {
    this.#blanks()
    if (!this.#text.startsWith(token, this.#at)) return false
    this.#at += token.length
    return true
  }

  #expect(token: string, example: string): void {
    if (!this.#accept(token)) throw this.#problem(`"${token}" is missing`, `Write it like ${example}.`)
  }

  #blanks(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++
  }

  #rest(): string {
    return this.#text.slice(this.#at)
  }

  #problem(message: string, fix?: string): LakeError {
    return problem(`${message} at character ${this.#at + 1} of "${this.#text.slice(0, 200)}"`, fix)
  }
}

function unknownType(kind: string): LakeError {
  const meant = OTHER_WORDS[kind.toLowerCase()] ?? didYouMean(kind, KINDS)
  return problem(
    `there is no type "${kind}"${meant === undefined ? '' : `, did you mean "${meant}"?`}`,
    meant === undefined ? `Types: ${KINDS.join(' ')}.` : `Write "${meant}".`,
  )
}

/** Checks what a type says of itself. Throws `config.invalid`. */
function checked(type: ColumnType): ColumnType {
  if (type.kind === 'decimal') {
    const { precision, scale } = type
    if (!(Number.isInteger(precision) && precision >= 1 && precision <= 38))
      throw problem(`the precision of ${typeText(type)} is not from 1 to 38`, 'Write decimal(12,2), for example.')
    if (!(Number.isInteger(scale) && scale >= 0 && scale <= precision))
      throw problem(
        `the scale of ${typeText(type)} is not from 0 to its precision`,
        'Write decimal(12,2), for example.',
      )
  }
  if (type.kind === 'enum') {
    if (type.symbols.length === 0 || !type.symbols.every(isSymbol))
      throw problem(`${typeText(type)} has an empty symbol, or one with a comma or parenthesis`, 'Use type string.')
    const twin = type.symbols.find((symbol, i) => type.symbols.indexOf(symbol) !== i)
    if (twin !== undefined) throw problem(`${typeText(type)} names "${twin}" twice`)
  }
  if ((type.kind === 'timestamp' || type.kind === 'timestamptz') && type.unit !== undefined)
    if (!['s', 'ms', 'us'].includes(type.unit))
      throw problem(
        `"${type.unit}" is not a unit of time`,
        `Write ${type.kind}(s), ${type.kind}(ms) or ${type.kind}(us).`,
      )
  if (type.kind === 'struct') {
    if (type.fields.length === 0) throw problem('a struct needs a field')
    const twin = type.fields.find(({ name }, i) => type.fields.findIndex((f) => f.name === name) !== i)
    if (twin !== undefined) throw problem(`a struct names "${twin.name}" twice`)
    for (const { name } of type.fields) {
      const problem = fieldNameProblem(name)
      if (problem !== undefined) throw problem
    }
  }
  return type
}

function columnNameProblem(name: string): LakeError | undefined {
  if (name.startsWith('_'))
    return problem('column names that start with "_" are kept for system columns', `Rename "${name}".`)
  return fieldNameProblem(name)
}

function fieldNameProblem(name: string): LakeError | undefined {
  if (/^[\p{L}\p{N}_$@][\p{L}\p{N}\p{M}_$@-]{0,254}$/u.test(name)) return undefined
  return problem(
    `"${name}" cannot be a column name`,
    'Letters, digits and _ $ @ - are allowed; fields with other names go to _extra.',
  )
}

function isSymbol(symbol: unknown): boolean {
  return typeof symbol === 'string' && symbol !== '' && symbol === symbol.trim() && !/[,()\p{Cc}]/u.test(symbol)
}

function wholeOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,3}$/.test(text) ? Number(text) : NaN
}

function spec<K extends Kind, V = ValuesByKind[K]>(type: ColumnType & { readonly kind: K }): TypeSpec<K, V, false> {
  checked(type)
  return specOf<K, V, false>(type, false, undefined)
}

function specOf<K extends Kind, V, R extends boolean>(
  type: ColumnType & { readonly kind: K },
  isRequired: R,
  sql: string | undefined,
): TypeSpec<K, V, R> {
  return {
    type,
    isRequired,
    sql,
    required: () => specOf<K, V, true>(type, true, sql),
    as: (sql) => specOf<K, V, R>(type, isRequired, typeof sql === 'string' ? sql : sql.sql),
  }
}

function toColumn(name: string, { type, isRequired, sql }: TypeSpec): Column {
  return { name, type, ...(isRequired ? { required: true } : {}), ...(sql === undefined ? {} : { as: sql.trim() }) }
}

function toField(name: string, field: TypeSpec): Column {
  if (field.sql !== undefined) throw problem(`"${name}" of a struct is computed`, 'Compute the whole column.')
  return toColumn(name, field)
}

function bare(inner: TypeSpec, what: string): ColumnType {
  if (inner.isRequired) throw problem(`${what} is always optional`, 'Remove required().')
  if (inner.sql !== undefined) throw problem(`${what} is computed`, 'Compute the whole column.')
  return inner.type
}
