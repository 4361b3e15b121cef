import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { table } from '../../src/define.ts'
import { isSliced, lateTable, type WindowDefinition, type WindowKind } from '../../src/define-window.ts'
import type { Version } from '../../src/version.ts'
import { Lakes, type How, type Lake } from '../support/window-lake.ts'
import { windowDefinition } from './window/arbitrary.ts'
import {
  B,
  Cells,
  FRAGILE,
  isSeen,
  judge,
  lateOf,
  listed,
  POSITIONS,
  recounted,
  Reference,
  sorted,
  VALUES,
  type Placed,
} from './window/rows-model.ts'

// Windows over the rows of a keyed table, the whole path: lanes, key index, fold and committer with real Parquet, across
// restarts, compactions, idle partitions and such as come later. Every version must hold what stands in its source.

const PARTITIONS = 3

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

const source = (idleAfter: string) =>
  table('items', {
    from: { topic: 'c' },
    columns: { id: 'string required', note: 'string', g: 'string', v: 'long', at: 'long' },
    key: ['id'],
    eventTime: { column: 'at', unit: 'ms', outOfOrderness: `${B}ms`, idleAfter, maxFutureSkew: '36600d' },
  })

const record = fc.record({
  key: fc.nat(8),
  isTombstone: fc.nat(6).map((n) => n === 0),
  g: fc.constantFrom('x', 'x', 'y', null),
  v: fc.option(fc.nat(6), { nil: null }),
  // Around a time that moves on with its partition.
  ahead: fc.oneof({ weight: 9, arbitrary: fc.integer({ min: -14, max: 12 }) }, fc.constant(null)),
  note: fc.constantFrom('a', 'b'),
})

const kinds = fc.constantFrom<WindowKind>(
  { kind: 'tumbling', sizeMs: 10, offsetMs: 3 },
  { kind: 'hopping', sizeMs: 15, slideMs: 10, offsetMs: 0 },
  { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
  { kind: 'cumulate', stepMs: 5, maxMs: 15, offsetMs: -4 },
  { kind: 'session', gapMs: 4 },
)

const windows = fc
  .record({
    kind: kinds,
    allowedLatenessMs: fc.constantFrom(0, 7),
    nullGroup: fc.constantFrom('late' as const, 'keep' as const),
    select: fc.constantFrom(VALUES, POSITIONS),
    where: fc.constantFrom(undefined, 'v > 2', FRAGILE),
    emit: fc.constantFrom('update' as const, 'close' as const),
    // So few that what is final is let go before it is settled.
    openRowsMax: fc.constantFrom(1_000_000, 16),
  })
  .map(({ kind, ...parts }) =>
    windowDefinition(kind, { source: 'items', input: 'rows', groupBy: ['g'], ...parts } as Partial<WindowDefinition>),
  )

const how: fc.Arbitrary<How> = fc.record({
  lanes: fc.constantFrom(1, 3),
  recordsMax: fc.constantFrom(1, 4, 1_000),
  offsetsMax: fc.constantFrom(1, 4, 100),
})

const cases = fc.record({
  records: fc.array(record, { minLength: 1, maxLength: 60, size: 'max' }),
  window: windows,
  idleAfter: fc.constantFrom('1ms', '1h'),
  runs: fc.array(how, { minLength: 1, maxLength: 4 }),
  /** Partitions that the topic has before the last run. */
  partitions: fc.constantFrom(PARTITIONS, 2, 1),
})

test('at every version windows are what stands, whatever came late, later or twice', { timeout: 400_000 }, async () => {
  let versions = 0
  await fc.assert(
    fc.asyncProperty(cases, async ({ records, window, idleAfter, runs, partitions }) => {
      const definition = { name: 'p', tables: [source(idleAfter)], windows: [window], onDataLoss: 'stop' as const }
      const lake = await lakes.create(definition, partitions)
      const log: Placed[][] = Array.from({ length: PARTITIONS }, () => [])
      const share = Math.ceil(records.length / runs.length)
      for (const [k, each] of runs.entries()) {
        const isLast = k === runs.length - 1
        const count = isLast ? PARTITIONS : partitions
        if (isLast) lake.log.addPartitions('c', PARTITIONS)
        for (const { ahead, ...given } of records.slice(k * share, (k + 1) * share)) {
          // A key stays in its partition; one of a partition that is not there yet is another.
          const partition = given.key % PARTITIONS
          if (partition >= count) continue
          const offset = log[partition]!.length
          // Each partition has a time of its own: one that comes later begins with what the others have long left.
          const at = ahead === null ? null : 8 * offset + ahead
          append(lake, log[partition]!, { ...given, at, rev: 0, partition, offset })
        }
        if (!(await hasRoom(lake, each, count))) break
      }
      for (const version of await lake.chain.versions(100)) {
        versions++
        await check(lake, version, window, log)
      }
    }),
    { numRuns: 5, unbiased: true },
  )
  expect(versions).toBeGreaterThan(20)
})

/** Runs, unless more is open than may be. */
async function hasRoom(lake: Lake, how: How, partitions: number): Promise<boolean> {
  try {
    await lake.run(how, partitions)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'window.open_rows_max') return false
    throw error
  }
}

