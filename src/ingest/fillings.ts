import { DELETE, isBare, type Filling, type StagedKeys } from './keys.ts'
import type { StagedTable } from './lane.ts'
import { isLater } from './versioned-fold.ts'

/** What a key has: its row, or the marker of its deletion. */
export interface Stands {
  readonly row: Filling['from'] | undefined
  readonly version: bigint
  readonly partition: number
}

export interface Fillings {
  /** By the index of a staged file: what is to be filled in one after the other, each row once in each. */
  readonly passes: ReadonlyMap<number, readonly (readonly Filling[])[]>
  /** Operations whose key has no row. */
  readonly baseless: readonly number[]
}

/**
 * Where the values stand that rows of a staged batch lack. `standing` tells what the key of an operation had before the
 * batch. Without versions that is where they are; with them records of the batch itself win or lose first.
 */
export function fillingsOf(
  { files, keys }: Pick<StagedTable, 'files' | 'keys'>,
  standing: (operation: number) => Stands | undefined,
): Fillings {
  const holes = new Holes(keys!)
  const isVersioned = keys!.versions !== undefined
  const rows = isVersioned ? new VersionedRows(keys!, holes, (file) => files[file]!.key) : undefined
  const passes = new Map<number, Filling[][]>()
  const baseless: number[] = []
  const take = (operation: number, sources: readonly Source[]): void => {
    const file = keys!.files[operation]!
    const of = passes.get(file) ?? []
    passes.set(file, of)
    for (const [k, source] of sources.entries()) (of[k] ??= []).push({ row: keys!.rows[operation]!, ...source })
  }
  if (rows === undefined)
    for (const operation of holes.operations) {
      const from = standing(operation)?.row
      if (from === undefined) baseless.push(operation)
      else take(operation, [{ columns: holes.of(operation), from }])
    }
  else rows.follow(standing, take, baseless)
  return { passes, baseless }
}

type Source = Omit<Filling, 'row'>

/** Columns that operations lack. */
class Holes {
  readonly operations: readonly number[]
  readonly #of = new Map<number, readonly string[]>()

  constructor({ holes }: StagedKeys) {
    this.operations = [...holes!.operations]
    for (const [k, operation] of this.operations.entries()) this.#of.set(operation, holes!.columns[holes!.lacking[k]!]!)
  }

  of(operation: number): readonly string[] {
    return this.#of.get(operation) ?? []
  }
}

/** A row of the batch, or that from before it, and where the values stand that it lacks itself. */
interface Row {
  readonly from: Filling['from']
  readonly lacked: ReadonlyMap<string, Filling['from']>
}

interface State {
  readonly row: Row | undefined
  readonly version: bigint
  readonly partition: number
}

/** The keys that have holes, followed through the batch as the fold will. */
class VersionedRows {
  readonly #keys: StagedKeys
  readonly #holes: Holes
  readonly #fileKey: (file: number) => string
  readonly #wanted: ReadonlySet<string>
  readonly #states = new Map<string, State | undefined>()

  constructor(keys: StagedKeys, holes: Holes, fileKey: (file: number) => string) {
    this.#keys = keys
    this.#holes = holes
    this.#fileKey = fileKey
    this.#wanted = new Set(holes.operations.map((operation) => this.#hashOf(operation)))
  }

  follow(
    standing: (operation: number) => Stands | undefined,
    take: (operation: number, sources: readonly Source[]) => void,
    baseless: number[],
  ): void {
    let operation = 0
    for (const { partition, count } of this.#keys.runs)
      for (const end = operation + count; operation < end; operation++) {
        const hash = this.#hashOf(operation)
        if (!this.#wanted.has(hash)) continue
        if (!this.#states.has(hash)) this.#states.set(hash, stateOf(standing(operation)))
        const state = this.#states.get(hash)
        const next = this.#after(state, operation, partition)
        if (next === 'none') baseless.push(operation)
        else if (next !== state) {
          this.#states.set(hash, next)
          if (next?.row !== undefined) take(operation, sourcesOf(next.row.lacked))
        }
      }
  }

  /** What the key has after an operation; `none` when that needs a row which is not there. */
  #after(state: State | undefined, operation: number, partition: number): State | undefined | 'none' {
    const { files, rows, versions } = this.#keys
    if (isBare(this.#keys, operation))
      return state?.row === undefined || state.partition !== partition ? state : { ...state, row: undefined }
    const version = versions![operation]!
    if (state !== undefined && isLater(state.version, state.partition, version, partition)) return state
    if (files[operation] === DELETE) return { row: undefined, version, partition }
    const lacking = this.#holes.of(operation)
    const before = state?.row
    if (lacking.length > 0 && before === undefined) return 'none'
    const lacked = new Map(lacking.map((column) => [column, before!.lacked.get(column) ?? before!.from]))
    return {
      row: { from: { key: this.#fileKey(files[operation]!), row: rows[operation]! }, lacked },
      version,
      partition,
    }
  }

  #hashOf(operation: number): string {
    const { hashes } = this.#keys
    const at = 4 * operation
    return `${hashes[at]} ${hashes[at + 1]} ${hashes[at + 2]} ${hashes[at + 3]}`
  }
}

function stateOf(stands: Stands | undefined): State | undefined {
  return stands && { ...stands, row: stands.row && { from: stands.row, lacked: new Map() } }
}

/** The columns of each place together. */
function sourcesOf(lacked: ReadonlyMap<string, Filling['from']>): readonly Source[] {
  const sources = new Map<Filling['from'], string[]>()
  for (const [column, from] of lacked) {
    const columns = sources.get(from)
    if (columns === undefined) sources.set(from, [column])
    else columns.push(column)
  }
  return [...sources].map(([from, columns]) => ({ from, columns }))
}
