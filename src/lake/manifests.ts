import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { DataFile } from './data-file.ts'
import { cacheOf } from './entry-cache.ts'
import type { LakeTable } from './lake-table.ts'
import { decodeManifestList, type ManifestFile } from './manifest-list.ts'
import type { ManifestShape } from './manifest-schema.ts'
import {
  decodeDeleteManifest,
  decodeManifest,
  encodeDeleteManifest,
  encodeManifest,
  partitionSummaries,
  type DeleteEntry,
  type ManifestEntry,
} from './manifest.ts'
import type { Puts } from './puts.ts'
import { keyOf, uriOf, type Storage } from './storage/storage.ts'

/** A commit that writes manifests. */
export interface ManifestCommit {
  readonly puts: Puts
  readonly storage: Storage
  readonly table: LakeTable
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
  readonly clock: Clock
}

/** Objects of a store that are read together. */
export const READS_AT_ONCE = 16

/** The manifests of a snapshot, the current one by default, newest first. */
export async function readManifestList(
  storage: Storage,
  table: LakeTable,
  snapshotId = table.snapshot,
): Promise<readonly ManifestFile[]> {
  if (snapshotId === undefined) return []
  const snapshot = table.raw.snapshots.find((candidate) => candidate['snapshot-id'] === snapshotId)
  if (snapshot === undefined)
    throw new LakeError('snapshot.expired', `${table.name} keeps no snapshot ${snapshotId}`, {
      context: { table: table.name, snapshot: String(snapshotId) },
    })
  const key = keyOf(storage, snapshot['manifest-list'])
  return decodeManifestList(key, await whole(storage, key))
}

/** Live entries of a manifest of data files, with what they inherit from it: sequence numbers and, in v3, row ids. */
export async function readManifest(
  storage: Storage,
  table: LakeTable,
  manifest: ManifestFile,
): Promise<readonly ManifestEntry[]> {
  const key = keyOf(storage, manifest.path)
  let rowId = manifest.firstRowId
  const bytes = await whole(storage, key)
  return decodeManifest(shapeOf(table, manifest), key, bytes, (uri) => keyOf(storage, uri)).map((entry) => {
    const firstRowId = entry.firstRowId ?? rowId
    if (entry.firstRowId === undefined && rowId !== undefined) rowId += BigInt(entry.file.recordCount)
    return { ...inherited(entry, manifest), firstRowId }
  })
}

/** The same, kept for the next time it is asked for. */
export function cachedManifest(
  storage: Storage,
  table: LakeTable,
  manifest: ManifestFile,
): Promise<readonly ManifestEntry[]> {
  return cacheOf(storage).data.get(manifest, () => readManifest(storage, table, manifest))
}

/** Live entries of a manifest of deletion vectors. */
export async function readDeleteManifest(
  storage: Storage,
  table: LakeTable,
  manifest: ManifestFile,
): Promise<readonly DeleteEntry[]> {
  return cacheOf(storage).deletes.get(manifest, async () => {
    const key = keyOf(storage, manifest.path)
    const entries = decodeDeleteManifest(shapeOf(table, manifest), key, await whole(storage, key))
    return entries.map((entry) => inherited(entry, manifest))
  })
}

function inherited<E extends ManifestEntry | DeleteEntry>(entry: E, { sequenceNumber }: ManifestFile): E {
  return {
    ...entry,
    sequenceNumber: entry.sequenceNumber ?? sequenceNumber,
    fileSequenceNumber: entry.fileSequenceNumber ?? sequenceNumber,
  }
}

/** What a manifest is written for: the spec of its files, whatever the table's is now. */
export function shapeOf(table: LakeTable, { specId }: Pick<ManifestFile, 'specId'>): ManifestShape {
  const spec = table.raw['partition-specs'].find((candidate) => candidate['spec-id'] === specId)
  return { formatVersion: table.formatVersion, schema: table.schema, spec: spec ?? table.spec }
}

