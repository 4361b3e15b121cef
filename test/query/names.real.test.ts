import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { table, type TableDefinition } from '../../src/define.ts'
import { tableColumns } from '../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { openChain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { appendFiles, createTable, writePlan } from '../../src/lake/table.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { lakeResolver } from '../../src/query/view.ts'
import { naughtyStrings } from '../ingest/decode/corpora.ts'
import { batchOf, tablePlan } from '../support/lake-table.ts'
import { CHILD_PATH, querySettings } from './support.ts'
import { content } from '../support/scripted-chain.ts'

// Tables and columns of every naughty name that a definition takes: written, and asked for by that name.

const COLUMNS = columnNames()
const TABLES = naughtyStrings().filter((name) => takes(name, 'id'))
const STRINGS = naughtyStrings()
let folder: string
let engine: Engine
let close: () => Promise<void>

function takes(name: string, column: string): boolean {
  try {
    definitionOf(name, [column])
    return true
  } catch {
    return false
  }
}

function columnNames(): readonly string[] {
  const names = naughtyStrings().filter((name) => takes('a', name))
  return [...new Map(names.map((name) => [name.toLowerCase(), name])).values()]
}

function definitionOf(name: string, columns: readonly string[]): TableDefinition {
  return table(name, { from: { topic: 't' }, columns: Object.fromEntries(columns.map((each) => [each, 'string'])) })
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-names-'))
  const storage = await LocalStorage.open(path.join(folder, 'store'))
  const definitions = [definitionOf('naughty', COLUMNS), ...TABLES.map((name) => definitionOf(name, ['text']))]
  const encoder = await openEncoder({ tables: definitions, storage, clock: systemClock })
  const tables: Record<string, { metadata: string; snapshot: bigint | undefined; code: string }> = {}
  for (const def of definitions) {
    const spec = { name: def.name, columns: tableColumns(def), partitionBy: [], formatVersion: 2 } as const
    const made = await createTable(storage, spec, systemClock)
    const values =
      def.name === 'naughty'
        ? [Object.fromEntries(COLUMNS.map((name) => [name, `value of ${name}`]))]
        : STRINGS.map((text) => ({ text }))
    const records = values.map((value) => ({ value: JSON.stringify(value) }))
    const staged = await encoder.encode(
      { ...tablePlan(def), data: writePlan(made) },
      [batchOf(records, { topic: 't' })],
      new Set(),
    )
    const stamp = { commitId: systemClock.uuid(), version: 1n, ranges: '' }
    const { metadata, snapshot } = await appendFiles(storage, made, staged.files, stamp, systemClock)
    tables[def.name] = { metadata, snapshot, code: 'c0de' }
  }
  await encoder.close()
  const chain = openChain(storage, 'shop', systemClock)
  await chain.append(undefined, {
    commitId: systemClock.uuid(),
    build: () => Promise.resolve(content(0n, { tables, positions: new Map() })),
  })
  const settings = querySettings({ children: 1, cacheDir: path.join(folder, 'cache') })
  const resolve = lakeResolver({ storage, chains: new Map([['shop', chain]]), settings, clock: systemClock })
  engine = await openEngine({ settings, resolve, clock: systemClock, childPath: CHILD_PATH })
  close = async () => {
    await engine.close()
    await storage.close()
    await rm(folder, { recursive: true, force: true })
  }
}, 120_000)
afterAll(() => close())

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

test('columns are found by their names, alone and all together', async () => {
  expect(COLUMNS.length).toBeGreaterThan(50)
  const [row] = await engine.rows({ sql: `select ${COLUMNS.map(quoted).join(', ')} from naughty` })
  expect(row).toEqual(Object.fromEntries(COLUMNS.map((name) => [name, `value of ${name}`])))
  for (const name of COLUMNS.slice(0, 10)) {
    const sql = `select count(*) n from naughty where ${quoted(name)} = $1`
    expect(await engine.rows({ sql, params: [`value of ${name}`] }), name).toEqual([{ n: 1n }])
  }
})

test('tables are found by their names, and their texts by equal ones', async () => {
  expect(TABLES.length).toBeGreaterThan(5)
  for (const name of TABLES) {
    const sql = `select count(*) n, count(distinct text) d from ${quoted(name)}`
    expect(await engine.rows({ sql }), name).toEqual([{ n: 515n, d: BigInt(new Set(STRINGS).size) }])
  }
  const [name] = TABLES as [string]
  for (const text of STRINGS.filter((_, k) => k % 25 === 0)) {
    const found = await engine.rows({ sql: `select count(*) n from ${quoted(name)} where text = $1`, params: [text] })
    expect(found, text).toEqual([{ n: BigInt(STRINGS.filter((each) => each === text).length) }])
  }
})
