import { MAINTENANCE, type CompactionSettings } from '../settings.ts'
import type { PartitionValue } from './data-file.ts'

/** What the planning knows of a live data file. */
export interface CompactionCandidate {
  readonly key: string
  readonly rows: number
  readonly bytes: number
  /** Rows that are deleted. */
  readonly dead: number
  readonly partition: readonly PartitionValue[]
  /** Of its rows; a partition tuple that stays far behind the table's newest one is taken to be at rest. */
  readonly sequenceNumber: bigint
}

export interface CompactionPolicy extends CompactionSettings {
  /** So many small files of about one size are concatenated. */
  readonly fanIn: number
  /** Into so many steps the rows of a partition tuple are divided, when files are written again for their dead rows. */
  readonly steps: number
  /** Data files of one compaction. */
  readonly inputsMax: number
  /** Commits without a file for a partition tuple after which it is at rest. */
  readonly restAfter: number
  /** Of fewer rows dead ones may be any share for a while: reading them costs nobody anything. */
  readonly urgentRows: number
}

export function compactionPolicy(settings: CompactionSettings): CompactionPolicy {
  return { ...settings, fanIn: 16, steps: 48, inputsMax: 256, restAfter: 1_000, urgentRows: 200_000 }
}

export const COMPACTION: CompactionPolicy = compactionPolicy(MAINTENANCE.compaction)

/** One step of compaction; the next is planned when it has been committed, or been given up. */
export interface CompactionPlan {
  /** Keys of files of one partition tuple, in the order in which their live rows become one file. May be empty. */
  readonly inputs: readonly string[]
  /** Keys of files without a live row, of any tuple: they leave the table, and nothing takes their place. */
  readonly dropped: readonly string[]
  /** Of the inputs. */
  readonly liveRows: number
  /** Of the inputs, estimated: bytes times the share of live rows. */
  readonly liveBytes: number
}

export interface CompactionState {
  readonly smallFiles: number
  /** Of the table. */
  readonly deadShare: number
  /** Share of a core that compaction may use. */
  readonly cores: number
  /** Whether ingestion should wait: too many small files or dead rows, and something to do about it. */
  readonly isOverLimit: boolean
}

/** Above this share of dead rows in the table compaction gets half a core. */
const URGENT_SHARE = 0.2
/** So many times as many small files it takes where rows die. */
const DYING_FAN_IN = 2
/** And files of such a part of a step of cleaning it leaves to that. */
const STEP_PARTS = 4
/** A step is not made smaller than this. */
const STEP_ROWS_MIN = 100_000
/** So many small files of a tuple at rest are concatenated, or two of which none outweighs the rest. */
const REST_FILES = 4

/**
 * The next compaction of a table, or undefined when it is well as it is. Pure. `files` are all live data files, in the
 * order in which rows are to stay.
 *
 * Small files are merged in tiers: those whose live rows have the same power of `fanIn` form a tier, and a full tier
 * becomes one file of a higher one, together with whatever lies below it. So small files make a row be written again
 * at most as often as there are tiers. Dead rows may be a certain share of a tuple; when they are more, the files with
 * the most of them go first, a step at a time: what stays has time to gather dead rows, and they cost the fewest live
 * ones to be written again for each dead one that leaves (the cleaning of a log-structured file system).
 */
