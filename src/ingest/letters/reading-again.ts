import type { PipelineDefinition, TableDefinition } from '../../define.ts'
import { asLakeError, LakeError } from '../../error.ts'
import type { WantedColumns } from '../../evolve-columns.ts'
import type { DataFile } from '../../lake/table.ts'
import { parsePartitionId, partitionId, type Cursor, type PartitionId, type Positions } from '../../log.ts'
import type { Archive } from '../archive/archive.ts'
import { clocksOf } from '../clocks.ts'
import type { Committer } from '../committer.ts'
import type { StagedKeys } from '../keys.ts'
import { tablePlans } from '../start.ts'
import { removePartials } from '../window/partial-files.ts'
import { partitionsOf, questionsOf, type KeyRules, type Questions } from './judge.ts'
import {
  recordText,
  type FoundLetter,
  type LetterRows,
  type LetterWork,
  type RestageRequest,
  type Restaged,
} from './letters.ts'
import { assertNoTruncation, recordsOfKeys } from './reread.ts'

export interface ReadingParts {
  readonly definition: PipelineDefinition
  readonly committer: Committer
  readonly work: LetterWork
  archives(): Promise<readonly Archive[]>
}

/**
 * Some dead letters of one table, read again: what the committer is to fold, and what it must know before. It may be
 * looked at again as often as the log goes on meanwhile; only what changed is done again.
 */
export class ReadingAgain {
  readonly table: TableDefinition
  readonly #parts: ReadingParts
  #found: readonly FoundLetter[]
  readonly #files: ReadonlyMap<string, DataFile>
  readonly #rules: KeyRules
  readonly #hasRowWindows: boolean
  #restaged: Restaged | undefined
  #stale: ReadonlySet<string> = new Set()
  readonly #undecided = new Set<string>()
  readonly #baseless = new Set<string>()
  /** What the log was seen to remove, and up to where it was read. */
  readonly #removed = new Set<string>()
  #scanned: Positions = new Map()
  readonly #lost = new Set<PartitionId>()

