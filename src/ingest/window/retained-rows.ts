import type { Clock } from '../../clock.ts'
import type { DataFile, IcebergField, IcebergSchema, Storage } from '../../lake/table.ts'
import type { ConcatenateInput } from '../keys.ts'
import { withLocalFiles } from '../table-work/local-files.ts'
import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import type { FoldDatabase } from './fold-database.ts'
import { END, type Relations } from './fold-relations.ts'
import { LiveRows } from './live-rows.ts'
import type { RowPlaces } from './row-places.ts'
import { longOf } from './stored-relation.ts'
import type { StoredRows, TableDelta } from './window.ts'

export interface RetainedParts {
  readonly database: FoldDatabase
  readonly relations: Relations
  readonly storage: Storage
  readonly clock: Clock
  readonly results: RowPlaces
}

/**
 * Which rows of a window table are old enough to be deleted (rule E6). Of settled rows nothing is held but which of each
 * file are dead: when some are due, the files whose bounds say that they may hold them are read, and of these the end of
 * the window alone.
 */
export class RetainedRows {
  readonly #parts: RetainedParts
  readonly #live: LiveRows
  readonly #field: IcebergField
  /** No row ends before it; undefined: that is not known. */
  #oldestMs: number | undefined
  /** The same once what was found to be due is gone. */
  #laterMs: number | undefined

  /** `schema`: of the table. */
  constructor(parts: RetainedParts, stored: readonly StoredRows[], schema: IcebergSchema) {
    const { relations } = parts
    this.#parts = parts
    // The same bitmaps may be somebody else's.
    this.#live = new LiveRows(
      relations.definition.name,
      stored.map(({ file, deleted }) => ({ file, deleted: deleted.clone() })),
    )
    this.#field = schema.fields.find(({ name }) => name === 'window_end')!
  }

  /** Makes `expired_outputs`: end and place of each row that ends until then. Returns the first end of them. */
  async findDue(untilMs: number | undefined): Promise<number | undefined> {
    const { database, storage, clock, results } = this.#parts
    await database.temporary(
      'expired_outputs',
      `SELECT CAST(NULL AS BIGINT) AS ${END}, CAST(NULL AS INTEGER) AS __file, CAST(NULL AS BIGINT) AS __row LIMIT 0`,
    )
    if (untilMs === undefined || (this.#oldestMs !== undefined && untilMs < this.#oldestMs)) return undefined
    let oldestMs = Infinity
    for (const { file, deleted } of this.#live.files) {
      const firstMs = this.#firstMs(file)
      if (firstMs > untilMs) {
        oldestMs = Math.min(oldestMs, firstMs)
        continue
      }
      const { alive } = database
      await withLocalFiles(storage, clock, [file], async (paths) => {
        alive.feed([{ file, deleted }])
        await database.run(
          `INSERT INTO expired_outputs SELECT epoch_ms(${nameOf(this.#field)}), ${results.numberOf(file.key)}, file_row_number
FROM ${filesSql(paths, [this.#field])} WHERE ${alive.name}(file_index, file_row_number)`,
        )
        alive.assertDone()
      })
    }
    const [first, later] = await database.rows(
      `SELECT min(${END}) FILTER (WHERE ${END} <= ${untilMs}) FROM expired_outputs UNION ALL
SELECT min(${END}) FILTER (WHERE ${END} > ${untilMs}) FROM expired_outputs`,
    )
    await database.run(`DELETE FROM expired_outputs WHERE ${END} > ${untilMs}`)
    this.#laterMs = later![0] === null ? oldestMs : Math.min(oldestMs, Number(later![0]))
    const firstMs = first![0] === null ? undefined : Number(first![0])
    this.#oldestMs = firstMs ?? this.#laterMs
    return firstMs
  }

  /** What a fold did to the table; what was due is gone. */
  apply(delta: TableDelta): void {
    this.#live.apply(delta)
    this.#live.committed()
    for (const file of delta.files)
      if (this.#laterMs !== undefined) this.#laterMs = Math.min(this.#laterMs, this.#firstMs(file))
    this.#oldestMs = this.#laterMs
  }

  move(inputs: readonly ConcatenateInput[], output: DataFile | undefined): void {
    if (this.#live.holds(inputs)) this.#live.replace(inputs, output)
    this.#live.committed()
  }

  /** A lower bound of the ends in a file. */
  #firstMs({ metrics }: DataFile): number {
    const lower = metrics.get(this.#field.id)?.lower
    return lower === undefined ? -Infinity : Number(longOf(lower) / 1_000n)
  }
}
