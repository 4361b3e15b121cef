import type { Retried } from '../dead-letters.ts'
import type { VersionContent } from '../lake/chain.ts'
import type { TableChange } from '../lake/table.ts'
import { parsePartitionId, type Positions } from '../log.ts'
import { storedDefinition } from '../stored-definition.ts'
import { LEFT_BEHIND, type Version } from '../version.ts'
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
  /** Dead letters are settled: what a job has come to, and what becomes of their tables. */
  readonly settled?: Settled
}

/** What a commit does to dead letters. */
export interface Settled {
  readonly retried: Retried
  readonly letters: ReadonlyMap<string, TableChange>
}

/**
 * What the version after `head` says: all that was folded, and the tables that hold it. `own`: tables of the definition;
 * undefined where nothing was folded.
 */
export function nextVersion(
  head: Version,
  pending: Pending,
  tables: Tables,
  change: Change,
  published: Version['published'],
  writer: string,
  own: ReadonlySet<string> | undefined,
): VersionContent {
  const moved = movedTopics(head, pending)
  const retried = change.settled?.retried ?? (head.retried && { ...head.retried, positions: {} })
  const isLeft = (name: string): boolean => {
    // What a fork shares while it builds stands where the fork began, whatever is read meanwhile.
    if (own === undefined || own.has(name) || moved.size === 0) return false
    if (head.fork?.building !== undefined && head.kind !== 'cutover') return false
    const topic = topicOf(name, tables)
    return topic === undefined || moved.has(topic)
  }
  return {
    kind: change.settled !== undefined ? 'repair' : change.isMaintenance === true ? 'maintenance' : 'ingest',
    writer,
    tables: Object.fromEntries(
      Object.entries(head.tables).map(([name, table]) => {
        const { metadata, snapshot } = tables.get(name) ?? table
        return [name, { metadata, snapshot, code: isLeft(name) ? LEFT_BEHIND : table.code }]
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
    ...(retried === undefined ? {} : { retried }),
  }
}

function movedTopics(head: Version, pending: Pending): ReadonlySet<string> {
  const moved = [...pending.positions].filter(([id, position]) => position !== head.positions.get(id))
  return new Set(moved.map(([id]) => parsePartitionId(id).topic))
}

/** The topic that feeds a table or its owner; undefined where the table does not say. */
function topicOf(name: string, tables: Tables): string | undefined {
  const { properties = {} } = tables.get(name.replace(/__[a-z]+$/, '')) ?? {}
  const topic = storedWindow(properties)?.topic ?? storedDefinition(properties)?.['topic']
  return typeof topic === 'string' ? topic : undefined
}
