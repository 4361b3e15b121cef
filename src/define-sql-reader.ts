import { LakeError } from './error.ts'
import {
  AGGREGATES,
  ARGUMENTS,
  CLAUSES,
  CONDITION_ENDS,
  JOIN,
  OTHERWISE,
  RESERVED,
  SUB_QUERY,
  UNITS_MS,
} from './define-sql-words.ts'
import { hintIn, isWord, placeOf, sqlTokens, textOf, type SqlToken } from './define-sql-tokens.ts'
import type { AggregateFunction } from './define-window.ts'
import { LENGTH_MAX_MS, type KindFields } from './define-window-fields.ts'

/** A name, perhaps qualified, and where it stands. */
export interface SqlColumn {
  readonly name: string
  readonly qualifier: string | undefined
  readonly at: number
}

/** `HOP(time, INTERVAL …, INTERVAL …)`, in either form. */
export interface SqlCall {
  readonly at: number
  readonly time: SqlColumn
  readonly kind: KindFields
  /** Of `SESSION(TABLE … PARTITION BY …)`. */
  readonly partition: readonly SqlColumn[] | undefined
}

export interface SqlTable {
  readonly name: SqlColumn
  readonly alias: string | undefined
  /** Of a window table. */
  readonly call: SqlCall | undefined
}

/** The error of a form that is read and not run. */
export function refused(text: string, at: number, reason: string, fix?: string): LakeError {
  return new LakeError('config.unsupported', `${placeOf(text, at)}: ${reason}`, fix === undefined ? {} : { fix })
}

export function isSign(token: SqlToken, value: string): boolean {
  return token.kind === 'sign' && token.value === value
}

export function isAggregate(token: SqlToken): boolean {
  return Object.hasOwn(AGGREGATES, token.value.toUpperCase())
}

export const NO_ALIAS = 'Add AS and a name.'

/** The clauses of one SELECT, token by token. Every method throws `config.unsupported` where the text goes elsewhere. */
export class SqlReader {
  readonly text: string
  readonly #tokens: readonly SqlToken[]
  #at = 0

  constructor(text: string) {
    this.text = text
    this.#tokens = sqlTokens(text)
  }

