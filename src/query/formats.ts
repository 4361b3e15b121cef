import type { DuckDBValue } from '@duckdb/node-api'
import type { ResultColumn } from './messages.ts'
import { jsonStyle, plainValue } from '../values.ts'

/** Formats that are text, row by row. */
export type TextFormat = 'json' | 'ndjson' | 'csv'

/** Writes rows as text. Rows of `json` come without separators around them: the envelope is not theirs. */
export interface RowWriter {
  /** What stands before the first row. */
  readonly head: string
  /** What stands between two rows, also across chunks. */
  readonly separator: string
  row(values: readonly DuckDBValue[]): string
}

export function rowWriter(format: TextFormat, columns: readonly ResultColumn[]): RowWriter {
  if (format === 'csv') return csvWriter(columns)
  const labels = columns.map(({ name }, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`)
  const row = (values: readonly DuckDBValue[]): string => {
    let text = ''
    for (let i = 0; i < labels.length; i++) text += labels[i]! + JSON.stringify(plainValue(values[i]!, jsonStyle))
    return `${text}}`
  }
  return format === 'json'
    ? { head: '', separator: ',\n', row }
    : { head: '', separator: '', row: (values) => `${row(values)}\n` }
}

/** RFC 4180. A null is an empty field, an empty text is `""`; nested values are JSON. */
function csvWriter(columns: readonly ResultColumn[]): RowWriter {
  return {
    head: `${columns.map(({ name }) => quoted(name)).join(',')}\r\n`,
    separator: '',
    row: (values) => `${values.map(csvField).join(',')}\r\n`,
  }
}

function csvField(value: DuckDBValue): string {
  const plain = plainValue(value, jsonStyle)
  if (plain === null) return ''
  return quoted(typeof plain === 'object' ? JSON.stringify(plain) : String(plain))
}

function quoted(text: string): string {
  return text === '' || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Gives repeated column names a number: `a`, `a_2`, `a_3`, never one that another column has. */
export function uniqueNames(names: readonly string[]): readonly string[] {
  const given = new Set(names)
  const seen = new Set<string>()
  return names.map((name) => {
    let unique = name
    for (let n = 2; seen.has(unique); n++) if (!given.has(`${name}_${n}`)) unique = `${name}_${n}`
    seen.add(unique)
    return unique
  })
}
