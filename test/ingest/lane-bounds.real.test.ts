import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { LanePool } from '../../src/ingest/lane-pool.ts'
import { shopDefinition, shopEnds } from '../../src/ingest/shop-ledger.ts'
import { openSource } from '../../src/ingest/source.ts'
import { openHead, tablePlans } from '../../src/ingest/start.ts'
import { startFold } from '../../src/ingest/window/fold-pool.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { openTable } from '../../src/lake/table.ts'
import type { PartitionId, Positions } from '../../src/log.ts'
import { until as eventually } from '../support/processes.ts'
import { boundedShop, shopSettings } from '../support/shop-store.ts'

// Lane processes of a replay: they end where they are told to, also when one of them dies, and let others go first.

const SHOP = boundedShop(400)
const PIPELINE = shopDefinition.pipelines[0]!
const LIMIT_MS = 120_000
const dist = (name: string): string => path.resolve(import.meta.dirname, `../../dist/${name}.js`)
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bounds-'))
const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  rmSync(folder, { recursive: true, force: true })
})

test('lanes read up to a bound and not beyond it, whoever dies meanwhile', { timeout: LIMIT_MS }, async () => {
  const settings = shopSettings({ url: `file:${folder}/lake` }, SHOP, folder)
  const { source, store, commit, writer } = settings
  const pool = new LanePool({
    lanes: 2,
    childPath: dist('lane-child'),
    settings: { source, store, memoryBytesMax: 1 << 28 },
    microBatch: { ...commit.microBatch, recordsMax: 50 },
    clock: systemClock,
    observer: () => undefined,
    priority: 10,
  })
  closing.push(() => pool.close())
  const storage = await openStorage(store, systemClock)
  closing.push(() => storage.close())
  const log = openSource(source, systemClock)
  closing.push(() => log.close())
  const chain = openChain(storage, PIPELINE.name, systemClock)
  const { signal } = new AbortController()
  const opened = await openHead(
    log,
    { definition: PIPELINE, storage, clock: systemClock },
    chain,
    { writer, ...commit },
    signal,
  )
  const { tables, positions, topicIds } = opened.head
  const all = Object.entries(tables).map(
    async ([name, { metadata }]) => [name, await openTable(storage, metadata)] as const,
  )
  const from = new Map(
    [...positions].map(([id, offset]) => [id, { offset, leaderEpoch: -1, topicId: topicIds[id.split('/')[0]!]! }]),
  )
  const until: Positions = new Map([...shopEnds(SHOP, SHOP.untilMs!)].map(([id, end]) => [id, (2n * end) / 3n]))

  const lanes = pool.open(PIPELINE.name, PIPELINE.tables, [], { until })
  lanes.assign({ from, tables: tablePlans(PIPELINE, new Map(await Promise.all(all))) })
  for (const pid of pool.pids) expect(os.getPriority(pid)).toBe(10)
  const reached = new Map<PartitionId, bigint>(positions)
  let records = 0
  let killed: number | undefined
  await eventually(
    'the end of the bounded log',
    async () => {
      const answer = await lanes.next(200)
      if (answer.kind === 'staged') {
        records += answer.staged.records
        for (const range of answer.staged.ranges) {
          expect(range.from).toBe(reached.get(range.partition))
          reached.set(range.partition, range.until)
        }
        if (killed === undefined) process.kill((killed = pool.pids[0]!), 'SIGKILL')
      }
      return answer.kind === 'ended'
    },
    LIMIT_MS,
  )
  expect(Object.fromEntries(reached)).toEqual(Object.fromEntries(until))
  expect(records).toBeGreaterThan(50)
  expect(pool.pids).not.toContain(killed)
  for (const pid of pool.pids) expect(os.getPriority(pid)).toBe(10)
  await lanes.close()
})

test('a fold that is told to lets others go first', { timeout: LIMIT_MS }, async () => {
  const { store } = shopSettings({ url: `file:${folder}/lake` }, SHOP, folder)
  const childPath = dist('fold-child')
  const settings = { store, memoryBytesMax: 1 << 28 }
  const fold = await startFold({ windows: [], tables: [], childPath, settings, clock: systemClock, priority: 7 })
  closing.push(() => fold.close())
  expect(os.getPriority(fold.pid!)).toBe(7)
})
