import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { DataFile } from './data-file.ts'
import { expireSnapshots } from './expire.ts'
import { metadataNumber, writeMetadata, type LakeTable } from './lake-table.ts'
import { encodeManifestList, type ManifestFile } from './manifest-list.ts'
import type { DeleteEntry, ManifestEntry } from './manifest.ts'
import {
  cachedManifest,
  deleted,
  existing,
  inBatches,
  readDeleteManifest,
  readManifestList,
  READS_AT_ONCE,
  writeDeleteManifest,
  writeManifest,
  type ManifestCommit,
} from './manifests.ts'
import { mergeManifests } from './merge-manifests.ts'
import { withSnapshot, type Snapshot } from './metadata.ts'
import { encodePuffin } from './puffin.ts'
import { Puts } from './puts.ts'
import { uriOf, type Storage } from './storage/storage.ts'
import { summaryOf, type Effect, type Stamp } from './summary.ts'
import type { AddedFile, FileDeletes, TableChange } from './table-change.ts'

/**
 * Makes a new snapshot of a new metadata file; its objects go into the store beside each other. What it costs grows with the change, the live deletion vectors and the
 * length of the manifest list; manifests of data files are read when files are removed, and when small ones are merged
 * now and then. Nobody sees any of it until a version names the metadata file. A change of nothing gives the table back
 * as it is. Throws `internal` where the change cannot be meant: an unknown file, deletes of a v2 table, fewer deleted
 * rows than before.
 */
export async function changeTable(
  storage: Storage,
  table: LakeTable,
  change: TableChange,
  stamp: Stamp,
  clock: Clock,
): Promise<LakeTable> {
  if (change.added.length + change.deletes.length + change.removed.length === 0) return table
  assertChange(table, change)
  const { raw } = table
  const sequenceNumber = raw['last-sequence-number'] + 1n
  const puts = new Puts(storage)
  const commit: ManifestCommit = { puts, storage, table, snapshotId: newSnapshotId(clock), sequenceNumber, clock }
  const before = (table.manifests ?? (await readManifestList(storage, table))).filter(isLive)
  const added = writeAdded(commit, change.added)
  const [data, vectors] = await Promise.all([
    removeFiles(commit, before.filter(isOf('data')), change.removed),
    changeVectors(commit, before.filter(isOf('deletes')), change),
  ])
  const merged = await mergeManifests(commit, data.untouched)
  const list = [...added, ...data.rewritten, ...merged, ...vectors.manifests]
  const { manifests, nextRowId } = withRowIds(list, raw['next-row-id'])
  const { kind } = change
  const effect = { kind, added: change.added, removed: data.removed, ...vectors.effect }
  const snapshot = writeSnapshot(commit, manifests, nextRowId, effect, stamp)
  const next = expireSnapshots(withSnapshot(raw, snapshot, uriOf(storage, table.metadata)))
  const number = metadataNumber(table.metadata) + 1
  const [written] = await Promise.all([
    writeMetadata(storage, table, number, stamp.commitId, next, manifests),
    puts.done(),
  ])
  return written
}

/** `changeTable` with nothing but new files. Without files the table comes back as it is. */
export function appendFiles(
  storage: Storage,
  table: LakeTable,
  files: readonly DataFile[],
  stamp: Stamp,
  clock: Clock,
): Promise<LakeTable> {
  return changeTable(storage, table, { kind: 'write', added: files, deletes: [], removed: [] }, stamp, clock)
}

/** What would lose rows silently in a reader, or bring some back, is refused before it is written. */
function assertChange(table: LakeTable, { added, deletes, removed }: TableChange): void {
  const fail = (what: string): never => {
    throw new LakeError('internal', `${table.name}: ${what}`, { context: { table: table.name } })
  }
  const prefix = `tables/${table.folder}/data/`
  const last = table.raw['last-sequence-number']
  const assertOnce = (keys: readonly string[]) => {
    if (new Set(keys).size < keys.length) fail('a file stands twice')
  }
  for (const { key, recordCount, fileSizeBytes, partition, sequenceNumber = 0n } of added) {
    const isWhole = recordCount >= 0 && fileSizeBytes > 0 && partition.length === table.spec.fields.length
    if (!key.startsWith(prefix) || !isWhole || sequenceNumber > last) fail(`${key} is no data file`)
  }
  if (deletes.length > 0 && table.formatVersion < 3) fail('deletion vectors need a table of format version 3')
  for (const { file, rows } of deletes)
    if (rows.rows !== file.recordCount || rows.count === 0) fail(`${file.key} has deletes that are not its own`)
  assertOnce([...added.map(({ key }) => key), ...removed])
  assertOnce([...deletes.map(({ file }) => file.key), ...removed])
}

