import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { deletesTable, table, type TableDefinition } from '../../src/define.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { COMPACTION, openTable, type Storage } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'

// The whole path of keyed tables, real Parquet included, against a plain fold: over restarts, batch sizes, lanes and
// compactions that go on all the time.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-keyed-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Event {
  readonly key: number
  readonly partition: number
  readonly version: number
  readonly note: string | undefined
  readonly isTombstone: boolean
}

type Row = readonly [id: string, version: bigint, note: string | null]

/** The version stands elsewhere than in the table of deletes. */
const columns = { id: 'string', note: 'string', v: 'long' }
const definitions: Record<string, TableDefinition> = {
  'by offset': table('t', { from: { topic: 'c' }, key: ['id'], columns, missing: 'keep' }),
  'by version': table('t', { from: { topic: 'c' }, key: ['id'], columns, version: 'v' }),
  'in parts': table('t', { from: { topic: 'c' }, key: ['id'], columns, partitionBy: ['truncate(1, note)'] }),
}
const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }
const ID = (key: number): string => `key-${key}-${'long'.repeat(key % 3)}`

const events = (isVersioned: boolean, isWhole: boolean): fc.Arbitrary<Event[]> =>
  fc.array(
    fc
      .record({
        key: fc.nat(9),
        partition: fc.nat(2),
        version: fc.nat(5),
        note: fc.option(fc.constantFrom('a', 'b', 'a note that is longer than twelve bytes'), { nil: undefined }),
        isTombstone: fc.nat(4).map((n) => n === 0),
      })
      // Without a version a key keeps to one partition; a table in parts is not partitioned by what may be missing.
      .map((event) => ({
        ...event,
        partition: isVersioned ? event.partition : event.key % 3,
        note: isWhole ? (event.note ?? 'c') : event.note,
      })),
    { minLength: 1, maxLength: 60 },
  )

/** What stands in the end: the rows, and what was deleted at which version. */
function plainFold(list: readonly Event[], { version, missing }: TableDefinition) {
  const rows = new Map<string, Row & { readonly partition: number }>()
  const markers = new Map<string, { version: bigint; partition: number }>()
  for (const { key, partition, version: v, note, isTombstone } of list) {
    const id = ID(key)
    const live = rows.get(id)
    if (isTombstone) {
      if (live === undefined || live.partition !== partition) continue
      rows.delete(id)
      if (version !== undefined) markers.set(id, { version: live[1], partition })
      continue
    }
    const stood = live === undefined ? markers.get(id) : { version: live[1], partition: live.partition }
    if (version !== undefined && stood !== undefined) {
      const isLater = stood.version > BigInt(v) || (stood.version === BigInt(v) && stood.partition > partition)
      if (isLater) continue
    }
    if (missing === 'keep' && note === undefined && live === undefined) continue // a dead letter
    const kept = missing === 'keep' && note === undefined ? live![2] : (note ?? null)
    rows.set(id, Object.assign([id, BigInt(v), kept] as const, { partition }))
  }
  return { rows: [...rows.values()].map(([id, v, note]): Row => [id, v, note]), markers }
}

class Lake {
  readonly definition: TableDefinition
  readonly log = new MemoryLog()
  readonly storage: Storage
  head: Version | undefined
  /** Most records without a base that lanes were told of at once. */
  baselessMax = 0

  private constructor(definition: TableDefinition, storage: Storage) {
    this.definition = definition
    this.storage = storage
    this.log.createTopic('c', 3)
  }

  static async open(definition: TableDefinition): Promise<Lake> {
    return new Lake(definition, await openStorage({ url: `file:${mkdtempSync(path.join(folder, 's-'))}` }, clock))
  }

  append({ key, partition, version, note, isTombstone }: Event): void {
    const value = JSON.stringify({ id: ID(key), v: version, ...(note === undefined ? {} : { note }) })
    const record = { timestampMs: 1, key: Buffer.from(ID(key)), value: isTombstone ? undefined : Buffer.from(value) }
    this.log.append('c', partition, [record])
  }