/** Writes a manifest of data files: it is on its way, and there when the commit's puts are done. */
export function writeManifest(
  commit: ManifestCommit,
  suffix: string,
  specId: number,
  entries: readonly ManifestEntry[],
): ManifestFile {
  const shape = shapeOf(commit.table, { specId })
  const { file, key } = manifestOf(commit, shape, 'data', suffix, entries, ({ file }) => file)
  const bytes = encodeManifest(shape, entries)
  commit.puts.add(key, bytes)
  const live = entries.filter(({ status }) => status !== 'deleted')
  // Where every entry has its own row id, the manifest's only has to be there, and the least is true.
  const firstRowId = live.every((entry) => entry.firstRowId !== undefined)
    ? live.reduce<bigint | undefined>(
        (least, { firstRowId: own }) => (least === undefined || own! < least ? own : least),
        undefined,
      )
    : undefined
  return { ...file, length: bytes.length, firstRowId }
}

/** Writes a manifest of deletion vectors. Row ids are those of data files only. */
export function writeDeleteManifest(
  commit: ManifestCommit,
  specId: number,
  entries: readonly DeleteEntry[],
): ManifestFile {
  const shape = shapeOf(commit.table, { specId })
  const { file, key } = manifestOf(commit, shape, 'deletes', 'd0', entries, vectorSize)
  const bytes = encodeDeleteManifest(shape, entries)
  commit.puts.add(key, bytes)
  const written = { ...file, length: bytes.length }
  // The next commit of this process has to know them all.
  const live = entries.filter(({ status }) => status !== 'deleted')
  cacheOf(commit.storage).deletes.add(
    written,
    live.map((entry) => inherited(entry, written)),
  )
  return written
}

function vectorSize({ count, partition }: DeleteEntry): Pick<DataFile, 'recordCount' | 'partition'> {
  return { recordCount: count, partition }
}

/** An entry as a later manifest tells of it. */
export function existing<E extends ManifestEntry | DeleteEntry>(entry: E): E {
  return entry.status === 'existing' ? entry : { ...entry, status: 'existing' }
}

/** An entry as the commit tells of it that ends its life. */
export function deleted<E extends ManifestEntry | DeleteEntry>(entry: E, { snapshotId }: ManifestCommit): E {
  return { ...entry, status: 'deleted', snapshotId }
}

function manifestOf<E extends ManifestEntry | DeleteEntry>(
  { storage, table, snapshotId, sequenceNumber, clock }: ManifestCommit,
  shape: ManifestShape,
  content: 'data' | 'deletes',
  suffix: string,
  entries: readonly E[],
  sizeOf: (entry: E) => Pick<DataFile, 'recordCount' | 'partition'>,
): { readonly file: ManifestFile; readonly key: string } {
  const key = `tables/${table.folder}/metadata/${clock.uuid()}-${suffix}.avro`
  const counts = { added: 0, existing: 0, deleted: 0 }
  const rows = { added: 0n, existing: 0n, deleted: 0n }
  let minSequenceNumber = sequenceNumber
  for (const entry of entries) {
    counts[entry.status]++
    rows[entry.status] += BigInt(sizeOf(entry).recordCount)
    const own = entry.sequenceNumber ?? sequenceNumber
    if (entry.status !== 'deleted' && own < minSequenceNumber) minSequenceNumber = own
  }
  const file: ManifestFile = {
    path: uriOf(storage, key),
    length: 0,
    content,
    specId: shape.spec['spec-id'],
    sequenceNumber,
    minSequenceNumber,
    addedSnapshotId: snapshotId,
    addedFiles: counts.added,
    existingFiles: counts.existing,
    deletedFiles: counts.deleted,
    addedRows: rows.added,
    existingRows: rows.existing,
    deletedRows: rows.deleted,
    partitions: partitionSummaries(
      shape,
      entries.map((entry) => sizeOf(entry).partition),
    ),
    firstRowId: undefined,
  }
  return { file, key }
}

/** Works on all items, some at once; results in their order. */
export async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let start = 0; start < items.length; start += READS_AT_ONCE)
    results.push(...(await Promise.all(items.slice(start, start + READS_AT_ONCE).map(work))))
  return results
}

async function whole(storage: Storage, key: string): Promise<Uint8Array> {
  const bytes = await storage.get(key)
  if (bytes === undefined)
    throw new LakeError('store.corrupt', `${key} is missing`, {
      context: { key },
      fix: 'A table refers to it. Restore it from a copy of the store.',
    })
  return bytes
}
