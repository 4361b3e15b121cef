import type { DataFile } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'
import type { FoldDatabase } from './fold-database.ts'
import type { TableDelta } from './window.ts'

/** Folds after which files that have no row of ours any more are forgotten. */
const PRUNE_EVERY = 256

/** Where the rows of a relation stand: its `__file` is a number of ours for a data file, its `__row` the position there. */
export class RowPlaces {
  readonly #relation: string
  readonly #keys = new Map<number, string>()
  readonly #numbers = new Map<string, number>()
  #next = 0
  #deltas = 0

  constructor(relation: string) {
    this.#relation = relation
  }

  /** The number that the next file will have. */
  get next(): number {
    return this.#next
  }

  /** The number of a file, which may be one of which nothing was held. */
  numberOf(key: string): number {
    return this.#numbers.get(key) ?? this.add(key)
  }

  /** Names a file. Numbers are never used again. */
  add(key: string): number {
    this.#keys.set(this.#next, key)
    this.#numbers.set(key, this.#next)
    return this.#next++
  }

  /** What one fold did: the file it wrote, which has the next number, and the places in `outdated` that are over. */
  async delta(database: FoldDatabase, file: DataFile | undefined, outdated: string): Promise<TableDelta> {
    const places = `SELECT __file, CAST(__row AS INTEGER) AS __row FROM (${outdated}) WHERE __file IS NOT NULL ORDER BY __file, __row`
    const positions = new Map<number, number[]>()
    for await (const [numbers, rows] of database.integers(places, 2))
      for (const [k, number] of numbers!.entries()) {
        const of = positions.get(number)
        if (of === undefined) positions.set(number, [rows![k]!])
        else of.push(rows![k]!)
      }
    if (file !== undefined) this.add(file.key)
    const superseded = Array.from(positions, ([number, of]) => ({
      key: this.#keys.get(number)!,
      rows: Uint32Array.from(of),
    }))
    if (++this.#deltas % PRUNE_EVERY === 0) await this.#prune(database)
    return { files: file === undefined ? [] : [file], superseded }
  }

  /** Rows stand in another file now, as `WindowFold.moved` says. */
  async move(database: FoldDatabase, inputs: readonly ConcatenateInput[], output: DataFile | undefined): Promise<void> {
    const numbers = inputs.map(({ file }) => this.#numbers.get(file.key))
    const known = numbers.filter((number) => number !== undefined)
    if (known.length === 0) return
    const { moved } = database
    const to = output === undefined ? -1 : this.add(output.key)
    moved.feed(output === undefined ? [] : inputs, numbers)
    await database.run(
      `UPDATE ${this.#relation} SET __row = ${moved.name}(CAST(__file AS BIGINT), __row), __file = ${to} WHERE __file IN (${known.join(', ')})`,
    )
    moved.assertDone()
    for (const number of known) this.#forget(number)
  }

  async #prune(database: FoldDatabase): Promise<void> {
    const used = await database.rows(`SELECT DISTINCT __file FROM ${this.#relation}`)
    const numbers = new Set(used.map(([number]) => number))
    for (const number of this.#keys.keys()) if (!numbers.has(number)) this.#forget(number)
  }

  #forget(number: number): void {
    this.#numbers.delete(this.#keys.get(number)!)
    this.#keys.delete(number)
  }
}
