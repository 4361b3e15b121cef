import { DELETE, isBare, TRUNCATE, type StagedKeys } from '../keys.ts'
import type { LaterRequest } from './letters.ts'

/** Keys of which it is asked whether they were removed later: told of what the log holds, one micro-batch after the other. */
export class AskedKeys {
  /** By the order in which they were asked. */
  readonly isLater: Uint8Array
  readonly #asked: Pick<LaterRequest, 'isBareOnly' | 'hashes' | 'partitions' | 'offsets'>
  /** By the first word of the hash. */
  readonly #byWord = new Map<number, number[]>()

  constructor(asked: Pick<LaterRequest, 'isBareOnly' | 'hashes' | 'partitions' | 'offsets'>) {
    this.#asked = asked
    this.isLater = new Uint8Array(asked.offsets.length)
    for (let k = 0; k < asked.offsets.length; k++) {
      const word = asked.hashes[4 * k]!
      const list = this.#byWord.get(word) ?? []
      this.#byWord.set(word, list)
      list.push(k)
    }
  }

  saw(keys: StagedKeys): void {
    let operation = 0
    for (const { partition, count } of keys.runs)
      for (const end = operation + count; operation < end; operation++) {
        if (keys.files[operation] === TRUNCATE) this.#truncated(partition, keys.offsets[operation]!)
        const found = this.#byWord.get(keys.hashes[4 * operation]!)
        if (found === undefined || !(this.#asked.isBareOnly ? isBare(keys, operation) : isDelete(keys, operation)))
          continue
        for (const k of found) if (this.#isSame(keys, operation, k)) this.#came(k, partition, keys.offsets[operation]!)
      }
  }

  #isSame({ hashes }: StagedKeys, operation: number, k: number): boolean {
    for (let word = 0; word < 4; word++)
      if (hashes[4 * operation + word] !== this.#asked.hashes[4 * k + word]) return false
    return true
  }

  #came(k: number, partition: number, offset: bigint): void {
    const { partitions, offsets } = this.#asked
    if (partitions[k] === partition && offsets[k]! < offset) this.isLater[k] = 1
  }

  /** All rows of the table went. */
  #truncated(partition: number, offset: bigint): void {
    for (let k = 0; k < this.isLater.length; k++) this.#came(k, partition, offset)
  }
}

function isDelete({ files }: StagedKeys, operation: number): boolean {
  return files[operation] === DELETE
}
