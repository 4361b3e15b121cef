import { LakeError } from '../../src/error.ts'
import type {
  ChangedRows,
  ConcatenateInput,
  Filling,
  KeyRun,
  OffsetRange,
  StoredKeys,
  TableWork,
} from '../../src/ingest/keys.ts'
import type { TablePlan } from '../../src/ingest/lane.ts'
import { byShard } from '../../src/ingest/table-work/by-shard.ts'
import type { Storage } from '../../src/lake/storage/storage.ts'
import type { DataFile, WritePlan } from '../../src/lake/table.ts'
import { hashOf } from './key-stage.ts'
import type { SimProcess } from './process.ts'
import { storedRows, workOnFiles, writeRows } from './row-files.ts'
import type { SimRow } from './row-encoder.ts'

/** The work on stored files, over rows in JSON: fails, is slow, and is done again when its lane dies. */
export class RowWork implements TableWork {
  readonly #process: SimProcess
  readonly #storage: Storage

  constructor(process: SimProcess, storage: Storage) {
    this.#process = process
    this.#storage = storage
  }

  readKeys(plan: TablePlan, files: readonly ChangedRows[]): Promise<StoredKeys> {
    return workOnFiles(this.#process, 'readKeys', async () => {
      const read = files.map(async ({ file, deleted }) => {
        const rows = await storedRows(this.#storage, file.key)
        const runs: { -readonly [name in keyof KeyRun]: KeyRun[name] }[] = []
        for (const { p: partition } of rows)
          if (runs.at(-1)?.partition === partition) runs.at(-1)!.count++
          else runs.push({ partition, count: 1 })
        const keys = {
          count: rows.length,
          hashes: Uint32Array.from(rows.flatMap(({ k }) => [...hashOf(plan.data.uuid, k!)])),
          versions: plan.version === undefined ? undefined : BigInt64Array.from(rows, ({ n }) => BigInt(n ?? 0)),
          runs,
        }
        return { keys, deleted }
      })
      return byShard(await Promise.all(read))
    })
  }

  rowsWithin(_: WritePlan, file: DataFile, ranges: readonly OffsetRange[]): Promise<Uint32Array> {
    return workOnFiles(this.#process, 'rowsWithin', async () => {
      const isWithin = ({ p, o }: SimRow): boolean =>
        ranges.some(({ partition, from, until }) => p === partition && BigInt(o) >= from && BigInt(o) < until)
      const rows = await storedRows(this.#storage, file.key)
      return Uint32Array.from(rows.flatMap((row, position) => (isWithin(row) ? [position] : [])))
    })
  }

  concatenate(plan: WritePlan, inputs: readonly ConcatenateInput[]): Promise<DataFile> {
    // What dies from now on is not of this file.
    const taken = inputs.map(({ file, deleted }) => ({ file, deleted: deleted.clone() }))
    return workOnFiles(this.#process, 'concatenate', async () => {
      const rows: SimRow[] = []
      for (const { file, deleted } of taken)
        rows.push(...(await storedRows(this.#storage, file.key)).filter((_, row) => !deleted.has(row)))
      return writeRows(this.#process, this.#storage, plan, rows)
    })
  }

  fill(plan: WritePlan, file: DataFile, fillings: readonly Filling[]): Promise<DataFile> {
    return workOnFiles(this.#process, 'fill', async () => {
      const rows = (await storedRows(this.#storage, file.key)).map((row) => ({ ...row }))
      for (const { row, columns, from } of fillings) {
        const source = (await storedRows(this.#storage, from.key))[from.row]! as unknown as Record<string, unknown>
        for (const column of columns) (rows[row]! as unknown as Record<string, unknown>)[column] = source[column]
      }
      return writeRows(this.#process, this.#storage, plan, rows)
    })
  }

  /** Nothing is published here. */
  changes(): Promise<never> {
    return Promise.reject(new LakeError('internal', 'no table here has a change topic'))
  }

  /** Nothing is replayed here. */
  compare(): Promise<never> {
    return Promise.reject(new LakeError('internal', 'no rows are compared here'))
  }
}
