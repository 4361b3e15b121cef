import { statSync } from 'node:fs'
import path from 'node:path'
import { LakeError } from '../error.ts'
import type { View } from './messages.ts'

/**
 * Throws `store.corrupt` for a file that has another size than the manifest gives: one that was put in the place of
 * another reads as nulls and as rows that nobody wrote. A look takes microseconds of the query process; files that are
 * missing are left to whoever opens them.
 */
export function assertSizes(views: readonly View[]): void {
  for (const { name, files, fileBytes, partial = [], open } of views) {
    for (const part of [{ files, fileBytes }, ...partial]) assertEach(name, part.files, part.fileBytes)
    if (open !== undefined) assertSizes([{ ...open.state, name }])
  }
}

function assertEach(table: string, files: readonly string[], fileBytes: readonly number[] | undefined): void {
  for (const [k, expected] of fileBytes?.entries() ?? []) {
    const size = statSync(files[k]!, { throwIfNoEntry: false })?.size
    if (size === undefined || size === expected) continue
    const file = path.basename(files[k]!)
    throw new LakeError('store.corrupt', `the file ${file} of ${table} has ${size} bytes instead of ${expected}`, {
      context: { table, file },
      fix: 'Restore it from a copy of the store, or rebuild the table with a replay.',
    })
  }
}
