import { compareFiles, DeletedRows, readDeletedRows, storedFiles, type LakeTable, type Storage } from '../lake/table.ts'
import type { Side, StoredFile } from '../lake/table.ts'
import type { ChangedRows } from './keys.ts'

export interface ChangedSides {
  readonly before: readonly ChangedRows[]
  readonly after: readonly ChangedRows[]
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
  const [from, to] = await Promise.all([before === undefined ? [] : filesOf(storage, before), filesOf(storage, after)])
  const sides = compareFiles(from, to)
  const changed = { before: await rowsOf(storage, sides.before), after: await rowsOf(storage, sides.after) }
  return changed.before.length + changed.after.length === 0 ? undefined : changed
}

async function filesOf(storage: Storage, table: LakeTable): Promise<readonly StoredFile[]> {
  return table.snapshot === undefined ? [] : storedFiles(storage, table)
}

async function rowsOf(storage: Storage, { own, shared }: Side): Promise<ChangedRows[]> {
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
