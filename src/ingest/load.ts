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

/** Reads the keys of all rows, which lanes do: the committer knows where each key's row stands. */
export function loadKeys({ definition, storage, clock }: Pipeline, lanes: Lanes, tables: Tables): Promise<KeyedTables> {
  const plans = tablePlans(definition, tables)
  return KeyedTables.load(definition.tables, tables, plans, storage, () => lanes.work, clock)
}

/** The windows that are open at the head, read back from their tables. */
export async function openWindows(
  { definition, storage, clock, openFold }: Pipeline,
  source: Source,
  head: Version,
  tables: Tables,
): Promise<WindowTables> {
  if (definition.windows.length === 0) return WindowTables.none
  if (openFold === undefined) throw new LakeError('internal', `nothing holds the windows of ${definition.name}`)
  const fold = await openFold(definition)
  try {
    return await WindowTables.load({ definition, fold, storage, clock, source, tables, head })
  } catch (error) {
    await fold.close()
    throw error
  }
}

/** Publishes from where the head says, for as long as the lanes are open; not without a sink, as of a fork. */
export function openPublisher(pipeline: Pipeline, lanes: Lanes, chain: Chain, head: Version): Publisher {
  const { definition, storage, clock, observer, openSink } = pipeline
  if (openSink === undefined) return Publisher.none
  const open = () => ({ definition, chain, storage, clock, observer, sink: openSink(), work: () => lanes.work })
  return Publisher.open(definition, head, open)
}
