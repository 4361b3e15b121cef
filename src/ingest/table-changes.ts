import { SYSTEM_COLUMNS } from '../batch.ts'
import {
  changedFiles,
  compareFiles,
  DeletedRows,
  readDeletedRows,
  storedFiles,
  writePlan,
  type DataFile,
  type LakeTable,
  type Side,
  type Storage,
  type StoredFile,
  type WritePlan,
} from '../lake/table.ts'
import type { ChangedRows, SourcePlace } from './keys.ts'
import { boundsOf } from './without-range.ts'

export interface ChangedSides {
  readonly before: readonly StoredRows[]
  readonly after: readonly StoredRows[]
}

export interface StoredRows extends ChangedRows {
  readonly file: StoredFile
}

/**
 * The rows of two states of a table that may differ, found by files and their deleted rows: after a plain commit just
 * those that it wrote and deleted. `before` undefined: all that are there. Undefined when there are none.
 */
export async function changesBetween(
  storage: Storage,
  before: LakeTable | undefined,
  after: LakeTable,
): Promise<ChangedSides | undefined> {
  const sides =
    before?.snapshot === undefined || after.snapshot === undefined
      ? compareFiles(before === undefined ? [] : await filesOf(storage, before), await filesOf(storage, after))
      : await changedFiles(storage, before, after)
  const changed = { before: await rowsOf(storage, sides.before), after: await rowsOf(storage, sides.after) }
  return changed.before.length + changed.after.length === 0 ? undefined : changed
}

/**
 * The rows of a table that may have come from positions on. Files that hold none of them are left out, as far as their
 * statistics tell.
 */
export async function rowsSince(
  storage: Storage,
  table: LakeTable,
  since: readonly SourcePlace[],
): Promise<ChangedSides | undefined> {
  const plan = writePlan(table)
  const files = (await filesOf(storage, table)).filter((file) => mayReach(file, plan, since))
  const after = await rowsOf(storage, { own: files, shared: [] })
  return after.length === 0 ? undefined : { before: [], after }
}

/**
 * Requests that together read what one would: rows that are compared with nothing, some files at a time. Those without a
 * key are put in order within a part, so theirs are large, and the older files come first.
 */
export function inParts({ before, after: all }: ChangedSides, hasKey: boolean): readonly ChangedSides[] {
  if (before.length > 0) return [{ before, after: all }]
  const bytesMax = hasKey ? KEYED_BYTES : APPENDED_BYTES
  const after = hasKey ? all : all.toSorted(byAge)
  const parts: { bytes: number; after: StoredRows[] }[] = []
  for (const rows of after) {
    const last = parts.at(-1)
    const bytes = rows.file.fileSizeBytes
    if (last !== undefined && last.bytes + bytes <= bytesMax) {
      last.after.push(rows)
      last.bytes += bytes
    } else parts.push({ bytes, after: [rows] })
  }
  return parts.map(({ after }) => ({ before: [], after }))
}

/** Stored bytes of a part: as changes they are several times as many, in a file of this machine. */
const KEYED_BYTES = 32 * 1024 * 1024
const APPENDED_BYTES = 256 * 1024 * 1024

function byAge({ file: a }: StoredRows, { file: b }: StoredRows): number {
  return Number(a.sequenceNumber - b.sequenceNumber)
}

function mayReach(file: DataFile, plan: WritePlan, since: readonly SourcePlace[]): boolean {
  const [partitions, offsets] = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset].map((name) =>
    boundsOf(file, plan, name),
  )
  if (partitions === undefined || offsets === undefined) return true
  const known = new Map(since.map(({ partition, offset }) => [BigInt(partition), offset]))
  for (let partition = partitions.least; partition <= partitions.most; partition++)
    if (offsets.most >= (known.get(partition) ?? 0n)) return true
  return false
}

async function filesOf(storage: Storage, table: LakeTable): Promise<readonly StoredFile[]> {
  return table.snapshot === undefined ? [] : storedFiles(storage, table)
}

async function rowsOf(storage: Storage, { own, shared }: Side): Promise<StoredRows[]> {
  const rows = await Promise.all([
    ...own.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })),
    ...shared.map(async ({ file, other }) => {
      const [here, there] = await Promise.all([readDeletedRows(storage, file), readDeletedRows(storage, other)])
      return { file, deleted: allBut(here, there) }
    }),
  ])
  return rows.filter(({ file, deleted }) => deleted.count < file.recordCount)
}

/** All rows but those that are alive `here` and dead `there`. */
function allBut(here: DeletedRows, there: DeletedRows): DeletedRows {
  const rest = new DeletedRows(here.rows)
  rest.addAll()
  const words = rest.words.map((word, k) => word & ~(there.words[k]! & ~here.words[k]!))
  return new DeletedRows(here.rows, words)
}
