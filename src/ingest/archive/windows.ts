import type { KeptRange } from './archive.ts'

/** Rows of one Kafka partition in one file. Their offsets lie in [first, last], between those of other files perhaps. */
export interface Piece {
  readonly file: number
  readonly partition: number
  readonly first: bigint
  readonly last: bigint
  readonly rows: number
}

/** What is read at once: files, and of each partition the offsets of which they hold all rows that there are. */
export interface ReadWindow {
  readonly files: readonly number[]
  readonly ranges: ReadonlyMap<number, KeptRange>
}

/**
 * Cuts ranges of partitions into windows of about `rowsMax` rows, which together are the ranges and of which each begins
 * where the last one ended. A file is in as few windows as can be, whatever partitions it holds: files are taken in their
 * order, and a window ends before the first row of a file that is not in it. Pure.
 */
export function* readWindows(
  pieces: readonly Piece[],
  ranges: ReadonlyMap<number, KeptRange>,
  rowsMax: number,
): Generator<ReadWindow, void, undefined> {
  const fronts = [...ranges].map(([partition, range]) => new Front(partition, range, pieces))
  while (fronts.some(({ isDone }) => !isDone)) {
    const files = takeFiles(fronts, rowsMax)
    const window = new Map<number, KeptRange>()
    const rows = fronts.reduce((sum, front) => sum + front.rowsIn(files), 0)
    const share = rows > 2 * rowsMax ? rowsMax / rows : 1
    for (const front of fronts) {
      const until = front.untilWith(files, share)
      if (until > front.at) window.set(front.partition, { from: front.at, until })
    }
    const read = new Set(fronts.flatMap((front) => front.filesBelow(window.get(front.partition)?.until)))
    for (const front of fronts) front.moveTo(window.get(front.partition)?.until)
    yield { files: [...read].toSorted((a, b) => a - b), ranges: window }
  }
}

/** The files that hold what comes next, the first in order first, until they have rows enough. */
function takeFiles(fronts: readonly Front[], rowsMax: number): ReadonlySet<number> {
  const files = new Set<number>()
  for (let rows = 0; rows < rowsMax;) {
    const next = fronts.reduce((least, front) => Math.min(least, front.nextBut(files)), Infinity)
    if (next === Infinity) break
    files.add(next)
    rows = fronts.reduce((sum, front) => sum + front.rowsIn(files), 0)
  }
  return files
}

/** How far one partition is read. */
class Front {
  readonly partition: number
  at: bigint
  readonly #until: bigint
  /** Those with offsets to come, by their first ones; what lies before `#start` is passed. */
  readonly #pieces: readonly Piece[]
  #start = 0

  constructor(partition: number, { from, until }: KeptRange, pieces: readonly Piece[]) {
    this.partition = partition
    this.at = from
    this.#until = until
    this.#pieces = pieces
      .filter((piece) => piece.partition === partition && piece.last >= from && piece.first < until)
      .toSorted((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
  }

  get isDone(): boolean {
    return this.at >= this.#until
  }

  /** The file of the next piece that none of `files` holds. */
  nextBut(files: ReadonlySet<number>): number {
    return this.#firstBut(files)?.file ?? Infinity
  }

  /** About how many rows of `files` are to come before the first of another file. */
  rowsIn(files: ReadonlySet<number>): number {
    const until = this.#firstBut(files)?.first ?? this.#until
    let rows = 0
    for (const piece of this.#ahead()) {
      if (piece.first >= until) break
      if (files.has(piece.file)) rows += shareOf(piece, this.at, until)
    }
    return rows
  }

  /** Where the offsets end of which `files` hold all rows; or, of a share of them, somewhere before. */
  untilWith(files: ReadonlySet<number>, share: number): bigint {
    const until = this.#firstBut(files)?.first ?? this.#until
    if (share === 1 || until <= this.at) return until
    let [first, end] = [until, this.at]
    for (const piece of this.#ahead()) {
      if (piece.first >= until) break
      if (piece.first < first) first = piece.first
      if (piece.last >= end) end = piece.last + 1n
    }
    if (end <= this.at) return until
    if (first < this.at) first = this.at
    if (end > until) end = until
    return first + BigInt(Math.max(1, Math.floor(Number(end - first) * share)))
  }

  filesBelow(until: bigint | undefined): number[] {
    const files: number[] = []
    if (until === undefined) return files
    for (const piece of this.#ahead()) {
      if (piece.first >= until) break
      files.push(piece.file)
    }
    return files
  }

  moveTo(until: bigint | undefined): void {
    if (until === undefined) return
    this.at = until
    while (this.#start < this.#pieces.length && this.#pieces[this.#start]!.last < until) this.#start++
  }

  #firstBut(files: ReadonlySet<number>): Piece | undefined {
    for (const piece of this.#ahead()) if (!files.has(piece.file)) return piece
    return undefined
  }

  *#ahead(): Generator<Piece, void, undefined> {
    for (let k = this.#start; k < this.#pieces.length; k++) if (this.#pieces[k]!.last >= this.at) yield this.#pieces[k]!
  }
}

/** Rows of a piece in [from, until), as if they lay evenly. */
function shareOf({ first, last, rows }: Piece, from: bigint, until: bigint): number {
  const [start, end] = [from > first ? from : first, until <= last ? until : last + 1n]
  return end <= start ? 0 : (rows * Number(end - start)) / Number(last + 1n - first)
}
