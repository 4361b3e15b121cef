import type { CompactionPolicy } from '../../src/lake/table.ts'
import type { StartAt } from '../../src/log.ts'
import { faultKinds as storeFaultKinds, type FaultKind, type FaultRates } from '../support/faulty-storage.ts'
import { withRowWindows, withWindows } from './plan-windows.ts'
import { Random } from './random.ts'

/** Everything beside the store that can go wrong, by the name under which it is counted. */
export const FAULTS = {
  S1: 'store: a write is lost with its answer',
  S2: 'store: a write lands, its answer is lost',
  S3: 'store: as S2, but it lands up to 120 s later',
  S4: 'store: a create is answered 409',
  S5: 'store: every request is refused for 1 to 30 s',
  S6: 'store: a request takes 1 to 10 s more',
  S7: 'store: a listing is up to 5 s old',
  S8: 'store: a read is cut off',
  S10: 'store: no space for a create',
  S12: 'store: a create answers "exists" for its own object',
  S13: 'store: a create is refused, credentials expired',
  K1: 'log: hand-over, the owner closes and another goes on',
  K2: 'log: late hand-over, the old owner wakes after the new one has begun',
  K3: 'log: a second owner that does not wait its turn',
  K5: 'log: short or empty fetch',
  K6: 'log: retention takes records before they are read',
  K9: 'log: markers and aborted records',
  K10: 'log: compaction',
  K12: 'log: more partitions',
  K13: 'log: the broker is away for 1 to 60 s',
  P1: 'process: killed at an await',
  P2: 'process: stalled for 0.1 to 3 times the take-over time',
  P4: 'process: two under one name',
  P5: 'process: clock wrong by up to 10 minutes, and drifting',
  P6: 'process: asked to end at an await',
  P9a: 'lane: dies with what it staged',
  P9b: 'lane: hangs',
  P9c: 'lane: answers twice',
  P9d: 'lane: writes fewer rows than it counted',
  P9e: 'lane: neither writes nor counts some records',
  W1: 'work on files: fails',
  W2: 'work on files: takes up to 20 s more',
  W3: 'work on files: a lane dies in it, another does it again',
  D1: 'data: a record that cannot be read',
  D4: 'data: a null value',
  D5: 'data: a delete',
  D6: 'data: a truncation',
  D7: 'data: a record without all its values',
  X1: 'person: pause and resume',
  X2: 'person: reads dead letters again, or discards them',
} as const
export type Fault = keyof typeof FAULTS
/** Records of a kind rather than something that goes wrong: they are counted apart. */
export const RECORD_KINDS: ReadonlySet<string> = new Set(['K9', 'K10', 'D1', 'D4', 'D5', 'D6', 'D7'])

const STORE: Readonly<Record<FaultKind, Fault>> = {
  failBeforeApply: 'S1',
  loseAnswer: 'S2',
  applyLate: 'S3',
  conflict: 'S4',
  burst: 'S5',
  slow: 'S6',
  staleList: 'S7',
  failedRead: 'S8',
}
export const storeFaults: readonly (readonly [FaultKind, Fault])[] = storeFaultKinds.map((kind) => [kind, STORE[kind]])

/** Largest rate per draw; what a draw is, the place that draws knows. */
const RATE_MAX: Readonly<Record<Exclude<Fault, 'X2'>, number>> = {
  S1: 0.15,
  S2: 0.2,
  S3: 0.12,
  S4: 0.2,
  S5: 0.006,
  S6: 0.02,
  S7: 0.5,
  S8: 0.08,
  S10: 0.03,
  S12: 0.15,
  S13: 0.03,
  K1: 0.12,
  K2: 0.15,
  K3: 0.4,
  K5: 0.3,
  K6: 0.02,
  K9: 0.3,
  K10: 0.1,
  K12: 0.05,
  K13: 0.006,
  P1: 0.012,
  P2: 0.12,
  P4: 1,
  P5: 1,
  P6: 0.004,
  P9a: 0.1,
  P9b: 0.03,
  P9c: 0.15,
  P9d: 0.08,
  P9e: 0.06,
  W1: 0.05,
  W2: 0.08,
  W3: 0.1,
  D1: 0.1,
  D4: 0.15,
  D5: 0.2,
  D6: 0.02,
  D7: 0.4,
  X1: 0.05,
}

