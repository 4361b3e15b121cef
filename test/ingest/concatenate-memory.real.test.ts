import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { DeletedRows } from '../../src/lake/table.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { ParquetReader } from '../support/parquet.ts'
import { PlainWriter } from '../support/plain-rows.ts'

/** Values of `_kafka_partition`, `_offset` and `_timestamp`. */
const system = (offset: number) => [0, BigInt(offset), null]

test('rows of many bytes take no more memory than there is', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-concatenate-'))
  const storage = await LocalStorage.open(folder)
  const reader = await ParquetReader.open()
  const writer = await PlainWriter.open()
  const wide = definition({ columns: [{ name: 'text', type: { kind: 'string' } }] })
  const { data } = tablePlan(wide)
  const work = await openTableWork({ tables: [wide], storage, clock: systemClock, memoryMaxBytes: 96 << 20 })
  onTestFinished(async () => {
    await work.close()
    reader.close()
    writer.close()
    await storage.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const rows = Array.from({ length: 1_000 }, (_, k) => [`${k} ${randomBytes(6_000).toString('base64')}`, ...system(k)])
  const file = await writer.write(storage, data, rows)
  const each = { file: file, firstRowId: undefined, sequenceNumber: 1n, deleted: new DeletedRows(1_000) }
  const joined = await work.concatenate(
    data,
    Array.from({ length: 12 }, () => each),
  )
  const numbers = await reader.rows(storage, joined, "split_part(text, ' ', 1)::int")
  expect(numbers).toEqual(Array.from({ length: 12_000 }, (_, k) => [k % 1_000]))
})
