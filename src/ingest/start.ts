import { deadLetterTable, deletesTable, type PipelineDefinition } from '../define.ts'
import { publishedTables } from '../define-topic.ts'
import { lateTable } from '../define-window.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Chain, VersionContent } from '../lake/chain.ts'
import { writePlan, type LakeTable, type Storage, type WritePlan } from '../lake/table.ts'
import { parsePartitionId, partitionId, type PartitionId, type Positions, type Source } from '../log.ts'
import type { Hole, Version } from '../version.ts'
import { changedTables } from './codes.ts'
import type { CommitPolicy } from './committer.ts'
import { emptyTables } from './create-tables.ts'
import { versionColumn } from './decode/columns.ts'
import type { Subjects } from './first-columns.ts'
import { GrowingTables } from './growing.ts'
import type { TablePlan } from './lane.ts'
import { isRenamed, renamedContent } from './rename.ts'
import type { WindowPlan } from './window/window.ts'
import { storedWindow } from '../window-property.ts'

export type Opened =
  | { readonly kind: 'head'; readonly head: Version }
  | { readonly kind: 'stale'; readonly head: Version }
  | { readonly kind: 'superseded'; readonly head: Version }

export interface StartParts {
  readonly definition: PipelineDefinition
  readonly storage: Storage
  readonly clock: Clock
  readonly registry?: Subjects | undefined
}

/**
 * The head that a pipeline goes on from. When there is none, version 1: the first position of every partition, the
 * code of every table, empty tables that can be queried. Nothing is fetched before it is committed. While nothing was
 * read of the log, another definition begins anew: most of the time it mends what the one before could not run. Where
 * nothing but names differs, tables get their new ones.
 */
export async function openHead(
  source: Source,
  { definition, storage, clock, registry }: StartParts,
  chain: Chain,
  policy: CommitPolicy,
  signal: AbortSignal,
): Promise<Opened> {
  const head = await chain.head()
  if (head !== undefined && hasCode(definition, head)) return { kind: 'head', head }
  if (head !== undefined && isRenamed(definition, head)) {
    const commit = { writer: policy.writer, commitId: clock.uuid() }
    const build = (current: Version | undefined) => renamedContent(definition, current!, storage, commit, clock)
    const result = await chain.append(head, { commitId: commit.commitId, build }, signal)
    return result.kind === 'committed' ? { kind: 'head', head: result.version } : result
  }
  if (head !== undefined && !isUntouched(head)) return { kind: 'superseded', head }
  const first = await firstVersion(source, { definition, storage, clock, registry }, policy)
  const build = (_: Version | undefined, number: bigint): Promise<VersionContent> =>
    Promise.resolve({
      ...first,
      kind: head === undefined ? 'ingest' : 'cutover',
      ...since(first, head, definition),
      published: firstPublished(definition, number),
      paused: head?.paused,
    })
  const result = await chain.append(head, { commitId: clock.uuid(), build }, signal)
  return result.kind === 'committed' ? { kind: 'head', head: result.version } : result
}

/** Whether no record was read, by any version, and none was passed over: then another definition may begin anew. */
export function isUntouched({ tables, tails, holes }: Version): boolean {
  return tails.size === 0 && holes.size === 0 && Object.values(tables).every(({ snapshot }) => snapshot === undefined)
}

/** As a head of which nothing was read had promised: with `startAt: latest` the log's end was another one then. */
function since(
  { positions, topicIds }: VersionContent,
  head: Version | undefined,
  definition: PipelineDefinition,
): Pick<VersionContent, 'positions' | 'origins' | 'topicIds'> {
  const least = new Map(positions)
  // `constructor` is a topic like any other.
  const ids = new Map(Object.entries(topicIds))
  const before = new Map(Object.entries(head?.topicIds ?? {}))
  const names = new Set(topicNames(definition))
  // What came later than a head that waited for it begins at its beginning (rule P7): `newPartitions` finds it.
  const tables = new Set(Object.keys(head?.tables ?? {}))
  const awaited = new Set(definition.tables.filter(({ name }) => tables.has(name)).map(({ topic }) => topic))
  for (const id of positions.keys()) {
    const { topic } = parsePartitionId(id)
    const isKnown = awaited.has(topic) || (before.has(topic) && before.get(topic) === ids.get(topic))
    if (isKnown && head?.positions.has(id) === false) least.delete(id)
  }
  for (const [id, position] of head?.positions ?? []) {
    const { topic } = parsePartitionId(id)
    const known = before.get(topic)
    if (!names.has(topic) || known === undefined || (ids.get(topic) ?? known) !== known) continue
    ids.set(topic, known)
    const now = positions.get(id)
    least.set(id, now === undefined || position < now ? position : now)
  }
  return { positions: least, origins: least, topicIds: Object.fromEntries(ids) }
}

