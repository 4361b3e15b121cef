import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { TableWork } from '../../src/ingest/keys.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { DeletedRows, type DataFile, type Storage } from '../../src/lake/table.ts'
import type { Engine } from '../../src/query/engine.ts'
import type { Scan } from '../../src/query/table-files.ts'
import { makeLake, openLakeEngine, type TestLake } from '../server/support.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { alive } from '../support/stored-keys.ts'

// Files that have made other readers of Parquet crash, in the place of a table's data file. Here DuckDB reads them: in
// the process of a query, and in a lane that puts files together. Columns are found by Iceberg's field ids, which none of
// them has, so it is footers and row groups that are read of them rather than pages.

const FOLDER = path.resolve(import.meta.dirname, '../fixtures/parquet-testing')
const FILES = readdirSync(FOLDER).filter((name) => name.endsWith('.parquet'))
const LIMIT_MS = 20_000

test('the corpus is whole', () => expect(FILES).toHaveLength(10))

describe('in the place of a data file', () => {
  let lake: TestLake
  let engine: Engine
  let key: string
  beforeAll(async () => {
    lake = await makeLake({ shop: ['orders'], web: ['views'] })
    await lake.commit('shop', 50)
    await lake.commit('web', 3)
    for await (const each of lake.storage.list('tables/orders/data/')) key = each.key
    // Manifests that give the size of what lies there: any other one is refused before DuckDB sees the file.
    const scan: Scan = {
      readDeletedRows,
      storedFiles: async (storage, table) =>
        (await storedFiles(storage, table)).map((file) => ({
          ...file,
          get fileSizeBytes() {
            return statSync(path.join(lake.folder, 'store', file.key)).size
          },
        })),
    }
    const served = { ...lake, scan }
    engine = await openLakeEngine(served, { children: 1 })
  }, 60_000)
  afterAll(async () => {
    await engine?.close()
    await lake?.close()
  })

  test.each(FILES)('%s ends its query, and no other', { timeout: LIMIT_MS }, async (name) => {
    await lake.storage.put(key, readFileSync(path.join(FOLDER, name)))
    const sums = 'select count(*) n, sum(amount) s, sum(id) i, max(_offset) o from orders'
    const outcome = await engine.rows({ sql: sums }).then(
      // Of a file without our columns there is nothing but the number of its rows.
      ([row]) => JSON.stringify({ ...row, n: undefined }),
      ({ code, message }: { readonly code?: string; readonly message: string }) =>
        message.includes('bytes instead of') ? 'measured' : code,
    )
    expect(['{"s":null,"i":null,"o":null}', 'store.corrupt', 'sql.failed']).toContain(outcome)
    expect(await engine.rows({ sql: 'select count(*) n from views' })).toEqual([{ n: 3n }])
  })
})

describe('among the files that are put together', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-foreign-'))
  const columns = [{ name: 'k', type: { kind: 'string' }, required: true }] as const
  const def = definition({ columns, key: ['k'], recordKey: 'string' })
  const plan = tablePlan(def)
  let storage: Storage
  let work: TableWork & { close(): Promise<void> }
  beforeAll(async () => {
    storage = await LocalStorage.open(folder)
    work = await openTableWork({ tables: [def], storage, clock: systemClock, memoryMaxBytes: 1 << 28 })
  })
  afterAll(async () => {
    await work?.close()
    await storage?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(FILES)('%s is refused, and nothing is made of it', { timeout: LIMIT_MS }, async (name) => {
    const bytes = readFileSync(path.join(FOLDER, name))
    const key = `${plan.data.dataPrefix}${name}`
    await storage.put(key, bytes)
    const file: DataFile = { key, recordCount: 3, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
    // Broken, or not the rows that the manifest counts.
    const error = { code: expect.stringMatching(/^(store\.corrupt|internal)$/) }
    await expect(work.readKeys(plan, [alive(file)])).rejects.toMatchObject(error)
    const input = { file, firstRowId: undefined, sequenceNumber: 1n, deleted: new DeletedRows(3) }
    await expect(work.concatenate(plan.data, [input])).rejects.toMatchObject(error)
  })
})
