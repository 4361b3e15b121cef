/**
 * Where the live row of each key stands: 96 bits of the key's hash to (file number, row). Open addressing in typed
 * arrays, 20 bytes a slot (28 with versions), in 256 shards that grow one at a time, so that no growth holds anybody up.
 *
 *   slot: hash 0 · hash 1 · hash 2 · file + 1 (0: free) · row
 *
 * Keys are given as four words of a hash array: the fourth chooses the shard, the others are kept. Where the shard is
 * given too, the fourth word may be anything. Two keys that agree in all 96 bits and the shard would be taken for one:
 * among a billion keys that happens with a chance of 2 in 10^14.
 */
export class KeyIndex {
  readonly #shards: readonly Shard[]
  /** Of the key that was found, replaced or removed last. */
  file = 0
  row = 0
  version = 0n
  /** What `touch` read. Nobody needs it; but what nobody can see, a compiler leaves out. */
  touched = 0

  constructor(isVersioned: boolean) {
    this.#shards = Array.from({ length: SHARDS }, (_, k) => new Shard(isVersioned, k / SHARDS))
  }

  /** Keys, markers of deleted ones included. */
  get size(): number {
    return this.#shards.reduce((sum, { size }) => sum + size, 0)
  }

  get bytes(): number {
    return this.#shards.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /**
   * Reads the slots where the next keys should stand. An index larger than the caches answers each key after a wait for
   * memory; asked for many at once, it waits once for several.
   */
  touch(hashes: Uint32Array, from: number, until: number): void {
    let seen = 0
    for (let at = from; at < until; at += 4) seen |= this.#shards[shardOf(hashes[at + 3]!)]!.fileAtHome(hashes[at]!)
    this.touched = seen
  }

  /** The same for keys of one shard. */
  touchIn(shard: number, hashes: Uint32Array, from: number, until: number): void {
    const of = this.#shards[shard]!
    let seen = 0
    for (let at = from; at < until; at += 4) seen |= of.fileAtHome(hashes[at]!)
    this.touched = seen
  }

  /** Whether the key is there; where its row stands is in `file`, `row` and `version`. */
  find(hashes: Uint32Array, at: number, inShard = shardOf(hashes[at + 3]!)): boolean {
    const shard = this.#shards[inShard]!
    const slot = shard.find(hashes, at)
    if (slot < 0) return false
    this.#tell(shard, slot)
    return true
  }

  /** Sets where the key's row stands. Whether it was there before; where its row stood is in `file`, `row` and `version`. */
  put(
    hashes: Uint32Array,
    at: number,
    file: number,
    row: number,
    version = 0n,
    inShard = shardOf(hashes[at + 3]!),
  ): boolean {
    const shard = this.#shards[inShard]!
    const slot = shard.find(hashes, at)
    if (slot < 0) {
      shard.insert(~slot, hashes, at, file, row, version)
      return false
    }
    this.#tell(shard, slot)
    shard.set(slot, file, row, version)
    return true
  }

  /** Forgets the key. Whether it was there; where its row stood is in `file`, `row` and `version`. */
  remove(hashes: Uint32Array, at: number): boolean {
    const shard = this.#shards[shardOf(hashes[at + 3]!)]!
    const slot = shard.find(hashes, at)
    if (slot < 0) return false
    this.#tell(shard, slot)
    shard.remove(slot)
    return true
  }

  /** Makes room for so many keys at once, before they are put into an empty index. */
  reserve(keys: number): void {
    for (const shard of this.#shards) shard.reserve(keys / SHARDS)
  }

  clear(): void {
    for (const shard of this.#shards) shard.clear()
  }

  /** Follows rows that moved to another file, in one shard of `SHARDS`: the whole index is moved in steps too short to notice. */
  relocate(shard: number, moved: Moves): void {
    this.#shards[shard]!.relocate(moved)
  }

  #tell(shard: Shard, slot: number): void {
    const at = slot * SLOT_WORDS
    this.file = shard.words[at + 3]! - 1
    this.row = shard.words[at + 4]!
    if (shard.versions !== undefined) this.version = shard.versions[slot]!
  }
}

/** Where the rows of a file went that is no more. */
export interface Move {
  readonly file: number
  /** The row in the new file. */
  rowOf(row: number): number
}

/** Moves by the number of the file that is no more. It is asked for each slot: most files are still there, which is told at once. */
export class Moves {
  readonly #places = Array.from<PlacedMove | undefined>({ length: PLACES })

  /** No file stands twice. */
  constructor(moves: Iterable<readonly [number, Move]>) {
    for (const [gone, move] of moves) {
      const place = gone & (PLACES - 1)
      this.#places[place] = { gone, move, next: this.#places[place] }
    }
  }

  of(file: number): Move | undefined {
    let placed = this.#places[file & (PLACES - 1)]
    while (placed !== undefined && placed.gone !== file) placed = placed.next
    return placed?.move
  }
}

interface PlacedMove {
  readonly gone: number
  readonly move: Move
  readonly next: PlacedMove | undefined
}

/** Numbers are given one after the other, so few of the files that moved agree in these bits. */
const PLACES = 4_096
export const SHARDS = 256

/** The shard of a key, by the fourth word of its hash. */
export function shardOf(word: number): number {
  return word >>> 24
}

const SLOT_WORDS = 5
const CAPACITY_MIN = 16
/** Fuller than this a shard grows by a third, so that a key takes 25 to 33 bytes. */
const LOAD_MAX = 0.8
const GROWTH = 1.3

class Shard {
  readonly #isVersioned: boolean
  readonly #phase: number
  #steps = 0
  #capacity = 0
  size = 0
  words = new Uint32Array(0)
  versions: BigInt64Array | undefined

  /** Keys spread evenly, so shards would all grow at the same moment: `phase` in [0, 1) sets them apart. */
  constructor(isVersioned: boolean, phase: number) {
    this.#isVersioned = isVersioned
    this.#phase = phase
    this.#allocate()
  }

  get bytes(): number {
    return this.words.byteLength + (this.versions?.byteLength ?? 0)
  }

  /** Number of the file in the slot where a key of this first word stands, unless it was taken. */
  fileAtHome(word: number): number {
    return this.words[this.#home(word) * SLOT_WORDS + 3]!
  }

  /** Slot of the key; when it is not there, the complement of the one that it would get. */
  find(hashes: Uint32Array, at: number): number {
    const { words } = this
    const a = hashes[at]!
    const b = hashes[at + 1]!
    const c = hashes[at + 2]!
    for (let slot = this.#home(a), i = slot * SLOT_WORDS; ;) {
      if (words[i + 3] === 0) return ~slot
      if (words[i] === a && words[i + 1] === b && words[i + 2] === c) return slot
      slot++
      i += SLOT_WORDS
      if (slot === this.#capacity) slot = i = 0
    }
  }

  /** `free` is what `find` gave. */
  insert(free: number, hashes: Uint32Array, at: number, file: number, row: number, version: bigint): void {
    let slot = free
    if (this.size + 1 > this.#capacity * LOAD_MAX) {
      this.#grow()
      slot = this.#free(hashes[at]!)
    }
    this.size++
    this.words[slot * SLOT_WORDS] = hashes[at]!
    this.words[slot * SLOT_WORDS + 1] = hashes[at + 1]!
    this.words[slot * SLOT_WORDS + 2] = hashes[at + 2]!
    this.set(slot, file, row, version)
  }

  set(slot: number, file: number, row: number, version: bigint): void {
    this.words[slot * SLOT_WORDS + 3] = file + 1
    this.words[slot * SLOT_WORDS + 4] = row
    if (this.versions !== undefined) this.versions[slot] = version
  }

  /** Closes the gap: whatever stands behind it and would not be found any more moves up. */
  remove(slot: number): void {
    this.size--
    const { words } = this
    let gap = slot
    for (let next = this.#after(slot); words[next * SLOT_WORDS + 3] !== 0; next = this.#after(next)) {
      const home = this.#home(words[next * SLOT_WORDS]!)
      const isReachable = gap < next ? gap < home && home <= next : gap < home || home <= next
      if (isReachable) continue
      this.#move(next, gap)
      gap = next
    }
    words[gap * SLOT_WORDS + 3] = 0
  }

  /** Of an empty shard. Shards differ by some keys: those that get more grow once. */
  reserve(keys: number): void {
    while (keys > this.#capacityAt(this.#steps) * LOAD_MAX) this.#steps++
    this.#allocate()
  }

  clear(): void {
    this.size = 0
    this.#steps = 0
    this.#allocate()
  }

  relocate(moved: Moves): void {
    const { words } = this
    for (let at = 3; at < words.length; at += SLOT_WORDS) {
      const number = words[at]!
      if (number === 0) continue
      const move = moved.of(number - 1)
      if (move === undefined) continue
      words[at] = move.file + 1
      words[at + 1] = move.rowOf(words[at + 1]!)
    }
  }

  /** Homes ascend with the first word, so both arrays are walked from end to end. */
  #grow(): void {
    const { words: from, versions } = this
    this.#steps++
    this.#allocate()
    const to = this.words
    const capacity = this.#capacity
    for (let at = 0, slot = 0; at < from.length; at += SLOT_WORDS, slot++) {
      const file = from[at + 3]!
      if (file === 0) continue
      let free = Math.floor((from[at]! * capacity) / 4294967296)
      let i = free * SLOT_WORDS
      while (to[i + 3] !== 0) {
        free++
        i += SLOT_WORDS
        if (free === capacity) free = i = 0
      }
      to[i] = from[at]!
      to[i + 1] = from[at + 1]!
      to[i + 2] = from[at + 2]!
      to[i + 3] = file
      to[i + 4] = from[at + 4]!
      if (versions !== undefined) this.versions![free] = versions[slot]!
    }
  }

  #allocate(): void {
    const capacity = this.#capacityAt(this.#steps)
    this.#capacity = capacity
    this.words = new Uint32Array(capacity * SLOT_WORDS)
    if (this.#isVersioned) this.versions = new BigInt64Array(capacity)
  }

  #capacityAt(steps: number): number {
    return Math.ceil(CAPACITY_MIN * GROWTH ** (steps + this.#phase))
  }

  #free(word: number): number {
    let slot = this.#home(word)
    while (this.words[slot * SLOT_WORDS + 3] !== 0) slot = this.#after(slot)
    return slot
  }

  #move(from: number, to: number): void {
    this.words.copyWithin(to * SLOT_WORDS, from * SLOT_WORDS, (from + 1) * SLOT_WORDS)
    if (this.versions !== undefined) this.versions[to] = this.versions[from]!
  }

  /** The first word as a fraction of its range: any capacity will do. */
  #home(word: number): number {
    return Math.floor((word * this.#capacity) / 4294967296)
  }

  #after(slot: number): number {
    return slot + 1 === this.#capacity ? 0 : slot + 1
  }
}
