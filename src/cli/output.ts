import { cut, width, type Screen } from './layout.ts'

/** How rows are printed. */
export type OutputFormat = 'table' | 'json' | 'ndjson' | 'csv'
export const OUTPUT_FORMATS: readonly OutputFormat[] = ['table', 'json', 'ndjson', 'csv']

export type Row = Readonly<Record<string, unknown>>

/** A pipe, or a file: nothing is cut for it. */
const NO_SCREEN: Screen = { isTty: false, columns: Infinity }

/** Rows as text that ends with a line break. `columns` orders and names them; tables fit the `screen`. */
export function formatRows(
  columns: readonly string[],
  rows: readonly Row[],
  format: OutputFormat,
  screen: Screen = NO_SCREEN,
): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(rows, undefined, 2)}\n`
    case 'ndjson':
      return rows.map((row) => `${JSON.stringify(row)}\n`).join('')
    case 'csv':
      return [columns, ...rows.map((row) => columns.map((column) => plain(row[column])))]
        .map((cells) => `${cells.map(csvCell).join(',')}\r\n`)
        .join('')
    case 'table':
      return tableText(columns, rows, screen)
  }
}

/** Columns as wide as their widest cell; numbers to the right. Rows that do not fit a screen stand one below the other. */
function tableText(columns: readonly string[], rows: readonly Row[], screen: Screen): string {
  if (columns.length === 0) return '(no columns)\n'
  const cells = rows.map((row) => columns.map((column) => cut(oneLine(shown(row[column])), CELL_MAX)))
  const natural = columns.map((column, i) => Math.max(width(column), ...cells.map((line) => width(line[i]!))))
  const isNumeric = columns.map((_, i) => cells.length > 0 && cells.every((line) => /^(-?[\d.,]+|)$/.test(line[i]!)))
  // A number that is cut is another, and a time no time.
  const isWhole = columns.map((_, i) => isNumeric[i]! || cells.every((line) => TIME.test(line[i]!)))
  const widths = fitted(natural, isWhole, screen)
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`
  if (widths === undefined)
    return `${[...cells.flatMap((line, k) => standing(columns, line, k, screen)), count].join('\n')}\n`
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => {
        const kept = cut(text, widths[i]!)
        const gap = ' '.repeat(widths[i]! - width(kept))
        return isNumeric[i] ? gap + kept : kept + gap
      })
      .join('  ')
      .trimEnd()
  const rule = widths.map((n) => '─'.repeat(n)).join('  ')
  return `${[line(columns), rule, ...cells.map(line), count].join('\n')}\n`
}

const CELL_MAX = 80
/** What is cut to less tells nothing. */
const CELL_MIN = 12

/** Widths of columns that fit a screen, the widest text cut first; undefined when there is too little of it for them. */
function fitted(
  natural: readonly number[],
  isWhole: readonly boolean[],
  { isTty, columns }: Screen,
): readonly number[] | undefined {
  if (!isTty) return natural
  const widths = [...natural]
  let excess = widths.reduce((sum, n) => sum + n, 2 * (widths.length - 1)) - columns
  while (excess > 0) {
    const widest = Math.max(...widths.map((n, i) => (isWhole[i] ? 0 : n)))
    if (widest <= CELL_MIN) return undefined
    widths[widths.findLastIndex((n, i) => n === widest && !isWhole[i])]!--
    excess--
  }
  return widths
}

/** One row, a line for each of its columns. */
function standing(columns: readonly string[], cells: readonly string[], at: number, screen: Screen): readonly string[] {
  const names = Math.max(...columns.map(width))
  const head = `─ ${at + 1} `
  return [
    head + '─'.repeat(Math.max(0, Math.min(40, screen.columns) - head.length)),
    ...columns.map((name, i) =>
      cut(`${name}${' '.repeat(names - width(name))}  ${cells[i]}`, screen.columns).trimEnd(),
    ),
  ]
}

/** Control characters would move the cursor of whoever reads a table. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => JSON.stringify(character).slice(1, -1))
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = plain(value)
  return typeof value === 'string' ? shortInstant(text) : text
}

/** As `shown` has it, or nothing. */
const TIME = /^(\d{4}-\d\d-\d\dT[\d:.]+Z)?$/
const INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3}|\d{6})Z$/

/** `…T10:00:00.590000Z`: thousandths and millionths that are nothing are left out. */
function shortInstant(text: string): string {
  return text.replace(INSTANT, (_, second: string, fraction: string) => {
    const told = fraction.replace(/(000)+$/, '')
    return `${second}${told === '' ? '' : `.${told}`}Z`
  })
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
