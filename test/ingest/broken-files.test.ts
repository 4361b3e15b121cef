import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { TableWork } from '../../src/ingest/keys.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { DeletedRows, type DataFile, type Storage } from '../../src/lake/table.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { PlainWriter } from '../support/plain-rows.ts'
import { alive } from '../support/stored-keys.ts'

// What lanes do with stored files, with files that are broken: the pipeline is told which one it is.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-broken-'))
const columns = [{ name: 'k', type: { kind: 'string' }, required: true }] as const
const def = definition({ columns, key: ['k'], recordKey: 'string' })
const plan = tablePlan(def)
let writer: PlainWriter
beforeAll(async () => {
  writer = await PlainWriter.open()
})
afterAll(() => {
  writer.close()
  rmSync(folder, { recursive: true, force: true })
})

describe.each(['local', 'memory'] as const)('in a %s store', (kind) => {
  let storage: Storage
  let work: TableWork & { close(): Promise<void> }
  let file: DataFile
  let whole: Uint8Array
  let foreign: Uint8Array
  beforeAll(async () => {
    storage = kind === 'local' ? await LocalStorage.open(path.join(folder, 'store')) : new MemoryStorage('broken')
    work = await openTableWork({ tables: [def], storage, clock: systemClock, memoryMaxBytes: 1 << 28 })
    const rows = Array.from({ length: 3_000 }, (_, k) => [`the key of row ${k}`, 0, BigInt(k), null])
    file = await writer.write(storage, plan.data, rows)
    whole = (await storage.get(file.key))!
    const other = await writer.write(storage, plan.data, [['k', 0, 0n, null]])
    foreign = (await storage.get(other.key))!
  })
  afterAll(async () => {
    await work.close()
    await storage.close()
  })

  test.each<[string, (bytes: Buffer) => Uint8Array]>([
    ['cut', (bytes) => bytes.subarray(0, bytes.length >> 1)],
    ['emptied', () => new Uint8Array(0)],
    ['zeros', (bytes) => bytes.fill(0)],
    ['pages of zeros', (bytes) => bytes.fill(0, 4, bytes.length >> 1)],
    ['a footer of zeros', (bytes) => bytes.fill(0, bytes.length - 100, bytes.length - 8)],
    ['a whole file of other rows', () => foreign],
  ])('%s', async (_, broken) => {
    await storage.put(file.key, broken(Buffer.from(whole)))
    const error = { code: 'store.corrupt', context: { key: file.key } }
    await expect(work.readKeys(plan, [alive(file)])).rejects.toMatchObject(error)
    const input = { file, firstRowId: undefined, sequenceNumber: 1n, deleted: new DeletedRows(file.recordCount) }
    await expect(work.concatenate(plan.data, [input])).rejects.toMatchObject(error)
    await storage.put(file.key, whole)
    expect((await work.readKeys(plan, [alive(file)])).cells.length).toBe(4 * 3_000)
  })
})