  /** Runs until everything is committed, and compactions have nothing to do for a while. */
  async run(how: { readonly lanes: number; readonly recordsMax: number; readonly offsetsMax: number }): Promise<void> {
    const { storage, definition } = this
    const stop = new AbortController()
    const control: Control = {
      pauseReason: undefined,
      isHurried: true,
      compactions: new Map(),
      onHead: (head) => {
        this.head = head
        const isDone = [...head.positions].every(([id, at]) => at === this.log.end('c', Number(id.at(-1))))
        if (isDone && head.positions.size === 3) void clock.sleep(30).then(() => stop.abort())
      },
    }
    const source = new ContentSource(this.log, clock, { batchOffsetsMax: how.offsetsMax })
    const encoder = await openEncoder({ tables: [definition], storage, clock })
    const work = await openTableWork({ tables: [definition], storage, clock })
    const microBatch = { recordsMax: how.recordsMax, bytesMax: 1 << 20, ageMsMax: 2 }
    const pipeline = {
      definition: { name: 'p', tables: [definition], windows: [], onDataLoss: 'stop' as const },
      storage,
      clock,
      observer: () => undefined,
      control,
      compaction: EAGER,
      startLanes: () => {
        const lanes = inlineLanes({ source, encoder, work, lanes: how.lanes, microBatch, clock })
        const assign = lanes.assign.bind(lanes)
        lanes.assign = (task) => {
          this.baselessMax = Math.max(this.baselessMax, task.baseless?.size ?? 0)
          assign(task)
        }
        return Promise.resolve(lanes)
      },
    }
    const policy = { writer: 'w', minIntervalMs: 1, heartbeatMs: 20 }
    const result = await run(source, pipeline, openChain(storage, 'p', clock), policy, stop.signal)
    expect(result.kind).toBe('stopped')
    await encoder.close()
    await work.close()
  }

  /** Live rows, as files and deletion vectors say. */
  async rows(name: string, columns: string): Promise<unknown[][]> {
    const files = await storedFiles(this.storage, await openTable(this.storage, this.head!.tables[name]!.metadata))
    const connection = await (await DuckDBInstance.create()).connect()
    const rows: unknown[][] = []
    for (const file of files) {
      const deleted = await readDeletedRows(this.storage, file)
      const sql = `SELECT ${columns} FROM read_parquet('${this.storage.url.slice(7)}/${file.key}') ORDER BY file_row_number`
      const all = (await connection.runAndReadAll(sql)).getRows()
      expect(all.length).toBe(file.recordCount)
      rows.push(...all.filter((_, row) => !deleted.has(row)))
    }
    return rows
  }
}

describe.each(Object.entries(definitions))('keyed %s', (name, definition) => {
  test('equals the plain fold of the log', { timeout: 120_000 }, async () => {
    const how = fc.record({
      lanes: fc.constantFrom(1, 3),
      recordsMax: fc.constantFrom(1, 7, 1_000),
      offsetsMax: fc.constantFrom(1, 5, 100),
    })
    const isVersioned = definition.version !== undefined
    await fc.assert(
      fc.asyncProperty(
        events(isVersioned, name === 'in parts'),
        fc.array(how, { minLength: 1, maxLength: 3 }),
        async (list, runs) => {
          const lake = await Lake.open(definition)
          const share = Math.ceil(list.length / runs.length)
          const folded: Event[] = []
          for (const [k, how] of runs.entries()) {
            const part = list.slice(k * share, (k + 1) * share)
            for (const event of part) lake.append(event)
            // With versions the order over partitions decides nothing but which tombstone finds a row.
            folded.push(...part)
            await lake.run(how)
          }
          const found = await lake.rows('t', 'id, v, note')
          const { rows, markers } = plainFold(folded, definition)
          if (!isVersioned || list.every(({ isTombstone }) => !isTombstone))
            expect(found.toSorted()).toEqual(rows.toSorted())
          expect(new Set(found.map(([id]) => id)).size).toBe(found.length)
          if (isVersioned && list.every(({ isTombstone }) => !isTombstone)) {
            expect(markers.size).toBe(0)
            expect(await lake.rows(deletesTable('t'), 'id, v')).toEqual([])
          }
        },
      ),
      { numRuns: 6 },
    )
  })
})

