import { offsetRanges } from '../../dead-letters.ts'
import { readDeletedRows, storedFiles, type FileDeletes, type LakeTable, type Storage } from '../../lake/table.ts'
import { partitionId, type PartitionId } from '../../log.ts'
import type { FoundLetter, LetterFile } from './letters.ts'

/** The files of a table of dead letters, with their dead rows. */
export async function filesOf(storage: Storage, table: LakeTable): Promise<readonly LetterFile[]> {
  const files = await storedFiles(storage, table)
  return Promise.all(files.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })))
}

/** Dead rows of files with those of dead letters: of files that have some of them alone. */
export function withRows(deletes: readonly FileDeletes[], letters: readonly FoundLetter[]): readonly FileDeletes[] {
  const touched = new Set(letters.map(({ file }) => file))
  const changed = deletes
    .filter(({ file }) => touched.has(file.key))
    .map(({ file, rows }) => ({ file, rows: rows.clone() }))
  const byKey = new Map(changed.map(({ file, rows }) => [file.key, rows]))
  for (const { file, row } of letters) byKey.get(file)!.add(row)
  return changed
}

/** Where the records of dead letters stand, as a version lists them. Dead letters come in order. */
export function positionsOf(
  topic: string,
  letters: readonly FoundLetter[],
): Readonly<Record<PartitionId, readonly string[]>> {
  const offsets = new Map<PartitionId, bigint[]>()
  for (const { partition, offset } of letters) {
    const id = partitionId(topic, partition)
    const list = offsets.get(id) ?? []
    offsets.set(id, list)
    list.push(offset)
  }
  return Object.fromEntries([...offsets].map(([id, all]) => [id, offsetRanges(all)]))
}
