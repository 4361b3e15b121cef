/** How rows are printed. */
export type OutputFormat = 'table' | 'json' | 'ndjson' | 'csv'
export const OUTPUT_FORMATS: readonly OutputFormat[] = ['table', 'json', 'ndjson', 'csv']

export type Row = Readonly<Record<string, unknown>>

/** Rows as text that ends with a line break. `columns` orders and names them. */
export function formatRows(columns: readonly string[], rows: readonly Row[], format: OutputFormat): string {
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
      return tableText(columns, rows)
  }
}

/** Columns as wide as their widest cell; numbers to the right. */
function tableText(columns: readonly string[], rows: readonly Row[]): string {
  if (columns.length === 0) return '(no columns)\n'
  const cells = rows.map((row) => columns.map((column) => cut(oneLine(shown(row[column])))))
  const widths = columns.map((column, i) => Math.max(width(column), ...cells.map((line) => width(line[i]!))))
  const isNumeric = columns.map((_, i) => cells.length > 0 && cells.every((line) => /^(-?[\d.,]+|)$/.test(line[i]!)))
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => {
        const gap = ' '.repeat(widths[i]! - width(text))
        return isNumeric[i] ? gap + text : text + gap
      })
      .join('  ')
      .trimEnd()
  const rule = widths.map((n) => '─'.repeat(n)).join('  ')
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`
  return `${[line(columns), rule, ...cells.map(line), count].join('\n')}\n`
}

const CELL_MAX = 80

function cut(text: string): string {
  return [...text].length > CELL_MAX ? `${[...text].slice(0, CELL_MAX - 1).join('')}…` : text
}

/** Control characters would move the cursor of whoever reads a table. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => JSON.stringify(character).slice(1, -1))
}

function shown(value: unknown): string {
  return value === null || value === undefined ? '' : plain(value)
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function csvCell(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Columns of a terminal: East Asian wide characters and most pictographs take two. */
function width(text: string): number {
  let columns = 0
  for (const character of text)
    columns +=
      /\p{Extended_Pictographic}|[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60]/u.test(
        character,
      ) && character > '\u00FF'
        ? 2
        : 1
  return columns
}
