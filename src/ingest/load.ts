import { tableNames, type PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { Chain } from '../lake/chain.ts'
import type { Source } from '../log.ts'
import type { Version } from '../version.ts'
import { KeyedTables } from './keyed-tables.ts'
import type { Lanes } from './lanes.ts'
import type { Pipeline } from './pipeline.ts'
import { Publisher } from './publisher.ts'
import { tablePlans } from './start.ts'
import type { Tables } from './tables.ts'
import { WindowTables } from './windows.ts'

/** Source tables that are not written: none but while a fork is built, since what it shares is its own from then on. */
export function unwrittenAt({ fork }: Pipeline, head: Version): ReadonlySet<string> {
  return head.fork?.building === undefined ? new Set() : (fork?.unwritten ?? new Set())
}

/** Reads the keys of all rows, which lanes do: the committer knows where each key's row stands. */
export function loadKeys(
  { definition, storage, clock }: Pipeline,
  lanes: Lanes,
  tables: Tables,
  unwritten: ReadonlySet<string>,
): Promise<KeyedTables> {
  const plans = tablePlans(definition, tables, unwritten)
  // The keys of what is not written are nobody's: its rows stand where the base of the fork does.
  const written = definition.tables.filter(({ name }) => !unwritten.has(name))
  return KeyedTables.load(written, tables, plans, storage, () => lanes.work, clock)
}

/** The windows that are open at the head, read back from their tables. */
export async function openWindows(
  pipeline: Pipeline,
  source: Source,
  head: Version,
  tables: Tables,
): Promise<WindowTables> {
  const { definition, storage, clock, openFold, fork } = pipeline
  if (definition.windows.length === 0) return WindowTables.none
  if (openFold === undefined) throw new LakeError('internal', `nothing holds the windows of ${definition.name}`)
  const opened = await openFold(definition)
  try {
    const bound = fork && { until: head.fork?.building?.until, watermarksMs: fork.watermarksMsMin }
    const unwritten = unwrittenAt(pipeline, head)
    return await WindowTables.load({ definition, fold: opened, storage, clock, source, tables, head, bound, unwritten })
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** Tables that are written, companions included: what a fork that is built shares with its base is not its own. */
export function writtenTables({ tables, windows }: PipelineDefinition, unwritten: ReadonlySet<string>): Set<string> {
  const written = tables.filter(({ name }) => !unwritten.has(name))
  return new Set([...written, ...windows].flatMap(tableNames))
}

/** Publishes from where the head says, for as long as the lanes are open; not without a sink, as of a fork. */
export function openPublisher(pipeline: Pipeline, lanes: Lanes, chain: Chain, head: Version): Publisher {
  const { definition, storage, clock, observer, openSink } = pipeline
  if (openSink === undefined) return Publisher.none
  const open = () => ({ definition, chain, storage, clock, observer, sink: openSink(), work: () => lanes.work })
  return Publisher.open(definition, head, open)
}