/**
 * What happens to a run beside chance. cutover: other code takes over the chain from one version to the next. replay: a
 * fork of other code takes its place. replaced, truncated, lost: the log becomes another one, and the pipeline must say so
 * and stand still.
 */
export type Story = 'plain' | 'cutover' | 'replay' | 'replaced' | 'truncated' | 'lost'

export interface Plan {
  readonly seed: number
  readonly rates: Readonly<Record<Fault, number>>
  readonly hasFaults: boolean
  readonly story: Story
  /** Of the story of that name. */
  readonly replay: ReplayPlan | undefined
  /** Undefined: nobody looks after dead letters. */
  readonly letters: LettersPlan | undefined
  readonly topics: readonly TopicPlan[]
  /** Tables per topic; the first topic may have two. */
  readonly tables: readonly SimTable[]
  readonly compaction: CompactionPolicy | undefined
  readonly startAt: StartAt
  readonly onDataLoss: 'stop' | 'record-gap'
  readonly processes: number
  readonly lanes: number
  readonly recordsMax: number
  readonly ageMsMax: number
  readonly batchOffsetsMax: number
  readonly minIntervalMs: number
  readonly heartbeatMs: number
  readonly takeoverAfterMs: number
  /** Somebody deletes what nobody needs, in the storm and after all is over. */
  readonly isExpiring: boolean
  readonly maintenanceEveryMs: number | undefined
  /** Length of the time in which things go wrong and records are written. */
  readonly stormMs: number
}

export interface TopicPlan {
  readonly topic: string
  readonly partitions: number
  readonly isLate: boolean
  /** Each partition has keys of its own. */
  readonly hasOwnKeys: boolean
  /** Versions rise with the offsets; otherwise they come as they like, and twice. */
  readonly isRising: boolean
  /** Has truncations, and one partition for ever. */
  readonly isTruncated: boolean
  readonly keys: number
}

export interface LettersPlan {
  /** Whose dead letters are settled: of rows that stay, without windows. */
  readonly tables: readonly string[]
  readonly everyMs: number
  /** In one version at most. */
  readonly batch: number
}

export interface ReplayPlan {
  /** When the first process of the new code comes. */
  readonly deployAtMs: number
  /** Tables whose code changes: rows of every so many values are left out. */
  readonly changed: readonly string[]
  readonly drops: number
  /** Tables that are built anew though their code stays; null: only those that changed. */
  readonly tables: readonly string[] | null
  readonly autoCutover: 'never' | 'always'
  readonly isRolledBack: boolean
  /** Cut over once more, after it was rolled back. */
  readonly isRepeated: boolean
}

export interface SimTable {
  readonly name: string
  readonly topic: string
  readonly onError: 'dead-letter' | 'skip'
  /** Undefined: an append table. */
  readonly keyed: KeyedPlan | undefined
  /** Over its events, or its rows. */
  readonly windows: readonly SimWindow[]
  /** Of its event time, the timestamp of the record; where there are windows. */
  readonly idleAfterMs: number
  /** Every so many values are left out, by new code. */
  readonly drops?: number
}

export interface SimWindow {
  readonly name: string
  readonly kind: 'tumbling' | 'session'
  readonly input: 'events' | 'rows'
  /** Of a session the gap. */
  readonly sizeMs: number
  readonly latenessMs: number
  /** B of the table. */
  readonly boundMs: number
}

export interface KeyedPlan {
  readonly isVersioned: boolean
  readonly isKeeping: boolean
  readonly isTruncated: boolean
  /** Files that a batch is spread over. */
  readonly files: number
}

