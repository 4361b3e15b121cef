import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import type { Clock } from '../../src/clock.ts'
import { tableNames, type PipelineDefinition } from '../../src/define.ts'
import { emptyTables, partOf, type ForkRun, type Part } from '../../src/ingest/pipeline.ts'
import { openFork, type Chain, type VersionContent } from '../../src/lake/chain.ts'
import type { Storage } from '../../src/lake/table.ts'
import type { Positions } from '../../src/log.ts'
import type { Clocks, Fork, TableVersion, Version } from '../../src/version.ts'

// The life of a fork as far as a run needs it: its first version, and the one in which it has reached its base.

export interface ForkParts {
  readonly storage: Storage
  readonly definition: PipelineDefinition
  /** Source tables and windows that are built from the log. */
  readonly rebuilt: ReadonlySet<string>
  readonly base: Version
  readonly clock?: Clock
  /** What made the base; default: it had no windows. */
  readonly before?: PipelineDefinition
  /** Default: where the base began. */
  readonly from?: Positions
  /** Default: where the base stands. */
  readonly until?: Positions
  readonly seededMs?: Clocks
  /** What rebuilt tables begin as; default: empty. */
  readonly tables?: Readonly<Record<string, TableVersion>>
}

export interface TestFork {
  readonly chain: Chain
  readonly part: Part
  readonly run: ForkRun
  readonly until: Positions
}

let forks = 0

export async function beginFork(parts: ForkParts): Promise<TestFork> {
  const { storage, definition, rebuilt, base, clock = systemClock, seededMs } = parts
  const { from = base.origins, until = base.positions } = parts
  const part = partOf(definition, rebuilt)
  const id = String(++forks).padStart(64, '0')
  const chain = openFork(storage, definition.name, id, clock)
  const options = seededMs === undefined ? {} : { seededMs }
  const made = new Set([...rebuilt, ...part.temporary])
  const empty = parts.tables ?? (await emptyTables(definition, made, base.tables, storage, clock, options))
  const topics = new Set(part.definition.tables.map(({ topic }) => `${topic}/`))
  const ofPart = (positions: Positions): Positions =>
    new Map([...positions].filter(([partition]) => topics.has(partition.slice(0, partition.lastIndexOf('/') + 1))))
  const fork: Fork = {
    id,
    base: { number: base.number, commitId: base.commitId },
    rebuilt: Object.keys(empty),
    building: { stage: 'tables', from: ofPart(from), until: ofPart(until) },
  }
  const content: VersionContent = {
    kind: 'fork',
    writer: 'f',
    tables: { ...base.tables, ...empty },
    positions: ofPart(from),
    origins: ofPart(from),
    clocksMs: seededMs ?? {},
    watermarksMs: {},
    watermarkMs: undefined,
    topicIds: base.topicIds,
    tails: new Map(),
    holes: new Map(),
    published: {},
    paused: undefined,
    released: false,
    fork,
  }
  await append(chain, undefined, content, clock)
  const watermarksMsMin = Object.fromEntries(fedBefore(parts).map((name) => [name, base.watermarksMs[name]]))
  return { chain, part, run: { unwritten: part.unwritten, watermarksMsMin }, until: ofPart(until) }
}

/** Source tables that are as they were, and that fed windows. */
function fedBefore({ definition, rebuilt, before }: ForkParts): readonly string[] {
  const unchanged = definition.tables.filter(({ name }) => !rebuilt.has(name)).map(({ name }) => name)
  return unchanged.filter((name) => before?.windows.some(({ source }) => source === name) === true)
}

/** The fork has reached its base: what it shares stands as it did there, and the whole pipeline goes on. */
export async function reachBase({ chain, part }: TestFork, parts: ForkParts): Promise<void> {
  const { base, definition, rebuilt, clock } = parts
  const head = (await chain.head())!
  for (const [id, until] of head.fork!.building!.until) assert.equal(head.positions.get(id), until)
  const shared = new Set(definition.tables.filter(({ name }) => !rebuilt.has(name)).map(({ name }) => name))
  const temporary = definition.tables.filter(({ name }) => part.temporary.has(name)).flatMap(tableNames)
  const pick = <V>(of: Readonly<Record<string, V>>, from: Readonly<Record<string, V>>): Record<string, V> => {
    const picked = Object.fromEntries(Object.entries(of).filter(([name]) => !shared.has(name)))
    return { ...picked, ...Object.fromEntries(Object.entries(from).filter(([name]) => shared.has(name))) }
  }
  await append(
    chain,
    head,
    {
      ...head,
      tables: { ...head.tables, ...Object.fromEntries(temporary.map((name) => [name, base.tables[name]!])) },
      positions: base.positions,
      origins: base.origins,
      clocksMs: pick(head.clocksMs, base.clocksMs),
      // Those of sources that fed windows there are those of the base already, where they are part of the fork.
      watermarksMs: { ...pick({}, base.watermarksMs), ...head.watermarksMs },
      topicIds: base.topicIds,
      tails: base.tails,
      fork: { ...head.fork!, building: undefined },
    },
    clock ?? systemClock,
  )
}

async function append(chain: Chain, head: Version | undefined, content: VersionContent, clock: Clock): Promise<void> {
  const result = await chain.append(head, { commitId: clock.uuid(), build: () => Promise.resolve(content) })
  assert.equal(result.kind, 'committed')
}