  constructor(
    table: TableDefinition,
    found: readonly FoundLetter[],
    files: ReadonlyMap<string, DataFile>,
    parts: ReadingParts,
  ) {
    this.table = table
    this.#found = found
    this.#files = files
    this.#parts = parts
    const isStream = table.value === 'debezium'
    // In a change stream a null value follows the delete that says its version.
    const hasTombstones = table.recordKey !== 'none' && !isStream
    const hasDeletes = hasTombstones || isStream
    this.#rules = { isVersioned: table.version !== undefined, hasTombstones, hasDeletes }
    this.#hasRowWindows = parts.definition.windows.some(
      ({ source, input }) => source === table.name && input === 'rows',
    )
  }

  /** Undefined: nobody can tell of any of them what came after. */
  get restaged(): Restaged | undefined {
    return this.#restaged
  }

  /** Those that it is about, in order: the first ones of what was given. */
  get found(): readonly FoundLetter[] {
    return this.#found
  }

  /** Dead letters that are settled, and those that failed again. */
  get settled(): readonly FoundLetter[] {
    return this.#found.filter((letter) => !this.#undecided.has(this.#recordOf(letter)))
  }

  get undecided(): number {
    return this.#undecided.size
  }

  /** Operations that lost against later ones. */
  get stale(): ReadonlySet<number> {
    const { keys } = this.#restaged?.staged ?? {}
    if (keys === undefined) return new Set()
    const records = recordsOfKeys(this.table.topic, keys)
    return new Set([...records.keys()].filter((operation) => this.#stale.has(records[operation]!)))
  }

  get staleRecords(): number {
    return this.#stale.size
  }

  /** Reads what was not read yet, with what stands now. */
  async look(): Promise<void> {
    for (;;) {
      if (this.#restaged === undefined && this.settled.length > 0) this.#restaged = await this.#restage()
      if (this.#restaged !== undefined) assertNoTruncation(this.#restaged.staged)
      const keys = this.#restaged?.staged.keys
      if (keys !== undefined && this.#isShortened(keys)) {
        await this.drop()
        continue
      }
      const verdict = keys === undefined || keys.count === 0 ? undefined : await this.#judge(keys)
      if (verdict === undefined) return
      const { stale, undecided } = verdict
      const isSame = stale.size === this.#stale.size && [...stale].every((record) => this.#stale.has(record))
      this.#stale = stale
      for (const record of undecided) this.#undecided.add(record)
      // Without a window over rows it is the committer alone that minds what is stale.
      if (undecided.length === 0 && (isSame || !this.#hasRowWindows)) return
      await this.drop()
    }
  }

  /** Records that lack values which no row has: they are read once more as what they are. */
  async without(records: readonly { readonly partition: PartitionId; readonly offset: bigint }[]): Promise<void> {
    for (const { partition, offset } of records) this.#baseless.add(`${partition}@${offset}`)
    await this.drop()
    await this.look()
  }

  /** The staged files are nobody's. */
  async drop(): Promise<void> {
    const staged = this.#restaged?.staged
    this.#restaged = undefined
    if (staged !== undefined) await removePartials({ tables: [staged] })
  }

  /**
   * A record that keeps values takes those of the record of its key before it, also in one micro-batch; which that is, only
   * the key index knows when others lie between them. So two of a key are not read together.
   */
  #isShortened(keys: StagedKeys): boolean {
    if (this.table.missing !== 'keep' && this.table.value !== 'debezium') return false
    const records = recordsOfKeys(this.table.topic, keys)
    const seen = new Set<string>()
    for (const [operation, record] of records.entries()) {
      const key = keys.hashes.subarray(4 * operation, 4 * operation + 4).join(' ')
      if (seen.has(key)) {
        this.#found = this.#found.slice(
          0,
          this.#found.findIndex((letter) => this.#recordOf(letter) === record),
        )
        return true
      }
      seen.add(key)
    }
    return false
  }

  async #restage(): Promise<Restaged> {
    const { definition, committer, work } = this.#parts
    const { name, topic } = this.table
    const settled = this.settled
    const clocksMs = clocksOf(committer.clocksMs, name)
    const request: RestageRequest = {
      definition: this.table,
      windows: definition.windows.filter(({ source }) => source === name),
      plan: tablePlans(definition, committer.tables, new Set(), committer.growing).find(({ table }) => table === name)!,
      letters: rowsOf(settled, this.#files),
      records: new Map(
        settled.map((letter) => [
          this.#recordOf(letter),
          {
            // Of dead letters of before there were clocks: what is over by now stays as it is.
            clockMs: letter.clockMs ?? clocksMs[partitionId(topic, letter.partition)],
            attempts: letter.attempts,
            isStale: this.#stale.has(this.#recordOf(letter)),
          },
        ]),
      ),
      baseless: this.#baseless,
    }
    try {
      return await work.restage(request)
    } catch (error) {
      const answer = asLakeError(error)
      if (answer.code !== 'schema.evolves') throw error
      committer.growing.learn(committer.tables.get(name)!, answer.context['wanted'] as readonly WantedColumns[])
      return this.#restage()
    }
  }

  async #judge(
    keys: StagedKeys,
  ): Promise<{ readonly stale: ReadonlySet<string>; readonly undecided: readonly string[] }> {
    const keyed = this.#parts.committer.keyed.get(this.table.name)!
    const records = recordsOfKeys(this.table.topic, keys)
    const questions = questionsOf(keys, this.#rules, (operation) => keyed.standing(keys, operation))
    const files = new Map(keyed.files.map(({ file }) => [file.key, file]))
    const older = await this.#olderThanRows(keys, questions.rows, files)
    const removed = await this.#removedLater(keys, questions.log, records)
    const stale = new Set([...questions.stale, ...older, ...removed.stale].map((operation) => records[operation]!))
    return { stale, undecided: [...questions.undecided, ...removed.unknown].map((operation) => records[operation]!) }
  }

  /** Operations whose key's row came later. */
  async #olderThanRows(
    keys: StagedKeys,
    rows: Questions['rows'],
    files: ReadonlyMap<string, DataFile>,
  ): Promise<readonly number[]> {
    const asked = rowsOf(
      rows.map(({ key, row }) => ({ file: key, row })),
      files,
    )
    const plan = tablePlans(this.#parts.definition, this.#parts.committer.tables).find(
      ({ table }) => table === this.table.name,
    )!
    const offsets = await this.#parts.work.offsetsOf(plan.data, asked)
    const places = asked.flatMap(({ file, rows }) => rows.map((row) => `${file.key} ${row}`))
    if (places.length !== offsets.length)
      throw new LakeError(
        'store.corrupt',
        `${this.table.name}: ${places.length} rows are ${offsets.length} in their files`,
      )
    const offsetOf = new Map(places.map((place, k) => [place, offsets[k]!]))
    return rows
      .filter(({ operation, key, row }) => offsetOf.get(`${key} ${row}`)! > keys.offsets[operation]!)
      .map(({ operation }) => operation)
  }

  /** Operations whose key the log removes later, and those of which it no longer says so. */
  async #removedLater(
    keys: StagedKeys,
    operations: readonly number[],
    records: readonly string[],
  ): Promise<{ readonly stale: readonly number[]; readonly unknown: readonly number[] }> {
    if (operations.length === 0) return { stale: [], unknown: [] }
    const { committer, definition, work } = this.#parts
    const { topic } = this.table
    const partitions = partitionsOf(keys)
    const idOf = (operation: number): PartitionId => partitionId(topic, partitions[operation]!)
    const cursors = new Map([...committer.cursors].filter(([id]) => parsePartitionId(id).topic === topic))
    const from = new Map<PartitionId, Cursor>()
    for (const operation of operations) {
      const id = idOf(operation)
      const first = this.#scanned.get(id) ?? keys.offsets[operation]! + 1n
      const before = from.get(id)
      if (!this.#lost.has(id) && (before === undefined || first < before.offset))
        from.set(id, { ...cursors.get(id)!, offset: first, leaderEpoch: -1 })
    }
    const until: Positions = new Map([...cursors].map(([id, { offset }]) => [id, offset]))
    const { isLater, lost } = await work.later({
      definition: this.table,
      plan: tablePlans(definition, committer.tables).find(({ table }) => table === this.table.name)!,
      archives: await this.#parts.archives(),
      from,
      until,
      isBareOnly: this.#rules.isVersioned,
      hashes: Uint32Array.from(operations.flatMap((k) => [...keys.hashes.subarray(4 * k, 4 * k + 4)])),
      partitions: Int32Array.from(operations, (k) => partitions[k]!),
      offsets: BigInt64Array.from(operations, (k) => keys.offsets[k]!),
    })
    for (const id of lost) this.#lost.add(id)
    for (const [k, operation] of operations.entries()) if (isLater[k] === 1) this.#removed.add(records[operation]!)
    this.#scanned = new Map([...this.#scanned, ...[...from.keys()].map((id) => [id, until.get(id)!] as const)])
    const stale = operations.filter((operation) => this.#removed.has(records[operation]!))
    const unknown = operations.filter((operation) => !stale.includes(operation) && this.#lost.has(idOf(operation)))
    return { stale, unknown }
  }

  #recordOf(letter: FoundLetter): string {
    return recordText(this.table.topic, letter)
  }
}

/** Rows by their file, those that are asked for alone, ascending. */
export function rowsOf(
  places: readonly { readonly file: string; readonly row: number }[],
  files: ReadonlyMap<string, DataFile>,
): readonly LetterRows[] {
  const rows = new Map<string, Set<number>>()
  for (const { file, row } of places) rows.set(file, (rows.get(file) ?? new Set()).add(row))
  return [...rows].map(([key, all]) => ({ file: files.get(key)!, rows: [...all].toSorted((a, b) => a - b) }))
}
