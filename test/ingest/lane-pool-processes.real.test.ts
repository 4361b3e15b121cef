import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { fork } from 'node:child_process'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { LakeEvent } from '../../src/event.ts'
import { LanePool, type LanePoolOptions } from '../../src/ingest/lane-pool.ts'
import type { LaneTask, Lanes } from '../../src/ingest/lanes.ts'
import { shopDefinition, shopEnds } from '../../src/ingest/shop-ledger.ts'
import { openSource } from '../../src/ingest/source.ts'
import { openHead, tablePlans } from '../../src/ingest/start.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { openTable } from '../../src/lake/table.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Settings } from '../../src/settings.ts'
import { mutatedBundle, type MutatedBundle } from '../support/mutated-bundle.ts'
import { processes, until } from '../support/processes.ts'
import { boundedShop, deadLettersOf, shopFaults, shopSettings } from '../support/shop-store.ts'

const SHOP = boundedShop(600)
const ENDS = shopEnds(SHOP, SHOP.untilMs!)
const PIPELINE = shopDefinition.pipelines[0]!
const LIMIT_MS = 120_000
const DIST = path.resolve(import.meta.dirname, '../../dist/lane-child.js')
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-pool-'))
const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  rmSync(folder, { recursive: true, force: true })
})

/** A pool over the shop, in a store of its own, with a list of what happened. */
async function newPool(more: Partial<LanePoolOptions> = {}) {
  const place = mkdtempSync(path.join(folder, 'lake-'))
  const settings = shopSettings({ url: `file:${place}/lake` }, SHOP, place)
  const events: LakeEvent[] = []
  const { source, store, commit } = settings
  const pool = new LanePool({
    lanes: 2,
    childPath: DIST,
    settings: { source, store, memoryBytesMax: 1 << 28 },
    microBatch: commit.microBatch,
    clock: systemClock,
    observer: (event) => events.push(event),
    ...more,
  })
  closing.push(() => pool.close())
  return {
    pool,
    settings,
    events,
    told: (what: string) => events.filter((each) => each.kind === 'lane' && each.what === what),
  }
}

/** The pipeline of the shop on a pool. */
async function supervise(pool: LanePool, settings: Settings) {
  const storage = await openStorage(settings.store, systemClock)
  const states: string[] = []
  const supervisor = new Supervisor({
    definition: PIPELINE,
    source: openSource(settings.source, systemClock),
    storage,
    chain: openChain(storage, PIPELINE.name, systemClock),
    policy: { writer: settings.writer, ...settings.commit },
    takeoverAfterMs: settings.takeoverAfterMs,
    clock: systemClock,
    observer: (event) => (event.kind === 'state' ? states.push(event.state) : 0),
    startLanes: async () => pool.open(PIPELINE.name, PIPELINE.tables),
  })
  const running = supervisor.run()
  const close = async () => {
    supervisor.close()
    await running
  }
  closing.push(close)
  const isDrained = () => {
    const positions = supervisor.status().head?.positions
    return [...ENDS].every(([id, end]) => positions?.get(id) === end)
  }
  return { supervisor, storage, states, close, drained: () => until('the end of the log', isDrained, LIMIT_MS) }
}

/** The lanes of a pool with a first task, and nobody who pulls. */
async function assigned(pool: LanePool, settings: Settings): Promise<{ lanes: Lanes; task: LaneTask }> {
  const storage = await openStorage(settings.store, systemClock)
  closing.push(() => storage.close())
  const chain = openChain(storage, PIPELINE.name, systemClock)
  const policy = { writer: 'one', ...settings.commit }
  const { signal } = new AbortController()
  const source = openSource(settings.source, systemClock)
  const opened = await openHead(source, { definition: PIPELINE, storage, clock: systemClock }, chain, policy, signal)
  const tables = await Promise.all(
    Object.entries(opened.head.tables).map(
      async ([name, { metadata }]) => [name, await openTable(storage, metadata)] as const,
    ),
  )
  const { topicIds, positions } = opened.head
  const from = new Map(
    [...positions].map(([id, offset]) => [id, { offset, leaderEpoch: -1, topicId: topicIds[id.split('/')[0]!]! }]),
  )
  const task = { from, tables: tablePlans(PIPELINE, new Map(tables)) }
  const lanes = pool.open(PIPELINE.name, PIPELINE.tables)
  lanes.assign(task)
  return { lanes, task }
}

