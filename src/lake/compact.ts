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
  /** Data files of one compaction. */
  readonly inputsMax: number
  /** Commits without a file for a partition tuple after which it is at rest. */
  readonly restAfter: number
}

export function compactionPolicy(settings: CompactionSettings): CompactionPolicy {
  return { ...settings, fanIn: 8, inputsMax: 256, restAfter: 1_000 }
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
/** So many small files of a tuple at rest are concatenated, or two of which none outweighs the rest. */
const REST_FILES = 4

/**
 * The next compaction of a table, or undefined when it is well as it is. Pure. `files` are all live data files, in the
 * order in which rows are to stay.
 *
 * Small files are merged in tiers: those whose live rows have the same power of `fanIn` form a tier, and a full tier
 * becomes one file of a higher one, together with whatever lies below it. So small files make a row be written again
 * at most as often as there are tiers; dead ones, once for each time that their share was used up.
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
  const best = choices.toSorted((a, b) => gainOf(b, policy) - gainOf(a, policy))[0] ?? []
  if (best.length === 0 && dropped.length === 0) return undefined
  return { inputs: best.map(({ key }) => key), dropped, liveRows: sum(best, liveRows), liveBytes: sum(best, liveBytes) }
}

/** How much compaction a table needs. Pure. */
export function compactionState(
  files: readonly CompactionCandidate[],
  policy: CompactionPolicy = COMPACTION,
): CompactionState {
  const smallFiles = files.filter((file) => isSmall(file, policy)).length
  const rows = sum(files, (file) => file.rows)
  const deadShare = rows === 0 ? 0 : sum(files, (file) => file.dead) / rows
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
 * Files of a tuple that have too many dead rows, as many as make one output. Not those that have far less of them than
 * others: under a stream of updates they will have more when their turn comes, and cost less.
 */
function dyingOf(tuple: readonly CompactionCandidate[], policy: CompactionPolicy): readonly CompactionCandidate[] {
  const share = ({ dead, rows }: CompactionCandidate): number => dead / rows
  const least = Math.max(policy.deadShare, Math.max(...tuple.map(share)) / 2)
  return fill(
    tuple.filter((file) => share(file) > least || (share(file) === least && least > policy.deadShare)),
    policy,
  )
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
  const counts: number[] = []
  for (const file of small) counts[tierOf(file, policy)] = (counts[tierOf(file, policy)] ?? 0) + 1
  const isFull = (count: number | undefined) => count !== undefined && count >= policy.fanIn
  const [lowest, highest] = [counts.findIndex(isFull), counts.findLastIndex(isFull)]
  if (lowest >= 0) {
    const below = small.filter((file) => tierOf(file, policy) <= highest)
    if (below.length <= policy.inputsMax) return fill(below, policy)
    // Of so many only a part would go in, and that part must be a full tier.
    return fill(
      small.filter((file) => tierOf(file, policy) === lowest),
      policy,
    )
  }
  const isWhole = sum(small, liveBytes) >= policy.targetBytes || sum(small, liveRows) >= policy.rowsMax
  return isWhole ? fill(small, policy) : []
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

/** What a compaction is worth: the files and the dead rows that go, as shares of what stops ingestion, by bytes written. */
function gainOf(group: readonly CompactionCandidate[], policy: CompactionPolicy): number {
  const files = (group.length - 1) / policy.smallFilesMax
  const dead = sum(group, (file) => file.dead) / Math.max(1, sum(group, liveRows)) / policy.inputsMax
  return (files + dead) / (1 + sum(group, liveBytes) / policy.targetBytes)
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

const liveRows = ({ rows, dead }: CompactionCandidate): number => rows - dead
const liveBytes = ({ rows, bytes, dead }: CompactionCandidate): number => (bytes * (rows - dead)) / rows
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b)

function sum(files: readonly CompactionCandidate[], of: (file: CompactionCandidate) => number): number {
  return files.reduce((total, file) => total + of(file), 0)
}
