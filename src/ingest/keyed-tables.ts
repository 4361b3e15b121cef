import { deletesTable, type TableDefinition } from '../define.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Observer } from '../event.ts'
import {
  readDeletedRows,
  storedFiles,
  type DataFile,
  type LakeTable,
  type Storage,
  type StoredFile,
  type TableChange,
} from '../lake/table.ts'
import { partitionId, type PartitionId } from '../log.ts'
import { fillingsOf } from './fillings.ts'
import type { StagedKeys, StoredKeys, TableWork } from './keys.ts'
import type { Staged, StagedTable, TablePlan } from './lane.ts'
import { KeyedTable, type StoredRows } from './upsert.ts'

/** Groups of files whose keys are read at once: two for each of a few lanes. */
const READS_AT_ONCE = 4
/** Live rows and files of a group. The more, the less often all of a large index passes through the caches. */
const GROUP_MAX = { rows: 500_000, files: 64 }
/** Rows that are taken up in one go; between two, others have their turn. */
const ROWS_AT_ONCE = 50_000

/** A staged batch that is ready to be folded, or the records in it whose missing values no row has. */
export type Prepared =
  | { readonly kind: 'ready'; readonly staged: Staged }
  | { readonly kind: 'baseless'; readonly records: readonly Baseless[] }

export interface Baseless {
  /** As in `Assignment.baseless`. */
  readonly text: string
  readonly partition: PartitionId
  readonly offset: bigint
}

/** The keyed tables of one pipeline, as its committer holds them. */
export class KeyedTables {
  readonly #tables: ReadonlyMap<string, KeyedTable>
  /** By the name of their companion. */
  readonly #versioned: ReadonlyMap<string, KeyedTable>
  readonly #plans: ReadonlyMap<string, TablePlan>
  readonly #work: TableWork | undefined