/** Three of five kinds at random rates; one seed in twenty has none and one has all. */
export function planOf(seed: number): Plan {
  const random = new Random(seed, 'plan')
  const luck = random.next()
  const hasFaults = luck >= 0.05
  const rates = Object.fromEntries(
    Object.entries(RATE_MAX).map(([kind, max]) => {
      const rate = (0.6 + 0.4 * random.next()) * max
      const isOn = luck > 0.95 || random.chance(0.6)
      return [kind, hasFaults && isOn ? rate : 0]
    }),
  ) as Record<Fault, number>
  rates.X2 = 0
  if (hasFaults) {
    // Lost answers are what a commit protocol is about: every seed with faults has them.
    const kind = random.pick(['S1', 'S2', 'S3'] as const)
    rates[kind] = Math.max(rates[kind], 0.1)
  }
  const story = hasFaults ? storyOf(random.next()) : 'plain'
  if (story === 'replaced' || story === 'truncated' || story === 'lost') rates.K6 = 0
  // What the log no longer has cannot be read again: a replay is refused, and from one whose records were compacted away
  // comes another table.
  if (story === 'replay') rates.K6 = rates.K10 = 0
  const topicCount = 1 + random.int(2)
  let partitionsLeft = 2 + random.int(3)
  const topics = Array.from({ length: topicCount }, (_, index) => {
    const partitions = index === topicCount - 1 ? Math.max(1, partitionsLeft) : 1
    partitionsLeft -= partitions
    const isLate = random.chance(index > 0 ? 0.2 : 0.08)
    const isTruncated = partitions === 1 && random.chance(0.3)
    return {
      topic: `shop.t${index}`,
      partitions,
      isLate,
      hasOwnKeys: isTruncated || random.chance(0.6),
      isRising: random.chance(0.5),
      isTruncated,
      keys: 2 + random.int(8),
    }
  })
  const plain = topics.map((topic, index) => tableOf(`t${index}`, topic, random))
  if (random.chance(0.3)) plain.push(tableOf('again', topics[0]!, random))
  // What a cut-over or a rollback names anew is checked for tables of rows alone.
  const ofEvents = story === 'replay' ? plain : withWindows(plain, topics, new Random(seed, 'windows'))
  const tables = story === 'replay' ? plain : withRowWindows(ofEvents, topics, new Random(seed, 'windows over rows'))
  // What a truncation removes may have gone with its file, and so may what moved the clock by which others are judged.
  if (tables.some(({ keyed, windows }) => keyed?.isTruncated && windows.length > 0)) rates.K10 = 0
  calm(rates, tables)
  const letters = lettersOf(story, tables, seed)
  if (letters !== undefined) rates.X2 = 1
  return {
    seed,
    rates,
    hasFaults,
    story,
    replay: story === 'replay' ? replayOf(tables, seed) : undefined,
    letters,
    topics,
    tables,
    compaction: random.chance(0.75) ? compactionOf(random) : undefined,
    startAt: random.pick(['earliest', 'latest', 'latest', { timestampMs: Date.UTC(2026, 0, 1) + random.int(5_000) }]),
    onDataLoss: story === 'lost' ? 'stop' : 'record-gap',
    processes: Math.max(story === 'replay' ? 2 : 1, random.pick([1, 2, 2, 2, 2, 3])),
    lanes: 1 + random.int(3),
    recordsMax: random.pick([1, 4, 16, 64, 1_000]),
    ageMsMax: random.pick([0, 50, 200, 500]),
    batchOffsetsMax: random.pick([1, 3, 10, 50, 200]),
    minIntervalMs: random.pick([200, 400, 800]),
    heartbeatMs: 3_000,
    takeoverAfterMs: 5_000,
    isExpiring: random.chance(0.5),
    maintenanceEveryMs: random.chance(0.4) ? random.between(300, 5_000) : undefined,
    stormMs: random.between(13_000, 31_000),
  }
}

/** What befalls each request or await hits the more often, the more tables a commit writes; nobody would get anywhere. */
function calm(rates: Record<Fault, number>, tables: readonly SimTable[]): void {
  const filesOf = ({ keyed, windows }: SimTable): number =>
    (keyed === undefined ? 2 : keyed.isVersioned ? 4 : 3) + 5 * windows.length
  const files = tables.reduce((sum, table) => sum + filesOf(table), 0)
  for (const kind of ['S1', 'S2', 'S3', 'S4', 'S6', 'S8', 'P1', 'P6'] as const) rates[kind] *= Math.min(1, 6 / files)
}