/** How the lanes must write each source table; not at all those of `unwritten`. */
export function tablePlans(
  definition: PipelineDefinition,
  tables: ReadonlyMap<string, LakeTable>,
  unwritten: ReadonlySet<string> = new Set(),
  growing = GrowingTables.none,
): TablePlan[] {
  return definition.tables.map((table) => ({
    table: table.name,
    topic: table.topic,
    data: writePlan(tables.get(table.name)!),
    ...grownPlan(growing.planOf(tables.get(table.name)!)),
    deadLetters: writePlan(tables.get(deadLetterTable(table.name))!),
    ...(table.version === undefined
      ? {}
      : { version: versionColumn(table)!, deletes: writePlan(tables.get(deletesTable(table.name))!) }),
    windows: definition.windows
      .filter(({ source }) => source === table.name)
      .map(({ name }) => windowPlan(name, tables)),
    ...(unwritten.has(table.name) ? { isUnwritten: true } : {}),
  }))
}

function grownPlan(grown: WritePlan | undefined): Pick<TablePlan, 'grown'> {
  return grown === undefined ? {} : { grown }
}

/** What is of topics that the definition reads: those of tables that it no longer has stay where they are. */
export function ownPartitions<V>(
  definition: PipelineDefinition,
  all: ReadonlyMap<PartitionId, V>,
): ReadonlyMap<PartitionId, V> {
  const topics = new Set(topicNames(definition))
  return new Map([...all].filter(([id]) => topics.has(parsePartitionId(id).topic)))
}

function ownParts(definition: PipelineDefinition, { positions, tails }: Version): Pick<Version, 'positions' | 'tails'> {
  return { positions: ownPartitions(definition, positions), tails: ownPartitions(definition, tails) }
}

function windowPlan(window: string, tables: ReadonlyMap<string, LakeTable>): WindowPlan {
  const late = tables.get(lateTable(window))!
  const { fromMs } = storedWindow(late.properties) ?? {}
  return { window, late: writePlan(late), ...(fromMs === undefined ? {} : { fromMs }) }
}

export interface NewPartitions {
  readonly firstPositions: Positions
  readonly topicIds: Readonly<Record<string, string>>
  /** Topics that do not exist yet. */
  readonly missing: readonly string[]
}

/** Partitions of the pipeline's topics that no version knows yet. They start at the beginning, whatever `startAt` says. */
export async function newPartitions(
  source: Source,
  definition: PipelineDefinition,
  head: Version,
): Promise<NewPartitions> {
  const names = topicNames(definition)
  const topics = await source.topics(names)
  const ids: PartitionId[] = []
  const topicIds = new Map<string, string>()
  for (const { topic, topicId, partitions } of topics.values()) {
    // `constructor` is a topic like any other.
    const known = Object.hasOwn(head.topicIds, topic) ? head.topicIds[topic] : undefined
    if (known !== undefined && known !== topicId) throw replaced(topic, known, topicId)
    topicIds.set(topic, topicId)
    checkTruncates(definition, topic, partitions.length)
    ids.push(...partitions.map((partition) => partitionId(topic, partition)).filter((id) => !head.positions.has(id)))
  }
  const firstPositions = ids.length === 0 ? new Map<PartitionId, bigint>() : await source.positionsAt(ids, 'earliest')
  return { firstPositions, topicIds: Object.fromEntries(topicIds), missing: names.filter((name) => !topics.has(name)) }
}

/** The log of one partition does not say what of another stood before a truncation. */
function checkTruncates({ tables }: PipelineDefinition, topic: string, partitions: number): void {
  const table = tables.find((table) => table.topic === topic && table.onTruncate === 'apply')
  if (table === undefined || partitions === 1) return
  throw new LakeError('config.invalid', `${table.name}: ${topic} has ${partitions} partitions`, {
    context: { table: table.name, topic, partitions },
    fix: 'onTruncate: apply is for topics of one partition: remove it.',
  })
}

/**
 * Proves that the log below the positions is the log that was read: the same topics, nothing lost below, nothing cut
 * off above, the same last record. Returns what retention took; throws when the log is another one. With a definition it
 * is about the topics that it reads.
 */