describe('lanes that end', () => {
  test('a lane killed again and again loses nothing', { timeout: LIMIT_MS }, async () => {
    const { pool, settings, told } = await newPool()
    const { close, drained, supervisor } = await supervise(pool, settings)
    for (let kill = 0; kill < 5; kill++) {
      const before = supervisor.status().head?.number ?? 0n
      const pid = await until('a living lane', () => pool.pids[kill % 2])
      process.kill(pid, 'SIGKILL')
      await until('a successor', () => told('restarted').length > kill)
      if (kill % 2 === 0) continue
      await until(
        'a version',
        () =>
          (supervisor.status().head?.number ?? 0n) > before ||
          supervisor.status().partitions.every(({ position, end }) => position === end),
      )
    }
    await drained()
    await close()
    expect(told('died').length).toBeGreaterThanOrEqual(5)
    expect(await shopFaults(settings.store, SHOP)).toEqual([])
  })

  test('a lane that hangs is replaced', { timeout: LIMIT_MS }, async () => {
    const { pool, settings, told } = await newPool({ silentMsMax: 4_000 })
    await until('both lanes', () => pool.pids.length === 2)
    const frozen = pool.pids[0]!
    process.kill(frozen, 'SIGSTOP')
    const { close, drained } = await supervise(pool, settings)
    await drained()
    await close()
    expect(told('hung')).toMatchObject([{ lane: 0 }])
    expect(pool.pids).not.toContain(frozen)
    expect(processes().some(({ pid }) => pid === frozen)).toBe(false)
    expect(await shopFaults(settings.store, SHOP)).toEqual([])
  })

  test('a lane whose parent dies while it starts ends too', { timeout: LIMIT_MS }, async () => {
    const { settings } = await newPool({ lanes: 0 })
    const parent = path.join(folder, 'parent.mjs')
    writeFileSync(
      parent,
      `import { fork } from 'node:child_process'
const child = fork(${JSON.stringify(DIST)}, [], { serialization: 'advanced', stdio: ['ignore', 'ignore', 'ignore', 'ipc'] })
process.send(child.pid, () => setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(process.argv[2])))
`,
    )
    const { source, store } = settings
    const env = { ...process.env, KAPPALAKE_LANE: JSON.stringify({ source, store, memoryBytesMax: 1 << 28 }) }
    const pids = await Promise.all(
      // At once, while it loads its code, while it opens the store, afterwards.
      [0, 40, 120, 250, 600].map(
        (ms) =>
          new Promise<number>((resolve) =>
            fork(parent, [String(ms)], { env }).on('message', (pid) => resolve(Number(pid))),
          ),
      ),
    )
    await until('the end of all lanes', () => !processes().some(({ pid }) => pids.includes(pid)))
  })
})

describe('a record that kills its lane', () => {
  const POISON = 'shop.orders/1@117'
  let bundle: MutatedBundle
  beforeAll(async () => {
    const text = 'const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs)'
    bundle = await mutatedBundle('poison', [
      {
        file: 'src/lane-child.ts',
        text,
        replacement: `const isThere = ({ topic, partition, offsets }) => topic === 'shop.orders' && partition === 1 && offsets.includes(117n)
      if (!fatal.has('${POISON}') && batches.some(isThere)) { die(); for (;;); }
      ${text}`,
      },
    ])
  })
  afterAll(() => bundle?.remove())

  test('is a dead letter, exactly that one, and all others are rows', { timeout: LIMIT_MS }, async () => {
    const childPath = path.join(bundle.folder, 'lane-child.js')
    const { pool, settings, told } = await newPool({ childPath })
    const { close, drained } = await supervise(pool, settings)
    await drained()
    await close()
    const deaths = told('died').length
    // Once, once more, then with fewer and fewer records down to one, which must kill twice.
    expect(deaths).toBeGreaterThanOrEqual(3)
    expect(deaths).toBeLessThanOrEqual(8)
    const letters = await deadLettersOf(settings.store, 'orders')
    expect(letters.filter(({ code }) => code === 'decode.fatal')).toEqual([
      { partition: 1, offset: 117n, code: 'decode.fatal' },
    ])
    expect(await shopFaults(settings.store, SHOP, { fatal: [POISON] })).toEqual([])
  })
})

