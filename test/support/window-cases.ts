import assert from 'node:assert/strict'
import fc from 'fast-check'
import { table, type TableDefinition } from '../../src/define.ts'
import { isSliced, lateTable, stateTable, type WindowDefinition, type WindowKind } from '../../src/define-window.ts'
import type { Version } from '../../src/version.ts'
import type { How, Lake, Lakes } from './window-lake.ts'
import { BOUND_MS, FUTURE_MS, KAFKA_MS, Recount, type Cell, type LogRecord } from './window-model.ts'

const KEYED = { id: 'string required' }

/** Table `t` of topic `c`; a key is `id`. */
export const source = (idleAfter: string, isKeyed = false): TableDefinition =>
  table('t', {
    from: { topic: 'c' },
    columns: { at: 'long', g: 'string', v: 'long', d: 'double', ...(isKeyed ? KEYED : {}) },
    ...(isKeyed ? { key: ['id' as const] } : {}),
    eventTime: {
      column: 'at',
      unit: 'ms',
      outOfOrderness: `${BOUND_MS}ms`,
      idleAfter,
      maxFutureSkew: `${FUTURE_MS}ms`,
    },
  })

/** Partitions are idle all the time, or never. */
const idleAfters = fc.constantFrom('1ms', '1h')

/** With a result of each kind of aggregate. */
export function windowOf(window: WindowKind, source = 't'): WindowDefinition {
  const of = (name: string, fn: WindowDefinition['select'][number]['fn'], column?: string, where?: string) => ({
    name,
    fn,
    column,
    n: undefined,
    where,
  })
  return {
    kind: 'window',
    name: 'w',
    source,
    window,
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: ['g'],
    nullGroup: 'keep',
    where: undefined,
    select: [
      of('n', 'count'),
      of('total', 'sum', 'v'),
      of('mean', 'avg', 'v'),
      of('low', 'min', 'v'),
      of('high', 'max', 'v'),
      of('different', 'count_distinct', 'v'),
      of('newest', 'last', 'at'),
      of('exact', 'sum', 'd'),
      of('positive', 'count', undefined, 'v > 0'),
    ],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000,
    oldValuesMax: 1_000,
    computed: [],
    retainMs: undefined,
    to: undefined,
  }
}

