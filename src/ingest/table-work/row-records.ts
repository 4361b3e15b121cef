import { open, readFile, rm, type FileHandle } from 'node:fs/promises'

/**
 * Rows of one side that are compared by key: two words of the hash of the key, two of the hash of the row, the number of
 * the file, the row in it. 24 bytes a row, in shards by key, so that a key's rows of both sides are in one shard. A
 * single shard is kept in memory, several in files of this machine.
 */
export const RECORD_WORDS = 6
const [KEY, ROW, FILE, PLACE] = [0, 2, 4, 5] as const
/** Of all shards of one side, before they are written. */
const BUFFER_BYTES_MAX = 32 * 1024 * 1024

export class RowRecords {
  readonly #shards: readonly Shard[]
  readonly #wordsMax: number

  /** `path` begins the names of the files. */
  constructor(shards: number, path: string) {
    this.#wordsMax = shards === 1 ? Infinity : BUFFER_BYTES_MAX / 4 / shards
    this.#shards = Array.from({ length: shards }, (_, k) => new Shard(`${path}-${k}.rows`))
  }

  add(keys: Int32Array, key: number, rows: Int32Array, row: number, file: number, place: number): void {
    const shard = this.#shards[(keys[key + 2]! >>> 0) % this.#shards.length]!
    const [at, words] = [shard.words, shard.next()]
    words[at + KEY] = keys[key]!
    words[at + KEY + 1] = keys[key + 1]!
    words[at + ROW] = rows[row]!
    words[at + ROW + 1] = rows[row + 1]!
    words[at + FILE] = file
    words[at + PLACE] = place
  }

