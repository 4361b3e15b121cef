import { FaultyStorage } from '../support/faulty-storage.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { openChain } from '../../src/lake/chain.ts'
import type { PartitionId } from '../../src/log.ts'
import { check } from './check.ts'
import { Fleet } from './fleet.ts'
import { definitionOf, PIPELINE } from './definition.ts'
import { planOf, storeFaults, storeRates, type Plan } from './plan.ts'
import { Random } from './random.ts'
import { Shop } from './shop.ts'
import { World } from './world.ts'

/** What one seed came to. Plain values. */
export interface SeedResult {
  readonly seed: number
  readonly story: string
  readonly hasFaults: boolean
  /** Empty: all that must hold held. */
  readonly violations: readonly string[]
  readonly faults: Readonly<Record<string, number>>
  readonly resolutions: Readonly<Record<string, number>>
  readonly hash: number
  readonly events: number
  readonly versions: number
  readonly rows: number
  /** Calls of `append` while faults happened, and those with at least one unknown outcome. */
  readonly commits: number
  readonly unknownCommits: number
  readonly virtualMs: number
  /** From the end of the faults to lag 0. */
  readonly settledMs: number
}

/** From the end of all faults to lag 0: a late write may land up to 120 s later and fence the owner once more. */
const SETTLE_MS_MAX = 300_000
const LATE_MS_MAX = 121_000

/** One run of production code over a simulated store, log and time, and the verdict of a stranger who reads the store. */
export async function runSeed(seed: number, trace?: (line: string) => void): Promise<SeedResult> {
  const plan = planOf(seed)
  const world = new World(trace)
  const random = new Random(seed, 'world')
  const memory = new MemoryStorage('sim', world.clock(random))
  const faulty = new FaultyStorage(memory, world.clock(random), random.next, storeRates(plan))
  const admin = openChain(memory, PIPELINE, world.clock(random))
  let committed: ReadonlyMap<PartitionId, bigint> = new Map()
  const shop = new Shop(world, plan, () => committed)
  const fleet = new Fleet({
    world,
    plan,
    shop,
    faulty,
    memory,
    admin,
    onCommit: (positions) => (committed = positions),
  })

  fleet.start()
  await world.run(plan.stormMs)
  world.say('the storm is over')
  world.isStormy = false
  for (const [kind, fault] of storeFaults) if (faulty.counts[kind] > 0) world.faults.set(fault, faulty.counts[kind])
  faulty.heal()
  shop.stop()
  const calmMs = world.nowMs
  const isTold = fleet.tellStory()
  // A late write fences whoever writes then. Some runs live to see all of them, the others end as soon as they may.
  const isPatient = random.chance(0.25)
  const isSettled = () =>
    (!isPatient || faulty.lateWrites === 0) &&
    (isTold === undefined ? fleet.isOver && isCaughtUp(plan, shop, committed) : fleet.isStopped(isTold))
  fleet.bringBack()
  await world.run(calmMs + SETTLE_MS_MAX, isSettled)
  const violations = isSettled() ? [] : [`I20 not settled after ${SETTLE_MS_MAX / 1000} s: ${fleet.describe()}`]
  const settledMs = world.nowMs - calmMs
  violations.push(...(await fleet.end()), ...fleet.violations)
  await world.run(world.nowMs + LATE_MS_MAX)
  const { violations: found, versions, rows } = await check({ plan, shop, storage: memory, history: fleet.history })
  const stormy = plan.hasFaults ? fleet.history.filter(({ wasStormy }) => wasStormy) : []
  return {
    seed,
    story: plan.story,
    hasFaults: plan.hasFaults,
    violations: [...violations, ...found],
    faults: Object.fromEntries(world.faults),
    resolutions: Object.fromEntries(fleet.resolutions()),
    hash: world.hash,
    events: world.events,
    versions,
    rows,
    commits: stormy.length,
    unknownCommits: stormy.filter(({ wasUnknown }) => wasUnknown).length,
    virtualMs: world.nowMs,
    settledMs,
  }
}

function isCaughtUp(plan: Plan, shop: Shop, committed: ReadonlyMap<PartitionId, bigint>): boolean {
  const topics = new Set(definitionOf(plan, false).tables.map(({ topic }) => topic))
  return shop.log
    .topics()
    .filter(({ topic }) => topics.has(topic))
    .every(({ topic, partitions }) =>
      partitions.every((number) => committed.get(`${topic}/${number}`) === shop.log.end(topic, number)),
    )
}
