import type { RecordBatch } from '../../log.ts'
import { TRUNCATE, type KeyRun, type StagedHoles, type StagedKeys } from '../keys.ts'
import type { RowPlaces } from './partition.ts'

/**
 * What the records of one micro-batch do to keys, as columns that grow: one element per operation, in the order of the
 * log. Rows are numbered through the micro-batch until it is known in which file each of them ends.
 */
export class KeyOperations {
  count = 0
  hashes = new Uint32Array(4 * INITIAL)
  /** Number of the row that is written; DELETE or TRUNCATE when there is none. */
  rows = new Int32Array(INITIAL)
  offsets = new BigInt64Array(INITIAL)
  /** Of tables with a version; 0 otherwise, and of tombstones without one. */
  versions = new BigInt64Array(INITIAL)
  /** The same as pairs of words. */
  versionWords = new Int32Array(this.versions.buffer)
  /** Operation that truncated last, −1 when none did. */
  truncatedAt = -1
  readonly #isVersioned: boolean
  readonly #runs: { partition: number; count: number }[] = []
  readonly #bare = new Set<number>()
  #latest: Int32Array | undefined
  #indexed = 0
  readonly #holes = new Map<number, readonly string[]>()
  readonly #unmade = new Set<number>()
  readonly #givers = new Set<number>()
  readonly #baseless = new Set<number>()

  constructor(isVersioned: boolean) {
    this.#isVersioned = isVersioned
  }

  clear(): void {
    this.count = 0
    this.truncatedAt = -1
    this.#runs.length = 0
    this.#bare.clear()
    this.#latest = undefined
    this.#indexed = 0
    this.#holes.clear()
    this.#unmade.clear()
    this.#givers.clear()
    this.#baseless.clear()
  }

  /** The next operation, that of record `i`; its hash, and its version, are to be written by whoever asked. */
  add({ partition, offsets }: Pick<RecordBatch, 'partition' | 'offsets'>, i: number, row: number): number {
    const operation = this.count++
    if (operation === this.rows.length) this.#grow()
    this.rows[operation] = row
    // In one statement: no bigint comes about.
    this.offsets[operation] = offsets[i]!
    this.versionWords[2 * operation] = 0
    this.versionWords[2 * operation + 1] = 0
    const run = this.#runs[this.#runs.length - 1]
    if (run !== undefined && run.partition === partition) run.count++
    else this.#runs.push({ partition, count: 1 })
    if (row === TRUNCATE) {
      this.truncatedAt = operation
      this.hashes.fill(0, 4 * operation, 4 * operation + 4)
    }
    return operation
  }

  /** Takes the last operation back. */
  drop(): void {
    this.count--
    const run = this.#runs.at(-1)!
    if (--run.count === 0) this.#runs.pop()
  }

  /** The operation has no version of its own. */
  setBare(operation: number): void {
    this.#bare.add(operation)
  }

  isBare(operation: number): boolean {
    return this.#bare.has(operation)
  }

  /** The operation's row will not come about: it is nobody's base. */
  setUnmade(operation: number): void {
    this.#unmade.add(operation)
  }

  /** Rows that others of the micro-batch took values of, by their numbers before `renumber`. */
  get givers(): ReadonlySet<number> {
    return this.#givers
  }

  addGiver(row: number): void {
    this.#givers.add(row)
  }

  /** The same of rows that lack values of a row which is not there: dead letters, unless their SQL fails before. */
  get baseless(): ReadonlySet<number> {
    return this.#baseless
  }

  setBaseless(operation: number): void {
    this.#baseless.add(this.rows[operation]!)
    this.setUnmade(operation)
  }

  /** Kafka partitions in their order, with the operations of each. */
  get runs(): readonly KeyRun[] {
    return this.#runs
  }

  get hasHoles(): boolean {
    return this.#holes.size > 0
  }

  /** These columns of the operation's row are to be filled with what the key had before the micro-batch. */
  addHole(operation: number, columns: readonly string[]): void {
    this.#holes.set(operation, columns)
  }

  /** Columns of the operation's row that are not filled yet. */
  holesOf(operation: number): readonly string[] {
    return this.#holes.get(operation) ?? NONE
  }

  /**
   * The last operation before this one on its key, −1 when this micro-batch has none. A truncation that came later
   * counts as one.
   */
  baseOf(operation: number): number {
    this.#index(operation)
    const found = this.#latest![this.#slot(operation)]! - 1
    return found < this.truncatedAt && this.truncatedAt < operation ? this.truncatedAt : found
  }

