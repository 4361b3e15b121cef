export interface KeyBatch {
  /** Four words a key: as even as a hash is, and the same for the same key. */
  readonly hashes: Uint32Array
  readonly runs: readonly { readonly partition: number; readonly count: number }[]
}

/** Of operations after the first of every key: the share that updates one which was there before. */
const UPDATES = 0.8

/**
 * Keys of one partition: so many come first, each once; of those after them four of five are one that was there before,
 * any with equal chance.
 */
export class PartitionKeys {
  readonly #partition: number
  readonly #keys: number
  #count = 0
  #state: number

  constructor(partition: number, keys: number) {
    this.#partition = partition
    this.#keys = keys
    this.#state = 0x2545f491 + partition
  }

  /** The hashes of the next keys, into `hashes` from `at` on. */
  fill(hashes: Uint32Array, at: number, count: number): void {
    for (let to = at; to < at + 4 * count; to += 4) {
      const number = this.#next()
      const salted = Math.imul(number, 4) + this.#partition
      hashes[to] = mix(salted)
      hashes[to + 1] = mix(salted + 0x7f4a7c15)
      hashes[to + 2] = salted
      hashes[to + 3] = mix(Math.imul(salted, 0x9e3779b1) + 1)
    }
  }

  #next(): number {
    if (this.#count < this.#keys || this.#random() >= UPDATES) return this.#count++
    return Math.floor(this.#random() * this.#count)
  }

  #random(): number {
    let state = this.#state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.#state = state
    return (state >>> 0) / 4_294_967_296
  }
}

/** A micro-batch of some partitions, one after the other. */
export function keyBatch(partitions: readonly (readonly [number, PartitionKeys])[], count: number): KeyBatch {
  const each = count / partitions.length
  const hashes = new Uint32Array(4 * count)
  for (const [k, [, keys]] of partitions.entries()) keys.fill(hashes, 4 * k * each, each)
  return { hashes, runs: partitions.map(([partition]) => ({ partition, count: each })) }
}

function mix(value: number): number {
  let x = value
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
