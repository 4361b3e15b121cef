import { describe, expect, test } from 'vitest'
import type { Column } from '../../src/batch.ts'
import { table, type PipelineDefinition } from '../../src/define.ts'
import type { WindowDefinition } from '../../src/define-window.ts'
import type { CompareRequest, Comparison, TableWork } from '../../src/ingest/pipeline.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { createTable, schemaOf, type LakeTable } from '../../src/lake/table.ts'
import type { ReplayMode } from '../../src/replay-status.ts'
import { planComparison, roleOf, type ComparedTable } from '../../src/replay/compared.ts'
import { verify } from '../../src/replay/verify.ts'
import type { Version } from '../../src/version.ts'
import { windowProperties } from '../../src/window-property.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { windowOf } from '../support/window-cases.ts'

// Which columns, rows and keys of rebuilt tables are compared. That they are compared rightly: verify.real.test.ts.

const eventTime = { column: 'at', unit: 'ms' } as const
const columns = { at: 'long', g: 'string required', v: 'long' } as const
const source = table('t', { from: { topic: 'c' }, columns, eventTime })
const keyed = table('k', { from: { topic: 'c' }, columns, eventTime, key: ['g'], version: 'v' })
const tumbling: WindowDefinition = windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 })

const definitionOf = (windows: readonly WindowDefinition[] = [tumbling]): PipelineDefinition => ({
  name: 'p',
  onDataLoss: 'stop',
  tables: [source, keyed],
  windows,
})

function columnsOf(types: Readonly<Record<string, Column['type']['kind']>>): Column[] {
  return Object.entries(types).map(([name, kind]) => ({ name, type: { kind } as Column['type'] }))
}

function lakeTable(columns: readonly Column[], window?: WindowDefinition, fromMs?: number): LakeTable {
  const stored = { definition: window!, topic: 'c', outOfOrdernessMs: 5, columns: [] }
  const properties =
    window === undefined ? {} : windowProperties({ ...stored, ...(fromMs === undefined ? {} : { fromMs }) })
  return { schema: schemaOf(columns).schema, properties } as unknown as LakeTable
}

function version(parts: Partial<Version>): Version {
  return { number: 12n, origins: new Map(), watermarksMs: {}, tables: {}, ...parts } as Version
}

function plan(name: string, before: LakeTable, after: LakeTable, parts: PlanParts = {}): ComparedTable {
  const { windows, base = {}, fork = {} } = parts
  const role = roleOf(definitionOf(windows), name)!
  return planComparison(role, before, after, { base: version(base), fork: version(fork) })
}

interface PlanParts {
  readonly windows?: readonly WindowDefinition[]
  readonly base?: Partial<Version>
  readonly fork?: Partial<Version>
}

const ROW = columnsOf({ at: 'long', g: 'string', v: 'long', _kafka_partition: 'int', _offset: 'long' })
const WINDOW = columnsOf({
  g: 'string',
  window_start: 'timestamptz',
  window_end: 'timestamptz',
  n: 'long',
  _final: 'boolean',
  _corrections: 'int',
})

describe('of source tables', () => {
  test('all that both have counts; what was added, removed or retyped is named', () => {
    const after = columnsOf({
      at: 'long',
      v: 'double',
      g: 'string',
      new: 'uuid',
      _kafka_partition: 'int',
      _offset: 'long',
    })
    const found = plan('t', lakeTable([...ROW, ...columnsOf({ old: 'date' })]), lakeTable(after))
    expect(found).toEqual({
      columns: ['at', 'g', '_kafka_partition', '_offset'],
      key: ['_kafka_partition', '_offset'],
      group: ['_kafka_partition'],
      within: [],
      since: [],
      changes: { added: ['new'], removed: ['old'], retyped: ['v: long → double'] },
      isShortened: false,
      leftOut: [],
    })
  })

  test('rows are told apart by the key, or by position where only one side has it', () => {
    expect(plan('k', lakeTable(ROW), lakeTable(ROW)).key).toEqual(['g'])
    expect(plan('k__deletes', lakeTable(ROW), lakeTable(ROW)).key).toEqual(['g'])
    const other = lakeTable(ROW.filter(({ name }) => name !== 'g'))
    expect(plan('k', other, lakeTable(ROW))).toMatchObject({
      key: ['_kafka_partition', '_offset'],
      leftOut: ['rows are told apart by _kafka_partition, _offset: both sides do not have g'],
    })
  })

  test('records before the beginning of the replay are left out, of the topic of the table alone', () => {
    const origins = {
      base: [['c/0', 5n] as const, ['c/1', 0n] as const],
      fork: [
        ['c/0', 9n],
        ['c/1', 0n],
        ['d/0', 4n],
      ] as const,
    }
    const found = plan('t', lakeTable(ROW), lakeTable(ROW), {
      base: { origins: new Map([...origins.base, ['d/0', 1n]]) },
      fork: { origins: new Map(origins.fork) },
    })
    expect(found.since).toEqual([{ partition: 0, offset: 9n }])
    expect(found.leftOut).toEqual(['rows of records before c/0@9: the replay began there'])
  })
})