export async function lostRanges(
  source: Source,
  head: Version,
  definition?: PipelineDefinition,
): Promise<ReadonlyMap<PartitionId, Hole>> {
  const own = definition && topicNames(definition)
  const ids = Object.entries(head.topicIds).filter(([topic]) => own?.includes(topic) !== false)
  const { positions, tails } = definition === undefined ? head : ownParts(definition, head)
  const topics = await source.topics(ids.map(([topic]) => topic))
  for (const [topic, known] of ids) {
    const now = topics.get(topic)
    if (now === undefined)
      throw new LakeError('kafka.topic_missing', `topic ${topic} was there and is gone`, {
        retryable: true,
        context: { topic },
        fix: 'If it was deleted on purpose, remove its tables from the definition.',
      })
    if (now.topicId !== known) throw replaced(topic, known, now.topicId)
  }
  const bounds = await source.bounds([...positions.keys()])
  const lost = new Map<PartitionId, Hole>()
  for (const [partition, position] of positions) {
    const bound = bounds.get(partition)
    if (bound === undefined) continue
    if (bound.highWatermark < position) throw truncated(partition, position, bound.highWatermark)
    if (bound.logStart > position) lost.set(partition, { from: position, until: bound.logStart })
  }
  await Promise.all(
    [...tails].map(async ([partition, tail]) => {
      const now = lost.has(partition) ? undefined : await source.tailAt(partition, tail.offset)
      // A missing record proves nothing: compaction may have taken it.
      if (now !== undefined && now.hash !== tail.hash) throw truncated(partition, tail.offset, tail.offset)
    }),
  )
  return lost
}

export function gapError(partition: PartitionId, hole: Hole): LakeError {
  return new LakeError('kafka.gap', `${partition}: the log has lost [${hole.from}, ${hole.until})`, {
    context: { partition, from: String(hole.from), until: String(hole.until) },
    fix: 'Set onDataLoss: record-gap to go on from there and keep the hole on record, or restore the topic.',
  })
}

async function firstVersion(
  source: Source,
  { definition, storage, clock, registry }: StartParts,
  policy: CommitPolicy,
): Promise<VersionContent> {
  const topics = await source.topics(topicNames(definition))
  const positions = new Map<PartitionId, bigint>()
  for (const { topic, partitions } of topics.values()) {
    const { startAt } = definition.tables.find((table) => table.topic === topic)!
    const ids = partitions.map((partition) => partitionId(topic, partition))
    for (const [id, offset] of await source.positionsAt(ids, startAt)) positions.set(id, offset)
  }
  const names = [...definition.tables, ...definition.windows].map(({ name }) => name)
  return {
    kind: 'ingest',
    writer: policy.writer,
    tables: await emptyTables(definition, new Set(names), {}, storage, clock, { begins: positions, registry }),
    positions,
    origins: positions,
    clocksMs: {},
    watermarksMs: {},
    watermarkMs: undefined,
    published: {},
    topicIds: Object.fromEntries([...topics.values()].map(({ topic, topicId }) => [topic, topicId])),
    tails: new Map(),
    holes: new Map(),
    paused: undefined,
    released: false,
    fork: undefined,
  }
}

/** Nothing is in the tables of the first version, so all of what comes is sent. */
function firstPublished(definition: PipelineDefinition, version: bigint): Version['published'] {
  return Object.fromEntries(publishedTables(definition).map(({ name }) => [name, version]))
}

function hasCode(definition: PipelineDefinition, head: Version): boolean {
  return changedTables(definition, head).length === 0
}

function topicNames(definition: PipelineDefinition): string[] {
  return [...new Set(definition.tables.map(({ topic }) => topic))]
}

function replaced(topic: string, known: string, now: string): LakeError {
  return new LakeError('kafka.topic_replaced', `topic ${topic} was deleted and made again`, {
    context: { topic, known, now },
    fix: 'Ingest the new topic into tables of another name, or start a pipeline of another name.',
  })
}

function truncated(partition: PartitionId, position: bigint, at: bigint): LakeError {
  const { topic } = parsePartitionId(partition)
  return new LakeError('kafka.log_truncated', `${partition}: the log was cut below what was already read`, {
    context: { topic, partition, position: String(position), at: String(at) },
    fix: 'An unclean leader election lost records that the tables hold. Decide which is true before you go on.',
  })
}
