import { compareFiles } from './compare-files.ts'
import type { DataFile } from './data-file.ts'
import { DeletedRows } from './deleted-rows.ts'
import type { LakeTable } from './lake-table.ts'
import { cachedManifest, inBatches, readDeleteManifest, readManifestList } from './manifests.ts'
import type { ManifestFile } from './manifest-list.ts'
import type { DeleteEntry, ManifestEntry } from './manifest.ts'
import { readVector } from './puffin.ts'
import { keyOf, type Storage } from './storage/storage.ts'
import type { DeletionVectorRef, StoredFile } from './table-change.ts'

/** All data files of a snapshot, the table's current one by default. Throws `snapshot.expired`. */
export async function dataFiles(storage: Storage, table: LakeTable, snapshotId?: bigint): Promise<readonly DataFile[]> {
  const { data } = await manifestsOf(storage, table, snapshotId)
  return (await entriesOf(storage, table, data)).map(({ file }) => file)
}

/**
 * All data files of a snapshot, the table's current one by default, with where their deleted rows are listed. Throws
 * `snapshot.expired`.
 */
export async function storedFiles(
  storage: Storage,
  table: LakeTable,
  snapshotId?: bigint,
): Promise<readonly StoredFile[]> {
  const { data, deletes } = await manifestsOf(storage, table, snapshotId)
  const vectors = new Map<string, DeletionVectorRef>()
  for (const entries of await inBatches(deletes, (manifest) => readDeleteManifest(storage, table, manifest)))
    for (const entry of entries) vectors.set(entry.dataFile, refOf(storage, entry))
  return storedOf(await entriesOf(storage, table, data), vectors)
}

/**
 * What two states of a table do not have in common, by file. Of tables without deleted rows only manifests are read that
 * not both have, so that it costs what changed and not what is there. Throws `snapshot.expired`.
 */
export async function changedFiles(
  storage: Storage,
  before: LakeTable,
  after: LakeTable,
): Promise<ReturnType<typeof compareFiles>> {
  const [from, to] = await Promise.all([
    manifestsOf(storage, before, undefined),
    manifestsOf(storage, after, undefined),
  ])
  if (from.deletes.length + to.deletes.length > 0)
    return compareFiles(await storedFiles(storage, before), await storedFiles(storage, after))
  const own = async (table: LakeTable, all: readonly ManifestFile[], others: readonly ManifestFile[]) => {
    const shared = new Set(others.map(({ path }) => path))
    return storedOf(
      await entriesOf(
        storage,
        table,
        all.filter(({ path }) => !shared.has(path)),
      ),
    )
  }
  return compareFiles(await own(before, from.data, to.data), await own(after, to.data, from.data))
}

/** The deleted rows of a file, as an object of the caller's own. Throws `store.corrupt`. */
export async function readDeletedRows(storage: Storage, file: StoredFile): Promise<DeletedRows> {
  if (file.deletes === undefined) return new DeletedRows(file.recordCount)
  return readVector(storage, file.deletes, file.recordCount)
}

function storedOf(
  entries: readonly ManifestEntry[],
  vectors: ReadonlyMap<string, DeletionVectorRef> = new Map(),
): StoredFile[] {
  return entries.map(({ path, file, sequenceNumber, firstRowId }) => ({
    ...file,
    sequenceNumber: sequenceNumber!,
    firstRowId,
    deletes: vectors.get(path),
  }))
}

async function manifestsOf(
  storage: Storage,
  table: LakeTable,
  snapshotId: bigint | undefined,
): Promise<{ readonly data: readonly ManifestFile[]; readonly deletes: readonly ManifestFile[] }> {
  const current = snapshotId === undefined || snapshotId === table.snapshot
  const all = (current ? table.manifests : undefined) ?? (await readManifestList(storage, table, snapshotId))
  // One whose files have all left is there as information.
  const live = all.filter(({ addedFiles, existingFiles }) => addedFiles + existingFiles > 0)
  return {
    data: live.filter(({ content }) => content === 'data'),
    deletes: live.filter(({ content }) => content === 'deletes'),
  }
}

async function entriesOf(
  storage: Storage,
  table: LakeTable,
  manifests: readonly ManifestFile[],
): Promise<readonly ManifestEntry[]> {
  return (await inBatches(manifests, (manifest) => cachedManifest(storage, table, manifest))).flat()
}

function refOf(storage: Storage, { path, offset, length, count }: DeleteEntry): DeletionVectorRef {
  return { key: keyOf(storage, path), offset, length, count }
}