test('with a version, deletes leave markers that older records do not pass', { timeout: 30_000 }, async () => {
  const lake = await Lake.open(definitions['by version']!)
  const how = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  const event = (key: number, version: number, isTombstone = false): Event => ({
    key,
    version,
    partition: 0,
    note: 'n',
    isTombstone,
  })
  for (const each of [event(1, 5), event(2, 7), event(1, 4), event(1, 0, true), event(3, 0, true)]) lake.append(each)
  await lake.run(how)
  expect(await lake.rows('t', 'id, v')).toEqual([[ID(2), 7n]])
  expect(await lake.rows(deletesTable('t'), 'id, v, _kafka_partition, _offset')).toEqual([[ID(1), 5n, 0, 3n]])
  // After a restart: an older record of another partition loses, a newer one wins.
  lake.append({ ...event(1, 4), partition: 1 })
  await lake.run(how)
  expect(await lake.rows('t', 'id, v')).toEqual([[ID(2), 7n]])
  lake.append({ ...event(1, 6), partition: 1 })
  await lake.run(how)
  expect((await lake.rows('t', 'id, v')).toSorted()).toEqual([
    [ID(1), 6n],
    [ID(2), 7n],
  ])
})

test('kept values are those of the row that stands, not of a record that lost', { timeout: 30_000 }, async () => {
  const kept = { from: { topic: 'c' }, key: ['id'], columns, version: 'v', missing: 'keep' } as const
  const lake = await Lake.open(table('t', kept))
  const how = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  const event = (key: number, version: number, note: string | undefined, partition = 0): Event => ({
    key,
    version,
    note,
    partition,
    isTombstone: false,
  })
  const tombstone = (key: number, partition = 0): Event => ({
    ...event(key, 0, undefined, partition),
    isTombstone: true,
  })
  for (const each of [event(1, 7, 'a'), event(2, 7, 'b', 1), event(3, 9, 'c'), tombstone(3)]) lake.append(each)
  await lake.run(how)
  // An older record before it, a tombstone without a say, a delete that came with a later version.
  for (const each of [event(1, 5, 'old'), event(1, 8, undefined)]) lake.append(each)
  for (const each of [tombstone(2, 0), event(2, 8, undefined, 1)]) lake.append(each)
  lake.append(event(3, 5, undefined))
  await lake.run(how)
  expect((await lake.rows('t', 'id, v, note')).toSorted()).toEqual(
    [
      [ID(1), 8n, 'a'],
      [ID(2), 8n, 'b'],
    ].toSorted(),
  )
  expect(await lake.rows('t__dlq', 'code')).toEqual([])
})

test('records without a base are forgotten once they are dead letters', { timeout: 30_000 }, async () => {
  const lake = await Lake.open(definitions['by offset']!)
  const event = { version: 1, note: undefined, partition: 0, isTombstone: false }
  for (let key = 0; key < 12; key++) lake.append({ ...event, key })
  await lake.run({ lanes: 1, recordsMax: 1, offsetsMax: 1 })
  expect(await lake.rows('t__dlq', 'code')).toHaveLength(12)
  expect(lake.baselessMax).toBeLessThan(10)
})

test('a row may keep one value of its own batch and another from before', { timeout: 30_000 }, async () => {
  const from = { topic: 'c' }
  const texts = { ...columns, more: 'string' }
  const lake = await Lake.open(table('t', { from, key: ['id'], columns: texts, version: 'v', missing: 'keep' }))
  const how = { lanes: 1, recordsMax: 1_000, offsetsMax: 100 }
  const append = (value: object | undefined) => {
    const bytes = value === undefined ? undefined : Buffer.from(JSON.stringify({ id: 'k', ...value }))
    lake.log.append('c', 0, [{ timestampMs: 1, key: Buffer.from('k'), value: bytes }])
  }
  append({ v: 1, note: 'a', more: 'b' })
  await lake.run(how)
  for (const value of [{ v: 2, note: 'c' }, { v: 4 }, { v: 3, note: 'late', more: 'late' }, { v: 5 }]) append(value)
  await lake.run(how)
  expect(await lake.rows('t', 'v, note, more')).toEqual([[5n, 'c', 'b']])
  // Nothing to keep after a delete; what comes before the deleted version is no dead letter.
  for (const value of [undefined, { v: 6, note: 'd' }, { v: 4 }, { v: 7, note: 'e', more: 'f' }, { v: 8 }])
    append(value)
  await lake.run(how)
  expect(await lake.rows('t', 'v, note, more')).toEqual([[8n, 'e', 'f']])
  expect(await lake.rows('t__dlq', '_offset, code')).toEqual([[6n, 'cdc.unavailable_without_base']])
})
