import { expect, test } from 'vitest'
import type { StagedKeys } from '../../src/ingest/keys.ts'
import { KeyedTable } from '../../src/ingest/upsert.ts'
import type { DataFile } from '../../src/lake/table.ts'

const fileOf = (key: string, recordCount: number): DataFile => ({
  key,
  recordCount,
  fileSizeBytes: 1,
  partition: [],
  metrics: new Map(),
})

/** Rows 0 to `count` of one file, each with a key of its own. */
function batch(file: DataFile, first: number) {
  const { recordCount: count } = file
  const hashes = new Uint32Array(4 * count)
  for (let k = 0; k < count; k++)
    hashes.set([Math.imul(first + k, 0x9e3779b1), first + k, 7, Math.imul(first + k, 0x5bd1e995)], 4 * k)
  const keys: StagedKeys = {
    count,
    hashes,
    files: new Int32Array(count),
    rows: Uint32Array.from({ length: count }, (_, k) => k),
    offsets: new BigInt64Array(count),
    runs: [{ partition: 0, count }],
    versions: undefined,
    bare: undefined,
    holes: undefined,
  }
  return { table: 't', files: [file], deadLetterFiles: [], counts: new Map(), keys }
}

test('forwarding addresses go though compactions follow each other faster than the index is swept once', () => {
  const table = new KeyedTable('t', false)
  table.fold(batch(fileOf('all', 100), 0))
  let most = 0
  for (let k = 0; k < 500; k++) {
    const inputs = table.files.map(({ file, deleted }) => ({
      file,
      deleted: deleted.clone(),
      firstRowId: undefined,
      sequenceNumber: 1n,
    }))
    table.replace(inputs, fileOf(`out${k}`, 100))
    for (let step = 0; step < 8; step++) table.sweep(4)
    most = Math.max(most, table.forwarded)
  }
  expect(most).toBeLessThanOrEqual(8)
  table.fold(batch(fileOf('again', 100), 0))
  expect(table.files.map(({ file, deleted }) => [file.key, deleted.count])).toEqual([
    ['out499', 100],
    ['again', 0],
  ])
})