  /** Rows have other numbers: those of `places`, by the old ones. Operations of rows that are gone, at −1, go too. */
  renumber(places: Int32Array): void {
    const { hashes, rows, offsets, versions } = this
    const numbers = new Int32Array(this.count).fill(-1)
    let to = 0
    let from = 0
    const runs = this.#runs.splice(0)
    for (const run of runs) {
      const first = to
      for (const end = from + run.count; from < end; from++) {
        const row = rows[from]!
        if (row >= 0 && places[row] === -1) continue
        hashes.copyWithin(4 * to, 4 * from, 4 * from + 4)
        offsets[to] = offsets[from]!
        versions[to] = versions[from]!
        rows[to] = row < 0 ? row : places[row]!
        numbers[from] = to++
      }
      if (to > first) this.#runs.push({ partition: run.partition, count: to - first })
    }
    this.count = to
    this.#latest = undefined
    this.#indexed = 0
    const [bare, holes] = [[...this.#bare], [...this.#holes]]
    this.#bare.clear()
    this.#holes.clear()
    for (const operation of bare) if (numbers[operation]! >= 0) this.#bare.add(numbers[operation]!)
    for (const [operation, columns] of holes)
      if (numbers[operation]! >= 0) this.#holes.set(numbers[operation]!, columns)
  }

  /** As the committer takes them. `places` say where the rows went. */
  staged({ files, rows }: RowPlaces): StagedKeys {
    const { count } = this
    const fileOf = new Int32Array(count)
    const rowOf = new Uint32Array(count)
    for (let k = 0; k < count; k++) {
      const row = this.rows[k]!
      fileOf[k] = row < 0 ? row : files[row]!
      rowOf[k] = row < 0 ? 0 : rows[row]!
    }
    return {
      count,
      hashes: this.hashes.slice(0, 4 * count),
      files: fileOf,
      rows: rowOf,
      offsets: this.offsets.slice(0, count),
      runs: this.#runs.map((run): KeyRun => ({ ...run })),
      versions: this.#isVersioned ? this.versions.slice(0, count) : undefined,
      bare: this.#bareBits(),
      holes: this.#stagedHoles(),
    }
  }

  #bareBits(): Uint32Array | undefined {
    if (this.#bare.size === 0) return undefined
    const bits = new Uint32Array((this.count + 31) >>> 5)
    for (const operation of this.#bare) bits[operation >>> 5]! |= 1 << (operation & 31)
    return bits
  }

  #stagedHoles(): StagedHoles | undefined {
    if (this.#holes.size === 0) return undefined
    const sets = new Map<string, number>()
    const columns: (readonly string[])[] = []
    const lacking = Uint32Array.from(this.#holes.values(), (names) => {
      const text = names.join(' ')
      let set = sets.get(text)
      if (set === undefined) sets.set(text, (set = columns.push(names) - 1))
      return set
    })
    return { operations: Uint32Array.from(this.#holes.keys()), lacking, columns }
  }

  /** Enters all operations before `until` into the index, which only a record with holes makes. */
  #index(until: number): void {
    if (this.#latest === undefined || 2 * until > this.#latest.length) {
      let size = 1024
      while (size < 4 * until) size *= 2
      this.#latest = new Int32Array(size)
      this.#indexed = 0
    }
    for (; this.#indexed < until; this.#indexed++) {
      const operation = this.#indexed
      if (this.rows[operation] === TRUNCATE || this.#unmade.has(operation)) continue
      this.#latest[this.#slot(operation)] = operation + 1
    }
  }

  /** Where the key of an operation stands in the index, or would. */
  #slot(operation: number): number {
    const latest = this.#latest!
    const { hashes } = this
    const mask = latest.length - 1
    let slot = hashes[4 * operation]! & mask
    for (; latest[slot] !== 0; slot = (slot + 1) & mask) {
      const other = 4 * (latest[slot]! - 1)
      let k = 0
      while (k < 4 && hashes[other + k] === hashes[4 * operation + k]) k++
      if (k === 4) break
    }
    return slot
  }

  #grow(): void {
    const size = 2 * this.rows.length
    this.hashes = copied(this.hashes, new Uint32Array(4 * size))
    this.rows = copied(this.rows, new Int32Array(size))
    this.offsets = copied(this.offsets, new BigInt64Array(size))
    this.versions = copied(this.versions, new BigInt64Array(size))
    this.versionWords = new Int32Array(this.versions.buffer)
  }
}

const INITIAL = 4096
const NONE: readonly string[] = []

function copied<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from)
  return to
}
