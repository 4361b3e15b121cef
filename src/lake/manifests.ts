import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { LakeTable } from './table.ts'
import {
  decodeManifest,
  decodeManifestList,
  encodeManifest,
  partitionSummaries,
  type ManifestEntry,
  type ManifestFile,
  type ManifestShape,
} from './manifest.ts'
import { keyOf, uriOf, type Storage } from './storage/storage.ts'

/** So many manifests of a tier are merged into one of the next. */
const MERGE_AT = 32
/** A manifest with so many files, or bytes, is never touched again. */
const LARGE_FILES = 1_024
const LARGE_BYTES = 1 << 20
const READS_AT_ONCE = 16

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

/** Live entries of a manifest with what they inherit from it: sequence number and, in v3, row ids. */
export async function readManifest(
  storage: Storage,
  shape: ManifestShape,
  manifest: ManifestFile,
): Promise<readonly ManifestEntry[]> {
  const key = keyOf(storage, manifest.path)
  let rowId = manifest.firstRowId
  return decodeManifest(shape, key, await whole(storage, key)).map((entry) => {
    const firstRowId = entry.firstRowId ?? rowId
    if (entry.firstRowId === undefined && rowId !== undefined) rowId += BigInt(entry.file.recordCount)
    return { ...entry, sequenceNumber: entry.sequenceNumber ?? manifest.sequenceNumber, firstRowId }
  })
}

/**
 * Replaces many small manifests by a larger one, so that a list stays short. There are three tiers by files in a
 * manifest: below 32, below 1,024, and large. What one commit reads and rewrites has a bound, so it costs the same
 * whatever the age of the table: an entry is rewritten at most twice in its life. Entries keep their sequence numbers
 * and row ids.
 */
export async function mergeManifests(
  storage: Storage,
  table: LakeTable,
  shape: ManifestShape,
  manifests: readonly ManifestFile[],
  snapshotId: bigint,
  sequenceNumber: bigint,
  clock: Clock,
): Promise<readonly ManifestFile[]> {
  let all = manifests
  for (const tier of ['small', 'middle'] as const) {
    const group = mergeable(
      all.filter((manifest) => tierOf(manifest) === tier && manifest.specId === shape.spec['spec-id']),
    )
    if (group.size === 0) continue
    const entries = (await inBatches([...group], (manifest) => readManifest(storage, shape, manifest))).flat()
    const merged = await writeMerged(storage, table, shape, entries, snapshotId, sequenceNumber, clock)
    const newest = all.find((manifest) => group.has(manifest))
    all = all.flatMap((manifest) => (manifest === newest ? [merged] : group.has(manifest) ? [] : [manifest]))
  }
  return all
}

/** The oldest of a tier that has enough of them, up to what makes a large manifest. The newest come first. */
function mergeable(tier: readonly ManifestFile[]): ReadonlySet<ManifestFile> {
  const group = new Set<ManifestFile>()
  if (tier.length < MERGE_AT) return group
  let [files, bytes] = [0, 0]
  for (const manifest of tier.toReversed()) {
    if (files >= LARGE_FILES || bytes >= LARGE_BYTES) break
    group.add(manifest)
    files += filesIn(manifest)
    bytes += manifest.length
  }
  return group
}

function tierOf(manifest: ManifestFile): 'small' | 'middle' | 'large' {
  const files = filesIn(manifest)
  if (files >= LARGE_FILES || manifest.length >= LARGE_BYTES) return 'large'
  return files < MERGE_AT ? 'small' : 'middle'
}

async function writeMerged(
  storage: Storage,
  table: LakeTable,
  shape: ManifestShape,
  entries: readonly ManifestEntry[],
  snapshotId: bigint,
  sequenceNumber: bigint,
  clock: Clock,
): Promise<ManifestFile> {
  const key = `tables/${table.name}/metadata/${clock.uuid()}-m1.avro`
  const bytes = encodeManifest(shape, entries)
  await storage.put(key, bytes)
  return {
    path: uriOf(storage, key),
    length: bytes.length,
    specId: shape.spec['spec-id'],
    sequenceNumber,
    minSequenceNumber: entries.reduce(
      (least, { sequenceNumber: own }) => (own! < least ? own! : least),
      sequenceNumber,
    ),
    addedSnapshotId: snapshotId,
    addedFiles: 0,
    existingFiles: entries.length,
    addedRows: 0n,
    existingRows: entries.reduce((rows, { file }) => rows + BigInt(file.recordCount), 0n),
    partitions: partitionSummaries(shape, entries),
    // Every entry has its own row id: the manifest's only has to be there, and the least is true.
    firstRowId: entries.reduce<bigint | undefined>(
      (least, { firstRowId }) =>
        firstRowId === undefined || (least !== undefined && least < firstRowId) ? least : firstRowId,
      undefined,
    ),
  }
}

function filesIn(manifest: ManifestFile): number {
  return manifest.addedFiles + manifest.existingFiles
}

async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
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
