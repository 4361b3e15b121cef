import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { defineLake, json, table } from '../../src/define.ts'
import { acceptCode } from '../../src/ingest/accept-code.ts'
import { archivesOf } from '../../src/ingest/archive/archive.ts'
import { openArchiveLog } from '../../src/ingest/archive/stored-archive.ts'
import { joined } from '../../src/ingest/archive-source.ts'
import { ContentSource, MemoryLog, type LogRecord } from '../../src/ingest/memory-log.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { stage } from '../../src/ingest/lane.ts'
import { emptyTables } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { bounded } from '../../src/replay/bounded.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import {
  appendFiles,
  DeletedRows,
  openTable,
  storedFiles,
  writePlan,
  type DataFile,
  type Storage,
} from '../../src/lake/table.ts'
import { partitionId, type PartitionId, type Source } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { runOnce, type RunParts } from '../support/fork-lake.ts'
import { asText, cursorsAt, drain, records, recordsOf, text, type Seen } from '../support/log.ts'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'

// Archives as they are written and read: real Parquet, compacted all the time, on disk and on a store without files.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-archive-'))
let server: S3Server
beforeAll(async () => {
  server = await startS3()
})
afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const events = table('events', { from: { topic: 't', value: json() }, columns: { id: 'string' } })
const [definition] = defineLake({ p: { tables: [events], archive: 'kept' } }).pipelines

const onDisk = (): Promise<Storage> => openStorage({ url: `file:${mkdtempSync(path.join(folder, 's-'))}` }, clock)
let stores = 0
const onS3 = (): Promise<Storage> => openStorage(storeOn(server, `archive-${stores++}`), clock)

interface Kept {
  readonly log: MemoryLog
  readonly storage: Storage
  /** Ingests all that the log holds. */
  keep(parts?: Partial<RunParts>): Promise<Version>
  /** Archive and log as one. */
  open(version: Version): Promise<Source>
}

function lakeOn(storage: Storage, partitions: number): Kept {
  const log = new MemoryLog()
  log.createTopic('t', partitions)
  const chain = openChain(storage, 'p', clock)
  return {
    log,
    storage,
    keep: (parts = {}) =>
      runOnce({ storage, log, chain, definition: definition!, lanes: 2, recordsMax: 7, offsetsMax: 5, ...parts }),
    open: async (version) => {
      const archives = await archivesOf(definition!, version, storage)
      return joined(archives, openArchiveLog(archives, storage, clock), new ContentSource(log, clock, { pollMs: 0 }))
    },
  }
}

type Whole = Seen & { readonly isAppendTime: boolean }

async function readAll(source: Source, from = 0n): Promise<ReadonlyMap<PartitionId, readonly Whole[]>> {
  const found = new Map<PartitionId, Whole[]>()
  await drain(source, await cursorsAt(source, 't', from), undefined, (batch) => {
    const id = partitionId(batch.topic, batch.partition)
    const whole = recordsOf(batch).map((one, i) => ({ ...one, isAppendTime: batch.appendTimes?.[i] === 1 }))
    found.set(id, [...(found.get(id) ?? []), ...whole])
  })
  return found
}

function seen(offset: bigint, { timestampMs, key, value, headers = [], isAppendTime = false }: LogRecord): Whole {
  const pairs = headers.map((header) => [header.key, asText(header.value)] as const)
  return { offset, timestampMs, key: asText(key), value: asText(value), headers: pairs, isAppendTime }
}

