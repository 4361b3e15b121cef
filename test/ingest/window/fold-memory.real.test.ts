import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { tableColumns } from '../../../src/ingest/decode/columns.ts'
import { openWindowFold } from '../../../src/ingest/window/fold.ts'
import { shapeOf } from '../../../src/ingest/window/shape.ts'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { lateColumns, partialColumns, resultColumns } from '../../../src/window/columns.ts'
import { partialsSql } from '../../../src/window/long-rows.ts'
import { writePlan } from '../../support/lake-table.ts'
import { aggregate, source, windowOf } from './fold-harness.ts'

const MINUTE = 60_000
const GROUPS = 8_000
const MINUTES = 30

let folder: string
let connection: DuckDBConnection

beforeEach(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-fold-memory-'))
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})

afterEach(() => {
  connection.closeSync()
  rmSync(folder, { recursive: true, force: true })
})

/** Folds a record of each group and minute, then has all of their windows become final at once. Gives the results. */
async function closeAll(definition: WindowDefinition, memoryMaxBytes: number): Promise<string> {
  const storage = await LocalStorage.open(path.join(folder, 'store'))
  const shape = shapeOf(definition, source)
  const plans = {
    results: writePlan('w', resultColumns(shape)),
    state: writePlan('w__state', partialColumns(shape)),
    late: writePlan('w__late', lateColumns(tableColumns(source))),
  }
  const fold = await openWindowFold({
    windows: [definition],
    tables: [source],
    storage,
    clock: systemClock,
    memoryMaxBytes,
  })
  try {
    const size = definition.window.kind === 'tumbling' ? definition.window.sizeMs : MINUTE
    for (let minute = 0; minute < MINUTES; minute++) {
      const file = path.join(folder, `${minute}.parquet`)
      const start = minute * MINUTE - ((minute * MINUTE) % size)
      await connection.run(
        `COPY (${partialsSql(
          shape,
          'events',
          `(SELECT 'group ' || range AS g, 1 AS v, 0.1 AS x, CAST(NULL AS DECIMAL(38, 0)) AS d, ${start} AS __start, ${start + size} AS __end,
CAST(NULL AS BIGINT) AS __min_end, ${minute * MINUTE} AS __event_ms, 0 AS _kafka_partition, range AS _offset FROM range(${GROUPS}))`,
        )}) TO '${file}' (FORMAT parquet)`,
      )
      await fold.fold('w', { ...times(undefined), head: undefined, partials: [file], ...plans })
    }
    const { results } = await fold.fold('w', {
      ...times(MINUTES * MINUTE - 1),
      head: undefined,
      partials: [],
      ...plans,
    })
    return `read_parquet([${results.files.map(({ key }) => `'${path.join(folder, 'store', key)}'`).join(', ')}], file_row_number = true)`
  } finally {
    await fold.close()
    await storage.close()
  }
}

function times(watermarkMs: number | undefined) {
  return { watermarkMs, clockMsMin: watermarkMs, nowMs: 0, isLast: false }
}

async function row(sql: string): Promise<unknown[]> {
  const [found] = (await connection.runAndReadAll(sql)).getRows()
  return found!.map((value) => (typeof value === 'bigint' ? Number(value) : value))
}

test('a little memory is enough for many hopping windows that become final at once', { timeout: 120_000 }, async () => {
  const results = await closeAll(
    windowOf({
      window: { kind: 'hopping', sizeMs: 60 * MINUTE, slideMs: MINUTE, offsetMs: 0 },
      emit: 'close',
      select: [aggregate('n', 'count'), aggregate('total', 'sum', 'x')],
    }),
    40 * 2 ** 20,
  )
  // The k-th window to end has the first k minutes.
  const isRight = 'n = epoch_ms(window_end) // 60000 AND abs(total - 0.1 * n) < 1e-9 AND _final'
  expect(
    await row(`SELECT count(*), count(*) FILTER (WHERE ${isRight}), count(DISTINCT (g, window_end)) FROM ${results}`),
  ).toEqual([GROUPS * MINUTES, GROUPS * MINUTES, GROUPS * MINUTES])
  // In the order of their ends, so that readers skip most of a file.
  const ends = `SELECT window_end < lag(window_end) OVER (ORDER BY file_row_number) AS is_back FROM ${results}`
  expect(await row(`SELECT count(*) FILTER (WHERE is_back) FROM (${ends})`)).toEqual([0])
})

test('and for many groups of one window', { timeout: 120_000 }, async () => {
  const definition = windowOf({
    window: { kind: 'tumbling', sizeMs: MINUTE, offsetMs: 0 },
    emit: 'close',
    select: [aggregate('n', 'count'), aggregate('total', 'sum', 'x'), aggregate('mean', 'avg', 'x')],
  })
  const results = await closeAll(definition, 40 * 2 ** 20)
  expect(await row(`SELECT count(*), sum(n), min(total), max(mean) FROM ${results}`)).toEqual([
    GROUPS * MINUTES,
    GROUPS * MINUTES,
    0.1,
    0.1,
  ])
})

test('what cannot be spilled ends with the name of the limit', { timeout: 120_000 }, async () => {
  const definition = windowOf({
    window: { kind: 'hopping', sizeMs: 60 * MINUTE, slideMs: MINUTE, offsetMs: 0 },
    emit: 'close',
    select: [aggregate('all', 'top', 'v')].map((each) => ({ ...each, n: 1_000 })),
  })
  await expect(closeAll(definition, 5 * 2 ** 20)).rejects.toMatchObject({
    code: 'window.memory_max',
    retryable: false,
    context: { memoryMaxBytes: 5 * 2 ** 20 },
    fix: expect.stringContaining('windows.memory'),
  })
})
