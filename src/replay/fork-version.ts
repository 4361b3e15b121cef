import { tableNames, type PipelineDefinition } from '../define.ts'
import type { Part } from '../ingest/pipeline.ts'
import type { VersionContent } from '../lake/chain.ts'
import { parsePartitionId, type PartitionId, type Positions } from '../log.ts'
import type { ReplayMode } from '../replay-status.ts'
import type { Version } from '../version.ts'
import { known } from './span.ts'

/**
 * What a fork says once its rebuilt tables have come to where the base stands: those, and the others as the base has
 * them, at the base's positions. From here on it can go on as the whole pipeline. Pure.
 */
export function atBase(definition: PipelineDefinition, part: Part, head: Version, base: Version): VersionContent {
  const topics = new Set(definition.tables.map(({ topic }) => topic))
  const ofTopics = <V>(map: ReadonlyMap<PartitionId, V>): readonly (readonly [PartitionId, V])[] =>
    [...map].filter(([id]) => topics.has(parsePartitionId(id).topic))
  const fork = head.fork!
  const rebuilt = new Set(fork.rebuilt)
  const names = [...definition.tables, ...definition.windows].flatMap(tableNames)
  const tables = names.flatMap((name) => {
    const table = rebuilt.has(name) ? head.tables[name] : base.tables[name]
    return table === undefined ? [] : [[name, table] as const]
  })
  return {
    ...head,
    kind: 'fork',
    tables: Object.fromEntries(tables),
    positions: new Map([...head.positions, ...known(definition, base)]),
    origins: new Map([...ofTopics(base.origins), ...head.origins]),
    clocksMs: Object.fromEntries(
      definition.tables.flatMap(({ name }) => {
        const clocks = own((rebuilt.has(name) ? mergeable(head, fork.building?.until, base) : base).clocksMs, name)
        return clocks === undefined ? [] : [[name, clocks]]
      }),
    ),
    ...watermarks(definition, part, head, base),
    topicIds: {
      ...Object.fromEntries(Object.entries(base.topicIds).filter(([topic]) => topics.has(topic))),
      ...head.topicIds,
    },
    tails: new Map([...head.tails, ...ofTopics(base.tails)]),
    holes: new Map([...head.holes, ...ofTopics(base.holes)]),
    fork: { ...fork, building: undefined },
  }
}

/** A range ends below the base, which knows the clocks of the rest. */
function mergeable(head: Version, until: Positions | undefined, base: Version): Version {
  return [...(until ?? [])].some(([id, offset]) => offset < (base.positions.get(id) ?? 0n)) ? base : head
}

/** Those of the sources that were read are the fork's, and never less than the base's (fork.ts sees to that). */
function watermarks(
  definition: PipelineDefinition,
  part: Part,
  head: Version,
  base: Version,
): Pick<Version, 'watermarksMs' | 'watermarkMs'> {
  const sources = [...new Set(definition.windows.map(({ source }) => source))]
  const read = new Set(part.definition.windows.map(({ source }) => source))
  const all = sources.map((name) => [name, own((read.has(name) ? head : base).watermarksMs, name)] as const)
  const found = all.filter((each): each is readonly [string, number] => each[1] !== undefined)
  const least = found.length < all.length || all.length === 0 ? undefined : Math.min(...found.map(([, ms]) => ms))
  return { watermarksMs: Object.fromEntries(found), watermarkMs: least }
}

/**
 * Where the history of the tables begins: of a topic all of whose tables are made anew where the replay does, of others
 * where it began before.
 */
export function originsOf(
  { tables }: PipelineDefinition,
  rebuilt: ReadonlySet<string>,
  base: Version,
  from: Positions,
  mode: ReplayMode,
): Positions {
  const isWhole = (id: PartitionId): boolean => {
    const { topic } = parsePartitionId(id)
    return mode !== 'range' && tables.every((table) => table.topic !== topic || rebuilt.has(table.name))
  }
  return new Map([...from].map(([id, offset]) => [id, isWhole(id) ? offset : (base.origins.get(id) ?? offset)]))
}

/** `constructor` is a table like any other. */
function own<V>(record: Readonly<Record<string, V>>, key: string): V | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
