import { addCounts, lookedAt, NOTHING_SETTLED } from '../../dead-letters.ts'
import type { LetterPosition, Retried, SettledCounts } from '../../dead-letters.ts'
import { deadLetterTable, type PipelineDefinition, type TableDefinition } from '../../define.ts'
import { asLakeError, LakeError } from '../../error.ts'
import type { Chain, CommitResult } from '../../lake/chain.ts'
import {
  writePlan,
  type DataFile,
  type FileDeletes,
  type LakeTable,
  type Storage,
  type TableChange,
} from '../../lake/table.ts'
import { archivesOf } from '../archive/archive.ts'
import type { Committer } from '../committer.ts'
import type { Lanes } from '../lanes.ts'
import { notOwnerError } from '../supervise-errors.ts'
import { carryDiscarded } from './carry.ts'
import { filesOf, positionsOf, withRows } from './letter-files.ts'
import type { SettleResult } from './reread.ts'
import type { FoundLetter, LetterFile, LetterWork } from './letters.ts'
import { ReadingAgain, rowsOf } from './reading-again.ts'
import type { SettleJob } from './settle-job.ts'

/** Dead letters of one version, and the bytes of their records. */
const LETTERS_MAX = 10_000
const BYTES_MAX = 64 * 1024 * 1024

export interface SettlingParts {
  readonly definition: PipelineDefinition
  readonly storage: Storage
  readonly chain: Chain
  readonly committer: Committer
  readonly lanes: Pick<Lanes, 'letters'>
  /** Jobs that somebody waits for, the oldest first. */
  readonly asked: ReadonlyMap<string, SettleJob> | undefined
}

/** Dead letters of one table that the next version settles. */
interface Batch {
  readonly job: SettleJob
  readonly table: TableDefinition
  /** In order. */
  readonly found: readonly FoundLetter[]
  readonly files: readonly LetterFile[]
  /** Of a retry, which may make do with the first ones. */
  readonly again: ReadingAgain | undefined
  /** Of a job that discards them: their rows as they will be. */
  readonly discarded: DataFile | undefined
}

/**
 * Settles dead letters between two batches of the stream, as `Housekeeping` swaps files: what takes long is done beside
 * it, then the stream is held for as long as it takes to see what came meanwhile and to commit. A job goes through the
 * dead letters in their order, some thousand in each version, and every version says how far it has come; whoever goes
 * on with the job goes on from there.
 */
export class Settling {
  readonly #parts: SettlingParts
  #behind: LetterPosition | undefined
  #job: SettleJob | undefined
  #isBusy = false
  #isCarried = false
  #batch: Batch | undefined

  /** Of a job that was asked of an earlier run another process may have done all meanwhile: the store knows. */
  constructor(parts: SettlingParts) {
    this.#parts = parts
    const { asked = new Map<string, SettleJob>(), committer } = parts
    for (const job of asked.values())
      if (job.seenAt !== undefined && job.seenAt !== committer.head.number)
        job.error ??= notOwnerError('somebody else wrote the pipeline meanwhile')
  }