describe('of dead letters and late rows', () => {
  test('what says by whom and how often does not count', () => {
    const letters = columnsOf({
      _kafka_partition: 'int',
      _offset: 'long',
      code: 'string',
      code_hash: 'string',
      status: 'string',
      attempts: 'int',
    })
    expect(plan('t__dlq', lakeTable(letters), lakeTable(letters))).toMatchObject({
      columns: ['_kafka_partition', '_offset', 'code'],
      key: ['_kafka_partition', '_offset'],
      except: { column: 'status', text: 'resolved' },
      leftOut: [
        'columns that do not follow from the log and the code: code_hash, status, attempts',
        'dead letters that a retry has resolved',
      ],
    })
    const late = columnsOf({ _kafka_partition: 'int', _offset: 'long', _weight: 'int', _code_hash: 'string' })
    expect(plan('w__late', lakeTable(late, tumbling), lakeTable(late, tumbling))).toMatchObject({
      columns: ['_kafka_partition', '_offset', '_weight'],
      key: ['_kafka_partition', '_offset', '_weight'],
      group: ['_kafka_partition'],
      within: [],
    })
    const after = lakeTable(late, tumbling, 1_000)
    expect(plan('w__late', lakeTable(late, tumbling), after).within).toMatchObject([{ column: '_event_time' }])
  })

  test('states are not compared', () => {
    expect(roleOf(definitionOf(), 'w__state')).toBeUndefined()
    expect(roleOf(definitionOf(), 'w')).toMatchObject({ kind: 'window' })
  })
})

describe('of windows', () => {
  const w = (window: WindowDefinition, parts: PlanParts = {}, fromMs?: number) =>
    plan('w', lakeTable(WINDOW, window), lakeTable(WINDOW, window, fromMs), { windows: [window], ...parts })
  const at = (watermarkMs: number): Partial<Version> => ({ watermarksMs: { t: watermarkMs } })

  test('results count by group and start, marks do not, and open rows do where no clock keeps them back', () => {
    expect(w(tumbling)).toMatchObject({
      columns: ['g', 'window_start', 'window_end', 'n'],
      key: ['g', 'window_start'],
      group: ['window_start'],
      within: [],
      leftOut: ['columns that do not follow from the log and the code: _final, _corrections'],
    })
    expect(w({ ...tumbling, window: { kind: 'session', gapMs: 4 } }).group).toEqual(['window_start', 'window_end'])
    expect(w({ ...tumbling, window: { kind: 'cumulate', stepMs: 5, maxMs: 10, offsetMs: 0 } }).key).toContain(
      'window_end',
    )
  })

  test.each<[string, Partial<WindowDefinition>, bigint]>([
    ['closing', { emit: 'close', allowedLatenessMs: 30 }, 971n],
    ['early', { earlyMs: 500 }, 1_001n],
    ['sliced', { window: { kind: 'hopping', sizeMs: 40, slideMs: 5, offsetMs: 0 } }, 1_001n],
    ['sessions that close', { emit: 'close', window: { kind: 'session', gapMs: 4 } }, 1_000n],
  ])('%s: only those that are final at the base are compared', (_, parts, untilMs) => {
    const found = w({ ...tumbling, ...parts }, { base: at(1_000), fork: at(5_000) })
    expect(found.within).toEqual([{ column: 'window_end', untilUs: untilMs * 1_000n }])
    expect(found.leftOut[1]).toMatch(/^windows that end after 1970.*: they are not final at version 12$/)
    const none = w({ ...tumbling, ...parts })
    expect(none.leftOut[1]).toBe('all windows: none is final at version 12')
    expect(none.within![0]!.untilUs).toBeLessThan(-(10n ** 18n))
  })

  test('`early` of the process that wrote the base counts too', () => {
    const before = lakeTable(WINDOW, { ...tumbling, earlyMs: 7 })
    expect(plan('w', before, lakeTable(WINDOW, tumbling), { base: at(1) }).within).toHaveLength(1)
  })

  test('those that begin before the replay could know them are left out', () => {
    const found = w(tumbling, {}, 1_500)
    expect(found.within).toEqual([{ column: 'window_start', fromUs: 1_500_000n }])
    expect(found.leftOut[1]).toMatch(/^windows that begin before 1970-01-01T00:00:01.500Z/)
  })

  test('those that are about to go are left out, unless the rule is another one', () => {
    const retaining = { ...tumbling, retainMs: 100 }
    const times = { base: at(1_000), fork: at(1_200) }
    expect(w(retaining, times).within).toEqual([{ column: 'window_end', fromUs: 1_100_000n }])
    const [before, after] = [lakeTable(WINDOW, { ...retaining, retainMs: 500 }), lakeTable(WINDOW, retaining)]
    expect(plan('w', before, after, { windows: [retaining], ...times }).within).toEqual([
      { column: 'window_end', fromUs: 500_000n },
    ])
    expect(w(retaining).within).toEqual([])
  })
})

