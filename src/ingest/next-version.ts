import type { VersionContent } from '../lake/chain.ts'
import type { LakeTable } from '../lake/table.ts'
import { parsePartitionId, type Positions } from '../log.ts'
import type { Version } from '../version.ts'
import { storedWindow } from '../window-property.ts'
import type { Pending } from './pending.ts'
import type { Tables } from './tables.ts'

/** What a commit may say beside the rows that were folded. */
export interface Change {
  /** First positions of partitions that are new to the pipeline. */
  readonly firstPositions?: Positions
  readonly topicIds?: Readonly<Record<string, string>>
  readonly paused?: Version['paused']
  readonly resumed?: boolean
  readonly released?: boolean
  /** The same rows in other files. */
  readonly isMaintenance?: boolean
  /** A bounded log is drained: nothing will come after it. */
  readonly isLast?: boolean
}

/** Code of a window table that was not in the definition while its source went on: that of no definition. */
export const LEFT_BEHIND = 'left-behind'

/**
 * What the version after `head` says: all that was folded, and the tables that hold it. `isFolded`: whether a table is
 * one of the windows that were.
 */
export function nextVersion(
  head: Version,
  pending: Pending,
  tables: Tables,
  change: Change,
  published: Version['published'],
  writer: string,
  isFolded: (table: string) => boolean,
): VersionContent {
  const moved = new Set(
    [...pending.positions]
      .filter(([id, position]) => position !== head.positions.get(id))
      .map(([id]) => parsePartitionId(id).topic),
  )
  const isLeft = (table: LakeTable | undefined): boolean => {
    // Until a fork has reached its base, what it shares stands where the base does.
    if (head.fork?.building !== undefined && head.kind !== 'cutover') return false
    const window = table === undefined || isFolded(table.name) ? undefined : storedWindow(table.properties)
    return window !== undefined && moved.has(window.topic)
  }
  return {
    kind: change.isMaintenance === true ? 'maintenance' : 'ingest',
    writer,
    tables: Object.fromEntries(
      Object.entries(head.tables).map(([name, table]) => {
        const { metadata, snapshot } = tables.get(name) ?? table
        return [name, { metadata, snapshot, code: isLeft(tables.get(name)) ? LEFT_BEHIND : table.code }]
      }),
    ),
    positions: new Map([...pending.positions, ...(change.firstPositions ?? [])]),
    origins: new Map([...(change.firstPositions ?? []), ...head.origins]),
    clocksMs: pending.clocksMs,
    ...pending.watermarks,
    topicIds: { ...head.topicIds, ...change.topicIds },
    tails: pending.tails,
    holes: pending.holes,
    published: { ...head.published, ...published },
    paused: change.resumed === true ? undefined : (change.paused ?? head.paused),
    released: change.released ?? false,
    // Main goes on as itself after it took the place of a fork.
    fork: head.kind === 'cutover' ? undefined : head.fork,
  }
}
