import { createHash } from 'node:crypto'
import { DELETE, TRUNCATE, type StagedKeys } from '../../src/ingest/keys.ts'
import { lacksOf, type SimChange } from './change.ts'
import type { KeyedPlan } from './plan.ts'
import type { SimRow } from './row-encoder.ts'

type Column = 'a' | 'b'

interface Operation {
  readonly hash: Uint32Array
  readonly file: number
  readonly row: number
  readonly offset: bigint
  readonly version: bigint
  readonly isBare: boolean
  readonly lacking: readonly Column[]
}

/** The operations of one micro-batch on the keys of one table, and the rows that they write. */
export class KeyStage {
  readonly files: SimRow[][] = []
  readonly deletes: SimRow[] = []
  readonly #plan: KeyedPlan
  readonly #uuid: string
  readonly #operations: Operation[] = []
  readonly #runs: { partition: number; count: number }[] = []
  /** Number of the file for each share of the keys. */
  readonly #fileOf = new Map<number, number>()
  /** What the batch knows of a key; undefined: that it has no row. */
  readonly #known = new Map<string, { readonly row: SimRow; readonly lacking: readonly Column[] } | undefined>()
  #isTruncated = false

  constructor(plan: KeyedPlan, uuid: string) {
    this.#plan = plan
    this.#uuid = uuid
  }

  /** Whether the row could be made; not when it lacks values that nothing has. */
  put(change: SimChange, partition: number, offset: bigint, at: number): boolean {
    const { k } = change
    const known = this.#known.get(k)
    let lacking: readonly Column[] = this.#plan.isKeeping ? lacksOf(change) : []
    const row: SimRow = { ...rowOf(change), p: partition, o: String(offset), at }
    if (lacking.length > 0) {
      if (known === undefined && (this.#isTruncated || this.#known.has(k))) return false
      for (const name of lacking) row[name] = known?.row[name] ?? null
      if (known !== undefined) lacking = lacking.filter((name) => known.lacking.includes(name))
    }
    this.#known.set(k, { row, lacking })
    const hash = hashOf(this.#uuid, k)
    const share = hash[0]! % this.#plan.files
    const file = this.#fileOf.get(share) ?? this.files.push([]) - 1
    this.#fileOf.set(share, file)
    this.#add(partition, {
      hash,
      file,
      row: this.files[file]!.push(row) - 1,
      offset,
      version: BigInt(change.n),
      isBare: false,
      lacking,
    })
    return true
  }

  /** `n`: the version of the delete, undefined for a tombstone. */
  delete(k: string, n: number | undefined, partition: number, offset: bigint): void {
    this.#known.set(k, undefined)
    if (this.#plan.isVersioned) this.deletes.push({ p: partition, o: String(offset), v: '', k, n: n ?? null })
    this.#add(partition, {
      hash: hashOf(this.#uuid, k),
      file: DELETE,
      row: 0,
      offset,
      version: BigInt(n ?? 0),
      isBare: n === undefined,
      lacking: [],
    })
  }

  truncate(partition: number, offset: bigint): void {
    this.#known.clear()
    this.#isTruncated = true
    const hash = new Uint32Array(4)
    this.#add(partition, { hash, file: TRUNCATE, row: 0, offset, version: 0n, isBare: false, lacking: [] })
  }

  keys(): StagedKeys {
    const all = this.#operations
    const bare = new Uint32Array((all.length + 31) >>> 5)
    for (const [i, { isBare }] of all.entries()) if (isBare) bare[i >>> 5]! |= 1 << (i & 31)
    const holes = all.flatMap(({ lacking }, i) => (lacking.length === 0 ? [] : [i]))
    const sets = [['a'], ['b'], ['a', 'b']]
    const setOf = (i: number) => sets.findIndex((set) => set.join() === all[i]!.lacking.join())
    const { isVersioned } = this.#plan
    return {
      count: all.length,
      hashes: Uint32Array.from(all.flatMap(({ hash }) => [...hash])),
      files: Int32Array.from(all, ({ file }) => file),
      rows: Uint32Array.from(all, ({ row }) => row),
      offsets: BigInt64Array.from(all, ({ offset }) => offset),
      runs: this.#runs,
      versions: isVersioned ? BigInt64Array.from(all, ({ version }) => version) : undefined,
      bare: isVersioned && all.some(({ isBare }) => isBare) ? bare : undefined,
      holes:
        holes.length === 0
          ? undefined
          : { operations: Uint32Array.from(holes), lacking: Uint32Array.from(holes, setOf), columns: sets },
    }
  }

  #add(partition: number, operation: Operation): void {
    this.#operations.push(operation)
    const run = this.#runs.at(-1)
    if (run?.partition === partition) run.count++
    else this.#runs.push({ partition, count: 1 })
  }
}

function rowOf({ v, k, n, a, b }: SimChange): Omit<SimRow, 'p' | 'o'> {
  return { v, k, n, a: a ?? null, b: b ?? null }
}

const hashes = new Map<string, Uint32Array>()

/** 128 bits over a key, seeded by the table that has it. */
export function hashOf(uuid: string, key: string): Uint32Array {
  const seeded = `${uuid} ${key}`
  let hash = hashes.get(seeded)
  if (hash === undefined) {
    if (hashes.size > 100_000) hashes.clear()
    const bytes = createHash('md5').update(seeded).digest()
    hash = Uint32Array.from({ length: 4 }, (_, i) => bytes.readUInt32LE(4 * i))
    hashes.set(seeded, hash)
  }
  return hash
}