describe('verify', () => {
  const NOTHING: Comparison = {
    rowsBefore: 3n,
    rowsAfter: 3n,
    digestBefore: 'a',
    digestAfter: 'a',
    groupsCompared: 1,
    groupsDifferent: 0,
    groups: [],
    added: 0n,
    removed: 0n,
    changed: 0n,
    samples: [],
  }

  async function found(
    answers: (request: CompareRequest) => Partial<Comparison>,
    after = ROW,
    mode?: ReplayMode,
    origins: Version['origins'] = new Map(),
  ) {
    const storage = new MemoryStorage('verify')
    const clock = new InstantClock()
    const tableOf = async (name: string, columns: readonly Column[]) => {
      const { metadata, snapshot } = await createTable(
        storage,
        { name, columns, partitionBy: [], formatVersion: 2 },
        clock,
      )
      return { metadata, snapshot, code: '' }
    }
    const fork = { id: 'f', base: { number: 12n, commitId: '' }, rebuilt: ['t', 'k', 'w__state'], building: undefined }
    const compare = (request: CompareRequest) => Promise.resolve({ ...NOTHING, ...answers(request) })
    return verify(
      version({ origins: new Map([['c/0', 1n]]), tables: { t: await tableOf('t', ROW) } }),
      version({ origins, tables: { t: await tableOf('t', after), k: await tableOf('k', ROW) }, fork }),
      definitionOf(),
      storage,
      { compare } as unknown as TableWork,
      mode,
    )
  }

  test('equal is what differs nowhere; new tables take nothing away', async () => {
    const difference = await found(({ key }) => (key.length === 0 ? { rowsBefore: 0n, rowsAfter: 7n } : {}))
    expect(difference).toMatchObject({ isEqual: true, version: '12' })
    expect(difference.tables).toMatchObject([
      { table: 't', kind: 'equal', rowsBefore: '3', added: '0' },
      { table: 'k', kind: 'new', rowsBefore: '0', rowsAfter: '7', added: '7' },
    ])
    expect((await found(({ key }) => (key.length === 0 ? { rowsBefore: 0n, rowsAfter: 7n } : {}))).id).toBe(
      difference.id,
    )
  })

  test('a replay that began later takes rows away when it is cut over, and none when it is only looked at', async () => {
    const later = new Map([['c/0' as const, 5n]])
    expect((await found(() => ({}), ROW, 'reprocess', later)).tables[0]).toMatchObject({
      kind: 'different',
      leftOut: ['rows of records before c/0@5: the replay began there'],
    })
    expect(await found(() => ({}), ROW, 'verify', later)).toMatchObject({ isEqual: true })
    expect(await found(() => ({}), ROW, 'reprocess', new Map([['c/0' as const, 1n]]))).toMatchObject({ isEqual: true })
  })

  test('the id is another one for whatever else is found', async () => {
    const row = { g: 'a', _kafka_partition: 1, _offset: '7', _corrections: 1 }
    const sample = { before: undefined, after: row }
    const different: Partial<Comparison>[] = [
      {},
      { digestAfter: 'b', groupsDifferent: 1 },
      { rowsAfter: 4n, groupsDifferent: 1 },
      { added: 1n, groupsDifferent: 1 },
      { added: 1n, groupsDifferent: 1, samples: [sample] },
      { added: 1n, groupsDifferent: 1, samples: [{ before: row, after: undefined }] },
      { groupsDifferent: 1, groups: [{ values: [1], rowsBefore: 1n, rowsAfter: 2n }] },
    ]
    const all = await Promise.all(different.map((answer) => found(() => answer)))
    all.push(await found(() => ({}), [...ROW, ...columnsOf({ more: 'int' })]))
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
    expect(all.map(({ isEqual }) => isEqual)).toEqual(all.map((_, k) => k === 0))
    const again = await found(() => ({ ...different[4], samples: [{ ...sample, after: { ...row, _corrections: 2 } }] }))
    expect(again.id).toBe(all[4]!.id)
    expect(all[4]!.tables[0]!.samples).toEqual([
      { change: 'added', key: { _kafka_partition: 1, _offset: '7' }, before: null, after: row, record: 'c/1@7' },
    ])
    expect(all[6]!.tables[0]!.groups).toEqual([{ group: 'partition 1', rowsBefore: '1', rowsAfter: '2' }])
  })
})
