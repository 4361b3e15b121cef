import { afterAll, beforeAll, expect, test } from 'vitest'
import { debezium, type TableDefinition } from '../../../src/define.ts'
import { ParquetReader } from '../../support/parquet.ts'
import { avroCapture, capture, changeTable, decoded, finalRows, folded } from './debezium-capture.ts'
import { cellOf, KEYS, POSTGRES, sorted, wantedOf } from './debezium-source.ts'

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

const { records: all, registry } = avroCapture()
const records = (name: string) => all.filter(({ topic }) => topic.endsWith(`.public.${name}`))
const AVRO = debezium({ encoding: 'avro' })

function keyed(name: string, version?: 'source.lsn'): TableDefinition {
  const key = KEYS[name] ?? ['id']
  const order = version === undefined ? ({ onTruncate: 'apply' } as const) : { version }
  return changeTable(name, POSTGRES[name]!, { key, ...order }, AVRO)
}

for (const name of ['customers', 'docs', 'pairs', 'types'])
  test.each([1, 7, 1000])(
    `PostgreSQL in Avro: ${name} is the source table, cell by cell, in micro-batches of %i`,
    async (size) => {
      const { rows, dead, holes } = await folded(keyed(name), records(name), reader, size, registry)
      // One row of `types` holds infinite dates.
      expect(dead.map(([, code]) => code)).toEqual(name === 'types' ? ['decode.range'] : [])
      expect(holes > 0).toBe(name === 'docs' && size < 10)
      const wanted = finalRows('postgres/final.ndjson.gz').filter((line) => line.table === name)
      const columns = Object.keys(wanted[0]!.row).toSorted()
      const seen = rows.map((row) => columns.map((c) => cellOf(row, c, name, true) ?? null))
      expect(sorted(seen)).toEqual(sorted(wanted.map(({ row }) => columns.map((c) => wantedOf(row[c]!, c)))))
    },
  )

test('changes are ordered by their place in the log of the source', async () => {
  const { versions, rows } = await folded(
    keyed('customers', 'source.lsn'),
    records('customers'),
    reader,
    1000,
    registry,
  )
  const own = versions.filter((version) => version !== 0n)
  expect(own).toEqual(own.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)))
  expect(own.length).toBe(records('customers').filter(({ value }) => value !== null).length)
  expect(rows.length).toBe(32)
})

test('deletes find their rows without record keys too, by the rows before them', async () => {
  const given = records('pairs')
  const without = given.flatMap((record) => (record.value === null ? [] : [{ ...record, key: null }]))
  // The last truncates the table.
  const until = without.length - 1
  const { rows } = await folded(keyed('pairs'), without.slice(0, until), reader, 1000, registry)
  const { rows: same } = await folded(keyed('pairs'), given.slice(0, -1), reader, 1000, registry)
  expect(rows).toEqual(same)
})

test('a table without a key is an append table; messages are counted, a truncate stops', async () => {
  const { rows, counts } = await decoded(
    changeTable('nokey', POSTGRES['nokey']!, {}, AVRO),
    records('nokey'),
    reader,
    registry,
  )
  expect(rows.size).toBe(4)
  expect(counts).toMatchObject({ rows: 4, tombstones: 2, deadLetters: 0 })
  const messages = all.filter(({ topic }) => topic.endsWith('.message'))
  const { counts: others } = await decoded(
    changeTable('m', { id: 'int' }, { key: ['id'] }, AVRO),
    messages,
    reader,
    registry,
  )
  expect(others).toMatchObject({ rows: 0, deadLetters: 0, skipped: messages.length })
  const stops = changeTable('pairs', POSTGRES['pairs']!, { key: ['a', 'b'] }, AVRO)
  await expect(folded(stops, records('pairs'), reader, 1000, registry)).rejects.toMatchObject({ code: 'cdc.truncate' })
})

test('Avro and JSON say the same of every change', async () => {
  const json = capture('postgres/json-schema.ndjson.gz').filter(({ topic }) => topic.endsWith('.public.types'))
  const plain = await decoded(changeTable('types', POSTGRES['types']!), json, reader)
  const avro = await decoded(changeTable('types', POSTGRES['types']!, {}, AVRO), records('types'), reader, registry)
  expect(avro.counts).toEqual(plain.counts)
  expect([...avro.dead.values()]).toEqual([...plain.dead.values()])
  expect([...avro.rows.values()]).toEqual([...plain.rows.values()])
})
