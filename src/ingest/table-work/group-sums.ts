/** Numbers of 128 bits as four words, the most significant first, modulo 2^128. */
export function addTo(sums: Uint32Array, at: number, words: Int32Array, from: number): void {
  let carry = 0
  for (let k = 3; k >= 0; k--) {
    const sum = sums[at + k]! + (words[from + k]! >>> 0) + carry
    sums[at + k] = sum
    carry = sum > 0xffff_ffff ? 1 : 0
  }
}

export function subtractFrom(sums: Uint32Array, at: number, words: Int32Array, from: number): void {
  let borrow = 0
  for (let k = 3; k >= 0; k--) {
    const difference = sums[at + k]! - (words[from + k]! >>> 0) - borrow
    sums[at + k] = difference
    borrow = difference < 0 ? 1 : 0
  }
}

/** 32 hexadecimal digits. */
export function hexOf(sums: Uint32Array): string {
  return [...sums].map((word) => word.toString(16).padStart(8, '0')).join('')
}

/** Which side of a comparison a row is of. */
export type SideNumber = 0 | 1

/** Part of all groups: those whose hash has this rest. */
export interface GroupPart {
  readonly part: number
  /** A power of 2. */
  readonly of: number
}

export const ALL_GROUPS: GroupPart = { part: 0, of: 1 }

/**
 * Sums of the hashes of rows by group, what is before minus what is after, and rows of both sides. A group is known by
 * the hash of its values; 64 to 72 bytes each. When there are too many, half of them are left to another turn.
 */
export class GroupSums {
  #part: GroupPart
  readonly #groupsMax: number
  readonly #onSplit: (rest: GroupPart) => void
  #size = 0
  #slots = new Int32Array(1_024).fill(-1)
  #hashes = new Int32Array(4 * 512)
  #sums = new Uint32Array(4 * 512)
  /** By side. */
  #rows = new Float64Array(2 * 512)
  #places = new Float64Array(512)
  /** The group of the row before: rows of a group often follow each other. */
  #last = -1

  /** `onSplit` is told of the groups that are left out from then on. */
  constructor(part: GroupPart, groupsMax: number, onSplit: (rest: GroupPart) => void) {
    this.#part = part
    this.#groupsMax = groupsMax
    this.#onSplit = onSplit
  }

  get size(): number {
    return this.#size
  }

  /** Counts a row: hashes of its group and of itself, and where it stands, which is told of the first row of a group. */
  add(side: SideNumber, groups: Int32Array, group: number, rows: Int32Array, row: number, place: number): void {
    let found = this.find(groups, group)
    if (found < 0) {
      while (this.#isHere(groups[group]!) && this.#size === this.#groupsMax) this.#split()
      if (!this.#isHere(groups[group]!)) return
      found = this.#insert(groups, group)
      this.#places[found] = place
    }
    this.#last = found
    this.#rows[2 * found + side]!++
    if (side === 0) addTo(this.#sums, 4 * found, rows, row)
    else subtractFrom(this.#sums, 4 * found, rows, row)
  }

  /** Number of a group; −1 when it is not here. */
  find(groups: Int32Array, group: number): number {
    const hashes = this.#hashes
    if (this.#last >= 0 && isSame(hashes, 4 * this.#last, groups, group)) return this.#last
    const mask = this.#slots.length - 1
    for (let slot = groups[group + 3]! & mask; ; slot = (slot + 1) & mask) {
      const found = this.#slots[slot]!
      if (found >= 0 && !isSame(hashes, 4 * found, groups, group)) continue
      this.#last = found
      return found
    }
  }

  rows(group: number, side: SideNumber): number {
    return this.#rows[2 * group + side]!
  }

  /** Where the first row of a group stands. */
  place(group: number): number {
    return this.#places[group]!
  }

  isDifferent(group: number): boolean {
    const [sums, rows] = [this.#sums, this.#rows]
    return (
      rows[2 * group] !== rows[2 * group + 1] ||
      (sums[4 * group]! | sums[4 * group + 1]! | sums[4 * group + 2]! | sums[4 * group + 3]!) !== 0
    )
  }

  #isHere(word: number): boolean {
    return ((word ^ this.#part.part) & (this.#part.of - 1)) === 0
  }

  #insert(groups: Int32Array, group: number): number {
    const number = this.#size++
    if (4 * number === this.#hashes.length) this.#grow(2 * number)
    this.#hashes.set(groups.subarray(group, group + 4), 4 * number)
    this.#place(number)
    return number
  }

  #place(number: number): void {
    const mask = this.#slots.length - 1
    let slot = this.#hashes[4 * number + 3]! & mask
    while (this.#slots[slot]! >= 0) slot = (slot + 1) & mask
    this.#slots[slot] = number
  }

  #grow(groups: number): void {
    const larger = <T extends Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>(
      from: T,
      to: T,
    ): T => {
      to.set(from)
      return to
    }
    this.#hashes = larger(this.#hashes, new Int32Array(4 * groups))
    this.#sums = larger(this.#sums, new Uint32Array(4 * groups))
    this.#rows = larger(this.#rows, new Float64Array(2 * groups))
    this.#places = larger(this.#places, new Float64Array(groups))
    this.#slots = new Int32Array(2 * groups).fill(-1)
    for (let number = 0; number < this.#size - 1; number++) this.#place(number)
  }

  /** Every second group stays: which one it is says the next bit of its hash. */
  #split(): void {
    const { part, of } = this.#part
    this.#onSplit({ part: part + of, of: 2 * of })
    this.#part = { part, of: 2 * of }
    const before = this.#size
    this.#size = 0
    this.#last = -1
    this.#slots.fill(-1)
    for (let number = 0; number < before; number++) {
      if (!this.#isHere(this.#hashes[4 * number]!)) continue
      const to = this.#size++
      this.#hashes.copyWithin(4 * to, 4 * number, 4 * number + 4)
      this.#sums.copyWithin(4 * to, 4 * number, 4 * number + 4)
      this.#rows.copyWithin(2 * to, 2 * number, 2 * number + 2)
      this.#places[to] = this.#places[number]!
      this.#place(to)
    }
    this.#sums.fill(0, 4 * this.#size)
    this.#rows.fill(0, 2 * this.#size)
  }
}

function isSame(a: Int32Array, at: number, b: Int32Array, from: number): boolean {
  return a[at] === b[from] && a[at + 1] === b[from + 1] && a[at + 2] === b[from + 2] && a[at + 3] === b[from + 3]
}
