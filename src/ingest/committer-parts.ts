import type { Clock } from '../clock.ts'
import type { Observer } from '../event.ts'
import type { Chain } from '../lake/chain.ts'
import type { Storage } from '../lake/table.ts'
import type { DeadLetterSettings } from '../settings.ts'
import type { Version } from '../version.ts'
import type { GrowingTables } from './growing.ts'
import type { KeyedTables } from './keyed-tables.ts'
import type { WindowTables } from './windows.ts'

export interface CommitPolicy {
  readonly writer: string
  /** Shortest time from the end of a commit to the start of the next. */
  readonly minIntervalMs: number
  /** A version without rows is written at most this often, and this often when nothing happens at all. */
  readonly heartbeatMs: number
  /** When too many records fail. Default: more than half of a partition's last 1,000. */
  readonly deadLetters?: DeadLetterSettings
}

/**
 * folded: the batch goes into the next commit. repeated: all of it was folded before. gap: it does not begin where
 * the last one ended. baseless: it holds records of which values are missing that no row has. After the latter two
 * whoever staged it must start again, from `cursors` and with `baseless`.
 */
export type FoldVerdict = 'folded' | 'repeated' | 'gap' | 'baseless'

export interface CommitterParts {
  readonly chain: Chain
  readonly storage: Storage
  readonly policy: CommitPolicy
  readonly clock: Clock
  readonly observer: Observer
  /** Needed to fold batches of keyed tables. */
  readonly keyed?: KeyedTables
  /** Needed to fold batches of tables that feed windows. */
  readonly windows?: WindowTables
  /** Needed to fold batches of tables whose columns come from a registry. */
  readonly growing?: GrowingTables
  /** Tables of the definition, companions included; undefined: of a commit that folds nothing. */
  readonly own?: ReadonlySet<string>
  /** Last versions whose changes were sent, where that is not what the head says. */
  published?(): Version['published']
  /** Nothing is to lead readers to what it commits. */
  readonly isFork?: boolean
}
