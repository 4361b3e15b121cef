import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { capture, changeTable, decoded, finalRows, folded, type Row } from './debezium-capture.ts'
import { cellOf, instant, KEYS, POSTGRES, sorted, wantedOf } from './debezium-source.ts'

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

/** A table over a captured stream, keyed as its source is. */
function keyed(name: string, columns: Readonly<Record<string, string>>, version?: 'source.lsn'): TableDefinition {
  const key = KEYS[name] ?? ['id']
  return changeTable(name, columns, { key, ...(version === undefined ? { onTruncate: 'apply' } : { version }) })
}

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
