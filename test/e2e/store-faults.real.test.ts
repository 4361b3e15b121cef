import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import { startS3Proxy, type ProxyFault, type S3Proxy } from '../support/s3-proxy.ts'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'
import { Random } from '../simulation/random.ts'
import { createRace, foldUntil, liveRows, PARTITION, PIPELINE } from './races-table.ts'
import { race, type Raced } from './races-writer.ts'

// The committer and the client of production on a network where one request of a commit in four goes wrong: every
// acknowledged commit stands once, and nothing is left open.

/** Side by side, so that waiting costs little. */
const LAKES = 3
/** Of each lake. */
const COMMITS = 100
const SHARE = 0.3
const random = new Random(11, 'store-faults')

/** Answers of the store that are its own, lost, late, cut or slow, in the shares in which they are drawn. */
const FAULTS: readonly (() => ProxyFault)[] = [
  () => ({ kind: 'status', status: 500, code: 'InternalError' }),
  () => ({ kind: 'status', status: 503, code: 'SlowDown' }),
  () => ({ kind: 'resetBefore' }),
  () => ({ kind: 'resetAfter' }),
  () => ({ kind: 'late', afterMs: 20 + random.int(400) }),
  () => ({ kind: 'staleList' }),
  () => ({ kind: 'cut', afterBytes: random.int(400), how: 'reset' }),
  () => (random.chance(0.05) ? { kind: 'trickle', bytes: 1 + random.int(3) } : { kind: 'resetAfter' }),
]
/** Of the one request that decides: also what only it may be answered, though nothing stands there. */
const VERSION_FAULTS: readonly (() => ProxyFault)[] = [
  ...FAULTS,
  () => ({ kind: 'status', status: 409, code: 'ConditionalRequestConflict' }),
  () => ({ kind: 'status', status: 412, code: 'PreconditionFailed' }),
  () => ({ kind: 'late', afterMs: 20 + random.int(400) }),
]

/** Waits a twentieth of what it is asked to; its time runs as if it had waited. */
let skippedMs = 0
const clock: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() + skippedMs,
  sleep: async (ms, signal) => {
    skippedMs += ms * 0.95
    await systemClock.sleep(ms / 20, signal)
  },
}

let server: S3Server
let proxy: S3Proxy
beforeAll(async () => {
  server = await startS3()
  proxy = await startS3Proxy(server.endpoint)
})
afterAll(async () => {
  await proxy?.stop()
  await server?.stop()
})

test('300 commits on a store of which every fourth request goes wrong: none is lost, none stands twice', async () => {
  const counts = { requests: 0, faulty: 0 }
  const startedMs = performance.now()
  const lakes = await Promise.all(
    Array.from({ length: LAKES }, async (_, k) => {
      const settings = storeOn(server, `faults-${k}`)
      const direct = await openStorage(settings, systemClock)
      await createRace(direct, systemClock)
      return { direct, storage: await openStorage({ ...settings, endpoint: proxy.endpoint }, clock) }
    }),
  )
  proxy.draw((method, url) => {
    counts.requests++
    if (random.next() >= SHARE) return undefined
    counts.faulty++
    return random.pick(method === 'PUT' && /v\d{16}\.json/.test(url) ? VERSION_FAULTS : FAULTS)()
  })
  const raced = await Promise.all(
    lakes.map(({ storage }) =>
      race(storage, 'one', { commits: COMMITS, compactEvery: 25, pauseMsMax: 0 }, clock).finally(() => storage.close()),
    ),
  )
  proxy.draw(undefined)
  await proxy.landed()
  const errors = raced.flatMap((done) => done.errors).length
  console.log(JSON.stringify({ ...counts, errors, ms: Math.round(performance.now() - startedMs) }))

  expect(counts.faulty / counts.requests).toBeGreaterThanOrEqual(0.25)
  for (const [k, { direct }] of lakes.entries()) await expectExact(direct, raced[k]!)
  await expect.poll(() => proxy.connections(), { timeout: 10_000 }).toBe(0)
}, 170_000)

async function expectExact(direct: Storage, done: Raced): Promise<void> {
  expect(done.commits).toHaveLength(COMMITS)
  const chain = (await openChain(direct, PIPELINE, systemClock).versions(100_000)).toReversed()
  expect(chain.map(({ number }) => number)).toEqual(chain.map((_, index) => BigInt(index + 1)))
  const [acknowledged, ids] = [[...done.commits, ...done.compactions], chain.map(({ commitId }) => commitId)]
  expect(acknowledged.filter((id) => ids.filter((each) => each === id).length !== 1)).toEqual([])
  expect(await liveRows(direct, chain.at(-1)!)).toEqual(foldUntil(Number(chain.at(-1)!.positions.get(PARTITION))))
  await direct.close()
}