const kinds: fc.Arbitrary<WindowKind> = fc.constantFrom<WindowKind>(
  { kind: 'tumbling', sizeMs: 10, offsetMs: 3 },
  { kind: 'hopping', sizeMs: 10, slideMs: 4, offsetMs: 0 },
  { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
  { kind: 'cumulate', stepMs: 10, maxMs: 30, offsetMs: 0 },
  { kind: 'session', gapMs: 7 },
)

const windows: fc.Arbitrary<WindowDefinition> = fc
  .record({
    kind: kinds,
    allowedLatenessMs: fc.constantFrom(0, 8),
    nullGroup: fc.constantFrom('keep', 'late'),
    groupBy: fc.constantFrom(['g'], []),
    where: fc.constantFrom(undefined, 'v IS NULL OR v < 3'),
    emit: fc.constantFrom('update', 'close'),
  })
  .map(({ kind, ...options }) => ({ ...windowOf(kind), ...options }) as WindowDefinition)

const records: fc.Arbitrary<LogRecord[]> = fc.array(
  fc.record({
    partition: fc.nat(2),
    // Around a time that moves on, with some that are late, and some beyond the guard.
    at: fc.oneof(
      { weight: 12, arbitrary: fc.integer({ min: -25, max: 90 }) },
      { weight: 1, arbitrary: fc.constant(KAFKA_MS + FUTURE_MS + 77) },
      { weight: 1, arbitrary: fc.constant(null) },
    ),
    g: fc.constantFrom('a', 'b', 'b', 'a group of more than twelve bytes', null),
    v: fc.constantFrom(null, -2, 0, 1, 1, 4),
    d: fc.constantFrom(null, 0.5, 0.25, -1.75, 1e16, -1e16),
    isPoison: fc.nat(15).map((n) => n === 0),
  }),
  { minLength: 1, maxLength: 40 },
)

const how: fc.Arbitrary<How> = fc.record({
  lanes: fc.constantFrom(1, 3),
  recordsMax: fc.constantFrom(1, 5, 1_000),
  offsetsMax: fc.constantFrom(1, 4, 100),
  only: fc.constantFrom(undefined, 0, 1, 2),
})

const MS = (column: string): string => `epoch_ms(${column})`
const SPAN = `${MS('window_start')}, ${MS('window_end')}`
const RESULTS = `${SPAN}, n, total::BIGINT, mean, low, high, different, newest, exact, positive, ${MS('last_event_time')}, _final`

/** Throws when a version is not what follows from the log below its positions. */
async function check(lake: Lake, version: Version, log: readonly (readonly LogRecord[])[], what: What): Promise<void> {
  for (const definition of lake.definition.windows) await checkWindow(lake, version, log, definition, what)
}

interface What {
  /** C of the version before; null: that one is not known. */
  readonly before: number | undefined | null
  /** Whether a partition came after records of others had been read. */
  readonly isAddedTo: boolean
}

async function checkWindow(
  lake: Lake,
  version: Version,
  log: readonly (readonly LogRecord[])[],
  definition: WindowDefinition,
  { before, isAddedTo }: What,
): Promise<void> {
  const { name } = definition
  const isIdle = lake.definition.tables[0]!.eventTime!.idleAfterMs === 1
  const wanted = new Recount(log, version, definition)
  assert.deepEqual(new Map(Object.entries(version.clocksMs.t ?? {})), wanted.clocks)
  if (before !== null) checkWatermark(version, wanted.clocks, isIdle, before)
  const stored = await lake.rows(version, 't', '_kafka_partition, _offset')
  assert.deepEqual(stored.map((row) => row.join('@')).toSorted(), wanted.stored.toSorted())
  const lateColumns = `_kafka_partition || '@' || _offset, _reason, coalesce(len(_late_windows), 0), _counted_windows`
  const late = await lake.rows(version, lateTable(name), lateColumns)
  assert.deepEqual(late.map((row) => row.join(' ')).toSorted(), wanted.late.toSorted())
  const group = definition.groupBy.length === 0 ? 'NULL' : 'g'
  const rows = await lake.rows(version, name, `${group}, ${RESULTS}`)
  assert.deepEqual(rows.map((row) => row.join(' ')).toSorted(), wanted.rows.toSorted())
  const minEnd = isSliced(definition) ? '__min_end' : 'NULL'
  const state = await lake.rows(version, stateTable(name), `${group}, __start, __end, ${minEnd}, __rows, __part`)
  checkState(state, wanted.cells, isSliced(definition))
  // Section 17: without idle partitions, or new ones, nothing but sessions is ever corrected.
  if (!isIdle && !isAddedTo && definition.window.kind !== 'session')
    assert.deepEqual(
      (await lake.rows(version, name, '_corrections')).filter(([n]) => n !== 0),
      [],
    )
}

/** Rules C1 and C9: the least clock decides, and one that is missing holds it; of idle partitions none is asked. */
function checkWatermark(
  { positions, watermarksMs }: Version,
  clocks: Recount['clocks'],
  isIdle: boolean,
  before: number | undefined,
): void {
  const ofClocks = (clockMs: number): number => clockMs - BOUND_MS - 1
  if (isIdle) return assert.ok((watermarksMs.t ?? -Infinity) <= ofClocks(Math.max(...clocks.values())))
  const least = clocks.size < positions.size ? -Infinity : ofClocks(Math.min(...clocks.values()))
  const wanted = Math.max(before ?? -Infinity, least)
  assert.equal(watermarksMs.t, wanted === -Infinity ? undefined : wanted)
}

/**
 * What is open stands in the state of the same version, with all that counts; what is final may, until it is settled. A
 * window of slices is put together (rules S1, S2).
 */
function checkState(rows: readonly unknown[][], cells: readonly Cell[], isSliced: boolean): void {
  const counts = new Map<string, number>()
  for (const [g, start, end, minEnd, n, part] of rows as [string | null, ...(bigint | null)[], number][]) {
    if (part !== 0) continue
    const of = isSliced
      ? cells.filter(
          (cell) =>
            cell.g === g && cell.start <= start! && end! <= cell.end && (minEnd === null || minEnd! <= cell.end),
        )
      : [{ g, start, end }]
    for (const cell of of) {
      const key = [cell.g, cell.start, cell.end].join(' ')
      counts.set(key, (counts.get(key) ?? 0) + Number(n))
    }
  }
  const isAsked = ({ isFinal }: Cell, key: string): boolean => !isFinal || (!isSliced && counts.has(key))
  const keyed = cells.map((cell) => [[cell.g, cell.start, cell.end].join(' '), cell] as const)
  const wanted = keyed.filter(([key, cell]) => isAsked(cell, key)).map(([key, { n }]) => `${key} ${n}`)
  const isOpen = new Set(keyed.flatMap(([key, { isFinal }]) => (isFinal ? [] : [key])))
  const found = [...counts].filter(([key]) => !isSliced || isOpen.has(key)).map(([key, n]) => `${key} ${n}`)
  assert.deepEqual(found.toSorted(), wanted.toSorted())
}

const PARTITIONS = 3

/** Records, one or two windows over them, and the runs that read them, each its share. */
export const cases = fc.record({
  records,
  windows: fc.array(windows, { minLength: 1, maxLength: 2 }),
  idleAfter: idleAfters,
  runs: fc.array(how, { minLength: 1, maxLength: 3 }),
  /** Partitions that the topic has before the last run. */
  partitions: fc.constantFrom(PARTITIONS, PARTITIONS, 2, 1),
})

type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never

/** Checks every version that the runs of a case make; returns how many. */
export async function checkCase(lakes: Lakes, given: Case): Promise<number> {
  const { records, windows, idleAfter, runs, partitions } = given
  const tables = [source(idleAfter)]
  const named = windows.map((window, k) => ({ ...window, name: `w${k}` }))
  const lake = await lakes.create({ name: 'p', tables, windows: named, onDataLoss: 'stop' }, partitions)
  const log: LogRecord[][] = Array.from({ length: PARTITIONS }, () => [])
  const share = Math.ceil(records.length / runs.length)
  for (const [k, how] of runs.entries()) {
    const isLast = k === runs.length - 1
    if (isLast) lake.log.addPartitions('c', PARTITIONS)
    const count = isLast ? PARTITIONS : partitions
    for (const each of records.slice(k * share, (k + 1) * share)) {
      const record = { ...each, partition: (how.only ?? each.partition) % count }
      const { at, g, v, d, isPoison, partition } = record
      const value = isPoison ? '{"at": "no"' : JSON.stringify({ at, g, v, d })
      lake.log.append('c', partition, [{ timestampMs: KAFKA_MS, key: undefined, value: Buffer.from(value) }])
      log[partition]!.push(record)
    }
    await lake.run(how, count)
  }
  const versions = await lake.chain.versions(100)
  const isAddedTo = partitions < PARTITIONS && runs.length > 1
  for (const [k, version] of versions.entries()) {
    const before = version.number === 1n ? undefined : k + 1 < versions.length ? versions[k + 1]!.watermarksMs.t : null
    await check(lake, version, log, { before, isAddedTo })
  }
  return versions.length
}
