import { beforeEach, expect, test } from 'vitest'
import type { LakeEvent } from '../../src/event.ts'
import { openChain, openFork } from '../../src/lake/chain.ts'
import { versionFiles } from '../../src/lake/expire-versions.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { baseTag, createTable, holdFor, isKept, putTag, readTags } from '../../src/lake/table.ts'
import { REPLAY } from '../../src/replay-status.ts'
import { expire, keepExpiring } from '../../src/lake/upkeep.ts'
import { MAINTENANCE } from '../../src/settings.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { content } from '../support/scripted-chain.ts'

const HOUR_MS = 3_600_000
let clock: InstantClock
let storage: MemoryStorage
const endless = new AbortController().signal

beforeEach(async () => {
  clock = new InstantClock()
  storage = new MemoryStorage('upkeep', clock)
  const chain = openChain(storage, 'shop', clock)
  const table = (name: string) =>
    createTable(storage, { name, columns: [], partitionBy: [], formatVersion: 2 }, clock).then(({ metadata }) => ({
      [name]: { metadata, snapshot: undefined, code: 'a' },
    }))
  const tables = { ...(await table('orders')), ...(await table('items')) }
  for (let number = 1; number <= 5; number++) {
    const head = await chain.head()
    await chain.append(head, { commitId: `c${number}`, build: () => Promise.resolve({ ...content(1n), tables }) })
    clock.advance(1_000)
  }
  for (const name of ['orders', 'items']) await storage.put(`tables/${name}/data/staged.parquet`, Buffer.from('four'))
})

test('expire lets go of what is kept no longer, of one table or of all', async () => {
  const run = (table?: string) => expire(storage, 'shop', HOUR_MS, clock, endless, table)
  expect(await run()).toEqual({ versions: 0, files: 0, bytes: 0 })
  clock.advance(2 * HOUR_MS)
  expect(await run('orders')).toEqual({ versions: 0, files: 1, bytes: 4 })
  clock.advance(24 * HOUR_MS)
  expect(await run()).toEqual({ versions: 3, files: 1, bytes: 4 })
  expect(await run()).toEqual({ versions: 0, files: 0, bytes: 0 })
})

test('a tag holds a version, and what its tables need, until it is over', async () => {
  const run = () => expire(storage, 'shop', HOUR_MS, clock, endless)
  const numbers = async () => (await versionFiles(storage, 'shop')).map(({ number }) => number)
  const second = await openChain(storage, 'shop', clock).at({ kind: 'number', number: 2n })
  await holdFor(storage, 'shop', { name: 'before-x', version: 2n }, 72 * HOUR_MS, clock)
  clock.advance(50 * HOUR_MS)
  await run()
  expect(await numbers()).toEqual([2n, 4n, 5n])
  expect(await isKept(storage, 'shop', second, clock)).toBe(true)
  clock.advance(22.5 * HOUR_MS)
  await run()
  expect(await readTags(storage, 'shop')).toEqual([])
  expect(await isKept(storage, 'shop', second, clock)).toBe(false)
  // It is one of the last of an hour now, for thirty days.
  clock.advance(31 * 24 * HOUR_MS)
  await run()
  expect(await numbers()).toEqual([4n, 5n])
})

test('forks go with their replays, and with them the tags of their bases', async () => {
  const run = () => expire(storage, 'shop', HOUR_MS, clock, endless)
  const jobs = openJobs(storage, clock)
  const head = (await openChain(storage, 'shop', clock).head())!
  const forked = async (key: string): Promise<string> => {
    const job = await jobs.ask({ kind: 'replay', pipeline: 'shop', options: REPLAY, codes: {} }, key)
    await openFork(storage, 'shop', job.id, clock).append(undefined, {
      commitId: key,
      build: () => Promise.resolve({ ...head, kind: 'fork' }),
    })
    await putTag(storage, 'shop', { name: baseTag(job.id), version: 1n, untilMs: undefined })
    return job.id
  }
  const forks = async () =>
    new Set(
      (await versionFiles(storage, 'shop')).map(({ chain }) => chain.split('/')[3]).filter((id) => id !== undefined),
    )
  const [open, failed, gone] = [await forked('open'), await forked('failed'), await forked('gone')]
  await jobs.update({ ...(await jobs.get(failed))!, state: 'failed', endedMs: clock.nowMs() })
  await storage.delete(`jobs/${gone}.json`)
  await storage.put('pipelines/shop/forks/none/head', Buffer.from('1'))
  await run()
  expect(await forks()).toEqual(new Set([open, failed]))
  clock.advance(8 * 24 * HOUR_MS)
  await run()
  expect(await forks()).toEqual(new Set([open]))
  expect((await readTags(storage, 'shop')).map(({ name }) => name)).toEqual([baseTag(open)])
})

/** The events of so many turns, of which the owner is the process in each that `owned` says. */
async function turns(count: number, owned: boolean, change: Partial<typeof MAINTENANCE> = {}): Promise<LakeEvent[]> {
  const events: LakeEvent[] = []
  const end = new AbortController()
  const counting: InstantClock = Object.create(clock, {
    sleep: {
      value: async (ms: number) => {
        clock.advance(ms)
        if (count-- === 0) end.abort()
      },
    },
  })
  for (const name of ['nowMs', 'random', 'uuid', 'monotonicMs'] as const)
    Object.defineProperty(counting, name, { value: () => clock[name]() })
  const settings = { ...MAINTENANCE, graceMs: HOUR_MS, ...change }
  await keepExpiring(
    storage,
    'shop',
    settings,
    counting,
    (event) => events.push(event),
    () => owned,
    end.signal,
  )
  return events
}

test('keepExpiring does so again and again, in the process that writes the pipeline', async () => {
  const quiet = { kind: 'expired', pipeline: 'shop', versions: 0, files: 0, bytes: 0 }
  expect(await turns(3, false)).toEqual([])
  expect(await turns(3, true, { isExpiring: false })).toEqual([])
  expect(await turns(3, true)).toEqual([{ ...quiet, files: 2, bytes: 8 }, quiet, quiet])
})

test('keepExpiring tells why it could not, and tries again', async () => {
  const [key] = [
    ...(await openChain(storage, 'shop', clock)
      .head()
      .then((head) => Object.values(head!.tables))),
  ]
  const bytes = (await storage.get(key!.metadata))!
  await storage.delete(key!.metadata)
  const failed = { kind: 'expired', versions: 0, files: 0, error: { code: 'store.corrupt' } }
  expect(await turns(2, true)).toMatchObject([failed, failed])
  await storage.put(key!.metadata, bytes)
  expect(await turns(1, true)).toMatchObject([{ files: 2 }])
})
