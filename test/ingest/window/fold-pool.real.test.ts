import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { lateColumns, partialColumns, resultColumns } from '../../../src/window/columns.ts'
import { shapeOf } from '../../../src/ingest/window/shape.ts'
import { startFold } from '../../../src/ingest/window/fold-pool.ts'
import type { FoldRequest } from '../../../src/ingest/window/window.ts'
import { DeletedRows, type WritePlan } from '../../../src/lake/table.ts'
import { writePlan } from '../../support/lake-table.ts'
import { until } from '../../support/processes.ts'
import { FoldHarness, source, windowOf } from './fold-harness.ts'

const CHILD_PATH = path.resolve(import.meta.dirname, '../../../dist/fold-child.js')
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-fold-pool-'))
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function start(parts: Parameters<typeof windowOf>[0] = {}) {
  const store = mkdtempSync(path.join(folder, 'store-'))
  const output: string[] = []
  const fold = await startFold({
    windows: [windowOf(parts)],
    tables: [source],
    childPath: CHILD_PATH,
    settings: { store: { url: `file:${store}` }, memoryBytesMax: 1 << 28 },
    clock: systemClock,
    onOutput: (text) => output.push(text),
  })
  closing.push(() => fold.close())
  return { fold, output, request: requestOf(parts) }
}

function requestOf(parts: Parameters<typeof windowOf>[0]): FoldRequest {
  const shape = shapeOf(windowOf(parts), source)
  const plan = (name: string, columns: Parameters<typeof writePlan>[1]): WritePlan => writePlan(name, columns)
  return {
    head: undefined,
    partials: [],
    watermarkMs: undefined,
    clockMsMin: undefined,
    nowMs: 0,
    isLast: false,
    results: plan('w', resultColumns(shape)),
    state: plan('w__state', partialColumns(shape)),
    late: plan('w__late', lateColumns([])),
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('a fold in a process of its own', () => {
  test('folds, and knows again what it is told of files with deleted rows', async () => {
    const harness = await FoldHarness.open({}, CHILD_PATH)
    closing.push(() => harness.close())
    const batch = [1, 2, 11].map((ts) => ({
      g: 'a',
      v: 1,
      ts,
      start: Math.floor(ts / 10) * 10,
      end: Math.floor(ts / 10) * 10 + 10,
    }))
    const folded = await harness.fold({ batches: [batch], watermarkMs: 0 })
    expect(folded.results.files[0]!.metrics).toBeInstanceOf(Map)
    await harness.fold({ batches: [batch.slice(0, 1)], watermarkMs: 0 })
    await harness.restart()
    await harness.compact('results')
    await harness.fold({ batches: [batch.slice(0, 1)], watermarkMs: 9 })
    expect(harness.results.rows.map((row) => [row['window_start'], row['n'], row['_final']]).toSorted()).toEqual([
      [0, 4, true],
      [10, 1, false],
    ])
  })

  test('an error keeps its code and its facts, and the process goes on', async () => {
    const { fold, request } = await start()
    const deleted = new DeletedRows(1)
    const file = {
      key: 'tables/w/data/none.parquet',
      recordCount: 1,
      fileSizeBytes: 1,
      partition: [],
      metrics: new Map(),
    }
    await expect(
      fold.load('w', { results: [{ file, deleted }], state: [], watermarkMs: undefined }),
    ).rejects.toMatchObject({
      name: 'LakeError',
    })
    await expect(fold.fold('v', request)).rejects.toMatchObject({ code: 'internal', message: /no definition of v/ })
    expect(await fold.fold('w', request)).toMatchObject({ openRows: 0, results: { files: [], superseded: [] } })
  })

  test('a death rejects the call under way and all later ones, and says that they may be tried again', async () => {
    const { fold, request } = await start()
    const pending = fold.fold('w', request)
    process.kill(fold.pid!, 'SIGKILL')
    const error = { code: 'window.fold_failed', retryable: true, context: { reason: 'SIGKILL' } }
    await expect(pending).rejects.toMatchObject(error)
    await expect(fold.fold('w', request)).rejects.toMatchObject(error)
  })

  test('closing ends the process', async () => {
    const { fold, request } = await start()
    expect(isAlive(fold.pid!)).toBe(true)
    const pending = fold.fold('w', request).catch((error: unknown) => error)
    await fold.close()
    await until('the process is gone', () => !isAlive(fold.pid!))
    expect(await pending).toMatchObject({ code: 'window.fold_failed' })
  })

  test('one that cannot be started is an error', async () => {
    const options = {
      windows: [],
      tables: [],
      childPath: '/nowhere/fold-child.js',
      settings: { store: { url: `file:${folder}/none` }, memoryBytesMax: 1 << 28 },
      clock: systemClock,
    }
    await expect(startFold(options)).rejects.toMatchObject({ code: 'window.fold_failed' })
  })
})