function append(lake: Lake, log: Placed[], placed: Placed): void {
  const { key, isTombstone, g, v, at, note, partition } = placed
  const id = `k${key}`
  const value = isTombstone ? undefined : Buffer.from(JSON.stringify({ id, note, g, v, at }))
  lake.log.append('c', partition, [{ timestampMs: 0, key: Buffer.from(id), value }])
  log.push(placed)
}

async function check(
  lake: Lake,
  version: Version,
  window: WindowDefinition,
  log: readonly (readonly Placed[])[],
): Promise<void> {
  const reference = new Reference({ isVersioned: false, keeps: false }, PARTITIONS)
  for (const [partition, all] of log.entries())
    for (const each of all.slice(0, Number(version.positions.get(`c/${partition}`) ?? 0n))) reference.apply(each)
  const columns = ['g', 'v::INTEGER', '"at"::DOUBLE', '_kafka_partition', '_offset::DOUBLE'] as const
  const rows = await lake.rows(version, 'items', columns.join(', '))
  const stands = reference.rows.map(({ g, v, at, partition, offset }) => [g, v, at, partition, offset])
  expect(sorted(rows)).toEqual(sorted(stands))

  const listedColumns = `g, v::INTEGER, epoch_ms(_event_time)::DOUBLE, _reason, _counted_windows, _weight, _kafka_partition, _offset::DOUBLE,
to_json([{'start': epoch_ms(w.start), 'end': epoch_ms(w."end")} FOR w IN _late_windows])::VARCHAR`
  const late = (await lake.rows(version, lateTable(window.name), listedColumns)).map(
    ([g, v, at, _reason, counted, weight, partition, offset, spans]) => ({
      g,
      v,
      _event_time: at,
      _reason,
      _counted_windows: counted,
      _weight: weight,
      _kafka_partition: partition,
      _offset: offset,
      _late_windows: JSON.parse((spans as string | null) ?? '[]'),
    }),
  )
  expect(listed(late)).toEqual(lateOf(window, reference.halves))

  const c = version.watermarksMs.items ?? -Infinity
  const lagMs = window.allowedLatenessMs + (window.window.kind === 'session' ? 0 : -1)
  const isFinal = (end: unknown): boolean => c >= (end as number) + lagMs
  const isWhole = window.emit === 'update' && !isSliced(window)
  const names = window.select.map(({ name }) => `"${name}"::DOUBLE`)
  const found = await lake.rows(
    version,
    window.name,
    ['g', 'epoch_ms(window_start)::DOUBLE', 'epoch_ms(window_end)::DOUBLE', ...names, '_final'].join(', '),
  )
  for (const row of found) expect([...row.slice(0, 3), row.at(-1)]).toEqual([...row.slice(0, 3), isFinal(row[2])])
  const cells = new Cells(window)
  for (const half of reference.halves)
    if (isSeen(window, half.row)) cells.add(half.row, judge(window, half).counted, half.weight)
  const seen = (all: readonly unknown[]) => sorted(all.filter((row) => isWhole || isFinal((row as unknown[])[2])))
  expect(sorted(found.map((row) => row.slice(0, -1)))).toEqual(seen(cells.results()))
  const standing = rows.map(([g, v, at, partition, offset]) => ({
    g,
    v,
    at,
    _kafka_partition: partition,
    _offset: offset,
  }))
  expect(seen(recounted(window, standing, late))).toEqual(seen(cells.results()))
}

test('an older record of a deleted key counts no more after a restart, as in its table', async () => {
  const versioned = table('items', {
    from: { topic: 'c' },
    columns: { id: 'string required', g: 'string', v: 'long', at: 'long', rev: 'long' },
    key: ['id'],
    version: 'rev',
    eventTime: { column: 'at', unit: 'ms', outOfOrderness: `${B}ms`, maxFutureSkew: '36600d' },
  })
  const kind: WindowKind = { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }
  const select = VALUES.filter(({ name }) => name === 'n')
  const window = windowDefinition(kind, {
    source: 'items',
    input: 'rows',
    groupBy: ['g'],
    select,
    allowedLatenessMs: 0,
  })
  const lake = await lakes.create({ name: 'p', onDataLoss: 'stop', tables: [versioned], windows: [window] }, 1)
  const append = (id: string, rev?: number): void => {
    const value = rev === undefined ? undefined : Buffer.from(JSON.stringify({ id, g: 'x', v: 1, at: 3, rev }))
    lake.log.append('c', 0, [{ timestampMs: 1_000, key: Buffer.from(id), value }])
  }
  const how = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  append('a', 5)
  append('b', 1)
  append('a')
  await lake.run(how)
  append('a', 3)
  await lake.run(how)
  const head = await lake.head()
  expect(await lake.rows(head, 'items', 'id')).toEqual([['b']])
  expect(await lake.rows(head, window.name, 'n')).toEqual([[1n]])
})
