import { readFileSync } from 'node:fs'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { systemClock } from '../src/clock.ts'
import { LakeError } from '../src/error.ts'
import { openEngine, type TableResolver } from '../src/query/engine.ts'
import { checkText, inspect } from '../src/query/gate.ts'
import type { QuerySettings } from '../src/settings.ts'
import { rounded } from './support/figures.mjs'

/** What it costs that a caller's SQL is judged before it runs, and runs in a process and a database of its own. */
interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: 'ms'
  readonly target: string
  readonly ratio: number
  readonly peer: { readonly name: string; readonly value: number }
  readonly pass: boolean
  readonly detail: Readonly<Record<string, number>>
}

const GATE_MS_MAX = 2
const WARM_MS_MAX = 30
const ROUNDS = 5
const QUERIES = 40

export async function measure(childPath: string, fixtures: string): Promise<readonly Figure[]> {
  return [await gate(fixtures), await warmStart(childPath)]
}

/** Parsing included: that is most of it. */
async function gate(fixtures: string): Promise<Figure> {
  const list = ['attacks', 'families', 'legitimate'].flatMap((name) =>
    readFileSync(path.join(fixtures, `${name}.sql`), 'utf8')
      .split('\n')
      .filter((line) => line !== ''),
  )
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const timesMs: number[] = []
  let judgedMs = 0
  for (let round = -1; round < ROUNDS; round++)
    for (const sql of list) {
      const startMs = systemClock.monotonicMs()
      checkText(sql)
      const answer = await connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
      const tree = String(answer.getRowsJS()[0]![0])
      const parsedMs = systemClock.monotonicMs()
      try {
        inspect(tree)
      } catch (error) {
        if (!(error instanceof LakeError)) throw error
      }
      if (round < 0) continue
      const endMs = systemClock.monotonicMs()
      timesMs.push(endMs - startMs)
      judgedMs += endMs - parsedMs
    }
  connection.closeSync()
  instance.closeSync()
  const meanMs = timesMs.reduce((sum, ms) => sum + ms, 0) / timesMs.length
  return {
    name: 'gate.statement',
    value: rounded(meanMs),
    unit: 'ms',
    target: `at most ${GATE_MS_MAX} ms a statement`,
    ratio: rounded(meanMs / GATE_MS_MAX),
    peer: { name: 'limit', value: GATE_MS_MAX },
    pass: meanMs <= GATE_MS_MAX,
    detail: {
      statements: list.length,
      p50Ms: rounded(quantile(timesMs, 0.5)),
      p99Ms: rounded(quantile(timesMs, 0.99)),
      /** Without parsing. */
      judgedMs: rounded(judgedMs / timesMs.length),
    },
  }
}

/** From asking to the answer of a query that does nothing, where a process waits for it. */
async function warmStart(childPath: string): Promise<Figure> {
  const resolve: TableResolver = {
    resolve: () => Promise.resolve({ views: [], versions: new Map(), release: () => undefined }),
    changes: () => Promise.reject(new LakeError('table.unknown', 'there is nothing to compare')),
  }
  const settings: QuerySettings = {
    children: 1,
    queueMax: 1,
    rowsMax: 10,
    bytesMax: 1 << 20,
    timeoutMs: 10_000,
    memoryBytesMax: 1 << 30,
    cacheDir: '',
    cacheBytesMax: 0,
  }
  const startMs = systemClock.monotonicMs()
  const engine = await openEngine({ settings, resolve, clock: systemClock, childPath })
  const coldMs = systemClock.monotonicMs() - startMs
  const timesMs: number[] = []
  try {
    for (let round = 0; round < QUERIES; round++) {
      const askedMs = systemClock.monotonicMs()
      await engine.rows({ sql: 'select 1' })
      timesMs.push(systemClock.monotonicMs() - askedMs)
      await systemClock.sleep(40) // the process opens its next database meanwhile
    }
  } finally {
    await engine.close()
  }
  const medianMs = quantile(timesMs, 0.5)
  return {
    name: 'gate.warm-start',
    value: rounded(medianMs),
    unit: 'ms',
    target: `at most ${WARM_MS_MAX} ms`,
    ratio: rounded(medianMs / coldMs),
    peer: { name: 'a new process', value: rounded(coldMs) },
    pass: medianMs <= WARM_MS_MAX,
    detail: { queries: QUERIES, p90Ms: rounded(quantile(timesMs, 0.9)) },
  }
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!
}
