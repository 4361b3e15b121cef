import type { QueryRequest, QueryResult } from '../query/engine.ts'
import { requireTable, type Caller } from './access.ts'
import type { ServerDoor } from './door.ts'

/**
 * Every query that a caller asks for goes through here: it counts against the limits of the key, it belongs to the
 * caller, and tables that the key may not read are refused. A query over changes names no tables of the lake: whoever
 * asks for one has made sure of its table.
 */
export function runQuery(
  { engine }: Pick<ServerDoor, 'engine'>,
  caller: Caller,
  request: Omit<QueryRequest, 'owner' | 'checkTable'>,
  signal: AbortSignal,
): Promise<QueryResult> {
  // Nothing is awaited between the count and the start, so that no more can start than were counted.
  if (caller.id !== undefined) caller.beginQuery(engine.running().filter(({ owner }) => owner === caller.id).length)
  return engine.query(
    {
      ...request,
      ...(caller.id === undefined ? {} : { owner: caller.id }),
      ...(request.changes === undefined ? { checkTable: (table: string) => requireTable(caller, table) } : {}),
    },
    signal,
  )
}
