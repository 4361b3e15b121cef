import type { AddedFile, DeletedRank, DeletedRows } from '../lake/table.ts'
import type { KeyRun } from './keys.ts'

/** A data file of a keyed table, and which of its rows are dead. */
export class LiveFile {
  /** By which the index calls it. Never used twice. */
  readonly number: number
  readonly file: AddedFile
  readonly deleted: DeletedRows
  readonly partitions: Partitions
  /** Whether rows died since the last commit. */
  isTouched = false

  constructor(number: number, file: AddedFile, deleted: DeletedRows, partitions: Partitions) {
    this.number = number
    this.file = file
    this.deleted = deleted
    this.partitions = partitions
  }
}

export interface LiveRow {
  readonly live: LiveFile
  readonly row: number
}

const STRETCH_SHIFT = 10
const STRETCH = 1 << STRETCH_SHIFT

/** Which Kafka partition each row of a file came from: few runs, since a micro-batch writes partition after partition. */
export class Partitions {
  readonly runs: readonly KeyRun[]
  readonly #ends: Float64Array
  /** Of each stretch of `STRETCH` rows: their partition, −1 when they are of several. */
  readonly #stretches: Int32Array

  constructor(runs: readonly KeyRun[]) {
    this.runs = runs
    this.#ends = new Float64Array(runs.length)
    let end = 0
    for (const [k, run] of runs.entries()) this.#ends[k] = end += run.count
    this.#stretches = new Int32Array((end >>> STRETCH_SHIFT) + 1).fill(-1)
    let start = 0
    for (const { partition, count } of runs) {
      const first = (start + STRETCH - 1) >>> STRETCH_SHIFT
      start += count
      if (first < start >>> STRETCH_SHIFT) this.#stretches.fill(partition, first, start >>> STRETCH_SHIFT)
    }
  }

  /** Rows in all. */
  get rows(): number {
    return this.#ends.at(-1) ?? 0
  }

  at(row: number): number {
    const only = this.#stretches[row >>> STRETCH_SHIFT]!
    if (only >= 0) return only
    let [low, high] = [0, this.#ends.length - 1]
    while (low < high) {
      const middle = (low + high) >> 1
      if (row < this.#ends[middle]!) high = middle
      else low = middle + 1
    }
    return this.runs[low]!.partition
  }

  /** Those of the rows that are not deleted. */
  without(rank: DeletedRank): KeyRun[] {
    let start = 0
    return this.runs.flatMap(({ partition, count }) => {
      const end = start + count
      const left = count - (rank.rank(end) - rank.rank(start))
      start = end
      return left === 0 ? [] : [{ partition, count: left }]
    })
  }
}

/** Neighbours of one partition become one run. */
export function joinRuns(runs: readonly KeyRun[]): KeyRun[] {
  const joined: KeyRun[] = []
  for (const run of runs) {
    const last = joined.at(-1)
    if (last?.partition === run.partition) joined[joined.length - 1] = { ...run, count: last.count + run.count }
    else joined.push(run)
  }
  return joined
}