  /** The result of the last commit that it made, if any. */
  async step(signal: AbortSignal): Promise<CommitResult | undefined> {
    if (!this.#isCarried) {
      const carried = await carryDiscarded(this.#parts, signal)
      this.#isCarried = true
      if (carried !== undefined) return carried
    }
    const { asked, committer } = this.#parts
    if (asked === undefined || asked.size === 0) return undefined
    for (const each of asked.values()) each.seenAt = committer.head.number
    const job = [...asked.values()].find(({ isOpen }) => isOpen)
    if (job === undefined || this.#isBusy) return undefined
    const batch = this.#batch
    this.#batch = undefined
    if (job !== this.#job || (batch !== undefined && batch.job !== job)) {
      await batch?.again?.drop()
      this.#begin(job)
      return undefined
    }
    if (batch === undefined) {
      this.#prepare(job)
      return undefined
    }
    try {
      return await this.#settle(batch, signal)
    } catch (error) {
      await batch.again?.drop()
      // What time cures is tried again by the next run. What was half folded is folded anew from the head.
      if (!asLakeError(error).retryable) job.error = asLakeError(error)
      throw error
    }
  }

  #begin(job: SettleJob): void {
    const { retried } = this.#parts.committer.head
    const before = retried?.job === job.id ? retried : undefined
    this.#job = job
    this.#behind = before?.behind
    job.counts = before?.counts ?? NOTHING_SETTLED
    this.#prepare(job)
  }

  #prepare(job: SettleJob): void {
    this.#isBusy = true
    const ready = async (): Promise<void> => {
      this.#batch = await this.#next(job)
      if (this.#batch === undefined) job.isDone = true
    }
    void ready()
      .catch((error) => (job.error = finalOf(error)))
      .finally(() => (this.#isBusy = false))
  }

  /** The next dead letters of the job; undefined when all were looked at. */
  async #next(job: SettleJob): Promise<Batch | undefined> {
    const { definition, storage, committer } = this.#parts
    const { request } = job
    const letters = this.#letters
    const left = (request.limit ?? Infinity) - lookedAt(job.counts)
    const tables = definition.tables
      .filter(({ name, isArchive }) => isArchive !== true && (request.where.table ?? name) === name)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    for (const table of left <= 0 ? [] : tables) {
      const { name } = table
      if (this.#behind !== undefined && name < this.#behind.table) continue
      const stored = committer.tables.get(deadLetterTable(name))!
      const files = await filesOf(storage, stored)
      const found = await letters.find(writePlan(stored), {
        files,
        status: 'pending',
        where: request.where,
        behind: this.#behind?.table === name ? this.#behind : undefined,
        limit: Math.min(left, LETTERS_MAX),
        bytesMax: BYTES_MAX,
        isReadAgain: request.kind === 'retry',
      })
      if (found.length === 0) continue
      return request.kind === 'retry'
        ? this.#readAgain(job, table, found, files)
        : this.#discard(job, table, stored, found, files)
    }
    return undefined
  }

  async #readAgain(
    job: SettleJob,
    table: TableDefinition,
    found: readonly FoundLetter[],
    files: readonly LetterFile[],
  ): Promise<Batch> {
    const { definition, storage, committer } = this.#parts
    const archives = () => archivesOf(definition, committer.head, storage)
    const parts = { definition, committer, work: this.#letters, archives }
    const again = new ReadingAgain(table, found, new Map(files.map(({ file }) => [file.key, file])), parts)
    await again.look()
    return { job, table, found, files, again, discarded: undefined }
  }

  async #discard(
    job: SettleJob,
    table: TableDefinition,
    stored: LakeTable,
    found: readonly FoundLetter[],
    files: readonly LetterFile[],
  ): Promise<Batch> {
    const rows = rowsOf(found, new Map(files.map(({ file }) => [file.key, file])))
    const isDry = job.request.dryRun === true
    const discarded = isDry ? undefined : await this.#letters.settle(writePlan(stored), rows, 'discarded')
    return { job, table, found, files, again: undefined, discarded }
  }

  async #settle(batch: Batch, signal: AbortSignal): Promise<CommitResult | undefined> {
    const { committer } = this.#parts
    const { job, again } = batch
    const isDry = job.request.dryRun === true
    const first = committer.hasPending && !isDry ? await committer.commit({}, signal) : undefined
    if (first !== undefined && first.kind !== 'committed') return first
    // Others may have put its files together meanwhile.
    const deletes = isDry ? [] : await this.#deletesOf(batch)
    if (deletes === undefined) {
      await again?.drop()
      this.#prepare(job)
      return first
    }
    try {
      await again?.look()
    } catch (error) {
      await again?.drop()
      job.error = finalOf(error)
      return first
    }
    for (;;) {
      const counts = addCounts(job.counts, countsOf(batch))
      const last = (again?.found ?? batch.found).at(-1)!
      const behind = { table: batch.table.name, partition: last.partition, offset: String(last.offset) }
      const isNothing = again !== undefined && again.restaged === undefined
      if (isDry || isNothing) {
        await again?.drop()
        this.#settled(job, counts, behind)
        return first
      }
      const result = await this.#commit(batch, deletes, { counts, behind }, signal)
      if (result.kind === 'baseless') {
        await again!.without(result.records)
        continue
      }
      if (result.kind === 'committed') this.#settled(job, counts, behind)
      return result
    }
  }

  #settled(job: SettleJob, counts: SettledCounts, behind: LetterPosition): void {
    job.counts = counts
    this.#behind = behind
    this.#prepare(job)
  }

  #commit(
    batch: Batch,
    deletes: readonly FileDeletes[],
    { counts, behind }: Pick<Retried, 'counts' | 'behind'>,
    signal: AbortSignal,
  ): Promise<SettleResult> {
    const { job, table, again, discarded } = batch
    const settled = again?.settled ?? batch.found
    const { staged, resolved } = again?.restaged ?? {}
    const added = [resolved, discarded, ...(staged?.deadLetterFiles ?? [])].filter((file) => file !== undefined)
    const change: TableChange = {
      kind: 'write',
      added,
      deletes: withRows(deletes, settled),
      removed: [],
    }
    const retried: Retried = {
      job: job.id,
      kind: job.request.kind,
      behind,
      counts,
      positions: { [table.name]: positionsOf(table.topic, settled) },
    }
    const letters = new Map([[deadLetterTable(table.name), change]])
    const given = staged === undefined ? undefined : { table: staged, stale: again!.stale }
    return this.#parts.committer.settle({ retried, letters }, given, signal)
  }

  /** The files that the dead letters stand in, as they are now; undefined when one has gone, or a dead letter has. */
  async #deletesOf({ table, found }: Batch): Promise<readonly FileDeletes[] | undefined> {
    const { storage, committer } = this.#parts
    const files = await filesOf(storage, committer.tables.get(deadLetterTable(table.name))!)
    const byKey = new Map(files.map((each) => [each.file.key, each]))
    if (found.some(({ file, row }) => byKey.get(file)?.deleted.has(row) !== false)) return undefined
    const wanted = new Set(found.map(({ file }) => file))
    return files.filter(({ file }) => wanted.has(file.key)).map(({ file, deleted }) => ({ file, rows: deleted }))
  }

  get #letters(): LetterWork {
    const { letters } = this.#parts.lanes
    if (letters === undefined)
      throw new LakeError('config.unsupported', 'the lanes of this process settle no dead letters')
    return letters
  }
}

function countsOf({ found, again }: Batch): Partial<SettledCounts> {
  if (again === undefined) return { discarded: found.length }
  const failed = again.restaged?.failed.length ?? 0
  const resolved = again.settled.length - failed
  return { resolved, failed, undecided: again.undecided, stale: again.staleRecords }
}

/** A record that ended the lanes that read it ends the next ones too: nobody tries it again by himself. */
function finalOf(error: unknown): LakeError {
  const known = asLakeError(error)
  if (known.code !== 'lane.failed' || known.context['work'] !== 'letters') return known
  return new LakeError('lane.failed', known.message, {
    context: known.context,
    fix: 'Name its code or offsets, and leave it out: a record that ends its lanes can only be discarded.',
    cause: known,
  })
}