export function planCompaction(
  files: readonly CompactionCandidate[],
  policy: CompactionPolicy = COMPACTION,
): CompactionPlan | undefined {
  const live = files.filter((file) => file.dead < file.rows)
  const dropped = files.filter((file) => file.dead >= file.rows).map(({ key }) => key)
  const tuples = [...byTuple(live).values()]
  const newest = files.reduce((most, { sequenceNumber }) => (sequenceNumber > most ? sequenceNumber : most), 0n)
  // One file without a dead row, taken alone, would be written again as it is, for ever.
  const choices = [
    ...tuples.map((tuple) => dyingOf(tuple, policy)),
    ...tuples.map((tuple) => smallOf(tuple, newest, policy)),
  ].filter((group) => group.length > 1 || group.some(({ dead }) => dead > 0))
  const pressure = pressureOf(files, policy)
  const gains = new Map(choices.map((group) => [group, gainOf(group, pressure, policy)]))
  const best = choices.toSorted((a, b) => gains.get(b)! - gains.get(a)!)[0] ?? []
  if (best.length === 0 && dropped.length === 0) return undefined
  return { inputs: best.map(({ key }) => key), dropped, liveRows: sum(best, liveRows), liveBytes: sum(best, liveBytes) }
}

/** How much compaction a table needs. Pure. */
export function compactionState(
  files: readonly CompactionCandidate[],
  policy: CompactionPolicy = COMPACTION,
): CompactionState {
  const smallFiles = files.filter((file) => isSmall(file, policy)).length
  const deadShare = deadShareOf(files)
  const isOver = smallFiles >= policy.smallFilesMax || deadShare >= policy.deadShareMax
  return {
    smallFiles,
    deadShare,
    cores: deadShare > URGENT_SHARE ? 0.5 : 0.25,
    // Small files of many partition tuples may be as few as they can be: waiting would help nothing.
    isOverLimit: isOver && planCompaction(files, policy) !== undefined,
  }
}

/**
 * When too much of a tuple is dead, the files with the largest shares of it, as many as make a step. Not those that
 * have far less than others: under a stream of updates they will have more when their turn comes, and cost less.
 */
function dyingOf(tuple: readonly CompactionCandidate[], policy: CompactionPolicy): readonly CompactionCandidate[] {
  if (deadShareOf(tuple) <= policy.deadShare) return []
  const worst = tuple.filter((file) => shareOf(file) > policy.deadShare).toSorted((a, b) => shareOf(b) - shareOf(a))
  const least = shareOf(worst[0]!) / 2
  const step = fill(
    worst.filter((file) => shareOf(file) >= least),
    { ...policy, rowsMax: Math.min(policy.rowsMax, stepRowsOf(tuple, policy)) },
  )
  const chosen = new Set(step)
  return tuple.filter((file) => chosen.has(file))
}

/** Rows that one step of cleaning writes. */
function stepRowsOf(tuple: readonly CompactionCandidate[], { steps }: CompactionPolicy): number {
  return Math.max(STEP_ROWS_MIN, sum(tuple, liveRows) / steps)
}

/** Small files of a tuple that make a file of a higher tier, or all of them when the tuple is at rest. */
function smallOf(
  tuple: readonly CompactionCandidate[],
  newest: bigint,
  policy: CompactionPolicy,
): readonly CompactionCandidate[] {
  const small = tuple.filter((file) => isSmall(file, policy))
  if (small.length < 2) return []
  if (newest - small.reduce((most, file) => max(most, file.sequenceNumber), 0n) > BigInt(policy.restAfter)) {
    const largest = Math.max(...small.map(liveRows))
    if (small.length >= REST_FILES || largest * 2 <= sum(small, liveRows)) return fill(small, policy)
  }
  // Files that lose rows all the time are put together when these are cleaned away; until then most of theirs would
  // have been written for nothing.
  const isDying = deadShareOf(tuple) > policy.deadShare / 2
  const rowsMax = isDying ? stepRowsOf(tuple, policy) / STEP_PARTS : Infinity
  const merged = small.filter((file) => liveRows(file) < rowsMax)
  const fanIn = isDying ? policy.fanIn * DYING_FAN_IN : policy.fanIn
  const counts: number[] = []
  for (const file of merged) counts[tierOf(file, policy)] = (counts[tierOf(file, policy)] ?? 0) + 1
  const isFull = (count: number | undefined) => count !== undefined && count >= fanIn
  const [lowest, highest] = [counts.findIndex(isFull), counts.findLastIndex(isFull)]
  if (lowest < 0) return []
  const below = merged.filter((file) => tierOf(file, policy) <= highest)
  if (below.length <= policy.inputsMax) return fill(below, policy)
  // Of so many only a part would go in, and that part must be a full tier.
  return fill(
    merged.filter((file) => tierOf(file, policy) === lowest),
    policy,
  )
}

