import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { StoreSettings } from '../../src/settings.ts'
import { mutatedBundle, type MutatedBundle } from '../support/mutated-bundle.ts'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'
import { boundedShop, shopFaults, shopSettings, trustStore } from '../support/shop-store.ts'
import { leftOver, live, type Ended } from './lives.ts'
import type { Chore } from './process.ts'
import { CRASH_BANNER, pointMutations, type CrashPlan } from './points.ts'

// Real processes, killed at every named point of the way of a record and started again: nothing may be missing,
// nothing twice, and the chain has one history.

interface Case {
  readonly point: string
  readonly nth?: number
  readonly detail?: string
  readonly victim?: CrashPlan['victim']
  /** The process is told to end after so many versions. */
  readonly endAfterVersions?: number
  /** What the process, and the one after it, does when all is committed. */
  readonly chore?: Chore
}

/** Versions after the first: those that name files. */
const LATER = String.raw`/v0*([2-9]|\d\d)\.json$`
const FIRST = String.raw`/v0{15}1\.json$`
/** Objects of a commit that go into the store beside each other. */
const MANIFEST = String.raw`-m0\.avro$`
const LIST = String.raw`/snap-[^/]+\.avro$`
const VECTORS = String.raw`-deletes\.puffin$`
/** Metadata of a table that is no longer empty. */
const FILLED = String.raw`/v([2-9]|\d\d)-`

const LANE_POINTS = [
  'fetched',
  'announced',
  'file-written',
  'file-flushed',
  'file-named',
  'file-uploaded',
  'encoded',
  'staged',
  'handed-over',
]
const LANE: readonly Case[] = LANE_POINTS.flatMap((point): Case[] => [
  { point, nth: 3, victim: 'self' },
  { point, nth: 5, victim: 'tree' },
])
const COMMITTER: readonly Case[] = [
  { point: 'claim-before', nth: 2 },
  { point: 'claim-after', nth: 3 },
  { point: 'first-before' },
  { point: 'first-after' },
  { point: 'version-before', detail: FIRST },
  { point: 'version-answered', detail: FIRST },
  { point: 'answered', nth: 4 },
  { point: 'verdict', nth: 2 },
  { point: 'folded', nth: 4 },
  { point: 'object-before', detail: MANIFEST, nth: 4 },
  { point: 'object-landed', detail: MANIFEST, nth: 5 },
  { point: 'object-before', detail: LIST, nth: 4 },
  { point: 'object-landed', detail: LIST, nth: 5 },
  { point: 'metadata-before', detail: FILLED, nth: 3 },
  // After one of several, and after another one of several.
  { point: 'metadata-after', detail: FILLED, nth: 1 },
  { point: 'metadata-after', detail: FILLED, nth: 2 },
  // After all.
  { point: 'version-before', detail: LATER, nth: 2 },
  { point: 'version-answered', detail: LATER, nth: 2 },
  { point: 'head-hint-before', nth: 2 },
  { point: 'head-hint-after', nth: 3 },
  { point: 'table-hints-before', nth: 2 },
  { point: 'table-hints-after', nth: 2 },
  { point: 'drain-before', endAfterVersions: 3 },
  { point: 'drain-after', endAfterVersions: 3 },
]
const DISK: readonly Case[] = [
  { point: 'temporary-written', detail: FIRST },
  { point: 'linked', detail: FIRST },
  { point: 'temporary-written', detail: LATER, nth: 2 },
  { point: 'linked', detail: LATER, nth: 2 },
]
const S3: readonly Case[] = [
  { point: 'upload-sent', nth: 3, victim: 'tree' },
  { point: 'file-uploaded', nth: 3, victim: 'tree' },
  { point: 'version-sent', detail: FIRST },
  { point: 'version-landed', detail: FIRST },
  { point: 'metadata-after', detail: FILLED, nth: 2 },
  { point: 'version-before', detail: LATER, nth: 2 },
  { point: 'version-sent', detail: LATER, nth: 2 },
  { point: 'version-landed', detail: LATER, nth: 2 },
  { point: 'drain-after', endAfterVersions: 3 },
]

/** What only keyed tables and their upkeep come to. */
const KEYED: readonly Case[] = [
  { point: 'object-before', detail: VECTORS, nth: 2 },
  { point: 'object-landed', detail: VECTORS, nth: 2 },
  { point: 'compaction-before', chore: 'compact' },
  { point: 'compacted', chore: 'compact' },
  { point: 'replacement-before', chore: 'compact' },
  { point: 'replacement-written', chore: 'compact' },
  { point: 'replacement-after', chore: 'compact' },
  { point: 'replacement-after', chore: 'compact', nth: 2 },
  { point: 'expiry-before', chore: 'expire' },
  { point: 'expiry-after', chore: 'expire' },
  { point: 'collection-before', chore: 'expire' },
  { point: 'collection-after', chore: 'expire', nth: 3 },
  { point: 'rollback-before', chore: 'rollback' },
  { point: 'rollback-after', chore: 'rollback' },
]

