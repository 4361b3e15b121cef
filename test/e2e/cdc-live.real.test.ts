import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { debeziumConfig, startConnect, type Connect } from '../../infra/connect.mjs'
import type { SqlConnection } from '../../infra/postgres-client.mjs'
import { startPostgres, type Postgres } from '../../infra/postgres.mjs'
import { defineLake, open, table, type Lake } from '../../src/index.ts'
import type { Settings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { until } from '../support/processes.ts'
import { createSql, randomTransactions, SOURCE_TABLES, type SourceTable } from '../support/random-dml.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { lakeRows, sourceText, type CellTexts } from '../support/source-table.ts'

// A live PostgreSQL, streamed by Debezium: at every quiet point the lake's tables are the source's, cell by cell.

const SEED = 20_261_121
const TRANSACTIONS = 60

let kafka: TestKafka
let postgres: Postgres
let connect: Connect
let sql: SqlConnection
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-cdc-live-'))
const started: { stop(): Promise<void> }[] = []
beforeAll(async () => {
  const [broker, database] = await Promise.all([keep(startKafka()), keep(startPostgres())])
  kafka = broker
  postgres = database
  connect = await keep(startConnect({ brokers: kafka.brokers }))
  sql = await postgres.connect()
}, 300_000)
afterAll(async () => {
  sql?.end()
  for (const part of started.toReversed()) await part.stop()
  rmSync(folder, { recursive: true, force: true })
})

test.each([{ withSchemas: true }, { withSchemas: false }])(
  'a live database at five quiet points, schemas in the records: $withSchemas',
  async ({ withSchemas }) => {
    const prefix = withSchemas ? 'wrapped' : 'bare'
    await prepare(prefix)
    for (const transaction of randomTransactions(SEED, TRANSACTIONS)) await sql.query(transaction)
    await connect.create(prefix, debeziumConfig(postgres, { prefix, tables: `${prefix}.*`, withSchemas }))
    const start = await place(prefix)
    let lake = await start()
    try {
      await expectEqual(lake, 1) // the snapshot
      for (const burst of [1, 2]) {
        for (const transaction of randomTransactions(SEED + burst, TRANSACTIONS)) await sql.query(transaction)
        await expectEqual(lake, 1 + burst)
      }
      // A burst that nobody follows, and what touches every row.
      await lake.close()
      for (const transaction of randomTransactions(SEED + 3, TRANSACTIONS)) await sql.query(transaction)
      lake = await start()
      await expectEqual(lake, 4)
      await sql.query(
        `begin; update pairs set b = b + 1000 where b >= 0; update docs set rev = rev + 1; delete from kinds where id % 2 = 0; commit`,
      )
      await expectEqual(lake, 5)
      const placeholders = await lake.sql`select count(*) n from docs where body like '%unavailable%'`
      expect(placeholders).toEqual([{ n: 0n }])
    } finally {
      await lake.close()
      await connect.remove(prefix)
    }
  },
  300_000,
)

/** A schema of its own with empty tables, which all later statements mean. */
async function prepare(schema: string): Promise<void> {
  await sql.query(
    `create schema ${schema}; set search_path = ${schema}; create type mood as enum ('low', 'ok', 'high')`,
  )
  for (const source of SOURCE_TABLES) await sql.query(createSql(source))
}

/** Opens a lake over the topics; again and again over the same store. */
async function place(prefix: string): Promise<() => Promise<Lake>> {
  const at = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  const settings: Settings = {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
  }
  const definitions = SOURCE_TABLES.map(({ name, key, columns }) => {
    const types = Object.fromEntries(Object.entries(columns).map(([column, { lake }]) => [column, lake]))
    const from = { topic: `${prefix}.${prefix}.${name}`, value: 'debezium' } as const
    const options = { from, key, columns: types }
    return table(name, options)
  })
  return () => open(defineLake({ live: definitions }), settings)
}

/** Marks each table, waits until the lake has the marks, and compares everything. */
async function expectEqual(lake: Lake, mark: number): Promise<void> {
  // A table's topic has one partition: what was written before the mark is before it in the log.
  for (const source of SOURCE_TABLES) await sql.query(markSql(source, mark))
  await until(
    `mark ${mark}`,
    async () => {
      await lake.pipelines[0]!.flush()
      const found = await Promise.all(SOURCE_TABLES.map((source) => hasMark(lake, source, mark)))
      return found.every(Boolean)
    },
    90_000,
  )
  for (const source of SOURCE_TABLES) {
    const kinds = Object.fromEntries(Object.entries(source.columns).map(([name, { kind }]) => [name, kind]))
    const expected = await sourceRows(source)
    const found = await lakeRows(lake, source.name, kinds)
    const where = `${source.name} at quiet point ${mark}`
    expect(await lake.sql(`select _offset, code, message from "${source.name}__dlq"`), where).toEqual([])
    expect(byKey(source, found), where).toEqual(byKey(source, expected))
    expect(found.length, where).toBe(expected.length)
    expect(expected.length, where).toBeGreaterThan(3)
  }
}

/** A row of a key that no random change touches; its last column says which mark. */
const MARK_KEYS: Readonly<Record<string, string>> = {
  kinds: 'id = -1',
  docs: 'id = -1',
  pairs: `a = 'mark' and b = -1`,
}
const MARK_COLUMNS: Readonly<Record<string, string>> = { kinds: 'vc', docs: 'title', pairs: 'v' }

function markSql({ name, key }: SourceTable, mark: number): string {
  const column = MARK_COLUMNS[name]!
  const values = name === 'pairs' ? `'mark', -1, '${mark}'` : `-1, '${mark}'`
  return `insert into ${name}(${key.join(', ')}, ${column}) values (${values}) on conflict (${key.join(', ')}) do update set ${column} = excluded.${column}`
}

async function hasMark(lake: Lake, { name }: SourceTable, mark: number): Promise<boolean> {
  const rows = await lake.sql(`select 1 from ${name} where ${MARK_KEYS[name]!} and ${MARK_COLUMNS[name]!} = '${mark}'`)
  return rows.length === 1
}

async function sourceRows({ name, columns }: SourceTable): Promise<readonly CellTexts[]> {
  const texts = '(select jsonb_object_agg(key, value) from jsonb_each_text(to_jsonb(source_row)))::text'
  const rows = await sql.query(`select ${texts} as row from ${name} source_row`)
  return rows.map(({ row }) => {
    const cells = JSON.parse(row!) as CellTexts
    return Object.fromEntries(
      Object.entries(columns).map(([column, { kind }]) => [column, sourceText(kind, cells[column] ?? null)]),
    )
  })
}

function byKey({ key }: SourceTable, rows: readonly CellTexts[]): Record<string, CellTexts> {
  return Object.fromEntries(rows.map((row) => [key.map((name) => row[name]).join('/'), row]))
}

async function keep<T extends { stop(): Promise<void> }>(starting: Promise<T>): Promise<T> {
  const part = await starting
  started.push(part)
  return part
}
