import { leaf, problem } from './define-fields.ts'
import type { LakeError } from './error.ts'

/**
 * The words of SQL texts, as far as a definition looks into them: where names, texts and brackets begin and end.
 * What an expression means, and whether it is row-wise, is for the engine to say.
 */
export interface SqlToken {
  readonly kind: 'word' | 'name' | 'text' | 'number' | 'sign' | 'end'
  /** Of a `name` or `text` without its quotes; else as written. */
  readonly value: string
  /** First character in the text, and the one after the last. */
  readonly at: number
  readonly until: number
}

/** Reads a text to its `end`. Comments and blanks are between tokens. Throws `config.invalid` with line:column. */
export function sqlTokens(text: string): readonly SqlToken[] {
  const tokens: SqlToken[] = []
  let at = 0
  while (at < text.length) {
    const gap = GAP.exec(text.slice(at))?.[0].length ?? 0
    if (gap > 0) {
      at += gap
      continue
    }
    const token = tokenAt(text, at)
    tokens.push(token)
    at = token.until
  }
  return [...tokens, { kind: 'end', value: '', at: text.length, until: text.length }]
}

/** Where a comment begins that is a hint, which says how a text is run. */
export function hintIn(text: string, tokens: readonly SqlToken[]): number | undefined {
  for (const [i, token] of tokens.entries()) {
    const from = tokens[i - 1]?.until ?? 0
    for (const comment of text.slice(from, token.at).matchAll(COMMENT))
      if (comment[0].startsWith('/*+')) return from + comment.index
  }
  return undefined
}

/** `3:14`, from 1. */
export function placeOf(text: string, at: number): string {
  const before = text.slice(0, at).split('\n')
  return `${before.length}:${before.at(-1)!.length + 1}`
}

/** Whether a token is this unquoted word, in any case. */
export function isWord(token: SqlToken | undefined, word: string): boolean {
  return token?.kind === 'word' && token.value.toUpperCase() === word
}

/**
 * Tokens as a text again, without comments, one blank where there was a gap, names in double quotes: what a definition
 * in SQL hands on.
 */
export function textOf(tokens: readonly SqlToken[]): string {
  return tokens
    .map((token, i) => {
      const gap = i > 0 && tokens[i - 1]!.until < token.at ? ' ' : ''
      return `${gap}${written(token)}`
    })
    .join('')
}

/** Why a text cannot be an expression: it must stay one wherever it is put in brackets. */
export function expressionProblem(text: string): LakeError | undefined {
  let tokens: readonly SqlToken[]
  try {
    tokens = sqlTokens(text)
  } catch (error) {
    return error as LakeError
  }
  if (tokens.length === 1) return problem('the expression is empty', "Write a condition such as status <> 'test'.")
  if (/--|\/\*/.test(between(text, tokens)))
    return problem('the expression holds a comment', 'Put the comment beside it.')
  let depth = 0
  for (const token of tokens) {
    if (token.kind === 'sign' && token.value === ';')
      return problem(`";" at ${placeOf(text, token.at)} ends a statement, this is an expression`, 'Remove it.')
    if (isWord(token, 'SELECT'))
      return problem(
        `SELECT at ${placeOf(text, token.at)}: an expression is computed from one row alone`,
        'Use the columns of the row.',
      )
    if (token.kind === 'sign' && '([{'.includes(token.value)) depth++
    if (token.kind === 'sign' && ')]}'.includes(token.value) && --depth < 0) break
  }
  return depth === 0 ? undefined : problem('the brackets of the expression do not match', 'Close each one.')
}

/** An expression in a definition. */
export const expression = leaf('SQL over the columns of a row', (text) => {
  const wrong = expressionProblem(text)
  if (wrong !== undefined) throw wrong
  return text
})

/**
 * Columns that an expression may read: those whose name stands in it, is not called, and is no field of something, as
 * behind a dot. At times more, never fewer.
 */
export function columnsRead(text: string, known: readonly string[]): readonly string[] {
  const tokens = sqlTokens(text)
  const named = new Set<string>()
  for (const [i, token] of tokens.entries()) {
    const isCall = tokens[i + 1]?.kind === 'sign' && tokens[i + 1]!.value === '('
    if (tokens[i - 1]?.kind === 'sign' && tokens[i - 1]!.value === '.') continue
    if (token.kind === 'name' || (token.kind === 'word' && !isCall)) named.add(token.value.toLowerCase())
  }
  return known.filter((column) => named.has(column.toLowerCase()))
}

const GAP = /^(?:\s|--[^\n]*|\/\*[\s\S]*?\*\/)+/
const COMMENT = /--[^\n]*|\/\*[\s\S]*?\*\//g
const NUMBER = /^(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/
const WORD = /^[\p{L}_][\p{L}\p{N}\p{M}_$]*/u
const SIGN = /^(?:<>|<=|>=|!=|==|=>|\|\||::|->>?|[^\s])/u
const QUOTES: Readonly<Record<string, SqlToken['kind']>> = { "'": 'text', '"': 'name', '`': 'name' }

function tokenAt(text: string, at: number): SqlToken {
  const rest = text.slice(at)
  const quote = rest[0]!
  const kind = QUOTES[quote]
  if (kind !== undefined) return quoted(text, at, quote, kind)
  if (rest.startsWith('/*'))
    throw problem(`${placeOf(text, at)}: the comment does not end`, 'Close it with an asterisk and a slash.')
  for (const [kind, form] of [
    ['number', NUMBER],
    ['word', WORD],
    ['sign', SIGN],
  ] as const) {
    const value = form.exec(rest)?.[0]
    if (value !== undefined) return { kind, value, at, until: at + value.length }
  }
  throw problem(`${placeOf(text, at)}: "${quote}" is not SQL`)
}

function quoted(text: string, at: number, quote: string, kind: SqlToken['kind']): SqlToken {
  let value = ''
  for (let i = at + 1; i < text.length; i++) {
    if (text[i] !== quote) value += text[i]!
    else if (text[i + 1] === quote) value += text[i++]!
    else return { kind, value, at, until: i + 1 }
  }
  throw problem(
    `${placeOf(text, at)}: ${kind === 'text' ? 'a text' : 'a name'} does not end`,
    `Close it with ${quote}.`,
  )
}

function written({ kind, value }: SqlToken): string {
  if (kind === 'name') return `"${value.replaceAll('"', '""')}"`
  return kind === 'text' ? `'${value.replaceAll("'", "''")}'` : value
}

/** What stands between the tokens. */
function between(text: string, tokens: readonly SqlToken[]): string {
  return tokens.map((token, i) => text.slice(tokens[i - 1]?.until ?? 0, token.at)).join(' ')
}