const bytes = fc.option(
  fc
    .oneof(fc.string({ maxLength: 6 }), fc.constantFrom('', 'just twelve!', 'thirteen long', 'ü😀'.repeat(20)))
    .map(text),
  { nil: undefined },
)
const logRecord: fc.Arbitrary<LogRecord> = fc.record({
  timestampMs: fc.oneof(
    fc.integer({ min: 0, max: 50 }),
    fc.constantFrom(-1, -2, -8.64e15, 8.64e15, 9e15, -9.1e18, 2 ** 63, 1_700_000_000_123),
  ),
  key: bytes,
  value: bytes,
  headers: fc.array(fc.record({ key: fc.constantFrom('', 'h', 'a header of many bytes'), value: bytes }), {
    maxLength: 3,
  }),
  isAppendTime: fc.boolean(),
})
/** Whatever a record may be. */
const WHOLE: readonly LogRecord[] = [
  { timestampMs: 1_700_000_000_123, key: text('k'), value: text('v') },
  { timestampMs: 5, key: undefined, value: undefined, isAppendTime: true },
  { timestampMs: -1, key: text(''), value: text('') },
  { timestampMs: -2, key: text('just twelve!'), value: undefined, isAppendTime: true },
  { timestampMs: 9e15, key: undefined, value: text('thirteen long') },
  { timestampMs: 2 ** 63, key: text('a key that is long'), value: text('ü😀'.repeat(5_000)) },
  { timestampMs: -(2 ** 63), key: text('k'), value: text('x'.repeat(300)), isAppendTime: true },
  {
    timestampMs: 8.64e15,
    key: text('k'),
    value: text('{"id":"a row"}'),
    headers: [
      { key: 'h', value: undefined },
      { key: '', value: text('') },
      { key: 'h', value: text('a header of many bytes') },
    ],
  },
  {
    timestampMs: -8.64e15,
    key: text('k'),
    value: text('v'),
    headers: [{ key: 'a name of many bytes', value: text('1') }],
  },
]
/** Records of a partition, or so many offsets without one. */
const slots = fc.array(
  fc.tuple(
    fc.nat({ max: 2 }),
    fc.oneof(
      { weight: 3, arbitrary: fc.array(logRecord, { maxLength: 9 }) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }) },
    ),
  ),
  { maxLength: 8 },
)

test('each record is there once, as it was, whatever files it has come into', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(slots, { minLength: 1, maxLength: 3 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      slots,
      fc.nat({ max: 9 }),
      async (rounds, share, after, skipped) => {
        const { log, storage, keep, open } = lakeOn(await onDisk(), 3)
        const original = new Map<PartitionId, Whole[]>()
        const write = (list: typeof after): void => {
          for (const [p, what] of list) {
            if (typeof what === 'number') log.appendHidden('t', p, what)
            else {
              const first = log.append('t', p, what)
              const id = partitionId('t', p)
              original.set(id, [...(original.get(id) ?? []), ...what.map((one, i) => seen(first + BigInt(i), one))])
            }
          }
        }
        let version: Version | undefined
        for (const round of rounds) {
          write(round)
          version = await keep()
        }
        for (const p of [0, 1, 2]) log.deleteRecordsBefore('t', p, BigInt(Math.floor(Number(log.end('t', p)) * share)))
        write(after)
        const source = await open(version!)
        const found = await readAll(source)
        for (const [id, list] of original) if (list.length > 0) expect(found.get(id)).toEqual(list)
        const ends = [0, 1, 2].map((p) => log.end('t', p)).toSorted((a, b) => Number(a - b))
        const from = BigInt(skipped) < ends[0]! ? BigInt(skipped) : ends[0]!
        const rest = await readAll(source, from)
        for (const [id, list] of original)
          expect(rest.get(id) ?? []).toEqual(list.filter(({ offset }) => offset >= from))
        await source.close()
        expect(readdirSync(storage.scratch)).toEqual([])
        await storage.close()
      },
    ),
    { numRuns: 8 },
  )
}, 120_000)