  private constructor(
    tables: ReadonlyMap<string, KeyedTable>,
    plans: ReadonlyMap<string, TablePlan>,
    work?: TableWork,
  ) {
    this.#tables = tables
    this.#plans = plans
    this.#work = work
    this.#versioned = new Map(
      [...tables]
        .filter(([, { markers }]) => markers !== undefined)
        .map(([name, table]) => [deletesTable(name), table]),
    )
  }

  /** Of a pipeline without any, or of a commit that folds nothing. */
  static readonly none = new KeyedTables(new Map(), new Map())

  /** Reads the keys of all stored rows. Lanes read the files, several at once. */
  static async load(
    definitions: readonly TableDefinition[],
    tables: ReadonlyMap<string, LakeTable>,
    plans: readonly TablePlan[],
    storage: Storage,
    work: () => TableWork,
    clock: Clock,
  ): Promise<KeyedTables> {
    const keyed = definitions.filter(({ key }) => key.length > 0)
    if (keyed.length === 0) return KeyedTables.none
    const planOf = new Map(plans.map((plan) => [plan.table, plan]))
    const loaded = new Map<string, KeyedTable>()
    for (const { name, version } of keyed) {
      const table = new KeyedTable(name, version !== undefined)
      const plan = planOf.get(name)!
      const take = { storage, clock, work: work() }
      const rows = await storedFiles(storage, tables.get(name)!)
      const markers = version === undefined ? [] : await storedFiles(storage, tables.get(deletesTable(name))!)
      table.reserve(liveRows(rows) + liveRows(markers))
      await eachGroup(take, markers, plan, (_, keys) => table.loadingMarkers(keys))
      await eachGroup(take, rows, plan, (stored, keys) => table.loading(stored, keys))
      loaded.set(name, table)
    }
    return new KeyedTables(loaded, planOf, work())
  }

  get(table: string): KeyedTable | undefined {
    return this.#tables.get(table)
  }

  get all(): readonly KeyedTable[] {
    return [...this.#tables.values()]
  }

  /** Whether something happened since the last commit that is not in the staged files. */
  get haveChanged(): boolean {
    return this.all.some((table) => table.hasChanged)
  }

  /** Fills what rows of the batch lack from the rows of their keys. Everything before the batch must have been folded. */
  async prepare(staged: Staged): Promise<Prepared> {
    const baseless: Baseless[] = []
    const tables = await Promise.all(
      staged.tables.map(async (table) => {
        if (table.keys?.holes === undefined) return table
        const { keys } = table
        const keyed = this.#tables.get(table.table)!
        const { passes, baseless: operations } = fillingsOf(table, (operation) => keyed.standing(keys, operation))
        const { topic, data } = this.#plans.get(table.table)!
        for (const operation of operations) baseless.push(recordOf(table.table, topic, keys, operation))
        if (baseless.length > 0) return table
        const fill = async (file: DataFile, k: number) => {
          let filled = file
          for (const pass of passes.get(k) ?? []) filled = await this.#work!.fill(data, filled, pass)
          return filled
        }
        return { ...table, files: await Promise.all(table.files.map(fill)) }
      }),
    )
    return baseless.length > 0
      ? { kind: 'baseless', records: baseless }
      : { kind: 'ready', staged: { ...staged, tables } }
  }

  /** `stale`: operations that are known to have lost. A large batch is folded in stretches: others have their turn between two. */
  async fold(staged: StagedTable, clock: Clock, stale?: ReadonlySet<number>): Promise<void> {
    const table = this.#tables.get(staged.table)
    if (table === undefined) return
    for (const _ of table.folding(staged, stale, ROWS_AT_ONCE)) await clock.sleep(0)
  }

  /** Gives markers the versions they take from the rows they removed. Before `changeOf`. */
  async finish(): Promise<ReadonlyMap<string, DataFile>> {
    const filled = new Map<string, DataFile>()
    for (const [name, { markers }] of this.#tables)
      for (const { file, fillings } of markers?.changes() ?? []) {
        if (fillings.length === 0) continue
        const { data, deletes, version } = this.#plans.get(name)!
        const columns = [version!]
        const rows = fillings.map(([row, from]) => ({ row, columns, from }))
        filled.set(file.key, await this.#work!.fill(deletes!, file, rows, data))
      }
    return filled
  }

  /** All that a commit does to a table: keyed, companion or append. */
  changeOf(table: string, added: readonly DataFile[], filled: ReadonlyMap<string, DataFile>): TableChange {
    const markers = this.#versioned.get(table)?.markers?.changes() ?? []
    const { deletes, swapped, removed, gone } = this.#tables.get(table)?.changes() ?? NO_CHANGES
    const files = markers.map(({ file, deleted }) => ({ file: filled.get(file.key) ?? file, rows: deleted }))
    return {
      kind: 'write',
      added: [...added.filter(({ key }) => !gone.has(key)), ...swapped, ...files.map(({ file }) => file)],
      deletes: [...deletes, ...files.filter(({ rows }) => rows.count > 0)],
      removed,
    }
  }

  /** What is held in memory, and what came of the last operations. */
  report(pipeline: string, observer: Observer): void {
    for (const { name, keys, indexBytes, rows, deadRows, stale, unordered } of this.all)
      observer({ kind: 'keys', pipeline, table: name, keys, indexBytes, rows, deadRows, stale, unordered })
  }

  committed(): void {
    for (const table of this.all) table.committed()
  }

  /** Throws when other files hold the rows than those that the index names. */
  assertCurrent(base: ReadonlyMap<string, LakeTable>, head: ReadonlyMap<string, LakeTable>): void {
    for (const name of this.#tables.keys())
      if (base.get(name)?.metadata !== head.get(name)?.metadata) throw compactedElsewhere(name)
  }
}

export function compactedElsewhere(table: string): LakeError {
  return new LakeError('commit.stale', `${table} was compacted by another process`, { retryable: true })
}

const NO_CHANGES = { deletes: [], swapped: [], removed: [], gone: new Set<string>() } as const

/** Lanes read some groups ahead; `take` is given them in the order of the files. */
async function eachGroup(
  { storage, work, clock }: { readonly storage: Storage; readonly work: TableWork; readonly clock: Clock },
  files: readonly StoredFile[],
  plan: TablePlan,
  take: (stored: readonly StoredRows[], keys: StoredKeys) => Iterable<number>,
): Promise<void> {
  const groups = groupsOf(files)
  const read = async (group: readonly StoredFile[]) => {
    const stored = await Promise.all(
      group.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })),
    )
    return [stored, await work.readKeys(plan, stored)] as const
  }
  // One that fails is heard of when its turn comes, and is no surprise before.
  const ahead = (group: readonly StoredFile[]) => {
    const reading = read(group)
    reading.catch(() => undefined)
    return reading
  }
  const reading = groups.slice(0, READS_AT_ONCE).map(ahead)
  try {
    for (let next = READS_AT_ONCE; reading.length > 0; next++) {
      const [stored, keys] = await reading.shift()!
      if (next < groups.length) reading.push(ahead(groups[next]!))
      let rows = 0
      for (const taken of take(stored, keys)) {
        rows += taken
        if (rows < ROWS_AT_ONCE) continue
        rows = 0
        await clock.sleep(0)
      }
      await clock.sleep(0)
    }
  } finally {
    await Promise.allSettled(reading)
  }
}

/** Neighbours together, until they have enough rows. */
function groupsOf(files: readonly StoredFile[]): readonly (readonly StoredFile[])[] {
  const groups: StoredFile[][] = []
  let rows = Infinity
  for (const file of files) {
    if (rows >= GROUP_MAX.rows || groups.at(-1)!.length >= GROUP_MAX.files) {
      groups.push([])
      rows = 0
    }
    groups.at(-1)!.push(file)
    rows += liveRows([file])
  }
  return groups
}

function liveRows(files: readonly StoredFile[]): number {
  return files.reduce((sum, { recordCount, deletes }) => sum + recordCount - (deletes?.count ?? 0), 0)
}

function recordOf(table: string, topic: string, { runs, offsets }: StagedKeys, operation: number): Baseless {
  let end = 0
  const run = runs.find(({ count }) => (end += count) > operation)!
  const [partition, offset] = [partitionId(topic, run.partition), offsets[operation]!]
  return { text: `${table} ${partition}@${offset}`, partition, offset }
}
