import type { Clock } from '../clock.ts'
import { tableNames, type PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import {
  assertSeedable,
  emptyTables,
  run,
  seedingOf,
  tableCodes,
  withoutRange,
  type CommitPolicy,
  type ForkRun,
  type Lanes,
  type Part,
  type Pipeline,
  type RunResult,
} from '../ingest/pipeline.ts'
import { openFork, type Chain, type VersionContent } from '../lake/chain.ts'
import { baseTag, putTag, readTags, type Storage } from '../lake/table.ts'
import type { Positions, Source } from '../log.ts'
import type { ReplayOptions } from '../replay-status.ts'
import type { Building, TableVersion, Version } from '../version.ts'
import { bounded } from './bounded.ts'
import { atBase, originsOf } from './fork-version.ts'
import { partOfPlan, planTables } from './plan.ts'
import { askLog, planSpan, withKnownClocks, type Span } from './span.ts'

export interface ForkParts extends Pick<Pipeline, 'openFold' | 'observer' | 'control' | 'compaction' | 'registry'> {
  readonly definition: PipelineDefinition
  /** The log, as far back as it reaches. */
  readonly source: Source
  readonly storage: Storage
  readonly main: Chain
  readonly policy: CommitPolicy
  readonly clock: Clock
  startLanes(definition: PipelineDefinition, source: Source, until?: Positions): Promise<Lanes>
}

/** The fork of one replay. */
export interface Fork {
  readonly id: string
  readonly options: ReplayOptions
  readonly chain: Chain
}

export function forkOf({ storage, main, clock }: ForkParts, id: string, options: ReplayOptions): Fork {
  return { id, options, chain: openFork(storage, main.pipeline, id, clock) }
}

/**
 * The head of a fork, which is made when it is not there. Everything that it will do is decided here and stands in its
 * versions: which tables, which offsets, and the version of the main chain that it begins at, which a tag holds from
 * before the fork names it. Throws what planning throws.
 */
export async function openOrCreate(parts: ForkParts, fork: Fork, signal: AbortSignal): Promise<Version> {
  const there = await fork.chain.head()
  const head = there ?? (await create(parts, fork, signal))
  // Two processes may have made it, each with a tag for where it would begin: the fork decides.
  const base = head.fork!.base.number
  const name = baseTag(fork.id)
  const tag = (await readTags(parts.storage, parts.main.pipeline)).find((each) => each.name === name)
  if (tag?.version !== base)
    await putTag(parts.storage, parts.main.pipeline, { name, version: base, untilMs: undefined })
  return head
}

/** The version that a fork began at. Throws `replay.base_moved` when another one stands there. */
export async function baseOf(main: Chain, { fork }: Version): Promise<Version> {
  const { number, commitId } = fork!.base
  const base = await main.at({ kind: 'number', number })
  if (base.commitId === commitId) return base
  throw new LakeError('replay.base_moved', `version ${number} is not the one that the replay began at`)
}

/** Reads event times up to where the rows begin; nothing is written but clocks (rule R2). */
export function seed(parts: ForkParts, fork: Fork, { fork: state }: Version, signal: AbortSignal): Promise<RunResult> {
  const { building } = state!
  const { definition, unwritten } = seedingOf(partOf(parts, state!.rebuilt))
  return runOn(parts, fork, definition, { unwritten, watermarksMsMin: {} }, building!.from, signal)
}

/** Builds the tables that are made anew, up to where the base stands. */
export async function build(parts: ForkParts, fork: Fork, head: Version, signal: AbortSignal): Promise<RunResult> {
  const { rebuilt, building } = head.fork!
  const { definition, unwritten } = partOf(parts, rebuilt)
  const base = await baseOf(parts.main, head)
  // What is final at the base stays final: which partitions were idle was decided by a clock on a wall, once.
  const same = [...tableCodes(definition)].filter(([name, code]) => base.tables[name]?.code === code)
  const known = same.flatMap(([name]) => (name in base.watermarksMs ? [[name, base.watermarksMs[name]!] as const] : []))
  const watermarksMsMin = Object.fromEntries(known)
  return runOn(parts, fork, definition, { unwritten, watermarksMsMin }, building!.until, signal)
}

/** Goes on as the whole pipeline, shared tables included, until `signal` aborts. */
export function catchUp(parts: ForkParts, fork: Fork, signal: AbortSignal): Promise<RunResult> {
  return runOn(parts, fork, parts.definition, { unwritten: new Set(), watermarksMsMin: {} }, undefined, signal)
}

/** THE path: the same `run` as that of live ingestion, on another chain and perhaps a log that ends. */
function runOn(
  { source, policy, ...parts }: ForkParts,
  { chain }: Fork,
  definition: PipelineDefinition,
  fork: ForkRun,
  until: Positions | undefined,
  signal: AbortSignal,
): Promise<RunResult> {
  const startLanes = (of: Source) => parts.startLanes(definition, of, until)
  const log = until === undefined ? source : bounded(source, until)
  return run(log, { ...parts, definition, fork, startLanes }, chain, policy, signal)
}

/** The stage after the one whose log is drained, as a version of the fork; undefined when another process moved it. */
export async function nextStage(
  parts: ForkParts,
  fork: Fork,
  head: Version,
  signal: AbortSignal,
): Promise<Version | undefined> {
  const { building } = head.fork!
  const content =
    building!.stage === 'seeding'
      ? await afterSeeding(parts, head)
      : atBase(parts.definition, partOf(parts, head.fork!.rebuilt), head, await baseOf(parts.main, head))
  return append(parts, fork, head, content, signal)
}

async function create(parts: ForkParts, fork: Fork, signal: AbortSignal): Promise<Version> {
  const { main, definition, source, storage } = parts
  const base = await main.at({ kind: 'head' })
  await putTag(storage, main.pipeline, { name: baseTag(fork.id), version: base.number, untilMs: undefined })
  const plan = planTables(definition, base, fork.options)
  const rebuilt = new Set(plan.rebuilt)
  const part = partOfPlan(definition, plan)
  const asked = await askLog(source, part, base, fork.options)
  const span = await withKnownClocks(planSpan(part, rebuilt, base, fork.options, asked), part, main)
  if (span.seedFrom !== undefined) assertSeedable(part)
  const stage = span.seedFrom === undefined ? 'tables' : 'seeding'
  const topics = new Set(part.definition.tables.map(({ topic }) => topic))
  const topicIds = Object.entries(base.topicIds).filter(([topic]) => topics.has(topic))
  const content: VersionContent = {
    kind: 'fork',
    writer: parts.policy.writer,
    tables: await firstTables(parts, fork, part, rebuilt, base, span),
    positions: span.seedFrom ?? span.from,
    origins: originsOf(definition, rebuilt, base, span.from, fork.options.mode),
    clocksMs: span.clocksMs,
    watermarksMs: {},
    watermarkMs: undefined,
    topicIds: { ...Object.fromEntries(topicIds), ...span.topicIds },
    tails: new Map(),
    holes: new Map(),
    published: {},
    paused: undefined,
    released: false,
    fork: {
      id: fork.id,
      base: { number: base.number, commitId: base.commitId },
      rebuilt: allNames(definition, rebuilt),
      building: { stage, from: span.from, until: span.until },
    },
  }
  const result = await fork.chain.append(
    undefined,
    { commitId: parts.clock.uuid(), build: () => Promise.resolve(content) },
    signal,
  )
  return result.kind === 'committed' ? result.version : result.head
}

/** Tables that are made anew, before their first record or without the rows of a range; and those that only feed windows. */
async function firstTables(
  parts: ForkParts,
  { options }: Fork,
  part: Part,
  rebuilt: ReadonlySet<string>,
  base: Version,
  span: Span,
): Promise<Readonly<Record<string, TableVersion>>> {
  const { definition, storage, clock, registry } = parts
  if (options.mode === 'range') return withoutRanges(parts, part, base, span)
  const isSeeding = span.seedFrom !== undefined
  const written = part.definition.tables.filter(({ name }) => !part.unwritten.has(name))
  const names = [...written.map(({ name }) => name), ...(isSeeding ? [] : rebuilt)]
  const made = await emptyTables(definition, new Set(names), base.tables, storage, clock, {
    begins: span.from,
    registry,
  })
  const shared = allNames(definition, part.unwritten).map((name) => [name, base.tables[name]!] as const)
  return { ...Object.fromEntries(shared), ...made }
}

async function withoutRanges(
  parts: ForkParts,
  { definition }: Part,
  base: Version,
  span: Span,
): Promise<Readonly<Record<string, TableVersion>>> {
  const lanes = await parts.startLanes(definition, parts.source)
  try {
    const tables: Record<string, TableVersion> = {}
    for (const table of definition.tables)
      Object.assign(
        tables,
        await withoutRange(table, base.tables, span, { ...parts, work: lanes.work, version: base.number }),
      )
    return tables
  } finally {
    await lanes.close()
  }
}

async function afterSeeding(parts: ForkParts, head: Version): Promise<VersionContent> {
  const { definition, storage, clock, main } = parts
  const fork = head.fork!
  const base = await baseOf(main, head)
  const windows = partOf(parts, fork.rebuilt).definition.windows.map(({ name }) => name)
  const seeded = { seededMs: head.clocksMs }
  const made = await emptyTables(definition, new Set(windows), base.tables, storage, clock, seeded)
  const building: Building = { ...fork.building!, stage: 'tables' }
  return { ...head, kind: 'fork', tables: { ...head.tables, ...made }, fork: { ...fork, building } }
}

async function append(
  { policy, clock }: ForkParts,
  { chain }: Fork,
  head: Version,
  content: VersionContent,
  signal: AbortSignal,
): Promise<Version | undefined> {
  const { writer } = policy
  const build = () => Promise.resolve({ ...content, writer, released: false })
  const result = await chain.append(head, { commitId: clock.uuid(), build }, signal)
  return result.kind === 'committed' ? result.version : undefined
}

function partOf({ definition }: ForkParts, rebuilt: readonly string[]): Part {
  return partOfPlan(definition, { rebuilt })
}

/** Names of tables and their companions. */
function allNames({ tables, windows }: PipelineDefinition, names: ReadonlySet<string>): readonly string[] {
  return [...tables, ...windows].filter(({ name }) => names.has(name)).flatMap(tableNames)
}
