import { unlink } from 'node:fs/promises'
import type { Staged } from '../lane.ts'

/**
 * Removes the local files of a batch that nobody will fold. They lie in a folder of the process that owns the lanes, so
 * that they outlive the lane that wrote them; without this they would stay until that process ends.
 */
export async function removePartials({ tables }: Pick<Staged, 'tables'>): Promise<void> {
  await removeLocalFiles(partialsOf(tables))
  for (const { keys } of tables) await removeLocal(keys?.keyFile)
}

/** Paths of what was staged for windows. */
export function partialsOf(tables: Staged['tables']): readonly string[] {
  return tables.flatMap(({ windows = [] }) => windows.flatMap(({ partials }) => partials ?? []))
}

export async function removeLocalFiles(files: readonly string[]): Promise<void> {
  for (const file of files) await removeLocal(file)
}

export async function removeLocal(file: string | undefined): Promise<void> {
  if (file !== undefined) await unlink(file).catch(() => undefined)
}
