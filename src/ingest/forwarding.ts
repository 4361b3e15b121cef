import { Moves, SHARDS, type KeyIndex, type Move } from '../lake/key-index.ts'

/** A round reads all of the index: it begins when so large a part of the keys may have moved. */
const ROUND_SHARE = 1 / 4

/**
 * Where the rows of files went that were put together, for as long as the index may still name those files. The index
 * follows in rounds, a few shards at a time; what went before a whole round is forgotten.
 */
export class Forwarding {
  /** By the number of the file, in the order in which they went. */
  readonly #moves = new Map<number, Gone>()
  /** Each chain of moves as one step; made when a sweep asks. */
  #flat: Moves | undefined
  /** Shards that have followed, in all rounds. */
  #swept = 0
  /** Where the round ends that is under way, and the rows that went since it began. */
  #roundEnd = 0
  #rows = 0

  /** Files that are remembered. */
  get size(): number {
    return this.#moves.size
  }

  /** `rows`: how many of the file's keys the index may know. */
  add(file: number, rows: number, move: Move): void {
    this.#moves.set(file, { move, since: this.#swept })
    this.#rows += rows
    this.#flat = undefined
  }

  get(file: number): Move | undefined {
    return this.#moves.get(file)?.move
  }

  clear(): void {
    this.#moves.clear()
    this.#flat = undefined
    this.#roundEnd = this.#swept
    this.#rows = 0
  }

  /** Lets so many shards of the index follow; cheap when little moved. */
  sweep(index: KeyIndex, shards: number): void {
    if (this.#moves.size === 0) return
    if (this.#swept === this.#roundEnd) {
      if (this.#rows < index.size * ROUND_SHARE) return
      this.#roundEnd += SHARDS
      this.#rows = 0
    }
    this.#flat ??= this.#flattened()
    for (let k = 0; k < shards && this.#swept < this.#roundEnd; k++) index.relocate(this.#swept++ % SHARDS, this.#flat)
    for (const [file, { since }] of this.#moves) {
      if (this.#swept - since < SHARDS) break
      this.#moves.delete(file)
      this.#flat = undefined
    }
  }

  #flattened(): Moves {
    return new Moves([...this.#moves].map(([file, { move }]) => [file, this.#through(move)]))
  }

  #through(first: Move): Move {
    const steps = [first]
    for (let next = this.get(first.file); next !== undefined; next = this.get(next.file)) steps.push(next)
    // As it is when it is the only one: it is asked for each row.
    if (steps.length === 1) return first
    return { file: steps.at(-1)!.file, rowOf: (row) => steps.reduce((at, step) => step.rowOf(at), row) }
  }
}

interface Gone {
  readonly move: Move
  /** Shards that had followed when it went. */
  readonly since: number
}
