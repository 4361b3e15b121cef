import type { PipelineDefinition } from '../define.ts'
import { asLakeError, LakeError } from '../error.ts'
import { tableCodes, type Part } from '../ingest/pipeline.ts'
import type { Chain } from '../lake/chain.ts'
import {
  parsePartitionId,
  partitionId,
  type PartitionBounds,
  type PartitionId,
  type Positions,
  type Source,
} from '../log.ts'
import type { ReplayOptions, ReplayPoint } from '../replay-status.ts'
import type { Clocks, Version } from '../version.ts'
import { needsAllRecords } from './plan.ts'

/** What a replay reads of the log before it stands where its base does. */
export interface Span {
  /** Where rows begin. */
  readonly from: Positions
  readonly until: Positions
  /** Where clocks begin, when that is before the rows (rule R2); undefined: they begin together. */
  readonly seedFrom: Positions | undefined
  /** What they are there: nothing, unless a version that is kept knows. */
  readonly clocksMs: Clocks
  readonly topicIds: Readonly<Record<string, string>>
}

/** What the log says, asked for once. */
export interface LogAnswers {
  /** All partitions that are read. */
  readonly bounds: ReadonlyMap<PartitionId, PartitionBounds>
  /** Partitions of topics that the base does not know, and where they begin. */
  readonly added: Positions
  readonly addedIds: Readonly<Record<string, string>>
  /** What the points in time of the options are; empty where they are none. */
  readonly from: Positions
  readonly to: Positions
  readonly compacted: ReadonlySet<string>
}

export async function askLog(
  source: Source,
  { definition }: Part,
  base: Version,
  { from, to }: ReplayOptions,
): Promise<LogAnswers> {
  const names = [...new Set(definition.tables.map(({ topic }) => topic))]
  const topics = await source.topics(names)
  const added = new Map<PartitionId, bigint>()
  const addedIds: [string, string][] = []
  for (const { topic, topicId, partitions } of topics.values()) {
    const tables = definition.tables.filter((table) => table.topic === topic)
    // One that the base waits for begins at its beginning, when the fork goes on as a whole pipeline (rule P7).
    const isAwaited = tables.some(({ name }) => Object.hasOwn(base.tables, name))
    if (Object.hasOwn(base.topicIds, topic) || isAwaited) continue
    addedIds.push([topic, topicId])
    const ids = partitions.map((partition) => partitionId(topic, partition))
    for (const [id, offset] of await source.positionsAt(ids, tables[0]!.startAt)) added.set(id, offset)
  }
  const ids = [...known(definition, base).keys(), ...added.keys()]
  const at = (point: ReplayPoint | null): Promise<Positions> =>
    point?.kind === 'timestamp'
      ? source.positionsAt(ids, { timestampMs: point.timestampMs })
      : Promise.resolve(new Map())
  return {
    bounds: await source.bounds(ids),
    added,
    addedIds: Object.fromEntries(addedIds),
    from: await at(from),
    to: await at(to),
    compacted: (await source.compacted?.([...topics.keys()])) ?? new Set(),
  }
}

/**
 * Where a replay begins and ends. Pure. Throws `replay.offsets_expired` when the log no longer reaches back to the
 * beginning, and `replay.compacted` when it no longer holds what a table needs.
 */
export function planSpan(
  part: Part,
  rebuilt: ReadonlySet<string>,
  base: Version,
  options: ReplayOptions,
  answers: LogAnswers,
): Span {
  const { definition } = part
  if (!options.acceptCompacted) assertWhole(definition, rebuilt, answers.compacted)
  const from = new Map<PartitionId, bigint>()
  const until = new Map<PartitionId, bigint>()
  const begins = new Map<PartitionId, bigint>()
  const { bounds } = answers
  for (const [id, position] of known(definition, base)) {
    const begin = base.origins.get(id) ?? bounds.get(id)?.logStart ?? position
    const end = least(position, pointOf(options.to, id, answers.to) ?? position)
    begins.set(id, begin)
    from.set(id, least(end, pointOf(options.from, id, answers.from) ?? begin))
    until.set(id, end)
  }
  for (const [id, begin] of answers.added) {
    const end = greatest(begin, bounds.get(id)?.end ?? begin)
    begins.set(id, begin)
    from.set(id, least(end, greatest(begin, pointOf(options.from, id, answers.from) ?? begin)))
    until.set(id, end)
  }
  assertAvailable(from, until, bounds)
  // What comes before the rows moves clocks, and those decide what windows count.
  const isSeeded = definition.windows.length > 0 && [...from].some(([id, offset]) => offset > begins.get(id)!)
  const seedFrom = new Map(
    [...from].map(([id, offset]) => [id, least(offset, greatest(begins.get(id)!, bounds.get(id)?.logStart ?? 0n))]),
  )
  return { from, until, seedFrom: isSeeded ? seedFrom : undefined, clocksMs: {}, topicIds: answers.addedIds }
}

