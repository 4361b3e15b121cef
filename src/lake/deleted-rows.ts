/** Rows that one container of a deletion vector covers. */
export const CONTAINER_ROWS = 65_536
const CONTAINER_SHIFT = 16
/** From a word's number to its container's. */
const WORDS_SHIFT = 11

/**
 * The deleted rows of one data file: a bit per row, so that adding one is a word's write, counting up to a position is
 * fast, and a deletion vector is made by copying.
 */
export class DeletedRows {
  /** Rows of the data file. */
  readonly rows: number
  readonly #words: Uint32Array
  #count = 0
  /** Deleted rows in each `CONTAINER_ROWS`: a vector is made with every commit, and need not count them. */
  readonly #counts: Uint32Array

  /** Without `words` none is deleted. */
  constructor(rows: number, words?: Uint32Array) {
    this.rows = rows
    this.#words = words ?? new Uint32Array((rows + 31) >>> 5)
    this.#counts = new Uint32Array((rows + CONTAINER_ROWS - 1) >>> CONTAINER_SHIFT)
    if (words === undefined) return
    for (let k = 0; k < words.length; k++) if (words[k] !== 0) this.#counts[k >>> WORDS_SHIFT]! += ones(words[k]!)
    for (const count of this.#counts) this.#count += count
  }

  /** Rows that are deleted. */
  get count(): number {
    return this.#count
  }

  /** Bit `row % 32` of word `row >> 5`; bits beyond the last row are 0. Not to be changed. */
  get words(): Uint32Array {
    return this.#words
  }

  /** How many are deleted in each stretch of `CONTAINER_ROWS` rows. Not to be changed. */
  get counts(): Uint32Array {
    return this.#counts
  }

  has(row: number): boolean {
    return (this.#words[row >>> 5]! & (1 << (row & 31))) !== 0
  }

  /** Whether the row was alive until now. */
  add(row: number): boolean {
    const bit = 1 << (row & 31)
    const word = this.#words[row >>> 5]!
    if ((word & bit) !== 0) return false
    this.#words[row >>> 5] = word | bit
    this.#counts[row >>> CONTAINER_SHIFT]!++
    this.#count++
    return true
  }

  addAll(): void {
    this.#words.fill(0xffff_ffff)
    if ((this.rows & 31) !== 0) this.#words[this.rows >>> 5] = (1 << (this.rows & 31)) - 1
    this.#counts.fill(CONTAINER_ROWS)
    if ((this.rows & (CONTAINER_ROWS - 1)) !== 0)
      this.#counts[this.rows >>> CONTAINER_SHIFT] = this.rows & (CONTAINER_ROWS - 1)
    this.#count = this.rows
  }

  /** As it is now: later changes to one are not seen by the other. */
  clone(): DeletedRows {
    return new DeletedRows(this.rows, this.#words.slice())
  }

  /** Calls `take` with the rows that are deleted here and not in `before`, ascending: word by word, since they may be millions. */
  eachSince(before: DeletedRows, take: (row: number) => void): void {
    const [words, old] = [this.#words, before.#words]
    for (let k = 0; k < words.length; k++)
      for (let rest = words[k]! & ~old[k]!; rest !== 0; rest &= rest - 1) take(k * 32 + 31 - Math.clz32(rest & -rest))
  }

  /** Positions of the deleted rows, ascending. */
  *positions(): Generator<number, void, undefined> {
    for (const [index, word] of this.#words.entries())
      for (let rest = word; rest !== 0; rest &= rest - 1) yield index * 32 + (31 - Math.clz32(rest & -rest))
  }
}

/** How many rows are deleted below a position, in constant time: for a bitmap that no longer changes. */
export class DeletedRank {
  readonly #words: Uint32Array
  /** Deleted rows below each word. */
  readonly #below: Uint32Array

  constructor(deleted: DeletedRows) {
    this.#words = deleted.words
    this.#below = new Uint32Array(this.#words.length + 1)
    for (let k = 0; k < this.#words.length; k++) this.#below[k + 1] = this.#below[k]! + ones(this.#words[k]!)
  }

  /** Deleted rows at positions below `row`. */
  rank(row: number): number {
    const bits = row & 31
    // `row` may be the number of rows, which is beyond the last word.
    const part = bits === 0 ? 0 : ones(this.#words[row >>> 5]! & ((1 << bits) - 1))
    return this.#below[row >>> 5]! + part
  }
}

/** Bits that are set in a 32-bit word. */
export function ones(word: number): number {
  let x = word - ((word >>> 1) & 0x5555_5555)
  x = (x & 0x3333_3333) + ((x >>> 2) & 0x3333_3333)
  return Math.imul((x + (x >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24
}
