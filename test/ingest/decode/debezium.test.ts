import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { capture, changeTable, decoded, finalRows, type Captured } from './debezium-capture.ts'
import type { Plain } from './reference.ts'

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

const POSTGRES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
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

const UNAVAILABLE = '__debezium_unavailable_value'

type Row = Record<string, Plain | undefined>

/** The rows that a stream leaves, by key: each as decoded, and deletes, truncates and holes as JSON.parse sees them. */
async function folded(
  definition: TableDefinition,
  records: readonly Captured[],
): Promise<{ rows: Row[]; dead: number }> {
  const { rows, dead, counts } = await decoded(definition, records, reader)
  expect(counts.rows + counts.deadLetters + counts.tombstones + counts.skipped).toBe(records.length)
  const live: { key: string; row: Row }[] = []
  const remove = (key: string): void => {
    const at = live.findIndex((one) => one.key === key)
    if (at >= 0) live.splice(at, 1)
  }
  records.forEach((record, k) => {
    const parsed = record.value === null ? null : JSON.parse(record.value)
    const event = parsed?.payload ?? parsed
    const keyOf = (row: unknown): string => record.key ?? JSON.stringify(row)
    if (event === null) return record.key === null ? undefined : remove(record.key)
    if (event.op === 't') return void (live.length = 0)
    if (event.op === 'd') return remove(keyOf(event.before))
    const before = live.find((one) => one.key === record.key)?.row
    const row: Row = { ...rows.get(String(k)) }
    for (const [column, value] of Object.entries(event.after)) {
      if (value !== UNAVAILABLE) continue
      expect(row[column]).toBeNull()
      row[column] = before![column]
    }
    for (const column of Object.keys(row)) if (!(column in event.after)) row[column] = undefined
    if (event.op === 'u') remove(keyOf(event.before))
    if (record.key !== null) remove(record.key)
    if (rows.has(String(k))) live.push({ key: keyOf(event.after), row })
    else expect(dead.has(String(k))).toBe(true)
  })
  return { rows: live.map(({ row }) => row), dead: dead.size }
}

for (const file of ['json-plain.ndjson.gz', 'json-schema.ndjson.gz'])
  for (const name of Object.keys(POSTGRES))
    test(`PostgreSQL, ${file}: the fold of ${name} is the source table, cell by cell`, async () => {
      const records = capture(`postgres/${file}`).filter(({ topic }) => topic.endsWith(`.public.${name}`))
      const { rows, dead } = await folded(changeTable(name, POSTGRES[name]!), records)
      // One row of `types` holds infinite dates.
      expect(dead).toBe(name === 'types' ? 1 : 0)
      const wanted = finalRows('postgres/final.ndjson.gz').filter((line) => line.table === name)
      const columns = Object.keys(wanted[0]!.row).toSorted()
      const sorted = (list: readonly (string | null)[][]) => list.map((row) => JSON.stringify(row)).toSorted()
      // The source's default of an added column is not in the stream.
      const unsent = (column: string) => (name === 'customers' && column === 'tier' ? '1' : null)
      const isWrapped = file.includes('schema')
      const seen = rows.map((row) =>
        columns.map((c) => cellOf(row, c, name, isWrapped) ?? (row[c] === undefined ? unsent(c) : null)),
      )
      expect(sorted(seen)).toEqual(sorted(wanted.map(({ row }) => columns.map((c) => wantedOf(row[c]!, c)))))
    })

const MARIADB = {
  customers: {
    id: 'decimal(20,0)',
    name: 'string',
    email: 'string',
    created: 'timestamptz',
    note: 'string',
    tier: 'int',
  },
  types: {
    id: 'int',
    ti: 'int',
    tu: 'int',
    b1: 'boolean',
    si: 'int',
    mi: 'int',
    bu: 'decimal(20,0)',
    dc: 'decimal(30,10)',
    f: 'float',
    db: 'double',
    bt: 'binary',
    d: 'date',
    dt: 'timestamp(ms)',
    dt6: 'timestamp(us)',
    ts: 'timestamptz',
    tm: 'long',
    tm6: 'long',
    yr: 'int',
    ch: 'string',
    vc: 'string',
    bi: 'binary',
    vb: 'binary',
    bl: 'binary',
    tx: 'string',
    en: 'enum(a,b,c)',
    se: 'string',
    js: 'struct<n:long,d:decimal(3,2)>',
  },
} as const

const mariadb = (name: string) =>
  capture('mariadb/json-plain.ndjson.gz').filter(({ topic }) => topic === `inv2.inv.${name}`)

for (const name of ['customers', 'types'] as const)
  test(`MariaDB: the fold of ${name} is the source table, cell by cell`, async () => {
    const { rows, dead } = await folded(changeTable(name, MARIADB[name]), mariadb(name))
    expect(dead).toBe(0)
    const wanted = finalRows('mariadb/final.ndjson.gz').filter((line) => line.table === name)
    const cell = (row: Row, column: string): unknown => {
      const value = row[column]
      // The source's default of an added column is not in the stream.
      if (column === 'tier' && value === undefined) return '1'
      return column === 'created' && typeof value === 'string' ? instant(value).replace('T', ' ') : value
    }
    const seen = rows.map((row) => Object.fromEntries(Object.keys(wanted[0]!.row).map((c) => [c, cell(row, c)])))
    const byId = (a: { id?: unknown }, b: { id?: unknown }) => Number(a.id) - Number(b.id)
    expect(seen.toSorted(byId)).toEqual(wanted.map(({ row }) => row).toSorted(byId))
  })

test('MariaDB: every type of column', async () => {
  const { rows } = await decoded(changeTable('types', MARIADB.types), mariadb('types'), reader)
  expect(rows.get('2')).toEqual({
    id: '1',
    ti: '-128',
    tu: '255',
    b1: 'true',
    si: '-32768',
    mi: '8388607',
    bu: '18446744073709551614',
    dc: '123456789012345678900123456789',
    f: '1.5',
    db: '0.1',
    bt: '05',
    d: '20512',
    dt: '-30610224000000000',
    dt6: '253402300799999999',
    ts: '1792891800000000',
    tm: '-3020399000000',
    tm6: '43200000001',
    yr: '2026',
    ch: 'ab',
    vc: 'héllo 🙂',
    bi: 'deadbeef',
    vb: '00ff',
    bl: 'cafe',
    tx: 'changed',
    en: 'b',
    se: 'x,z',
    js: ['9007199254740993', '110'],
  })
})

/** Final cells are those of `to_jsonb`; what a stream cannot tell is left to the tests of single values. */
function wantedOf(text: string | null, column: string): string | null {
  if (text === null) return null
  if (['j', 'jb', 'h', 'ia', 'ta', 'na', 'tags'].includes(column)) return text.replaceAll(' ', '')
  if (column === 'tmtz') return '10:00:00Z'
  if (column === 'created' || column === 'tstz')
    return text.replace(/:(\d\d)(?:\.(\d+))?\+00:00$/, (_, s, f) => `:${s}.${(f ?? '').padEnd(6, '0')}+00:00`)
  return text
}

function cellOf(row: Row, column: string, name: string, isWrapped: boolean): string | null | undefined {
  const value = row[column]
  if (column === 'remark' && value === undefined) return row['note'] as string | null | undefined
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
function instant(value: Plain): string {
  const micros = BigInt(String(value))
  const rest = ((micros % 1000n) + 1000n) % 1000n
  return `${new Date(Number((micros - rest) / 1000n)).toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}`
}