function tableOf(name: string, topic: TopicPlan, random: Random): SimTable {
  const { hasOwnKeys, isRising, isTruncated } = topic
  const isVersioned = !isTruncated && (!hasOwnKeys || random.chance(0.4))
  // What a record lacks is that of the record before it: only where there is one order can it be told.
  const isKeeping = random.chance(0.5) && (!isVersioned || (hasOwnKeys && isRising))
  const keyed = { isVersioned, isKeeping, isTruncated, files: 1 + random.int(3) }
  return {
    name,
    topic: topic.topic,
    onError: onErrorOf(random),
    keyed: random.chance(0.6) ? keyed : undefined,
    ...NO_WINDOWS,
  }
}

const NO_WINDOWS = { windows: [], idleAfterMs: 0 }

/** Numbers so small that files are put together all the time. */
function compactionOf(random: Random): CompactionPolicy {
  const smallBytes = random.pick([300, 1_000, 10_000])
  return {
    smallBytes,
    deadShare: random.pick([0.1, 0.3, 0.6]),
    targetBytes: 4 * smallBytes,
    rowsMax: random.pick([10, 100, 1_000]),
    fanIn: 2 + random.int(3),
    steps: random.pick([1, 4]),
    inputsMax: 6 + random.int(8),
    restAfter: random.pick([2, 10]),
    smallFilesMax: random.pick([20, 60, 1_000]),
    deadShareMax: random.pick([0.7, 0.8, 2]),
    // The smallest tables may hold ingestion up too, and have two compactions at once then.
    urgentRows: smallBytes === 300 ? 10 : 200_000,
  }
}

function onErrorOf(random: Random): 'dead-letter' | 'skip' {
  return random.chance(0.85) ? 'dead-letter' : 'skip'
}

function storyOf(luck: number): Story {
  if (luck < 0.1) return 'cutover'
  if (luck < 0.13) return 'replaced'
  if (luck < 0.16) return 'truncated'
  if (luck < 0.19) return 'lost'
  return luck > 0.85 ? 'replay' : 'plain'
}

/** With chance of its own, so that the other stories of a seed stay what they were. */
function replayOf(tables: readonly SimTable[], seed: number): ReplayPlan {
  const random = new Random(seed, 'replay plan')
  const names = tables.map(({ name }) => name)
  const first = random.pick(names)
  return {
    deployAtMs: random.between(500, 12_000),
    changed: names.filter((name) => name === first || random.chance(0.4)),
    drops: 2 + random.int(3),
    tables: random.chance(0.4) ? names.filter(() => random.chance(0.7)) : null,
    autoCutover: random.chance(0.3) ? 'always' : 'never',
    isRolledBack: random.chance(0.5),
    isRepeated: random.chance(0.4),
  }
}

/** With chance of its own too. While a replay is open they are refused, and of another log nobody knows what they were. */
function lettersOf(story: Story, tables: readonly SimTable[], seed: number): LettersPlan | undefined {
  const random = new Random(seed, 'letters plan')
  const fit = tables.filter(
    ({ onError, keyed, windows }) => onError === 'dead-letter' && keyed === undefined && windows.length === 0,
  )
  if ((story !== 'plain' && story !== 'cutover') || fit.length === 0 || random.chance(0.2)) return undefined
  const names = fit.map(({ name }) => name)
  return { tables: names, everyMs: random.pick([800, 3_000]), batch: random.pick([1, 3, 1_000]) }
}

/** Tables as old or new code has them. */
export function tablesOf({ tables, replay }: Plan, isNew: boolean): readonly SimTable[] {
  if (!isNew || replay === undefined) return tables
  return tables.map((table) => (replay.changed.includes(table.name) ? { ...table, drops: replay.drops } : table))
}

/** Whether the table leaves out what the record says. */
export function isDropped({ drops }: SimTable, { v }: { readonly v: string }): boolean {
  return drops !== undefined && Number(v) % drops === 0
}

export function storeRates(plan: Plan): FaultRates {
  return Object.fromEntries(
    storeFaults.flatMap(([kind, fault]) => (plan.rates[fault] > 0 ? [[kind, plan.rates[fault]]] : [])),
  )
}
