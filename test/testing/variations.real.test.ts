import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, t, table, type MapFunction, type PipelineDefinition } from '../../src/define.ts'
import { holds } from '../../src/testing/holds.ts'
import { LabLog } from '../../src/testing/lab-log.ts'
import { LabRegistry } from '../../src/testing/lab-registry.ts'
import { play, type PlayParts } from '../../src/testing/play.ts'
import { unlikeRows } from '../../src/testing/tables.ts'
import { variationOf, type Variation } from '../../src/testing/variation.ts'

// Each way of running a log again finds by itself what it is there for.

const columns = { id: t.long().required(), n: t.long() }
const RECORDS = 24

function partsOf(map?: MapFunction, key?: 'id'): PlayParts {
  const source = table('events', {
    from: { topic: 'e' },
    columns,
    ...(map === undefined ? {} : { map }),
    ...(key === undefined ? {} : { key: [key] }),
  })
  const log = new LabLog()
  log.memory.createTopic('e', 2)
  for (let k = 0; k < RECORDS; k++) {
    const [id, partition] = [k % 6, (k % 6) % 2]
    log.append('e', partition, {
      timestampMs: k,
      key: Buffer.from(`${id}`),
      value: Buffer.from(`{"id":${id},"n":${k}}`),
    })
  }
  const [definition] = defineLake({ p: [source] }).pipelines as [PipelineDefinition]
  return {
    definition,
    log,
    salts: {},
    registry: new LabRegistry(),
    lookups: { copyTo: async () => undefined },
    startMs: 0,
  }
}

const counting: MapFunction = (row) => {
  const realm = globalThis as unknown as { n?: number }
  realm.n = (realm.n ?? 0) + 1
  return { ...row, n: realm.n }
}

const plain = variationOf(1, 7, RECORDS)
const only = (change: Partial<Variation>): Variation => ({ ...plain, run: 2, recordsMax: 4, offsetsMax: 4, ...change })

async function difference(parts: PlayParts, variation: Variation): Promise<number> {
  const [one, other] = [await play(parts, plain), await play(parts, variation)]
  expect(one.tables[0]!.rows.length).toBeGreaterThan(5)
  return unlikeRows(one.tables, other.tables).length
}

describe('a function that counts', () => {
  test.each<[string, Partial<Variation>]>([
    ['another interleaving', { order: 'shuffled' }],
    ['crashes', { crashes: 'every', commits: 'each batch' }],
    ['lanes', { lanes: 2, offsetsMax: 1 }],
    ['other batches', { recordsMax: 5, offsetsMax: 100 }],
  ])('is found by %s alone', async (_, change) => {
    expect(await difference(partsOf(counting), only(change))).toBeGreaterThan(0)
    expect(await difference(partsOf(), only(change))).toBe(0)
  })
})

test('a crash at every commit: each version dies twice, before it stands and after', async () => {
  const parts = partsOf(undefined, 'id')
  const { versions, crashes, tables } = await play(parts, only({ crashes: 'every', commits: 'each batch' }))
  // The first version, which holds first positions, and those of the batches; the last one says that the log has ended.
  expect(crashes).toBe(2 * (versions - 1))
  expect(versions).toBeGreaterThan(RECORDS / 4)
  expect(tables[0]!.rows).toHaveLength(6)
})

test('a store that loses a version is found', async () => {
  const parts = partsOf()
  const one = await play(parts, plain)
  const lost = one.tables.map(({ rows, ...table }) => ({ ...table, rows: rows.slice(1) }))
  expect(unlikeRows(one.tables, lost)).toMatchObject([{ table: 'events', after: undefined, columns: [] }])
  expect(unlikeRows(lost, one.tables)).toMatchObject([{ table: 'events', before: undefined }])
  const twice = one.tables.map(({ rows, ...table }) => ({ ...table, rows: [...rows, ...rows.slice(0, 1)] }))
  expect(unlikeRows(one.tables, twice)).toHaveLength(1)
  const other = one.tables.map(({ rows, ...table }) => ({
    ...table,
    rows: rows.map((row, k) => (k === 3 ? { ...row, n: -1n } : row)),
  }))
  expect(unlikeRows(one.tables, other)).toMatchObject([{ columns: ['n'] }])
})

test('what a replay finds is told', async () => {
  const table = {
    columns: { added: [], removed: [], retyped: [] },
    rowsBefore: '1',
    rowsAfter: '1',
    digestBefore: '',
    digestAfter: '',
    groupsCompared: 1,
    groupsDifferent: 1,
    groups: [],
    added: '0',
    removed: '0',
    changed: '1',
    leftOut: [],
  }
  const sample = {
    change: 'changed',
    key: { id: '1' },
    before: { n: '1' },
    after: { n: '2' },
    record: 'e/0@0',
  } as const
  const found = { id: '', isEqual: false, version: '3' }
  const replay = () =>
    Promise.resolve({
      ...found,
      tables: [{ table: 'events', kind: 'different' as const, ...table, samples: [sample] }],
    })
  const error = holds({ ...partsOf(), seed: 7, realClock: systemClock, replay }, {})
  await expect(error).rejects.toMatchObject({
    code: 'testing.does_not_hold',
    message: expect.stringContaining(
      'a replay of all records, beside the tables as they are\n  table events, row {id: "1"}: it was {n: "1"}, and is {n: "2"} in the replay',
    ) as string,
  })
})
