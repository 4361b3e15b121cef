import { systemClock } from '../../src/clock.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openTable, readDeletedRows, storedFiles, writePlan, type Storage } from '../../src/lake/table.ts'

/**
 * What a table says, as verification has it: rows and the sum of their hashes, whatever their order and the files that
 * they lie in. `columns` default to all.
 */
export async function tableDigest(
  storage: Storage,
  metadata: string,
  columns?: readonly string[],
): Promise<{ readonly rows: bigint; readonly digest: string }> {
  const table = await openTable(storage, metadata)
  const files = table.snapshot === undefined ? [] : await storedFiles(storage, table)
  const rows = await Promise.all(files.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })))
  const plan = writePlan(table)
  const work = await openTableWork({ tables: [], storage, clock: systemClock })
  try {
    const found = await work.compare({
      before: { plan, rows: [] },
      after: { plan, rows },
      columns: columns ?? table.schema.fields.map(({ name }) => name),
      key: [],
      group: [],
      samplesMax: 0,
      groupsMax: 0,
    })
    return { rows: found.rowsAfter, digest: found.digestAfter }
  } finally {
    await work.close()
  }
}
