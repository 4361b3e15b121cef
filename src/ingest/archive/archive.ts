import { storedArchive } from '../../archive-property.ts'
import { deadLetterTable, type PipelineDefinition } from '../../define.ts'
import { codeHash } from '../../define-code.ts'
import { openTable, type Storage } from '../../lake/table.ts'
import { parsePartitionId, type PartitionId, type RecordBatch, type Tail } from '../../log.ts'
import type { Version } from '../../version.ts'

/** What a version keeps of the log of one topic. Plain values, so that lanes can be told. */
export interface Archive {
  readonly topic: string
  readonly topicId: string
  /** Metadata files of the table, and of its dead letters: records that nobody could look at are kept there. */
  readonly metadata: readonly string[]
  /** What it keeps of each partition: all records of the range, and where it has none there was none. */
  readonly ranges: ReadonlyMap<PartitionId, KeptRange>
}

/** Offsets [from, until). */
export interface KeptRange {
  readonly from: bigint
  readonly until: bigint
}

/** Single records of archives. */
export interface ArchiveIndex {
  tailAt(partition: PartitionId, offset: bigint): Promise<Tail | undefined>
  /** The last record that is kept of a partition. */
  last(partition: PartitionId): Promise<Tail | undefined>
  /** The first offset below `until` whose record is not older; undefined when all are. */
  firstAt(partition: PartitionId, timestampMs: number, until: bigint): Promise<bigint | undefined>
}

/** Reads archives. One instance belongs to one reader. */
export interface ArchiveLog extends ArchiveIndex {
  /** The records of some ranges, in offset order per partition; ends when each of them is read to its end. */
  read(ranges: ReadonlyMap<PartitionId, KeptRange>, signal: AbortSignal): AsyncIterable<RecordBatch>
  close(): Promise<void>
}

/** Looking into archives for processes that read none, by whichever lane is free. */
export interface ArchiveWork {
  lookUp(archives: readonly Archive[], question: ArchiveQuestion): Promise<Tail | bigint | undefined>
}

/** A question to an `ArchiveIndex`, as it is sent. */
export type ArchiveQuestion =
  | { readonly kind: 'tailAt'; readonly partition: PartitionId; readonly offset: bigint }
  | { readonly kind: 'last'; readonly partition: PartitionId }
  | {
      readonly kind: 'firstAt'
      readonly partition: PartitionId
      readonly timestampMs: number
      readonly until: bigint
    }

export function askIndex(index: ArchiveIndex, question: ArchiveQuestion): Promise<Tail | bigint | undefined> {
  switch (question.kind) {
    case 'tailAt':
      return index.tailAt(question.partition, question.offset)
    case 'last':
      return index.last(question.partition)
    case 'firstAt':
      return index.firstAt(question.partition, question.timestampMs, question.until)
  }
}

/** An index that is asked elsewhere. */
export function remoteIndex(ask: (question: ArchiveQuestion) => Promise<Tail | bigint | undefined>): ArchiveIndex {
  return {
    tailAt: async (partition, offset) => (await ask({ kind: 'tailAt', partition, offset })) as Tail | undefined,
    last: async (partition) => (await ask({ kind: 'last', partition })) as Tail | undefined,
    firstAt: async (partition, timestampMs, until) =>
      (await ask({ kind: 'firstAt', partition, timestampMs, until })) as bigint | undefined,
  }
}

/**
 * The archives of a version that the definition has too. One that was left out of a definition for a while has gaps that
 * nobody knows of: its code is not that of the definition, and it is not among them.
 */
export async function archivesOf(
  definition: PipelineDefinition,
  version: Version,
  storage: Storage,
): Promise<readonly Archive[]> {
  const archives: Archive[] = []
  for (const table of definition.tables) {
    if (table.isArchive !== true) continue
    const kept = Object.hasOwn(version.tables, table.name) ? version.tables[table.name]! : undefined
    const topicId = Object.hasOwn(version.topicIds, table.topic) ? version.topicIds[table.topic] : undefined
    if (kept === undefined || kept.code !== codeHash(table) || topicId === undefined) continue
    const stored = storedArchive((await openTable(storage, kept.metadata)).properties)
    if (stored === undefined) continue
    const deadLetters = version.tables[deadLetterTable(table.name)]
    const tables = deadLetters === undefined ? [kept] : [kept, deadLetters]
    const metadata = tables.filter(({ snapshot }) => snapshot !== undefined).map(({ metadata }) => metadata)
    archives.push({ topic: table.topic, topicId, metadata, ranges: rangesOf(table.topic, stored.from, version) })
  }
  return archives
}

function rangesOf(topic: string, begins: ReadonlyMap<PartitionId, bigint>, version: Version): Archive['ranges'] {
  const ranges = new Map<PartitionId, KeptRange>()
  for (const [id, until] of version.positions) {
    const from = begins.get(id) ?? version.origins.get(id)
    if (parsePartitionId(id).topic === topic && from !== undefined && from < until) ranges.set(id, { from, until })
  }
  return ranges
}