function writeAdded(commit: ManifestCommit, files: readonly AddedFile[]): readonly ManifestFile[] {
  if (files.length === 0) return []
  const entries = files.map(({ sequenceNumber, ...file }): ManifestEntry => ({
    status: 'added',
    snapshotId: commit.snapshotId,
    sequenceNumber,
    fileSequenceNumber: undefined,
    firstRowId: undefined,
    path: uriOf(commit.storage, file.key),
    file,
  }))
  return [writeManifest(commit, 'm0', commit.table.spec['spec-id'], entries)]
}

interface HeldFiles {
  readonly manifest: ManifestFile
  readonly entries: readonly ManifestEntry[]
  readonly gone: readonly ManifestEntry[]
}

interface RemovedFiles {
  /** Manifests that held removed files, without them. */
  readonly rewritten: readonly ManifestFile[]
  readonly untouched: readonly ManifestFile[]
  readonly removed: readonly DataFile[]
}

async function removeFiles(
  commit: ManifestCommit,
  manifests: readonly ManifestFile[],
  keys: readonly string[],
): Promise<RemovedFiles> {
  if (keys.length === 0) return { rewritten: [], untouched: manifests, removed: [] }
  const { storage, table } = commit
  const wanted = new Set(keys)
  const held: HeldFiles[] = []
  let found = 0
  // The newest come first, and what is rewritten is young for the most part.
  for (let start = 0; start < manifests.length && found < wanted.size; start += READS_AT_ONCE)
    for (const one of await inBatches(manifests.slice(start, start + READS_AT_ONCE), async (manifest) => {
      const entries = await cachedManifest(storage, table, manifest)
      return { manifest, entries, gone: entries.filter(({ file }) => wanted.has(file.key)) }
    })) {
      held.push(one)
      found += one.gone.length
    }
  if (found < wanted.size)
    throw new LakeError('internal', `${table.name}: ${wanted.size - found} removed files are not in it`, {
      context: { table: table.name },
    })
  const touched = held.filter(({ gone }) => gone.length > 0)
  const rewritten = touched.map(({ manifest, entries }) =>
    writeManifest(
      commit,
      'm2',
      manifest.specId,
      entries.map((entry) => (wanted.has(entry.file.key) ? deleted(entry, commit) : existing(entry))),
    ),
  )
  const left = new Set(touched.map(({ manifest }) => manifest))
  const untouched = manifests.filter((manifest) => !left.has(manifest))
  return { rewritten, untouched, removed: touched.flatMap(({ gone }) => gone.map(({ file }) => file)) }
}

interface ChangedVectors {
  readonly manifests: readonly ManifestFile[]
  readonly effect: Pick<Effect, 'vectorsAdded' | 'vectorsRemoved'>
}

/** One manifest of each spec lists all live vectors, so that readers open one and a commit replaces one. */
async function changeVectors(
  commit: ManifestCommit,
  manifests: readonly ManifestFile[],
  { deletes, removed }: TableChange,
): Promise<ChangedVectors> {
  const unchanged: ChangedVectors = { manifests, effect: { vectorsAdded: [], vectorsRemoved: [] } }
  if (deletes.length + removed.length === 0) return unchanged
  const { storage, table } = commit
  const uri = (key: string) => uriOf(storage, key)
  const left = new Set([...removed, ...deletes.map(({ file }) => file.key)].map(uri))
  const bySpec = new Map<number, DeleteEntry[]>()
  const before = new Map<string, { readonly specId: number; readonly entry: DeleteEntry }>()
  for (const { specId, entries } of await inBatches(manifests, async (manifest) => ({
    specId: manifest.specId,
    entries: await readDeleteManifest(storage, table, manifest),
  })))
    for (const entry of entries) {
      const isGone = left.has(entry.dataFile)
      if (isGone) before.set(entry.dataFile, { specId, entry })
      listOf(bySpec, specId).push(isGone ? deleted(entry, commit) : existing(entry))
    }
  if (deletes.length === 0 && before.size === 0) return unchanged
  const vectorsAdded = writeVectors(commit, deletes, bySpec, before)
  const vectorsRemoved = [...before.values()].map(({ entry }) => entry)
  const written = [...bySpec].map(([specId, entries]) => writeDeleteManifest(commit, specId, entries))
  return { manifests: written, effect: { vectorsAdded, vectorsRemoved } }
}

