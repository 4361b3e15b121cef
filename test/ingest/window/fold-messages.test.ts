import { expect, test } from 'vitest'
import { performFold, remoteFold, type FoldCall } from '../../../src/ingest/window/fold-messages.ts'
import type { StoredRows, StoredWindow, WindowFold } from '../../../src/ingest/window/window.ts'
import { DeletedRows } from '../../../src/lake/table.ts'
import { writePlan } from '../../support/lake-table.ts'

/** A file of three rows, of which one is dead. */
function stored(key: string): StoredRows {
  const deleted = new DeletedRows(3)
  deleted.add(1)
  return { file: { key, recordCount: 3, fileSizeBytes: 1, partition: [], metrics: new Map() }, deleted }
}

test('what a window reads back arrives whole, that of its source and its deleted keys too', async () => {
  const loaded: StoredWindow[] = []
  const fold = { load: async (_: string, window: StoredWindow) => void loaded.push(window) } as unknown as WindowFold
  const send = (call: FoldCall): Promise<unknown> => performFold(fold, structuredClone(call))
  const remote = remoteFold(send, () => Promise.resolve())
  const plan = writePlan('t', [])
  const own = { results: [stored('r')], state: [stored('s')], watermarkMs: 7 }
  const source = { plan, rows: [stored('t')], deletes: undefined }
  await remote.load('w', own)
  await remote.load('w', { ...own, source })
  await remote.load('w', { ...own, source: { ...source, deletes: { plan, rows: [stored('d')] } } })
  const seen = loaded.map(({ results, state, source }) =>
    [results, state, source?.rows, source?.deletes?.rows].map((rows) =>
      rows?.map(({ file, deleted }) => [file.key, deleted.has(0), deleted.has(1)]),
    ),
  )
  expect(loaded.map(({ watermarkMs }) => watermarkMs)).toEqual([7, 7, 7])
  const of = (key: string) => [[key, false, true]]
  expect(seen).toEqual([
    [of('r'), of('s'), undefined, undefined],
    [of('r'), of('s'), of('t'), undefined],
    [of('r'), of('s'), of('t'), of('d')],
  ])
})