/** The first files that fit into one output; one that is too large for that stays alone. */
function fill(files: readonly CompactionCandidate[], policy: CompactionPolicy): readonly CompactionCandidate[] {
  const chosen: CompactionCandidate[] = []
  let [rows, bytes] = [0, 0]
  for (const file of files) {
    if (chosen.length === policy.inputsMax || bytes >= policy.targetBytes) break
    if (chosen.length > 0 && rows + liveRows(file) > policy.rowsMax) break
    chosen.push(file)
    rows += liveRows(file)
    bytes += liveBytes(file)
  }
  return chosen
}

/** Of a compaction, whatever it writes: in outputs of the target size. */
const OVERHEAD = 1 / 64

interface Pressure {
  /** How near the table is to the limits at which ingestion waits: 1 is the limit. */
  readonly files: number
  readonly dead: number
  readonly rows: number
}

function pressureOf(files: readonly CompactionCandidate[], policy: CompactionPolicy): Pressure {
  const rows = Math.max(
    1,
    sum(files, (file) => file.rows),
  )
  const small = files.filter((file) => isSmall(file, policy)).length
  return { files: small / policy.smallFilesMax, dead: deadShareOf(files) / policy.deadShareMax, rows }
}

/**
 * What a compaction is worth: the files and the dead rows that go, as shares of what stops ingestion, each weighed by
 * how near it is to doing so; by bytes written.
 */
function gainOf(group: readonly CompactionCandidate[], pressure: Pressure, policy: CompactionPolicy): number {
  const files = (pressure.files * (group.length - 1)) / policy.smallFilesMax
  const dead = (pressure.dead * sum(group, (file) => file.dead)) / (pressure.rows * policy.deadShareMax)
  return (files + dead) / (OVERHEAD + sum(group, liveBytes) / policy.targetBytes)
}

/** Rows, not bytes: their sum is that of the output, whatever compression makes of them. */
function tierOf(file: CompactionCandidate, { fanIn }: CompactionPolicy): number {
  let tier = 0
  for (let least = fanIn; least <= liveRows(file); least *= fanIn) tier++
  return tier
}

/** Rows of few bytes make a file that is full before it is large. */
function isSmall(file: CompactionCandidate, { smallBytes, targetBytes, rowsMax }: CompactionPolicy): boolean {
  return liveBytes(file) < smallBytes && liveRows(file) < (rowsMax * smallBytes) / targetBytes
}

function byTuple(files: readonly CompactionCandidate[]): ReadonlyMap<string, readonly CompactionCandidate[]> {
  const groups = new Map<string, CompactionCandidate[]>()
  for (const file of files) {
    const key = JSON.stringify(file.partition.map(valueKey))
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [file])
    else group.push(file)
  }
  return groups
}

function valueKey(value: PartitionValue): string {
  return `${typeof value}:${value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)}`
}

function deadShareOf(files: readonly CompactionCandidate[]): number {
  const rows = sum(files, (file) => file.rows)
  return rows === 0 ? 0 : sum(files, (file) => file.dead) / rows
}

const shareOf = ({ dead, rows }: CompactionCandidate): number => dead / rows
const liveRows = ({ rows, dead }: CompactionCandidate): number => rows - dead
const liveBytes = ({ rows, bytes, dead }: CompactionCandidate): number => (bytes * (rows - dead)) / rows
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

function sum(files: readonly CompactionCandidate[], of: (file: CompactionCandidate) => number): number {
  return files.reduce((total, file) => total + of(file), 0)
}
