import type { CommitResult } from '../lake/chain.ts'
import type { Committer } from './committer.ts'
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

  constructor(committer: Committer, options: CompactorOptions, asked: ReadonlyMap<string, CompactionRequest>) {
    this.#committer = committer
    this.#options = options
    this.#asked = asked
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

  /** Commits a finished compaction, and sees whether one is due. The result of the last commit that it made, if any. */
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
    try {
      const first = committer.hasPending ? await committer.commit({}, signal) : undefined
      if (first !== undefined && first.kind !== 'committed') return first
      if (committer.live.get(done.table)?.holds(done.inputs) === false) return first
      if (committer.hasDied(done.table, done.sequenceNumber)) return first
      const result = await committer.replace(done, signal)
      const { pipeline, observer } = this.#options
      const [filesIn, rowsOut] = [done.inputs.length, done.output?.recordCount ?? 0]
      if (result.kind !== 'committed') return result
      observer({ kind: 'compaction', pipeline, table: done.table, filesIn, rowsOut })
      this.#asked.get(done.table)?.add(filesIn, done.output)
      return result
    } finally {
      this.#compactor.settled(done)
    }
  }
}
