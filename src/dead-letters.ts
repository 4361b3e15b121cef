import type { PartitionId } from './log.ts'

/** Which dead letters of a pipeline are meant: all that is given must hold. Plain JSON. */
export interface DeadLetterFilter {
  /** The source table. */
  readonly table?: string
  readonly code?: string
  readonly stage?: string
  /** Of Kafka. */
  readonly partition?: number
  /** Offsets [from, until), as text. */
  readonly from?: string
  readonly until?: string
}

/** What is to become of dead letters that are pending. `retry`: their bytes are read again, by the code of today. */
export interface SettleRequest {
  readonly kind: 'retry' | 'discard'
  readonly pipeline: string
  readonly where: DeadLetterFilter
  /** Of dead letters; the first ones in the order of tables, partitions and offsets. Default: all. */
  readonly limit?: number
  /** Nothing is written; what would become of them is counted. */
  readonly dryRun?: boolean
}

/** What became of dead letters so far. */
export interface SettledCounts {
  /** Their records were read: rows, or what records without a row do. */
  readonly resolved: number
  /** Of those: records whose key has what a later record made of it. They change nothing. */
  readonly stale: number
  /** Their records cannot be read now either: pending, with one more attempt. */
  readonly failed: number
  /** Nobody can tell any more what came after them: pending as they were. */
  readonly undecided: number
  readonly discarded: number
}

export const NOTHING_SETTLED: SettledCounts = { resolved: 0, stale: 0, failed: 0, undecided: 0, discarded: 0 }

/** Counts of two parts of a job together. */
export function addCounts(a: SettledCounts, b: Partial<SettledCounts>): SettledCounts {
  const sum = (name: keyof SettledCounts): number => a[name] + (b[name] ?? 0)
  return {
    resolved: sum('resolved'),
    stale: sum('stale'),
    failed: sum('failed'),
    undecided: sum('undecided'),
    discarded: sum('discarded'),
  }
}

/** How many dead letters were looked at. Stale ones are among the resolved. */
export function lookedAt({ resolved, failed, undecided, discarded }: SettledCounts): number {
  return resolved + failed + undecided + discarded
}

/** What a version knows of the last job on dead letters: how far it has come with it, and what it did itself. Plain JSON. */
export interface Retried {
  readonly job: string
  readonly kind: SettleRequest['kind']
  /** All before it, and it itself, were looked at. */
  readonly behind: LetterPosition
  readonly counts: SettledCounts
  /** By source table and partition, the offsets of the dead letters that this very version settled: `41`, `57-60`. */
  readonly positions: Readonly<Record<string, Readonly<Record<PartitionId, readonly string[]>>>>
}

/** A dead letter. They are in the order of tables, partitions and offsets. */
export interface LetterPosition {
  readonly table: string
  /** Of Kafka. */
  readonly partition: number
  readonly offset: string
}

/** Offsets as text, ascending: neighbours are one range, both ends included. */
export function offsetRanges(offsets: readonly bigint[]): readonly string[] {
  const ranges: string[] = []
  for (let first = 0; first < offsets.length;) {
    let last = first
    while (last + 1 < offsets.length && offsets[last + 1] === offsets[last]! + 1n) last++
    ranges.push(first === last ? String(offsets[first]) : `${offsets[first]}-${offsets[last]}`)
    first = last + 1
  }
  return ranges
}
