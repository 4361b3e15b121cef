import { backoffMs, type Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import { publishedTables } from '../define-topic.ts'
import { LakeError } from '../error.ts'
import type { Chain, VersionContent } from '../lake/chain.ts'
import { evolveTable, writeVersionHints, type Storage, type TableSpec } from '../lake/table.ts'
import { partitionId, type PartitionId, type Source } from '../log.ts'
import { storedDefinition } from '../stored-definition.ts'
import type { TableVersion, Version } from '../version.ts'
import { storedWindow } from '../window-property.ts'
import { codeDifferences, type CodeDifference } from './code-difference.ts'
import { sourceOf, tableCodes } from './codes.ts'
import { emptyTables, tableSpecs } from './create-tables.ts'
import type { Subjects } from './first-columns.ts'
import { definitionAt } from './growing.ts'
import { openTables, type Tables } from './tables.ts'
import { windowSpecs } from './window/create.ts'

export interface AcceptParts {
  readonly definition: PipelineDefinition
  readonly chain: Chain
  readonly storage: Storage
  readonly source: Source
  readonly writer: string
  readonly registry?: Subjects | undefined
  readonly clock: Clock
}

/** Commits of the process that writes the pipeline may come in between so often. */
const ATTEMPTS_MAX = 50

/**
 * Adds a version that says: from here on the rows are made by this definition. Positions, clocks and the rows that are
 * there stay; columns evolve as Iceberg has it; tables and windows that are new begin empty, where the pipeline stands.
 * Resolves with the head where it is of this definition already. Throws `code.not_continuable`, and what a first start
 * throws.
 */
export async function acceptCode(parts: AcceptParts, signal?: AbortSignal): Promise<Version> {
  const { definition, chain, storage, writer, clock } = parts
  const published = new Set(publishedTables(definition).map(({ name }) => name))
  for (let attempt = 0; ; attempt++) {
    const head = await chain.at({ kind: 'head' })
    const differences = codeDifferences(definition, head, await openTables(storage, head.tables))
    if (differences.length === 0) return head
    refuse(definition, head, differences)
    const commitId = clock.uuid()
    // Another head than `head` differs from it by maintenance alone.
    const build = async (current: Version | undefined, number: bigint): Promise<VersionContent> => {
      const tables = await openTables(storage, current!.tables)
      const topics = await newTopics(parts, current!, tables)
      const positions = new Map([...current!.positions, ...topics.positions])
      return {
        ...current!,
        kind: 'cutover',
        writer,
        tables: await nextTables(parts, differences, { ...current!, positions }, tables, commitId),
        positions,
        origins: new Map([...current!.origins, ...topics.positions]),
        topicIds: { ...current!.topicIds, ...topics.topicIds },
        watermarkMs: leastWatermark(definition, current!),
        // Tables that are new are sent from here on: nothing is in them.
        published: {
          ...current!.published,
          ...Object.fromEntries(
            differences.filter(({ table, isNew }) => isNew && published.has(table)).map(({ table }) => [table, number]),
          ),
        },
        released: false,
        fork: undefined,
      }
    }
    const result = await chain.append(head, { commitId, build }, signal)
    if (result.kind === 'committed') {
      await writeVersionHints(storage, rewritten(head, result.version))
      return result.version
    }
    if (result.kind === 'superseded' || attempt >= ATTEMPTS_MAX)
      throw new LakeError('commit.stale', `another process moved pipeline ${definition.name} meanwhile`, {
        retryable: true,
      })
    await clock.sleep(backoffMs(clock, Math.min(attempt, 3)), signal)
  }
}

/** Throws `code.not_continuable` with every reason. */
function refuse({ name }: PipelineDefinition, head: Version, differences: readonly CodeDifference[]): void {
  const refused = differences.filter(({ obstacles }) => obstacles.length > 0)
  if (refused.length === 0) return
  const reasons = refused.map(({ table, obstacles }) => `${table}: ${obstacles.join(', ')}`)
  throw new LakeError('code.not_continuable', `the new code cannot go on from here. ${reasons.join('; ')}`, {
    context: {
      pipeline: name,
      version: String(head.number),
      tables: Object.fromEntries(refused.map(({ table, obstacles }) => [table, obstacles])),
    },
    fix: `Rebuild what changed: kappalake replay start ${name}`,
  })
}

/** First positions of topics that no table of the pipeline knew; of those that one waits for, all is read. */
async function newTopics(
  { definition, source }: AcceptParts,
  head: Version,
  tables: Tables,
): Promise<{ positions: Map<PartitionId, bigint>; topicIds: Readonly<Record<string, string>> }> {
  const awaited = new Set([...tables.values()].map(({ properties }) => storedDefinition(properties)?.['topic']))
  const names = [...new Set(definition.tables.map(({ topic }) => topic))].filter(
    (topic) => !Object.hasOwn(head.topicIds, topic) && !awaited.has(topic),
  )
  const positions = new Map<PartitionId, bigint>()
  const found = await source.topics(names)
  for (const { topic, partitions } of found.values()) {
    const { startAt } = definition.tables.find((table) => table.topic === topic)!
    const ids = partitions.map((partition) => partitionId(topic, partition))
    for (const [id, offset] of await source.positionsAt(ids, startAt)) positions.set(id, offset)
  }
  return { positions, topicIds: Object.fromEntries([...found.values()].map(({ topic, topicId }) => [topic, topicId])) }
}

async function nextTables(
  { definition, storage, clock, registry }: AcceptParts,
  differences: readonly CodeDifference[],
  head: Pick<Version, 'tables' | 'positions'>,
  tables: Tables,
  commitId: string,
): Promise<Version['tables']> {
  const created = new Set(differences.filter(({ isNew }) => isNew).map(({ table }) => table))
  const next: Record<string, TableVersion> = {
    ...head.tables,
    ...(await emptyTables(definition, created, head.tables, storage, clock, { begins: head.positions, registry })),
  }
  const codes = tableCodes(definition)
  for (const { table: name } of differences.filter(({ isNew }) => !isNew))
    for (const { name: stored, columns, properties = {} } of specsOf(definition, name, tables)) {
      const evolved = await evolveTable(storage, tables.get(stored)!, columns, properties, commitId, clock)
      next[stored] = { metadata: evolved.metadata, snapshot: evolved.snapshot, code: codes.get(name)! }
    }
  return next
}

/** What a source table or window and its companions are from here on. */
function specsOf(definition: PipelineDefinition, name: string, tables: Tables): readonly TableSpec[] {
  const window = definition.windows.find((each) => each.name === name)
  if (window === undefined) {
    const table = definition.tables.find((each) => each.name === name)!
    return tableSpecs(definitionAt(table, tables.get(name)))
  }
  // Windows that were left out stay so.
  const fromMs = storedWindow(tables.get(name)!.properties)?.fromMs
  return windowSpecs(window, sourceOf(window, definition), fromMs)
}

function leastWatermark({ windows }: PipelineDefinition, { watermarksMs }: Version): number | undefined {
  const all = windows.map(({ source }) => (Object.hasOwn(watermarksMs, source) ? watermarksMs[source] : undefined))
  return all.length === 0 || all.includes(undefined) ? undefined : Math.min(...(all as number[]))
}

function rewritten({ tables: before }: Version, { tables }: Version): Version['tables'][string][] {
  return Object.entries(tables).flatMap(([name, table]) => (before[name]?.metadata === table.metadata ? [] : [table]))
}