describe.each([
  ['on disk', onDisk],
  ['on a store without files', onS3],
])('%s', (_place, storageOf) => {
  test('all that a record is comes back, from files that have been put together', async () => {
    const { log, storage, keep, open } = lakeOn(await storageOf(), 3)
    const expected = new Map<PartitionId, Whole[]>()
    let version: Version | undefined
    for (let round = 0; round < 3; round++) {
      for (const p of [0, 1, 2]) {
        const first = log.append('t', p, WHOLE)
        const id = partitionId('t', p)
        expected.set(id, [...(expected.get(id) ?? []), ...WHOLE.map((one, i) => seen(first + BigInt(i), one))])
        log.appendHidden('t', p, p + round)
      }
      version = await keep()
    }
    for (const p of [0, 1, 2]) log.deleteRecordsBefore('t', p, log.end('t', p))
    const source = await open(version!)
    expect(await readAll(source)).toEqual(expected)
    await source.close()
    expect(readdirSync(storage.scratch)).toEqual([])
    await storage.close()
  })

  test('tails and times are found, of records that the topic has lost', async () => {
    const { log, storage, keep, open } = lakeOn(await storageOf(), 2)
    for (const p of [0, 1]) log.append('t', p, records(`p${p}-`, 30))
    const before = await new ContentSource(log, clock).tailAt('t/1', 12n)
    const version = await keep()
    for (const p of [0, 1]) {
      log.deleteRecordsBefore('t', p, 25n)
      log.append('t', p, records('more', 5))
    }
    const source = await open(version)
    expect((await source.bounds(['t/0'])).get('t/0')).toEqual({ logStart: 0n, end: 35n, highWatermark: 35n })
    expect(await source.tailAt('t/1', 12n)).toEqual({ ...before, leaderEpoch: -1 })
    const at = async (ms: number) =>
      (await source.positionsAt(['t/1'], { timestampMs: 1_700_000_000_000 + ms })).get('t/1')
    expect([await at(-5), await at(7), await at(24), await at(26)]).toEqual([0n, 7n, 24n, 26n])
    const drained = await drain(source, await cursorsAt(source, 't'))
    expect(drained.values('t/1')).toEqual([
      ...Array.from({ length: 30 }, (_, i) => `p1-${i}`),
      ...Array.from({ length: 5 }, (_, i) => `more${i}`),
    ])
    await source.close()
    expect(readdirSync(storage.scratch)).toEqual([])
    await storage.close()
  })

  test.each(['gone', 'another one'])('a file that is %s is named', async (what) => {
    const { log, storage, keep, open } = lakeOn(await storageOf(), 1)
    const filesOf = async ({ tables }: Version) =>
      storedFiles(storage, await openTable(storage, tables['kept']!.metadata))
    log.append('t', 0, records('a', 3))
    const [first] = await filesOf(await keep())
    log.append('t', 0, records('b', 10))
    const version = await keep()
    log.deleteRecordsBefore('t', 0, 13n)
    const { key } = (await filesOf(version)).find((file) => file.key !== first!.key)!
    if (what === 'gone') await storage.delete(key)
    // A whole one, of the same table.
    else await storage.put(key, (await storage.get(first!.key))!)
    const source = await open(version)
    await expect(readAll(source)).rejects.toMatchObject({ code: 'store.corrupt', context: { key } })
    await source.close()
    await storage.close()
  })
})

test('a record that no lane could look at is in the archive too', async () => {
  const { log, storage, keep, open } = lakeOn(await onDisk(), 1)
  log.append('t', 0, records('a', 5))
  const version = await keep({ fatal: new Set(['t/0@2', 't/0@4']) })
  log.deleteRecordsBefore('t', 0, 5n)
  const source = await open(version)
  const drained = await drain(source, await cursorsAt(source, 't'))
  expect(drained.values('t/0')).toEqual(['a0', 'a1', 'a2', 'a3', 'a4'])
  await source.close()
  await storage.close()
})

