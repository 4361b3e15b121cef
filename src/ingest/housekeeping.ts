import type { CommitResult } from '../lake/chain.ts'
import type { Committer } from './committer.ts'
import type { KeyedTable } from './upsert.ts'
import { Compactor, type CompactionRequest, type CompactorOptions, type Replacement } from './compactor.ts'

/** Shards of an index that follow moved rows between two batches: too few to be noticed. */
const SHARDS_AT_ONCE = 4

/** Longest wait for a batch before a request of a person is looked at. */
const WAIT_MS = 100
/** And before it is seen whether a compaction has ended: ingestion may wait for the next one. */
const WORK_WAIT_MS = 10

/** What a run does for its files between two batches. */
export class Housekeeping {
  readonly #committer: Committer
  readonly #options: CompactorOptions
  readonly #compactor: Compactor
  readonly #asked: ReadonlyMap<string, CompactionRequest>
  readonly #published: ReadonlySet<string>

  /** `published`: tables of which somebody tells what each version changed. */
  constructor(
    committer: Committer,
    options: CompactorOptions,
    asked: ReadonlyMap<string, CompactionRequest>,
    published: ReadonlySet<string>,
  ) {
    this.#committer = committer
    this.#options = options
    this.#asked = asked
    this.#published = published
    this.#compactor = new Compactor(options)
  }

  /** Whether the stream has to wait for its files. */
  get isBehind(): boolean {
    return this.#compactor.isBehind(this.#committer.live)
  }

  /** So long a run may wait for a batch. */
  get waitMsMax(): number {
    return this.#compactor.isBusy ? WORK_WAIT_MS : WAIT_MS
  }

  /**
   * Commits a finished compaction or leaves it to the next commit, and sees whether one is due. The result of the last
   * commit that it made, if any.
   */
  async step(signal: AbortSignal): Promise<CommitResult | undefined> {
    const [committer, compactor] = [this.#committer, this.#compactor]
    for (const table of committer.keyed.all) table.sweep(SHARDS_AT_ONCE)
    const done = compactor.take()
    const result = done && (await this.#replace(done, signal))
    if (result === undefined || result.kind === 'committed')
      compactor.consider(committer.tables, committer.live, this.#asked)
    return result
  }

  async #replace(done: Replacement, signal: AbortSignal): Promise<CommitResult | undefined> {
    const committer = this.#committer
    const merging = this.#merging(done.table)
    try {
      const first = committer.hasPending && merging === undefined ? await committer.commit({}, signal) : undefined
      if (first !== undefined && first.kind !== 'committed') return first
      if (committer.live.get(done.table)?.holds(done.inputs) === false) return first
      if (committer.hasDied(done.table, done.sequenceNumber)) return first
      merging?.replace(done.inputs, done.output)
      const result = merging === undefined ? await committer.replace(done, signal) : undefined
      if (result !== undefined && result.kind !== 'committed') return result
      const { pipeline, observer } = this.#options
      const [filesIn, rowsOut] = [done.inputs.length, done.output?.recordCount ?? 0]
      observer({ kind: 'compaction', pipeline, table: done.table, filesIn, rowsOut })
      this.#asked.get(done.table)?.add(filesIn, done.output)
      return result
    } finally {
      this.#compactor.settled(done)
    }
  }

  /**
   * The table, if its files are swapped with the rows that it commits anyway: one that is large and has many updates has
   * several compactions a second, and all its deletion vectors are written with each commit. Not where somebody waits for
   * it, and not where a version with nothing but moved rows is one of which there is nothing to tell.
   */
  #merging(table: string): KeyedTable | undefined {
    if (this.#published.has(table) || this.#asked.get(table)?.isOpen === true) return undefined
    const keyed = this.#committer.keyed.get(table)
    return keyed?.isWritten === true ? keyed : undefined
  }
}