/** Versions of a fork. */
const FORK_FIRST = String.raw`/forks/\w+/v0{15}1\.json$`
const FORK_LATER = String.raw`/forks/\w+/v0*([2-9]|\d\d)\.json$`
/** What only a replay of other code comes to, until its tables are those of the pipeline. */
const REPLAY: readonly Case[] = [
  { point: 'version-before', detail: FORK_FIRST },
  { point: 'version-answered', detail: FORK_FIRST },
  { point: 'version-before', detail: FORK_LATER, nth: 2 },
  { point: 'version-answered', detail: FORK_LATER, nth: 3 },
  { point: 'compared' },
  { point: 'difference-written' },
  { point: 'caught-up' },
  { point: 'cutover-before' },
  { point: 'cutover-after' },
  { point: 'fork-dropped-before' },
  { point: 'fork-dropped-after' },
].map((crash) => ({ ...crash, chore: 'replay' }))

/** On the second store: where something was written that nothing refers to yet, or may have been. All with `KAPPALAKE_CRASH=all`. */
const WRITTEN = new Set([
  'object-landed',
  'replacement-written',
  'collection-after',
  'rollback-after',
  'difference-written',
  'cutover-before',
  'cutover-after',
  'fork-dropped-after',
])
const OF_STORE = [...KEYED, ...REPLAY].filter(
  ({ point }) => process.env['KAPPALAKE_CRASH'] === 'all' || WRITTEN.has(point),
)

const SHOP = boundedShop(400)
/** Older than any version is kept. */
const CLOCK_AHEAD_MS = 40 * 24 * 3_600_000
let bundle: MutatedBundle
let folder: string
let fired = 0

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-crash-'))
  bundle = await mutatedBundle('crash', pointMutations(), { process: 'test/crash/process.ts' }, CRASH_BANNER)
})
afterAll(() => {
  bundle?.remove()
  rmSync(folder, { recursive: true, force: true })
  console.log(`crash points that fired: ${fired}`)
})

// Two at a time: each waits for processes to start most of its time.
describe.concurrent('killed on disk', () => {
  test.each([...LANE, ...COMMITTER, ...DISK, ...KEYED, ...REPLAY])(
    '$point, time $nth, $detail, $victim',
    async (crash) => {
      const place = mkdtempSync(path.join(folder, 'disk-'))
      await dieAndGoOn(crash, { url: `file://${place}/lake` }, place)
    },
  )
})

describe.concurrent('killed on S3', () => {
  let server: S3Server
  beforeAll(async () => {
    server = await startS3()
  })
  afterAll(() => server.stop())

  test.each([...S3, ...OF_STORE])('$point, time $nth, $detail, $victim', async (crash) => {
    const place = mkdtempSync(path.join(folder, 's3-'))
    await dieAndGoOn(crash, storeOn(server, path.basename(place).toLowerCase()), place)
  })
})

async function dieAndGoOn(crash: Case, store: StoreSettings, place: string): Promise<void> {
  const { point, nth = 1, detail, victim = 'self', endAfterVersions, chore } = crash
  const marker = path.join(place, 'died')
  const plan: CrashPlan = { point, nth, victim, marker, ...(detail === undefined ? {} : { detail }) }
  await trustStore(store)
  if (chore === 'expire') await leaveOrphans(store)
  const first = await runLake(store, place, { plan, endAfterVersions, chore })
  expect(existsSync(marker), `${point} was never reached\n${first.output}`).toBe(true)
  fired++
  // A lane that dies alone is replaced; every other death is that of the whole process.
  const isLaneAlone = LANE_POINTS.includes(point) && victim === 'self'
  expect({ ...first, output: '' }, `died at ${point}: ${first.output}`).toEqual({
    code: isLaneAlone ? 0 : null,
    signal: isLaneAlone ? null : 'SIGKILL',
    output: '',
  })

  const second = await runLake(store, place, { chore })
  // What it said goes first: a report may show no more than a line.
  expect(second, `ended after ${point}: ${second.output}`).toEqual({ code: 0, signal: null, output: '' })
  expect(
    await shopFaults(store, SHOP, {
      isThinned: chore === 'expire',
      rollbacks: chore === 'rollback' ? 1 : 0,
      cutovers: chore === 'replay' ? 1 : 0,
    }),
  ).toEqual([])
  if (chore === 'replay') expect(await keysBelow(store, 'pipelines/shop/forks/')).toEqual([])
  expect(await leftOver(bundle, place)).toEqual([])
  if (chore === 'expire') expect(await orphans(store)).toEqual([])
}

/** Files as commits leave them that were never made. */
async function leaveOrphans(store: StoreSettings): Promise<void> {
  const storage = await openStorage(store, systemClock)
  for (let k = 0; k < 12; k++) await storage.put(`tables/orders/data/orphan-${k}.parquet`, Buffer.from('PAR1'))
  await storage.close()
}

function orphans(store: StoreSettings): Promise<string[]> {
  return keysBelow(store, 'tables/orders/data/orphan-')
}

async function keysBelow(store: StoreSettings, prefix: string): Promise<string[]> {
  const storage = await openStorage(store, systemClock)
  const keys: string[] = []
  for await (const { key } of storage.list(prefix)) keys.push(key)
  await storage.close()
  return keys
}

function runLake(
  store: StoreSettings,
  place: string,
  {
    plan,
    endAfterVersions,
    chore,
  }: { plan?: CrashPlan; endAfterVersions?: number | undefined; chore?: Chore | undefined },
): Promise<Ended> {
  const base = shopSettings(store, SHOP, place)
  const settings = { ...base, query: { ...base.query, children: 0 } }
  const ahead = chore === 'expire' ? { CLOCK_AHEAD_MS: String(CLOCK_AHEAD_MS) } : undefined
  return live(bundle, { LAKE: JSON.stringify({ settings, endAfterVersions, chore }), ...ahead }, plan)
}