describe('work in flight', () => {
  test(
    'stops at three batches a lane when nobody pulls, and goes on by one for each',
    { timeout: LIMIT_MS },
    async () => {
      const { pool, settings, events } = await newPool()
      const { lanes } = await assigned(pool, settings)
      const staged = (lane: number) => events.filter((each) => each.kind === 'staged' && each.lane === lane).length
      await until('three batches of each', () => staged(0) === 3 && staged(1) === 3)
      const before = pool.pids.map(residentMiB)
      await systemClock.sleep(2_000)
      expect([staged(0), staged(1)]).toEqual([3, 3])
      const grown = pool.pids.map((pid, index) => residentMiB(pid) - before[index]!)
      expect(Math.max(...grown)).toBeLessThan(32)
      const answer = await lanes.next(1_000)
      const lane = answer.kind === 'staged' ? answer.staged.lane : -1
      await until('a fourth', () => staged(lane) === 4)
      expect(staged(1 - lane)).toBe(3)
    },
  )

  test('answers to an earlier task, or to the run before, are dropped', { timeout: LIMIT_MS }, async () => {
    const { pool, settings } = await newPool()
    const { lanes, task } = await assigned(pool, settings)
    const first = await until('a batch', async () => {
      const answer = await lanes.next(500)
      return answer.kind === 'staged' && answer.staged
    })
    expect(first.ranges.every(({ from }) => from === 0n)).toBe(true)
    // Both lanes have more of the old task in flight at this moment.
    const later = new Map(
      [...task.from].map(([id, cursor]): [PartitionId, typeof cursor] => [id, { ...cursor, offset: 150n }]),
    )
    lanes.assign({ ...task, from: later })
    expect(await firstRanges(lanes)).toEqual(new Map([...later.keys()].map((id) => [id, 150n])))
    await lanes.close()
    const again = pool.open(PIPELINE.name, PIPELINE.tables)
    const other = new Map(
      [...task.from].map(([id, cursor]): [PartitionId, typeof cursor] => [id, { ...cursor, offset: 180n }]),
    )
    again.assign({ ...task, from: other })
    expect(await firstRanges(again)).toEqual(new Map([...other.keys()].map((id) => [id, 180n])))
  })

  test('a store that lanes cannot write to is waited for', { timeout: LIMIT_MS }, async () => {
    const { pool, settings } = await newPool()
    const root = settings.store.url.slice('file:'.length)
    // No link inside the store is followed: to the lanes, the folder of data files is out of reach.
    const link = path.join(root, 'tables/page_views/data')
    mkdirSync(path.dirname(link), { recursive: true })
    symlinkSync(folder, link)
    const { supervisor, states, close, drained } = await supervise(pool, settings)
    await until('waiting', () => supervisor.status().state === 'waiting')
    expect(supervisor.status().reason).toMatchObject({ code: 'store.denied' })
    rmSync(link)
    await drained()
    expect(states).toEqual(expect.arrayContaining(['waiting', 'running']))
    expect(states.at(-1)).toBe('running')
    await close()
    expect(await shopFaults(settings.store, SHOP)).toEqual([])
  })
})

/** Where the first batch of each partition begins. */
async function firstRanges(lanes: Lanes): Promise<Map<PartitionId, bigint>> {
  const found = new Map<PartitionId, bigint>()
  await until('all partitions', async () => {
    const answer = await lanes.next(500)
    if (answer.kind === 'staged')
      for (const { partition, from } of answer.staged.ranges) if (!found.has(partition)) found.set(partition, from)
    return found.size === ENDS.size
  })
  return new Map([...found].toSorted())
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1_024
}
