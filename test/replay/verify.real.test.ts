import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { table, type PipelineDefinition, type TableDefinition } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import type { TableDifference, ReplayDifference } from '../../src/replay-status.ts'
import { verify } from '../../src/replay/verify.ts'
import type { Version } from '../../src/version.ts'
import { beginFork, reachBase } from '../support/fork.ts'
import { runOnce } from '../support/fork-lake.ts'
import { tableDigest } from '../support/table-digest.ts'
import { windowOf } from '../support/window-cases.ts'
import { Lakes, type Lake } from '../support/window-lake.ts'

// A fork that is built by the path as it is, with real Parquet and real windows, and what is found when it is verified.

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

const columns = { at: 'long', g: 'string required', v: 'long', n: 'long' } as const
const eventTime = { column: 'at', unit: 'ms', outOfOrderness: '5ms', idleAfter: '1h', maxFutureSkew: '1000h' } as const
const from = { topic: 'c' } as const

const sourcesOf = (where?: string): readonly TableDefinition[] => {
  const more = where === undefined ? {} : { where }
  return [
    table('t', { from, columns, eventTime, ...more }),
    table('k', { from, columns, eventTime, key: ['g'] }),
    table('v', { from, columns, eventTime, key: ['g'], version: 'n' }),
  ]
}
const WINDOWS: readonly WindowDefinition[] = [
  { ...windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 't'), name: 'tumbling' },
  { ...windowOf({ kind: 'hopping', sizeMs: 40, slideMs: 5, offsetMs: 1 }, 't'), name: 'sliced' },
  { ...windowOf({ kind: 'session', gapMs: 4 }, 't'), name: 'sessions', emit: 'close' },
  { ...windowOf({ kind: 'tumbling', sizeMs: 20, offsetMs: 0 }, 'k'), name: 'current', input: 'rows', earlyMs: 60_000 },
].map((window) => ({
  ...(window as WindowDefinition),
  select: (window as WindowDefinition).select.filter(({ name }) => ['n', 'total', 'newest'].includes(name)),
}))

const definitionOf = (tables: readonly TableDefinition[], windows = WINDOWS): PipelineDefinition => ({
  name: 'p',
  onDataLoss: 'stop',
  tables,
  windows,
})

function append(lake: Lake): void {
  for (let k = 0; k < 60; k++) {
    const g = 'abcd'[(k * 7) % 4]!
    const key = Buffer.from(g)
    const at = 3 * k - (k % 9 === 8 ? 40 : (k * 5) % 7)
    const text = k % 13 === 5 ? '{"at": "no"' : JSON.stringify({ at, g, v: k % 4, n: k })
    const value = k % 11 === 7 ? undefined : Buffer.from(text)
    lake.log.append('c', k % 2, [{ timestampMs: 1_000, key, value }])
  }
}

interface Verified {
  readonly found: ReplayDifference
  readonly base: Version
  readonly fork: Version
  readonly lake: Lake
}

/** Runs the one code, builds a fork of the other in other batches, and compares. */
async function verified(before: PipelineDefinition, after: PipelineDefinition, names: string[]): Promise<Verified> {
  const lake = await lakes.create(before, 2)
  const { storage, log } = lake
  append(lake)
  const main = { storage, log, chain: lake.chain, definition: before, lanes: 1, recordsMax: 17, offsetsMax: 5 }
  const base = await runOnce(main)
  const rebuilt = new Set(names)
  const parts = { storage, definition: after, rebuilt, base }
  const begun = await beginFork(parts)
  const { part, run, until } = begun
  const building = { ...main, chain: begun.chain, definition: part.definition, fork: run, until }
  await runOnce({ ...building, lanes: 3, recordsMax: 1_000, offsetsMax: 100 })
  await reachBase(begun, parts)
  const fork = (await begun.chain.head())!
  const work = await openTableWork({ tables: after.tables, storage, clock: systemClock })
  try {
    const found = await verify(base, fork, after, storage, work)
    expect(await verify(base, fork, after, storage, work)).toEqual(found)
    return { found, base, fork, lake }
  } finally {
    await work.close()
  }
}