  /** Writes what has grown too long. */
  async flush(): Promise<void> {
    for (const shard of this.#shards) if (shard.words > this.#wordsMax) await shard.flush()
  }

  /** All records of a shard, which are then no longer here. */
  take(shard: number): Promise<Uint32Array> {
    return this.#shards[shard]!.take()
  }

  async discard(): Promise<void> {
    for (const shard of this.#shards) await shard.discard()
  }
}

class Shard {
  words = 0
  readonly #path: string
  #buffer = new Uint32Array(RECORD_WORDS * 256)
  #file: FileHandle | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** Room for one record more, at the end that was. */
  next(): Uint32Array {
    this.words += RECORD_WORDS
    if (this.words > this.#buffer.length) {
      const larger = new Uint32Array(2 * this.#buffer.length)
      larger.set(this.#buffer)
      this.#buffer = larger
    }
    return this.#buffer
  }

  async flush(): Promise<void> {
    this.#file ??= await open(this.#path, 'wx')
    await this.#file.writeFile(Buffer.from(this.#buffer.buffer, 0, 4 * this.words))
    this.words = 0
  }

  async take(): Promise<Uint32Array> {
    const rest = this.#buffer.subarray(0, this.words)
    if (this.#file === undefined) {
      this.#forget()
      return rest
    }
    await this.flush()
    const bytes = await readFile(this.#path)
    await this.discard()
    return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  }

  async discard(): Promise<void> {
    this.#forget()
    if (this.#file === undefined) return
    await this.#file.close().catch(() => undefined)
    this.#file = undefined
    await rm(this.#path, { force: true })
  }

  #forget(): void {
    this.words = 0
    this.#buffer = new Uint32Array(RECORD_WORDS)
  }
}

/** How the rows of one shard differ. */
export interface Matched {
  readonly added: number
  readonly removed: number
  readonly changed: number
}

/** Told of each row that the other side does not have: the file, and the row in it. */
export type OnLeft = (file: number, place: number) => void

/**
 * Takes away what both sides have, and pairs what is left by key. Rows of one key may be several, also the same ones:
 * both sides are bags. At most 48 bytes a row of `before` and 4 of `after` beside the records.
 */
export function match(before: Uint32Array, after: Uint32Array, onBefore: OnLeft, onAfter: OnLeft): Matched {
  const [rowsBefore, rowsAfter] = [before.length / RECORD_WORDS, after.length / RECORD_WORDS]
  const same = new Chains(before, rowsBefore, ROW + 2)
  for (let row = 0; row < rowsBefore; row++) same.push(row)
  const others = new Uint32Array(rowsAfter)
  let left = 0
  for (let row = 0; row < rowsAfter; row++) if (same.pop(after, row) < 0) others[left++] = row
  const removedOrChanged = same.rest()
  const byKey = new Chains(before, removedOrChanged.length, ROW)
  for (const row of removedOrChanged) {
    byKey.push(row)
    onBefore(before[row * RECORD_WORDS + FILE]!, before[row * RECORD_WORDS + PLACE]!)
  }
  let changed = 0
  for (let k = 0; k < left; k++) {
    const row = others[k]!
    if (byKey.pop(after, row) >= 0) changed++
    onAfter(after[row * RECORD_WORDS + FILE]!, after[row * RECORD_WORDS + PLACE]!)
  }
  return { added: left - changed, removed: removedOrChanged.length - changed, changed }
}

/** Records by their first words: of each value a chain of rows, of which the last that was pushed is popped first. */
class Chains {
  readonly #records: Uint32Array
  /** Words that are compared. */
  readonly #words: number
  /** Some row of the chain, also when it is empty. */
  readonly #owners: Int32Array
  readonly #heads: Int32Array
  readonly #next: Int32Array

  constructor(records: Uint32Array, rows: number, words: number) {
    this.#records = records
    this.#words = words
    const slots = 2 ** Math.ceil(Math.log2(Math.max(2, rows * 1.25)))
    this.#owners = new Int32Array(slots).fill(-1)
    this.#heads = new Int32Array(slots)
    this.#next = new Int32Array(records.length / RECORD_WORDS)
  }

  push(row: number): void {
    const slot = this.#slot(this.#records, row)
    const isNew = this.#owners[slot]! < 0
    this.#owners[slot] = row
    this.#next[row] = isNew ? -1 : this.#heads[slot]!
    this.#heads[slot] = row
  }

  /** A row with the words of that row of other records; −1: there is none any more. */
  pop(records: Uint32Array, row: number): number {
    const slot = this.#slot(records, row)
    const head = this.#owners[slot]! < 0 ? -1 : this.#heads[slot]!
    if (head >= 0) this.#heads[slot] = this.#next[head]!
    return head
  }

  /** Rows that were not popped, ascending. */
  rest(): Uint32Array {
    const rows = new Uint32Array(this.#next.length)
    let count = 0
    for (let slot = 0; slot < this.#owners.length; slot++)
      if (this.#owners[slot]! >= 0)
        for (let row = this.#heads[slot]!; row >= 0; row = this.#next[row]!) rows[count++] = row
    return rows.subarray(0, count).sort()
  }

  #slot(records: Uint32Array, row: number): number {
    const mask = this.#owners.length - 1
    const at = row * RECORD_WORDS
    const last = at + this.#words - 1
    let slot =
      (records[at]! ^ Math.imul(records[last - 1]!, 0x9e37_79b1) ^ Math.imul(records[last]!, 0x85eb_ca6b)) & mask
    for (; ; slot = (slot + 1) & mask) {
      const owner = this.#owners[slot]!
      if (owner < 0 || this.#isSame(owner * RECORD_WORDS, records, at)) return slot
    }
  }

  #isSame(owner: number, records: Uint32Array, at: number): boolean {
    for (let k = 0; k < this.#words; k++) if (this.#records[owner + k] !== records[at + k]) return false
    return true
  }
}

/** Shards of so many rows, both sides together, so that none of them is much larger than `rowsMax`. */
export function shardsOf(rows: number, rowsMax: number): number {
  return Math.max(1, Math.ceil(rows / rowsMax))
}
