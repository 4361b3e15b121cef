import type { Lake } from '../../src/index.ts'

/** How a column of a database is compared with one of the lake: the text of either side, in one form. */
export type CellKind =
  | 'text'
  | 'double'
  | 'timestamp'
  | 'timestamptz'
  | 'bytes'
  | 'bits'
  | 'money'
  | 'json'
  | 'list'
  | 'time'
  | 'timetz'

export type CellTexts = Readonly<Record<string, string | null>>

/** Rows of a lake's table as texts, by column; what `sourceText` makes of the source's. */
export async function lakeRows(
  lake: Lake,
  table: string,
  columns: Readonly<Record<string, CellKind>>,
): Promise<readonly CellTexts[]> {
  const list = Object.entries(columns).map(([name, kind]) => `${lakeExpression(`"${name}"`, kind)} as "${name}"`)
  const rows = await lake.sql<Record<string, unknown>>(`select ${list.join(', ')} from "${table}"`)
  return rows.map((row) =>
    Object.fromEntries(Object.entries(columns).map(([name, kind]) => [name, lakeText(row[name], kind)])),
  )
}

/** The text that PostgreSQL gives of a value, by `::text` or `to_jsonb`, in the form of `lakeRows`. */
export function sourceText(kind: CellKind, text: string | null): string | null {
  if (text === null) return null
  switch (kind) {
    case 'text':
      return text
    case 'double':
      return String(Number(text))
    case 'timestamp':
      return text.replace('T', ' ')
    case 'timestamptz':
      return text.replace('T', ' ').replace('+00:00', '+00')
    case 'bytes':
      return text.replace('\\x', '')
    case 'bits':
      return littleEndian(text)
    case 'money':
      return text.replace(/[$,]/g, '')
    case 'json':
      return withoutBlanks(text)
    case 'list':
      // Numbers keep their digits: 1.10 is not 1.1.
      return JSON.stringify(JSON.parse(text.replace(/(?<=[[ ,])-?[\d.]+(?=[\],])/g, '"$&"')))
    case 'time':
      return String(microseconds(text))
    case 'timetz':
      return inUtc(text)
  }
}

function lakeExpression(name: string, kind: CellKind): string {
  if (kind === 'bytes' || kind === 'bits') return `lower(hex(${name}))`
  return kind === 'list' ? name : `${name}::varchar`
}

function lakeText(value: unknown, kind: CellKind): string | null {
  if (value === null || value === undefined) return null
  if (kind === 'double') return String(Number(String(value).replace(/inf$/, 'Infinity').replace('nan', 'NaN')))
  if (kind === 'json') return withoutBlanks(String(value))
  if (kind === 'list') return JSON.stringify((value as unknown[]).map((item) => (item === null ? null : String(item))))
  return String(value)
}

/** Without the blanks between the tokens of a JSON text; numbers keep their digits. */
function withoutBlanks(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, text: string | undefined) => text ?? '')
}

function littleEndian(bits: string): string {
  const bytes = Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) =>
    Number.parseInt(bits.slice(Math.max(0, bits.length - 8 * (i + 1)), bits.length - 8 * i), 2),
  )
  return Buffer.from(bytes).toString('hex')
}

function microseconds(time: string): bigint {
  const [, hours, minutes, seconds, fraction = ''] = /^(\d+):(\d+):(\d+)(?:\.(\d+))?$/.exec(time)!
  const whole = (BigInt(hours!) * 60n + BigInt(minutes!)) * 60n + BigInt(seconds!)
  return whole * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
}

function inUtc(time: string): string {
  const [, hours, rest, offset] = /^(\d+)(:\d+:\d+(?:\.\d+)?)([+-]\d+)$/.exec(time)!
  return `${String((Number(hours) - Number(offset) + 24) % 24).padStart(2, '0')}${rest}Z`
}