const tableOf = ({ tables }: ReplayDifference, name: string): TableDifference =>
  tables.find((table) => table.table === name)!

test('the same code over the same log is equal, table by table', { timeout: 240_000 }, async () => {
  const definition = definitionOf(sourcesOf())
  const names = [...definition.tables, ...definition.windows].map(({ name }) => name)
  const { found, base, fork, lake } = await verified(definition, definition, names)
  expect(found.tables.map(({ table, kind }) => [table, kind])).toEqual(
    ['t', 't__dlq', 'k', 'k__dlq', 'v', 'v__dlq', 'v__deletes']
      .concat(WINDOWS.flatMap(({ name }) => [name, `${name}__late`]))
      .map((name) => [name, 'equal']),
  )
  expect(found).toMatchObject({ isEqual: true, version: String(base.number) })
  for (const { table, digestBefore, digestAfter, rowsBefore, rowsAfter, samples } of found.tables) {
    expect([table, digestAfter, rowsAfter, samples]).toEqual([table, digestBefore, rowsBefore, []])
    // Something was compared.
    if (!/__(?!dlq)/.test(table)) expect(Number(rowsBefore), table).toBeGreaterThan(2)
  }
  expect(tableOf(found, 'sessions').leftOut.join()).toMatch(/windows that end after .* are not final/)
  expect(tableOf(found, 'current').leftOut.join()).toMatch(/not final/)
  expect(tableOf(found, 'tumbling').leftOut).toEqual([
    'columns that do not follow from the log and the code: _final, _corrections',
  ])
  for (const name of ['t', 'k', 'v'])
    expect(await tableDigest(lake.storage, fork.tables[name]!.metadata)).toEqual(
      await tableDigest(lake.storage, base.tables[name]!.metadata),
    )
})

test('other code is a difference by key, and what is new is new', { timeout: 240_000 }, async () => {
  const old = definitionOf(sourcesOf(), [WINDOWS[0]!])
  const [tumbling, sliced] = WINDOWS
  const changed = definitionOf(sourcesOf('v <> 1'), [{ ...tumbling!, groupBy: [] }, sliced!])
  const { found, base, fork } = await verified(old, changed, ['t', 'tumbling', 'sliced'])
  expect(found.isEqual).toBe(false)
  const rows = tableOf(found, 't')
  expect(rows).toMatchObject({ kind: 'different', added: '0', changed: '0', groupsCompared: 2 })
  expect(Number(rows.removed)).toBeGreaterThan(5)
  expect(Number(rows.rowsBefore) - Number(rows.rowsAfter)).toBe(Number(rows.removed))
  // All those values are of odd records: 30, of which 3 are poison and 3 tombstones; of 15 ones 2 and 1.
  expect(rows.groups).toEqual([{ group: 'partition 1', rowsBefore: '24', rowsAfter: '12' }])
  for (const sample of rows.samples) {
    expect(sample).toMatchObject({ change: 'removed', before: { v: '1' }, after: null })
    expect(sample.record).toBe(`c/${String(sample.key['_kafka_partition'])}@${String(sample.key['_offset'])}`)
  }
  const window = tableOf(found, 'tumbling')
  expect(window).toMatchObject({ kind: 'different', columns: { removed: ['g'], added: [], retyped: [] } })
  expect(window.samples[0]).toMatchObject({ record: null, key: { window_start: expect.any(String) as string } })
  expect(tableOf(found, 'sliced')).toMatchObject({ kind: 'new', rowsBefore: '0', samples: [] })
  expect(Number(tableOf(found, 'sliced').added)).toBeGreaterThan(2)
  expect(base.tables['sliced']).toBeUndefined()
  expect(fork.tables['sliced']).toBeDefined()
})