test("the order of files, and of what was put together, is nobody's business", async () => {
  const storage = await onDisk()
  const log = new MemoryLog()
  log.createTopic('t', 2)
  for (const p of [0, 1]) log.append('t', p, records(`p${p}-`, 40))
  const kept = definition!.tables.find(({ isArchive }) => isArchive === true)!
  const made = await emptyTables(definition!, new Set(['kept']), {}, storage, clock)
  const table = await openTable(storage, made['kept']!.metadata)
  const data = writePlan(table)
  const deadLetters = writePlan(await openTable(storage, made['kept__dlq']!.metadata))
  const live = new ContentSource(log, clock, { batchOffsetsMax: 4, pollMs: 0 })
  const until = new Map([0, 1].map((p) => [partitionId('t', p), 40n] as const))
  const assignment = {
    lane: 0,
    from: await cursorsAt(live, 't'),
    tables: [{ table: 'kept', topic: 't', data, deadLetters }],
    microBatch: { bytesMax: 1 << 20, recordsMax: 8, ageMsMax: 1_000_000 },
    fatal: new Set<string>(),
  }
  const encoder = await openEncoder({ tables: [kept], storage, clock })
  const work = await openTableWork({ tables: [kept], storage, clock })
  const files: DataFile[] = []
  for await (const { tables } of stage(bounded(live, until), assignment, encoder, clock, AbortSignal.timeout(60_000)))
    files.push(...tables.flatMap((each) => each.files))
  expect(files.length).toBeGreaterThanOrEqual(8)
  const input = (file: DataFile) => ({
    file,
    firstRowId: undefined,
    sequenceNumber: 1n,
    deleted: new DeletedRows(file.recordCount),
  })
  // Later before earlier, in one file and among files, with others between them.
  const [a, b, c, d, e, ...rest] = files
  const joinedFiles = [
    await work.concatenate(data, [e!, a!, c!].map(input)),
    await work.concatenate(data, [d!, b!].map(input)),
  ]
  const stamp = { commitId: clock.uuid(), version: 1n, ranges: '' }
  const { metadata } = await appendFiles(storage, table, [...rest.toReversed(), ...joinedFiles], stamp, clock)
  const ranges = new Map([0, 1].map((p) => [partitionId('t', p), { from: 0n, until: 40n }] as const))
  const archives = [{ topic: 't', topicId: 'memory-1', metadata: [metadata], ranges }]
  for (const p of [0, 1]) log.deleteRecordsBefore('t', p, 40n)
  const source = joined(archives, openArchiveLog(archives, storage, clock), live)
  for (const from of [0n, 11n, 39n]) {
    const drained = await drain(source, await cursorsAt(source, 't', from))
    for (const p of [0, 1])
      expect(drained.values(partitionId('t', p))).toEqual(
        Array.from({ length: 40 }, (_, i) => `p${p}-${i}`).slice(Number(from)),
      )
  }
  await Promise.all([source.close(), encoder.close(), work.close()])
  await storage.close()
})

test('an archive that came later keeps the log from there on', async () => {
  const { log, storage, keep, open } = lakeOn(await onDisk(), 1)
  log.append('t', 0, records('a', 5))
  const [without] = defineLake({ p: { tables: [events] } }).pipelines
  await keep({ definition: without! })
  const chain = openChain(storage, 'p', clock)
  await acceptCode({
    definition: definition!,
    chain,
    storage,
    source: new ContentSource(log, clock),
    writer: 'w',
    clock,
  })
  log.append('t', 0, records('b', 5))
  const version = await keep()
  const [archive] = await archivesOf(definition!, version, storage)
  expect(archive!.ranges).toEqual(new Map([['t/0', { from: 5n, until: 10n }]]))
  log.deleteRecordsBefore('t', 0, 8n)
  const source = await open(version)
  expect((await source.bounds(['t/0'])).get('t/0')!.logStart).toBe(5n)
  const drained = await drain(source, await cursorsAt(source, 't', 5n))
  expect(drained.values('t/0')).toEqual(['b0', 'b1', 'b2', 'b3', 'b4'])
  await source.close()
  await storage.close()
})

test('an archive whose beginning is not known is not read', async () => {
  const { log, storage, keep } = lakeOn(await onDisk(), 1)
  log.append('t', 0, records('a', 5))
  const version = await keep()
  const [archive] = await archivesOf(definition!, version, storage)
  expect(archive).toMatchObject({ topic: 't', topicId: 'memory-1' })
  expect(archive!.ranges).toEqual(new Map([['t/0', { from: 0n, until: 5n }]]))
  const other = { ...version, tables: { ...version.tables, kept: version.tables['kept__dlq']! } }
  expect(await archivesOf(definition!, { ...version, tables: {} }, storage)).toEqual([])
  expect(await archivesOf(definition!, other, storage)).toEqual([])
  await storage.close()
})
