import type { Clock } from '../clock.ts'
import { asLakeError, toErrorMessage, type LakeError } from '../error.ts'
import type { Observer } from '../event.ts'
import {
  COMPACTION,
  compactionState,
  planCompaction,
  readDeletedRows,
  storedFiles,
  writePlan,
  type AddedFile,
  type CompactionCandidate,
  type CompactionPolicy,
  type DataFile,
  type DeletedRows,
  type LakeTable,
  type Storage,
} from '../lake/table.ts'
import type { ConcatenateInput, TableWork } from './keys.ts'

/** Files of a table, and the one that holds their rows: undefined when none of them was alive. */
export interface Replacement {
  readonly table: string
  readonly inputs: readonly ConcatenateInput[]
  readonly output: AddedFile | undefined
  /** Of the snapshot that the inputs were taken from; that of the output's rows too. */
  readonly sequenceNumber: bigint
}

/** A table whose rows die one by one: which of them are dead by now, whatever its last version says. */
export interface LiveTable {
  readonly name: string
  /** Rows of all files, and those of them that are dead. */
  readonly rows: number
  readonly deadRows: number
  readonly files: readonly { readonly file: DataFile; readonly deleted: DeletedRows }[]
  /** Whether the files are still there to be replaced. */
  holds(inputs: readonly ConcatenateInput[]): boolean
  /** Swaps files for the one that holds their rows; rows that died meanwhile are dead in it, and returned. */
  replace(inputs: readonly ConcatenateInput[], output: AddedFile | undefined): DeletedRows | undefined
}

/**
 * A compaction that somebody waits for: of everything that is small or dead in the files that stand when it begins, and
 * in what they become. What the stream brings meanwhile is not its business, or it would never end.
 */
export class CompactionRequest {
  isDone = false
  /** Why it was given up. */
  error: LakeError | undefined
  /** Files that left, and that came in their place. */
  removedFiles = 0
  addedFiles = 0
  /** Of those that came. */
  bytes = 0
  readonly #made = new Set<string>()
  #files: ReadonlySet<string> | undefined

  /** Those of a table's files that it is about. What it wrote itself is not written again for rows that died since. */
  select(files: readonly CompactionCandidate[]): readonly CompactionCandidate[] {
    this.#files ??= new Set(files.map(({ key }) => key))
    return files.flatMap((file) =>
      this.#made.has(file.key) ? [{ ...file, dead: 0 }] : this.#files!.has(file.key) ? [file] : [],
    )
  }

  add(removedFiles: number, output: DataFile | undefined): void {
    this.removedFiles += removedFiles
    if (output === undefined) return
    this.#made.add(output.key)
    this.addedFiles++
    this.bytes += output.fileSizeBytes
  }

  get isOpen(): boolean {
    return !this.isDone && this.error === undefined
  }
}

export interface CompactorOptions {
  readonly pipeline: string
  readonly storage: Storage
  readonly work: () => TableWork
  /** Undefined: never. */
  readonly policy: CompactionPolicy | undefined
  readonly clock: Clock
  readonly observer: Observer
  /** Tables that are looked at. Default: all. */
  readonly only?: ReadonlySet<string> | undefined
}

/** A table that changes is looked at this often, and again at once after a compaction of it. */
const LOOK_EVERY_MS = 2_000
/** After a failure nothing is tried for so long. */
const REST_AFTER_FAILURE_MS = 30_000
/** Rows that may die of batches under way must still fit below the limit; of small tables, at least such a part of it. */
const UNDER_WAY_ROWS = 150_000
const BEHIND_PART = 0.84
/** So much sooner compaction takes no rest: both at work are more than one that waits for the other. */
const URGENT_AHEAD = { rows: 200_000, part: 0.12 }
/** Ingestion waits: another one is written while one is under way. */
const AT_LIMIT = { rows: 0, part: 0 }
const AT_ONCE_MAX = 2
/** Whoever asks for a compaction wants every dead row gone, and no two small files beside each other. */
const EVERYTHING = { deadShare: 0, fanIn: 2, steps: 1, restAfter: 0 }

/**
 * Keeps files few and dead rows rare, beside the stream: plans, lets a lane concatenate, and hands the result to the
 * run, which commits it with the rows of the stream or between two commits of its own. One compaction at a time, with
 * pauses that keep it to its share of a core, but two of a table that ingestion waits for. Nothing is lost when one
 * dies: a file that nobody refers to is collected some day.
 */