/**
 * The same span with clocks that begin where the newest kept version stands that has passed nothing of it, so that no more
 * than what is between is read for them. Not where other code judged event times then, nor of a source whose code no
 * version tells, because it is not stored.
 */
export async function withKnownClocks(span: Span, { definition }: Part, main: Chain): Promise<Span> {
  if (span.seedFrom === undefined) return span
  const known = await main.at({ kind: 'within', positions: span.from }).catch(noVersion)
  const codes = tableCodes(definition)
  const sources = [...new Set(definition.windows.map(({ source }) => source))]
  if (known === undefined || sources.some((name) => known.tables[name]?.code !== codes.get(name))) return span
  const clocks = sources.flatMap((name) => {
    const all = Object.entries(known.clocksMs[name] ?? {}) as [PartitionId, number][]
    return [[name, Object.fromEntries(all.filter(([id]) => span.from.has(id)))] as const]
  })
  const seedFrom = [...span.seedFrom].map(
    ([id, begin]) => [id, greatest(begin, known.positions.get(id) ?? begin)] as const,
  )
  return { ...span, seedFrom: new Map(seedFrom), clocksMs: Object.fromEntries(clocks) }
}

function noVersion(error: unknown): undefined {
  if (asLakeError(error).code !== 'version.unknown') throw error
}

/** Positions of the base in the topics of a definition. */
export function known({ tables }: PipelineDefinition, { positions }: Version): Positions {
  const topics = new Set(tables.map(({ topic }) => topic))
  return new Map([...positions].filter(([id]) => topics.has(parsePartitionId(id).topic)))
}

function pointOf(point: ReplayPoint | null, id: PartitionId, resolved: Positions): bigint | undefined {
  if (point?.kind === 'timestamp') return resolved.get(id)
  if (point?.kind !== 'offsets' || !Object.hasOwn(point.offsets, id)) return undefined
  return BigInt(point.offsets[id]!)
}

function assertAvailable(from: Positions, until: Positions, bounds: LogAnswers['bounds']): void {
  const lost = [...from].filter(
    ([id, offset]) => offset < until.get(id)! && offset < (bounds.get(id)?.logStart ?? offset),
  )
  if (lost.length === 0) return
  const first = Object.fromEntries(lost.map(([id]) => [id, String(bounds.get(id)!.logStart)]))
  const said = lost.map(([id, offset]) => `${id} begins at ${bounds.get(id)!.logStart}, and ${offset} is needed`)
  throw new LakeError('replay.offsets_expired', `the log no longer reaches back: ${said.join('; ')}`, {
    context: { first },
    fix: 'Replay from there ("from"), or restore the topic. Next time an archive has what the log has lost.',
  })
}

function assertWhole(
  definition: PipelineDefinition,
  rebuilt: ReadonlySet<string>,
  compacted: ReadonlySet<string>,
): void {
  const tables = definition.tables.filter(
    (table) => compacted.has(table.topic) && needsAllRecords(definition, table, rebuilt),
  )
  if (tables.length === 0) return
  const said = tables.map(({ name, topic }) => `${name} counts every record of ${topic}`).join(', ')
  throw new LakeError('replay.compacted', `${said}, and compaction keeps only the last of each key`, {
    context: { tables: tables.map(({ name }) => name) },
    fix: 'Accept that rows of records that are gone will be gone too (acceptCompacted), or leave these tables out.',
  })
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const greatest = (a: bigint, b: bigint): bigint => (a > b ? a : b)
