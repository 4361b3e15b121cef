import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { capture, changeTable, decoded, finalRows, folded, type Row } from './debezium-capture.ts'
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

const KEYS: Readonly<Record<string, readonly string[]>> = { pairs: ['a', 'b'] }

/** A table over a captured stream, keyed as its source is. */
function keyed(name: string, columns: Readonly<Record<string, string>>, version?: 'source.lsn'): TableDefinition {
  const key = KEYS[name] ?? ['id']
  return changeTable(name, columns, { key, ...(version === undefined ? { onTruncate: 'apply' } : { version }) })
}

const sorted = (list: readonly (readonly (string | null)[])[]) => list.map((row) => JSON.stringify(row)).toSorted()

for (const file of ['json-plain.ndjson.gz', 'json-schema.ndjson.gz']) {
  const records = (name: string) => capture(`postgres/${file}`).filter(({ topic }) => topic.endsWith(`.public.${name}`))
  const isWrapped = file.includes('schema')

  for (const name of ['customers', 'docs', 'pairs', 'types'])
    test.each(isWrapped ? [7] : [1, 1000])(
      `PostgreSQL, ${file}: ${name} is the source table, cell by cell, in micro-batches of %i`,
      async (size) => {
        const definition = keyed(name, POSTGRES[name]!)
        const { rows, dead, holes } = await folded(definition, records(name), reader, size)
        // One row of `types` holds infinite dates.
        expect(dead.map(([, code]) => code)).toEqual(name === 'types' ? ['decode.range'] : [])
        expect(holes > 0).toBe(name === 'docs' && size < 10)
        const wanted = finalRows('postgres/final.ndjson.gz').filter((line) => line.table === name)
        const columns = Object.keys(wanted[0]!.row).toSorted()
        const seen = rows.map((row) => columns.map((c) => cellOf(row, c, name, isWrapped) ?? null))
        expect(sorted(seen)).toEqual(sorted(wanted.map(({ row }) => columns.map((c) => wantedOf(row[c]!, c)))))
      },
    )

  test(`PostgreSQL, ${file}: changes are ordered by their place in the source's log`, async () => {
    const { versions, rows } = await folded(
      keyed('customers', POSTGRES['customers']!, 'source.lsn'),
      records('customers'),
      reader,
    )
    const own = records('customers').flatMap(({ value }) => (value === null ? [] : [/"lsn":(\d+)/.exec(value)![1]!]))
    // Bare tombstones have none of their own.
    expect(versions.filter((version) => version !== 0n).map(String)).toEqual(own)
    expect(rows.length).toBe(32)
  })

  test(`PostgreSQL, ${file}: deletes find their rows without record keys too, by the rows before them`, async () => {
    const given = records('pairs')
    const without = given.flatMap((record) => (record.value === null ? [] : [{ ...record, key: null }]))
    const definition = keyed('pairs', POSTGRES['pairs']!)
    const until = without.findIndex(({ value }) => value!.includes('"op":"t"'))
    const { rows } = await folded(definition, without.slice(0, until), reader)
    const { rows: same } = await folded(
      definition,
      given.slice(
        0,
        given.findIndex((r) => r.value?.includes('"op":"t"')),
      ),
      reader,
    )
    expect(rows.length).toBeGreaterThan(40)
    expect(rows).toEqual(same)
  })

  test(`PostgreSQL, ${file}: a table without a key, as an append table: no change of it is lost, deletes are counted`, async () => {
    const given = records('nokey')
    const { rows, dead, counts } = await decoded(changeTable('nokey', POSTGRES['nokey']!), given, reader)
    const afters = given.flatMap(({ value }) => {
      const event = value === null ? null : JSON.parse(value)
      const { after } = event?.payload ?? event ?? {}
      return after ? [{ a: String(after.a), b: after.b }] : []
    })
    expect([...rows.values()]).toEqual(afters)
    expect(dead.size).toBe(0)
    expect(counts).toMatchObject({ rows: 4, tombstones: 2, deadLetters: 0, skipped: 0 })
  })

  test(`PostgreSQL, ${file}: an append table has no row whose values a change could keep`, async () => {
    const { dead } = await decoded(changeTable('docs', POSTGRES['docs']!), records('docs'), reader)
    expect(new Set(dead.values())).toEqual(new Set(['cdc.unavailable_without_base']))
    expect(dead.size).toBe(
      records('docs').filter(({ value }) => value?.includes('__debezium_unavailable_value')).length,
    )
  })

  test(`PostgreSQL, ${file}: messages are counted, a truncate stops the pipeline unless it is to be applied`, async () => {
    const messages = capture(`postgres/${file}`).filter(({ topic }) => topic.endsWith('.message'))
    const { counts } = await decoded(keyed('m', { id: 'int' }), messages, reader)
    expect(counts).toMatchObject({ rows: 0, deadLetters: 0, skipped: messages.length })
    expect(messages.length).toBeGreaterThan(0)
    const stops = changeTable('pairs', POSTGRES['pairs']!, { key: ['a', 'b'] })
    const given = records('pairs')
    const at = given.findIndex(({ value }) => value?.includes('"op":"t"') === true)
    await expect(folded(stops, given, reader)).rejects.toMatchObject({
      code: 'cdc.truncate',
      context: { table: 'pairs', offset: String(at) },
    })
  })
}

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
  test.each([1, 1000])(`MariaDB: ${name} is the source table, cell by cell, in micro-batches of %i`, async (size) => {
    const { rows, dead } = await folded(keyed(name, MARIADB[name]), mariadb(name), reader, size)
    expect(dead).toEqual([])
    const wanted = finalRows('mariadb/final.ndjson.gz').filter((line) => line.table === name)
    const cell = (row: Row, column: string): unknown => {
      const value = row[column]
      // The source's default of an added column is not in the stream.
      if (column === 'tier' && value === null) return '1'
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
function instant(value: Plain): string {
  const micros = BigInt(String(value))
  const rest = ((micros % 1000n) + 1000n) % 1000n
  return `${new Date(Number((micros - rest) / 1000n)).toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}`
}