  peek(ahead = 0): SqlToken {
    return this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)]!
  }

  next(): SqlToken {
    const token = this.peek()
    this.#at++
    return token
  }

  /** Takes a word, if it is the next. */
  accept(word: string): boolean {
    const isNext = isWord(this.peek(), word)
    if (isNext) this.#at++
    return isNext
  }

  expectWord(word: string): void {
    if (!this.accept(word)) throw this.unexpected(`${word} is missing`)
  }

  /** The next token is not what it should be. What it begins says more than what was expected. */
  unexpected(expected: string, fix?: string): LakeError {
    const { kind, value, at } = this.peek()
    const known = kind === 'word' ? CLAUSES[value.toUpperCase()] : undefined
    if (known !== undefined) return refused(this.text, at, known[0], known[1])
    const before = kind === 'end' ? 'the text ends' : `"${value.slice(0, 40)}"`
    return refused(this.text, at, `${before}: ${expected}`, fix)
  }

  start(): void {
    const hint = hintIn(this.text, this.#tokens)
    if (hint !== undefined) throw refused(this.text, hint, 'hints are not in this release', 'Remove it.')
    if (!isWord(this.peek(), 'SELECT')) throw this.unexpected('SELECT is missing', 'Write one SELECT.')
    this.next()
    if (isWord(this.peek(), 'DISTINCT') || isWord(this.peek(), 'ALL'))
      throw this.unexpected('groups are distinct as they are', 'Remove it.')
  }

  finish(): void {
    if (isSign(this.peek(), ';')) this.next()
    if (this.peek().kind !== 'end') throw this.unexpected('a windowed aggregate ends with GROUP BY')
  }

  list<T>(read: () => T): T[] {
    const items = [read()]
    while (this.#sign(',')) items.push(read())
    return items
  }

  isCall(): boolean {
    return this.peek().kind === 'word' && isSign(this.peek(1), '(')
  }

  column(expected: string): SqlColumn {
    const first = this.#name(expected)
    if (!this.#sign('.')) return { name: first.value, qualifier: undefined, at: first.at }
    const second = this.#name(expected)
    if (isSign(this.peek(), '.')) throw this.unexpected('one qualifier is enough', 'Write the name alone.')
    return { name: second.value, qualifier: first.value, at: first.at }
  }

  /** `AS name`, or a bare name; then the item must end. */
  alias(reason: string): SqlToken | undefined {
    const hasAs = this.accept('AS')
    const alias = hasAs || this.#isName() ? this.#name('a name') : undefined
    const end = this.peek()
    if (isSign(end, ',') || isWord(end, 'FROM')) return alias
    throw this.unexpected(end.kind === 'end' ? 'FROM is missing' : reason, 'Compute it where the table is queried.')
  }

  table(): SqlTable {
    if (isSign(this.peek(), '(')) throw this.unexpected(SUB_QUERY, 'Name a table of the pipeline.')
    const isTable = this.accept('TABLE')
    if (isTable) this.#expect('(')
    const source = this.isCall() ? this.#windowTable() : { name: this.#tableName(), call: undefined }
    if (isTable) this.#expect(')')
    const alias = this.accept('AS') || this.#isName() ? this.#name('an alias').value : undefined
    if (isSign(this.peek(), ',')) throw this.unexpected(JOIN)
    return { ...source, alias }
  }

  /** Arguments of `TUMBLE(time, …)`: the name is read. */
  groupWindow(word: string, { at }: SqlToken): SqlCall {
    this.#expect('(')
    const time = this.column('the event time')
    this.#expect(',')
    const first = this.#length()
    const second = word === 'HOP' ? (this.#expect(','), this.#length()) : 0
    if (isSign(this.peek(), ',')) throw this.unexpected('windows with an alignment', 'Take the form FROM TABLE(…).')
    this.#expect(')')
    return { at, time, partition: undefined, kind: kindOf(word, [first, second], 0) }
  }

  aggregate(): { readonly fn: AggregateFunction; readonly column: SqlColumn | undefined } {
    const word = this.next().value.toUpperCase()
    this.#expect('(')
    const isDistinct = isWord(this.peek(), 'DISTINCT')
    if (isDistinct && word !== 'COUNT')
      throw this.unexpected(`${word} of distinct values`, 'Only COUNT takes DISTINCT.')
    if (isDistinct) this.next()
    const isRows = word === 'COUNT' && !isDistinct && (isSign(this.peek(), '*') || this.peek().kind === 'number')
    if (isRows) this.next()
    const column = isRows ? undefined : this.column('the column of an aggregate')
    if (!isSign(this.peek(), ')'))
      throw this.unexpected(
        'an aggregate takes one column',
        'Add a computed column to the table, "x: decimal(12,2) = price * quantity", and aggregate that.',
      )
    this.next()
    return { fn: isDistinct ? 'count_distinct' : AGGREGATES[word]!, column }
  }

  /** `(WHERE …)` after FILTER. */
  filter(): readonly SqlToken[] {
    this.#expect('(')
    this.expectWord('WHERE')
    const tokens = this.condition()
    this.#expect(')')
    return tokens
  }

  /** To the end of the clause, or to the bracket that closes around it. */
  condition(): readonly SqlToken[] {
    const from = this.#at
    for (let depth = 0; ; this.#at++) {
      const token = this.peek()
      if (token.kind === 'end' || isSign(token, ';')) break
      if (isWord(token, 'SELECT') || isWord(token, 'EXISTS'))
        throw this.unexpected(SUB_QUERY, 'Use columns of the row.')
      if (isWord(token, 'OVER')) throw this.unexpected('a condition is of one row', 'Use columns of the row.')
      this.#refuseOtherwise()
      if (isSign(token, '(')) depth++
      if (isSign(token, ')') && --depth < 0) break
      if (depth === 0 && token.kind === 'word' && CONDITION_ENDS.includes(token.value.toUpperCase())) break
    }
    if (this.#at === from) throw this.unexpected('a condition is missing')
    return this.#tokens.slice(from, this.#at)
  }

  /** Not what would count other rows than in Flink, and nobody would know. */
  #refuseOtherwise(): void {
    const { kind, value, at } = this.peek()
    if (kind !== 'sign' && kind !== 'word') return
    const { signs, calls, words } = OTHERWISE
    const word = value.toUpperCase()
    const isUsed = isWord(this.peek(1), word === 'DOW' ? 'FROM' : 'TO')
    const known = kind === 'sign' ? signs[value] : this.isCall() ? calls[word] : isUsed ? words[word] : undefined
    if (known !== undefined) throw refused(this.text, at, known[0], known[1])
  }

  /** A condition as text, its columns without the table's name. */
  textOf(tokens: readonly SqlToken[], { name, alias }: SqlTable): string {
    const isQualifier = (i: number): boolean =>
      ['word', 'name'].includes(tokens[i]?.kind ?? '') &&
      [name.name, alias].includes(tokens[i]!.value) &&
      tokens[i + 1] !== undefined &&
      isSign(tokens[i + 1]!, '.')
    const kept = tokens.flatMap((token, i) => {
      if (isQualifier(i) || (i > 0 && isQualifier(i - 1))) return []
      return i > 1 && isQualifier(i - 2) ? [{ ...token, at: tokens[i - 2]!.at }] : [token]
    })
    return textOf(kept)
  }

  /** `HOP(TABLE orders, DESCRIPTOR(time), INTERVAL …, INTERVAL …)`, its arguments in order or by name. */
  #windowTable(): Omit<SqlTable, 'alias'> {
    const at = this.peek()
    const word = at.value.toUpperCase()
    const names = ARGUMENTS[word]
    if (names === undefined)
      throw this.unexpected(`${at.value}() is no table`, 'Write TUMBLE, HOP, CUMULATE or SESSION.')
    this.next()
    this.#expect('(')
    const given = new Map<string, { at: SqlToken; value: TableArgument }>()
    this.list(() => {
      const first = this.peek()
      const isNamed = isSign(this.peek(1), '=>')
      const key = isNamed ? first.value.toUpperCase() : names[given.size]
      if (key === undefined || !names.includes(key) || given.has(key))
        throw refused(this.text, first.at, `${word} takes ${names.join(', ')}`, 'OFFSET may be left out.')
      if (isNamed) this.#at += 2
      given.set(key, { at: first, value: this.#argument(key) })
    })
    this.#expect(')')
    const missing = names.find((name) => name !== 'OFFSET' && !given.has(name))
    if (missing !== undefined)
      throw refused(this.text, at.at, `${word} without ${missing}`, `It takes ${names.join(', ')}.`)
    const data = given.get('DATA')!.value as { table: SqlColumn; partition: readonly SqlColumn[] | undefined }
    if (data.partition !== undefined && word !== 'SESSION')
      throw refused(this.text, at.at, 'only sessions are partitioned', 'Group by the columns instead.')
    const lengths = names.slice(2).map((name) => (given.get(name)?.value as { ms: number } | undefined)?.ms ?? 0)
    const offset = (given.get('OFFSET')?.value as { ms: number } | undefined)?.ms ?? 0
    const time = (given.get('TIMECOL')!.value as { time: SqlColumn }).time
    return {
      name: data.table,
      call: { at: at.at, time, partition: data.partition, kind: kindOf(word, lengths, offset) },
    }
  }

  #argument(key: string): TableArgument {
    if (key === 'DATA') {
      if (isSign(this.peek(), '(')) throw this.unexpected(SUB_QUERY, 'Name a table of the pipeline.')
      this.expectWord('TABLE')
      const table = this.#tableName()
      if (!this.accept('PARTITION')) return { table, partition: undefined }
      this.expectWord('BY')
      const hasBrackets = this.#sign('(')
      const partition = hasBrackets ? this.list(() => this.column('a column')) : [this.column('a column')]
      if (hasBrackets) this.#expect(')')
      return { table, partition }
    }
    if (key === 'OFFSET') return { ms: this.#interval() }
    if (key !== 'TIMECOL') return { ms: this.#length() }
    this.expectWord('DESCRIPTOR')
    this.#expect('(')
    const time = this.column('the event time')
    this.#expect(')')
    return { time }
  }

  #tableName(): SqlColumn {
    const name = this.column('a table')
    if (name.qualifier === undefined) return name
    throw refused(
      this.text,
      name.at,
      'a window reads a table of its own pipeline',
      'Write the name of the table alone.',
    )
  }

  #length(): number {
    const { at } = this.peek()
    const ms = this.#interval()
    if (ms >= 1 && ms <= LENGTH_MAX_MS) return ms
    throw refused(this.text, at, `the length is not from 1 ms to ${LENGTH_MAX_MS} ms`)
  }

  /** `INTERVAL '10' MINUTE` to milliseconds. */
  #interval(): number {
    const isNegative = this.#sign('-')
    if (!isWord(this.peek(), 'INTERVAL')) throw this.unexpected('INTERVAL is missing', "Write INTERVAL '1' HOUR.")
    this.next()
    const sign = (this.#sign('-') ? -1 : 1) * (isNegative ? -1 : 1)
    const token = this.peek()
    const amount = /^\s*([+-]?\d{1,9}(?:\.\d{1,3})?)\s*$/.exec(token.value)?.[1]
    if (token.kind !== 'text' || amount === undefined)
      throw this.unexpected('an interval is a number in quotes', "Write INTERVAL '1' HOUR.")
    this.next()
    const unit = this.peek()
    const unitMs = unit.kind === 'word' ? UNITS_MS[unit.value.toUpperCase().replace(/S$/, '')] : undefined
    if (unitMs === undefined)
      throw this.unexpected(
        'intervals are of SECOND, MINUTE, HOUR or DAY',
        'For months write tumbling: {size: 1 month} with timeZone.',
      )
    this.next()
    if (isWord(this.peek(), 'TO') || isSign(this.peek(), '('))
      throw this.unexpected('intervals are of one unit', "Write INTERVAL '90' MINUTE.")
    // Three decimals of a second or more are whole milliseconds, but for the noise of the product.
    const ms = Math.round(Number(amount) * unitMs) * sign
    return ms === 0 ? 0 : ms
  }

  #isName(): boolean {
    const { kind, value } = this.peek()
    return kind === 'name' || (kind === 'word' && !RESERVED.includes(value.toUpperCase()))
  }

  #name(expected: string): SqlToken {
    if (!this.#isName() || this.isCall()) throw this.unexpected(`${expected} is missing here`)
    return this.next()
  }

  #sign(value: string): boolean {
    const isNext = isSign(this.peek(), value)
    if (isNext) this.#at++
    return isNext
  }

  #expect(value: string): void {
    if (!this.#sign(value)) throw this.unexpected(`"${value}" is missing`)
  }
}

type TableArgument =
  | { readonly table: SqlColumn; readonly partition: readonly SqlColumn[] | undefined }
  | { readonly time: SqlColumn }
  | { readonly ms: number }

function kindOf(word: string, [first = 0, second = 0]: readonly number[], offset: number): KindFields {
  if (word === 'TUMBLE') return { tumbling: { size: first, offset } }
  if (word === 'HOP') return { hopping: { slide: first, size: second, offset } }
  if (word === 'CUMULATE') return { cumulate: { step: first, max: second, offset } }
  return { session: { gap: first } }
}