/** Writes the vectors of a commit into one Puffin file, and their entries to those of the spec of each data file. */
function writeVectors(
  { puts, storage, table, snapshotId, clock }: ManifestCommit,
  deletes: readonly FileDeletes[],
  bySpec: Map<number, DeleteEntry[]>,
  before: ReadonlyMap<string, { readonly specId: number; readonly entry: DeleteEntry }>,
): readonly DeleteEntry[] {
  if (deletes.length === 0) return []
  const key = `tables/${table.folder}/data/${clock.uuid()}-deletes.puffin`
  const puffin = encodePuffin(deletes.map(({ file, rows }) => ({ dataFile: uriOf(storage, file.key), rows })))
  const entries = deletes.map(({ file, rows }, index): DeleteEntry => {
    const dataFile = uriOf(storage, file.key)
    const old = before.get(dataFile)
    if (old !== undefined && old.entry.count > rows.count)
      throw new LakeError('internal', `${file.key} had ${old.entry.count} deleted rows, and now ${rows.count}`)
    const entry: DeleteEntry = {
      status: 'added',
      snapshotId,
      sequenceNumber: undefined,
      fileSequenceNumber: undefined,
      path: uriOf(storage, key),
      fileSizeBytes: puffin.bytes.length,
      dataFile,
      partition: file.partition,
      ...puffin.blobs[index]!,
      count: rows.count,
    }
    listOf(bySpec, old?.specId ?? table.spec['spec-id']).push(entry)
    return entry
  })
  puts.add(key, puffin.bytes)
  return entries
}

function writeSnapshot(
  { puts, storage, table, snapshotId, sequenceNumber, clock }: ManifestCommit,
  manifests: readonly ManifestFile[],
  nextRowId: bigint | undefined,
  effect: Effect,
  stamp: Stamp,
): Snapshot {
  const { raw, formatVersion } = table
  const listKey = `tables/${table.folder}/metadata/snap-${snapshotId}-1-${clock.uuid()}.avro`
  const parentSnapshotId = raw['current-snapshot-id']
  const firstRowId = raw['next-row-id']
  const head = { formatVersion, snapshotId, parentSnapshotId, sequenceNumber, firstRowId }
  puts.add(listKey, encodeManifestList(head, manifests))
  return {
    'snapshot-id': snapshotId,
    ...(parentSnapshotId === undefined ? {} : { 'parent-snapshot-id': parentSnapshotId }),
    'sequence-number': sequenceNumber,
    'timestamp-ms': Math.max(raw['last-updated-ms'] + 1, clock.nowMs()),
    'manifest-list': uriOf(storage, listKey),
    summary: summaryOf(table, effect, stamp),
    'schema-id': raw['current-schema-id'],
    ...(firstRowId === undefined ? {} : { 'first-row-id': firstRowId, 'added-rows': nextRowId! - firstRowId }),
  }
}

/** v3: manifests of data files without a first row id get the running one, in the order of the list. */
function withRowIds(
  manifests: readonly ManifestFile[],
  nextRowId: bigint | undefined,
): { readonly manifests: readonly ManifestFile[]; readonly nextRowId: bigint | undefined } {
  if (nextRowId === undefined) return { manifests, nextRowId }
  let running = nextRowId
  const assigned = manifests.map((manifest) => {
    if (manifest.content === 'deletes' || manifest.firstRowId !== undefined) return manifest
    const firstRowId = running
    running += manifest.addedRows + manifest.existingRows
    return { ...manifest, firstRowId }
  })
  return { manifests: assigned, nextRowId: running }
}

function isOf(content: ManifestFile['content']): (manifest: ManifestFile) => boolean {
  return (manifest) => manifest.content === content
}

/** A manifest whose files have all left says so once, in the snapshot that they left in. */
function isLive({ addedFiles, existingFiles }: ManifestFile): boolean {
  return addedFiles + existingFiles > 0
}

function listOf<K, V>(lists: Map<K, V[]>, key: K): V[] {
  const list = lists.get(key) ?? []
  lists.set(key, list)
  return list
}

/** Random, positive, 63 bits. */
function newSnapshotId(clock: Clock): bigint {
  const id = BigInt(`0x${clock.uuid().replaceAll('-', '').slice(16)}`) & 0x7fff_ffff_ffff_ffffn
  return id === 0n ? 1n : id
}
