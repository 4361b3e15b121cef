import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import type { PipelineDefinition } from '../../src/define.ts'
import { LakeError } from '../../src/error.ts'
import type { LakeEvent } from '../../src/event.ts'
import type { ChangeRecord, ChangeSink } from '../../src/ingest/change-sink.ts'
import type { ChangedRows, TableWork } from '../../src/ingest/keys.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control, type RunResult } from '../../src/ingest/pipeline.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { openTable, type DataFile } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { record } from '../support/log.ts'
import { plainEncoder, PlainFold, type ResultRow } from '../support/plain-fold.ts'
import { rowTable } from '../support/rows.ts'

// Publishing as a part of the run of a pipeline: beside the commits, from the head on.

const RULES = { sizeMs: 10, latenessMs: 4, boundMs: 5 }
const NEVER_MS = 1e12
const eventTime = { column: 'v', unit: 'ms', outOfOrdernessMs: 5, idleAfterMs: NEVER_MS, maxFutureSkewMs: 0 } as const
const DEFINITION: PipelineDefinition = {
  name: 'p',
  onDataLoss: 'stop',
  tables: [{ ...rowTable('t', 'c'), eventTime }],
  windows: [
    {
      kind: 'window',
      name: 'w',
      source: 't',
      window: { kind: 'tumbling', sizeMs: RULES.sizeMs, offsetMs: 0 },
      allowedLatenessMs: RULES.latenessMs,
      input: 'events',
      groupBy: ['v'],
      nullGroup: 'late',
      where: undefined,
      select: [{ name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined }],
      emit: 'update',
      earlyMs: 0,
      openRowsMax: 1_000,
      oldValuesMax: 1_000,
      computed: [],
      retainMs: undefined,
      to: { topic: 'changes', where: undefined },
    },
  ],
}

const clock: Clock = {
  nowMs: () => systemClock.nowMs(),
  monotonicMs: () => systemClock.monotonicMs(),
  random: () => systemClock.random(),
  uuid: () => systemClock.uuid(),
  sleep: (ms, signal) => sleep(Math.min(ms, 5), undefined, { signal }).catch(() => undefined),
}

test('a run publishes what it commits, says in later versions what was sent, and the next one goes on from there (E7)', async () => {
  const storage = new MemoryStorage('publish')
  const chain = openChain(storage, 'p', clock)
  const log = new MemoryLog()
  log.createTopic('c', 1)
  const append = (...values: readonly string[]) =>
    log.append(
      'c',
      0,
      values.map((value) => record(value)),
    )
  const published: ChangeRecord[] = []
  let isAway = false
  const sink: ChangeSink = {
    send: async (_, records) => {
      if (isAway) throw new LakeError('kafka.unavailable', 'away', { retryable: true })
      published.push(...records)
    },
    close: async () => undefined,
  }
  const events: LakeEvent[] = []
  const read = async ({ key }: DataFile) => JSON.parse(Buffer.from((await storage.get(key))!).toString()) as ResultRow[]
  const keyOf = ({ group, start }: ResultRow) => `${group}:${start}`
  const changes: TableWork['changes'] = async (_, { before, after }) => {
    const rowsOf = async (sides: readonly ChangedRows[]) =>
      (
        await Promise.all(sides.map(async ({ file, deleted }) => (await read(file)).filter((_, k) => !deleted.has(k))))
      ).flat()
    const [old, now] = [await rowsOf(before), await rowsOf(after)]
    const gone = old.filter((row) => !now.some((other) => keyOf(other) === keyOf(row)))
    const lines = [...now.map((row) => [keyOf(row), JSON.stringify(row)]), ...gone.map((row) => [keyOf(row), null])]
    const file = path.join(storage.scratch, `${clock.uuid()}.ndjson`)
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    return { path: file, count: lines.length }
  }
  const start = (): { stop: () => Promise<RunResult> } => {
    const stop = new AbortController()
    const source = new ContentSource(log, clock, { batchOffsetsMax: 10, pollMs: 1 })
    const control: Control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      onHead: () => undefined,
    }
    const microBatch = { recordsMax: 100, bytesMax: 1 << 20, ageMsMax: 5 }
    const ended = run(
      source,
      {
        definition: DEFINITION,
        storage,
        clock,
        observer: (event) => events.push(event),
        control,
        compaction: undefined,
        startLanes: async () =>
          inlineLanes({
            source,
            encoder: plainEncoder(storage, clock, RULES),
            work: { changes } as TableWork,
            lanes: 1,
            microBatch,
            clock,
          }),
        openFold: async () => new PlainFold(storage, clock, RULES),
        openSink: () => sink,
      },
      chain,
      { writer: 'w', minIntervalMs: 5, heartbeatMs: 50 },
      stop.signal,
    )
    return {
      stop: () => {
        stop.abort()
        return ended
      },
    }
  }
  const until = async (holds: (head: Version) => boolean | Promise<boolean>): Promise<Version> => {
    for (const startMs = systemClock.monotonicMs(); ; await sleep(5)) {
      const head = await chain.head()
      if (head !== undefined && (await holds(head))) return head
      if (systemClock.monotonicMs() - startMs > 20_000) throw new Error(`stuck at ${String(head?.number)}`)
    }
  }
  const rowsAt = async (version: Version): Promise<string[]> => {
    const files = await storedFiles(storage, await openTable(storage, version.tables['w']!.metadata))
    const rows = files.map(async (file) => {
      const deleted = await readDeletedRows(storage, file)
      return (await read(file)).filter((_, row) => !deleted.has(row)).map((row) => JSON.stringify(row))
    })
    return (await Promise.all(rows)).flat().toSorted()
  }
  const readBack = (): string[] => {
    const table = new Map(published.map(({ key, value }) => [key, value]))
    return [...table.values()].filter((value) => value !== null).toSorted()
  }
  const isRead = (end: bigint) => (head: Version) =>
    head.positions.get('c/0') === end && head.published['w']! >= head.number - 1n && head.number > 2n

  append('a:3', 'a:4', 'b:12')
  let running = start()
  let head = await until(isRead(3n))
  // Never in the version itself: it is not committed yet when it would have to be sent.
  for (const { number, published } of await chain.versions(1_000))
    if (number > 1n) expect(published['w']! < number).toBe(true)
  expect((await chain.at({ kind: 'number', number: 1n })).published).toEqual({ w: 1n })
  expect(readBack()).toEqual(await rowsAt(head))

  isAway = true
  append('a:40', 'c:41')
  const isTold = () => events.some(({ kind, ...event }) => kind === 'published' && 'error' in event)
  head = await until(({ positions }) => positions.get('c/0') === 5n && isTold())
  const before = published.length
  append('d:60')
  head = await until(({ positions }) => positions.get('c/0') === 6n)
  expect(head.published['w']! < head.number - 1n).toBe(true)
  expect(published.length).toBe(before)
  expect((await running.stop()).kind).toBe('stopped')
  isAway = false
  running = start()
  head = await until(isRead(6n))
  expect(readBack()).toEqual(await rowsAt(head))
  await running.stop()
  await storage.close()
})