export class Compactor {
  readonly #options: CompactorOptions
  readonly #lookedMs = new Map<string, number>()
  readonly #overLimit = new Set<string>()
  /** When a look at a table last came to nothing. */
  readonly #nothingMs = new Map<string, number>()
  /** Metadata files of tables that are well as they are: nothing but a change makes another look worth while. */
  readonly #wellAs = new Map<string, string>()
  /** Keys of the data files of each compaction that has not been settled; none before it is planned. */
  readonly #underWay = new Set<Set<string>>()
  /** So many may be: one while there is nothing for a second one. */
  #atOnce = AT_ONCE_MAX
  #restUntilMs = 0
  readonly #done: Replacement[] = []

  constructor(options: CompactorOptions) {
    this.#options = options
  }

  /** Whether ingestion has to wait until compaction has caught up. */
  isBehind(live: ReadonlyMap<string, LiveTable>): boolean {
    return this.#overLimit.size > 0 || [...live.values()].some((table) => this.#hasDead(table))
  }

  get isBusy(): boolean {
    return this.#underWay.size > 0
  }

  /** A finished compaction, once. */
  take(): Replacement | undefined {
    return this.#done.shift()
  }

  /** The replacement was committed, is part of the next commit, or was given up. */
  settled({ table, inputs }: Replacement): void {
    this.#lookedMs.delete(table)
    this.#atOnce = AT_ONCE_MAX
    for (const files of this.#underWay) if (inputs.some(({ file }) => files.has(file.key))) this.#underWay.delete(files)
  }

  /** Begins a look at the tables of the head when none is under way. What it comes to is there to `take` some time later. */
  consider(
    tables: ReadonlyMap<string, LakeTable>,
    live: ReadonlyMap<string, LiveTable>,
    asked: ReadonlyMap<string, CompactionRequest> = new Map(),
  ): void {
    const nowMs = this.#options.clock.monotonicMs()
    const { policy = asked.size > 0 ? COMPACTION : undefined, only } = this.#options
    if (policy === undefined || this.#underWay.size >= this.#atOnce) return
    const isBusy = this.#underWay.size > 0
    const all = [...tables].filter(([name]) => only?.has(name) !== false)
    const isAsked = (name: string) => asked.get(name)?.isOpen === true
    // What somebody asked for has an end to come to, one step after the other.
    if (isBusy && all.some(([name]) => isAsked(name))) return
    const ahead = isBusy ? AT_LIMIT : URGENT_AHEAD
    const urgent = all.find(([name]) => isAsked(name) || this.#hasDead(live.get(name), ahead))
    if (isBusy && urgent === undefined) return
    const mayRest = nowMs < this.#restUntilMs && this.#overLimit.size === 0
    if (urgent === undefined && (this.#options.policy === undefined || mayRest)) return
    const due = urgent ?? all.find(([, table]) => table.snapshot !== undefined && this.#isDue(table, nowMs))
    if (due === undefined) return
    const [name, table] = due
    const underWay = new Set<string>()
    this.#underWay.add(underWay)
    this.#lookedMs.set(name, nowMs)
    const request = asked.get(name)
    const aim = request === undefined ? policy : { ...policy, ...EVERYTHING }
    void this.#compact(table, live.get(name), aim, request, underWay).catch((error) => {
      this.#underWay.delete(underWay)
      this.#nothingToDo(name)
      this.#restUntilMs = this.#options.clock.monotonicMs() + REST_AFTER_FAILURE_MS
      const { pipeline, observer } = this.#options
      const failure = asLakeError(error)
      if (request !== undefined) request.error = failure
      observer({ kind: 'compaction', pipeline, table: name, filesIn: 0, rowsOut: 0, error: toErrorMessage(failure) })
    })
  }

  async #compact(
    table: LakeTable,
    live: LiveTable | undefined,
    policy: CompactionPolicy,
    request: CompactionRequest | undefined,
    underWay: Set<string>,
  ): Promise<void> {
    const { clock, work } = this.#options
    const { inputs, unsaved } = await this.#inputs(table, live)
    const candidates = [...inputs.values()].map(candidateOf)
    const others = [...this.#underWay].filter((each) => each !== underWay)
    const state = compactionState([...candidates, ...unsaved], policy)
    if (state.isOverLimit) this.#overLimit.add(table.name)
    else this.#overLimit.delete(table.name)
    const free = candidates.filter(({ key }) => !others.some((files) => files.has(key)))
    const plan = planCompaction(request === undefined ? free : request.select(free), policy)
    if (plan === undefined) {
      this.#underWay.delete(underWay)
      // What is left of it is not all of the table: it is looked at again when the other one is done.
      if (others.length > 0) {
        this.#atOnce = 1
        return
      }
      this.#nothingToDo(table.name)
      if (request === undefined) this.#wellAs.set(table.name, table.metadata)
      else request.isDone = true
      return
    }
    for (const key of [...plan.inputs, ...plan.dropped]) underWay.add(key)
    const startMs = clock.monotonicMs()
    // As they are now: rows go on dying while the others are written again.
    const merged = plan.inputs.map((key) => {
      const input = inputs.get(key)!
      return { ...input, deleted: input.deleted.clone() }
    })
    const output = merged.length === 0 ? undefined : await work().concatenate(writePlan(table), merged)
    const sequenceNumber = table.raw['last-sequence-number']
    this.#done.push({
      table: table.name,
      inputs: [...merged, ...plan.dropped.map((key) => inputs.get(key)!)],
      output: output && { ...output, sequenceNumber },
      sequenceNumber,
    })
    const nowMs = clock.monotonicMs()
    this.#restUntilMs = nowMs + (nowMs - startMs) * (1 / state.cores - 1)
  }

  /** Dead rows gather faster than tables are looked at. Those that nothing can be done about hold nobody up. */
  #hasDead(table: LiveTable | undefined, ahead = AT_LIMIT): boolean {
    const { policy, clock } = this.#options
    if (policy === undefined || table === undefined || table.rows < policy.urgentRows) return false
    // As late as may be: the more of a file is dead, the less there is to be written again.
    const deadMax = table.rows * policy.deadShareMax
    const most = Math.max(deadMax * (BEHIND_PART - ahead.part), deadMax - UNDER_WAY_ROWS - ahead.rows)
    if (table.deadRows < most) return false
    return clock.monotonicMs() >= (this.#nothingMs.get(table.name) ?? -Infinity) + LOOK_EVERY_MS
  }

  #nothingToDo(name: string): void {
    this.#overLimit.delete(name)
    this.#nothingMs.set(name, this.#options.clock.monotonicMs())
  }

  #isDue({ name, metadata }: LakeTable, nowMs: number): boolean {
    return this.#wellAs.get(name) !== metadata && nowMs >= (this.#lookedMs.get(name) ?? -Infinity) + LOOK_EVERY_MS
  }

