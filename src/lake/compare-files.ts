import type { StoredFile } from './table-change.ts'

/** The rows of one side of a comparison that may not be on the other, by file. */
export interface Side {
  /** Files that only this side has. */
  readonly own: readonly StoredFile[]
  /** Files of both sides, some of whose rows are deleted on the other only. */
  readonly shared: readonly { readonly file: StoredFile; readonly other: StoredFile }[]
}

/** What two states of a table do not have in common. A file that both have with the same deleted rows cancels out. */
export function compareFiles(
  from: readonly StoredFile[],
  to: readonly StoredFile[],
): { readonly before: Side; readonly after: Side } {
  const [fromByKey, toByKey] = [from, to].map((files) => new Map(files.map((file) => [file.key, file])))
  return { before: sideOf(from, toByKey!), after: sideOf(to, fromByKey!) }
}

function sideOf(files: readonly StoredFile[], others: ReadonlyMap<string, StoredFile>): Side {
  const own: StoredFile[] = []
  const shared: { file: StoredFile; other: StoredFile }[] = []
  for (const file of files) {
    const other = others.get(file.key)
    if (other === undefined) own.push(file)
    else if (other.deletes !== undefined && !isSame(file, other)) shared.push({ file, other })
  }
  return { own, shared }
}

function isSame({ deletes: a }: StoredFile, { deletes: b }: StoredFile): boolean {
  return a?.key === b?.key && a?.offset === b?.offset
}
