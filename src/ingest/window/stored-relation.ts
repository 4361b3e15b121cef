import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import {
  openTable,
  readDeletedRows,
  storedFiles,
  type IcebergField,
  type Storage,
  type StoredFile,
} from '../../lake/table.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { withLocalFiles } from '../table-work/local-files.ts'
import { filesSql, nameOf, sqlType } from '../table-work/stored-sql.ts'
import type { FoldDatabase } from './fold-database.ts'

/** Where rows are read to. */
export type StoredTarget = Pick<FoldDatabase, 'alive' | 'run' | 'temporary'>

/** Which rows of a table are read: those of the named columns, of files that may hold what is looked for. */
export interface StoredQuery {
  /** Key of the metadata file. */
  readonly metadata: string
  readonly columns: readonly string[]
  /** Smallest and largest value of a column of instants or longs that is looked for: files without any are not read. */
  readonly between?: { readonly column: string; readonly from: bigint; readonly until: bigint } | undefined
  /** What `__file` says of a file. */
  numberOf?(key: string): number
}

/** Makes a temporary relation of the live rows of a table: its columns by name, `__file` and `__row`. */
export async function readStored(
  database: StoredTarget,
  storage: Storage,
  clock: Clock,
  into: string,
  { metadata, columns, between, numberOf }: StoredQuery,
): Promise<void> {
  const table = await openTable(storage, metadata)
  const fieldOf = (name: string): IcebergField => {
    const found = table.schema.fields.find((field) => field.name === name)
    if (found === undefined) throw new LakeError('internal', `${table.name} has no column ${name}`)
    return found
  }
  const fields = columns.map(fieldOf)
  const bounds = between === undefined ? undefined : { ...between, id: fieldOf(between.column).id }
  const isLooked = ({ metrics }: StoredFile): boolean => {
    if (bounds === undefined) return true
    const { lower, upper } = metrics.get(bounds.id) ?? {}
    if (lower === undefined || upper === undefined) return true
    return longOf(lower) <= bounds.until && longOf(upper) >= bounds.from
  }
  const typed = fields.map((field) => `CAST(NULL AS ${sqlType(field.type)}) AS ${quoted(field.name)}`)
  const place = 'CAST(NULL AS INTEGER) AS __file, CAST(NULL AS BIGINT) AS __row'
  await database.temporary(into, `SELECT ${[...typed, place].join(', ')} LIMIT 0`)
  const named = fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`)
  const { alive } = database
  for (const file of (await storedFiles(storage, table)).filter(isLooked)) {
    const deleted = await readDeletedRows(storage, file)
    await withLocalFiles(storage, clock, [file], async (paths) => {
      alive.feed([{ file, deleted }])
      await database.run(
        `INSERT INTO ${into} SELECT ${[...named, `${numberOf?.(file.key) ?? 0} AS __file`, 'file_row_number AS __row'].join(', ')}
FROM ${filesSql(paths, fields)} WHERE ${alive.name}(file_index, file_row_number)`,
      )
      alive.assertDone()
    })
  }
}

/** A bound of a long or an instant: eight bytes in little-endian order; of an int or a date four. */
export function longOf(bound: Uint8Array): bigint {
  const bytes = Buffer.from(bound)
  return bytes.length === 8 ? bytes.readBigInt64LE() : BigInt(bytes.readInt32LE())
}