  /**
   * The stored files of the table, with the rows that are dead by now, and that die later. Those that no version holds
   * yet are `unsaved`: they count, but their turn comes when one does.
   */
  async #inputs(table: LakeTable, live: LiveTable | undefined): Promise<Inputs> {
    const { storage } = this.#options
    const stored = await storedFiles(storage, table)
    const alive = live?.files ?? []
    const files = new Map(alive.map(({ file, deleted }) => [file.key, deleted]))
    const inputs = new Map<string, ConcatenateInput>()
    for (const file of stored) {
      const deleted = live === undefined ? await readDeletedRows(storage, file) : files.get(file.key)
      if (deleted === undefined) continue
      inputs.set(file.key, { file, firstRowId: file.firstRowId, sequenceNumber: file.sequenceNumber, deleted })
    }
    const sequenceNumber = table.raw['last-sequence-number']
    const unsaved = alive.flatMap((each) =>
      inputs.has(each.file.key) ? [] : [candidateOf({ ...each, sequenceNumber })],
    )
    return { inputs, unsaved }
  }
}

interface Inputs {
  readonly inputs: ReadonlyMap<string, ConcatenateInput>
  readonly unsaved: readonly CompactionCandidate[]
}

function candidateOf({ file, deleted, sequenceNumber }: Omit<ConcatenateInput, 'firstRowId'>): CompactionCandidate {
  const { key, recordCount: rows, fileSizeBytes: bytes, partition } = file
  return { key, rows, bytes, dead: deleted.count, partition, sequenceNumber }
}
