import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { defineLake, open, table, type Lake } from '../../src/index.ts'
import type { Settings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { lakeRows, sourceText, type CellKind } from '../support/source-table.ts'

// Streams captured from real databases, through a real broker, give the tables they came from.

interface Captured {
  readonly topic: string
  readonly timestamp: string
  readonly key: string | null
  readonly value: string | null
}

interface SourceRow {
  readonly table: string
  readonly row: Readonly<Record<string, string | null>>
}

interface Case {
  readonly file: string
  /** Of the topics, before the name of the table. */
  readonly prefix: string
  readonly tables: Readonly<Record<string, CaseTable>>
}

interface CaseTable {
  readonly key: readonly string[]
  /** Type in the lake, and how its values are compared. */
  readonly columns: Readonly<Record<string, readonly [string, CellKind]>>
  /** Columns that had another name when some rows were sent for the last time. */
  readonly renamed?: Readonly<Record<string, string>>
}

const POSTGRES: Case['tables'] = {
  customers: {
    key: ['id'],
    columns: {
      id: ['long', 'text'],
      name: ['string', 'text'],
      created: ['timestamptz', 'timestamptz'],
      tier: ['long', 'text'],
      remark: ['string', 'text'],
      note: ['string', 'text'],
    },
    renamed: { remark: 'note' },
  },
  docs: {
    key: ['id'],
    columns: {
      id: ['int', 'text'],
      title: ['string', 'text'],
      body: ['string', 'text'],
      tags: ['list<string>', 'list'],
      meta: ['string', 'json'],
      rev: ['int', 'text'],
    },
  },
  pairs: { key: ['a', 'b'], columns: { a: ['string', 'text'], b: ['int', 'text'], v: ['string', 'text'] } },
  // Not here: an interval, of which the connector keeps an average.
  types: {
    key: ['id'],
    columns: {
      id: ['int', 'text'],
      si: ['int', 'text'],
      bi: ['long', 'text'],
      f4: ['float', 'double'],
      f8: ['double', 'double'],
      n: ['string', 'text'],
      n5: ['decimal(12,2)', 'text'],
      m: ['decimal(12,2)', 'money'],
      b: ['boolean', 'text'],
      c: ['string', 'text'],
      vc: ['string', 'text'],
      t: ['string', 'text'],
      by: ['binary', 'bytes'],
      d: ['date', 'text'],
      tm: ['long', 'time'],
      tmtz: ['string', 'timetz'],
      ts: ['timestamp(us)', 'timestamp'],
      ts3: ['timestamp(ms)', 'timestamp'],
      tstz: ['timestamptz', 'timestamptz'],
      u: ['uuid', 'text'],
      j: ['string', 'json'],
      jb: ['string', 'json'],
      ia: ['list<int>', 'list'],
      ta: ['list<string>', 'list'],
      na: ['list<decimal(8,2)>', 'list'],
      e: ['enum(low,ok,high)', 'text'],
      h: ['string', 'json'],
      inet: ['string', 'text'],
      r: ['string', 'text'],
      bits: ['binary', 'bits'],
      v5: ['binary', 'bits'],
      x: ['string', 'text'],
    },
  },
}

/** What only a schema tells: the digits behind the point of a number that no decimal column holds. */
const POSTGRES_WITH_SCHEMAS: Case['tables'] = {
  ...POSTGRES,
  types: { key: ['id'], columns: { ...POSTGRES['types']!.columns, big: ['string', 'text'] } },
}

const MARIADB: Case['tables'] = {
  customers: {
    key: ['id'],
    columns: {
      id: ['decimal(20,0)', 'text'],
      name: ['string', 'text'],
      created: ['timestamptz', 'timestamptz'],
      note: ['string', 'text'],
      tier: ['int', 'text'],
    },
  },
  types: { key: ['id'], columns: { id: ['int', 'text'], tx: ['string', 'text'], bu: ['decimal(20,0)', 'text'] } },
}

const CASES: readonly Case[] = [
  { file: 'postgres/json-plain', prefix: 'shopb.public', tables: POSTGRES },
  { file: 'postgres/json-schema', prefix: 'shopa.public', tables: POSTGRES_WITH_SCHEMAS },
  { file: 'mariadb/json-plain', prefix: 'inv2.inv', tables: MARIADB },
]

let kafka: TestKafka
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-cdc-'))
beforeAll(async () => {
  kafka = await startKafka()
})
afterAll(async () => {
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test.each(CASES)('$file gives the tables of its source', async ({ file, prefix, tables }) => {
  const records = lines<Captured>(`${file}.ndjson.gz`)
  const final = lines<SourceRow>(`${path.dirname(file)}/final.ndjson.gz`)
  for (const name of Object.keys(tables)) await produce(`${prefix}.${name}`, records)
  const lake = await lakeOver(file, prefix, tables)
  try {
    await lake.pipelines[0]!.flush()
    for (const [name, definition] of Object.entries(tables)) {
      const kinds = Object.fromEntries(Object.entries(definition.columns).map(([column, [, kind]]) => [column, kind]))
      const found = await lakeRows(lake, name, kinds)
      const sent = lastImages(records, `${prefix}.${name}`, definition, file.endsWith('schema'))
      const expected = final
        .filter((line) => line.table === name)
        .map(({ row }) => expectedRow(definition, row, sent.get(keyOf(definition, row))!, prefix.startsWith('inv')))
      expect(byKey(definition, found), name).toEqual(byKey(definition, expected))
      // A date that is infinite is no date; its row is deleted later on.
      const letters = await lake.sql<{ code: string }>(`select code from "${name}__dlq"`)
      expect(letters.length, `${name}: ${letters.map(({ code }) => code).join()}`).toBeLessThanOrEqual(
        name === 'types' && file.startsWith('postgres') ? 1 : 0,
      )
    }
  } finally {
    await lake.close()
  }
})

async function lakeOver(file: string, prefix: string, tables: Case['tables']): Promise<Lake> {
  const at = mkdtempSync(path.join(folder, `${file.replace('/', '-')}-`))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  const settings: Settings = {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
  }
  const definitions = Object.entries(tables).map(([name, { key, columns }]) => {
    const types = Object.fromEntries(Object.entries(columns).map(([column, [type]]) => [column, type]))
    const from = { topic: `${prefix}.${name}`, value: 'debezium' } as const
    const options = { from, key, columns: types, onTruncate: 'apply', unknown: 'ignore' } as const
    return table(name, options)
  })
  return open(defineLake({ cdc: definitions }), settings)
}

async function produce(topic: string, records: readonly Captured[]): Promise<void> {
  await kafka.createTopic(topic, 1)
  const batch = records
    .filter((record) => record.topic === topic)
    .map(({ key, value, timestamp }) => ({
      key: key === null ? undefined : Buffer.from(key),
      value: value === null ? undefined : Buffer.from(value),
      timestampMs: Number(timestamp),
      headers: [],
    }))
  // Batches of some records: changes of one row in one commit, and in several.
  for (let at = 0; at < batch.length; at += 7) await kafka.produce(topic, 0, batch.slice(at, at + 7))
}

/** The names of the columns that the last image of each row had, by its key. */
function lastImages(
  records: readonly Captured[],
  topic: string,
  { key: names, columns }: CaseTable,
  isWrapped: boolean,
): Map<string, Set<string>> {
  const images = new Map<string, Set<string>>()
  const payload = (text: string) => (isWrapped ? JSON.parse(text).payload : JSON.parse(text))
  for (const { key, value } of records.filter((record) => record.topic === topic && record.key !== null)) {
    const after = value === null ? undefined : payload(value).after
    if (after === undefined || after === null) continue
    const parts = names.map((name) => {
      const part = String(payload(key!)[name])
      return columns[name]![0].startsWith('decimal') ? wholeNumber(part) : part
    })
    images.set(parts.join('/'), new Set(Object.keys(after)))
  }
  return images
}

/** MariaDB's unsigned numbers come as the bytes of a decimal. */
function wholeNumber(base64: string): string {
  return String(BigInt(`0x${Buffer.from(base64, 'base64').toString('hex')}`))
}

/** What the lake must have of a source's row: what was sent of it, and nothing of what never was. */
function expectedRow(
  { columns, renamed = {} }: CaseTable,
  row: SourceRow['row'],
  sent: ReadonlySet<string>,
  isZoneless: boolean,
): Record<string, string | null> {
  const cells = Object.entries(columns).map(([name, [, kind]]): [string, string | null] => {
    const now = Object.entries(renamed).find(([, before]) => before === name)?.[0] ?? name
    if (!sent.has(name)) return [name, null]
    const text = sourceText(kind, row[now] ?? null)
    return [name, kind === 'timestamptz' && isZoneless && text !== null ? withZone(text) : text]
  })
  return Object.fromEntries(cells)
}

/** The form of MariaDB's timestamps, which have no zone in their text, and six digits always. */
function withZone(text: string): string {
  return `${text.replace(/\.?0+$/, (zeros) => (zeros.startsWith('.') ? '' : zeros))}+00`
}

function keyOf({ key }: CaseTable, row: SourceRow['row']): string {
  return key.map((name) => row[name]).join('/')
}

function byKey(definition: CaseTable, rows: readonly SourceRow['row'][]): Record<string, SourceRow['row']> {
  expect(new Set(rows.map((row) => keyOf(definition, row))).size).toBe(rows.length)
  return Object.fromEntries(rows.map((row) => [keyOf(definition, row), row]))
}

function lines<T>(name: string): T[] {
  const bytes = readFileSync(new URL(`../fixtures/debezium/${name}`, import.meta.url))
  return gunzipSync(bytes)
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)
}
