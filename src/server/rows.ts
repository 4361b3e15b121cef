import type { Context } from 'hono'
import * as z from 'zod'
import { LakeError } from '../error.ts'
import type { QueryParams, QueryRequest, QueryResult } from '../query/engine.ts'
import type { Caller } from './access.ts'
import type { ServerDoor } from './door.ts'
import { isAfter, keyOf, keyValues, orderOf, quoted, type KeyColumn } from './key.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageOf, pageQuery } from './page.ts'
import { runQuery } from './run-query.ts'
import { etagOf, findTable, isKnown, notModified, read, tableParams } from './tables.ts'

/** A page of a table goes on behind the last row of the one before, in the versions that the first one was read at. */
const cursorSchema = z.object({
  asOf: z.string(),
  /** Key of the last row. */
  after: z.array(z.string().nullable()).optional(),
  skip: z.string().optional(),
})

type Cursor = z.output<typeof cursorSchema>
export type Row = Readonly<Record<string, unknown>>

export const WHERE_CHARS_MAX = 8_192

export function rowOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/tables/{table}/rows',
      id: 'listRows',
      summary:
        'Rows of a table in the order of its key, or of the log; the cursor stays at the version of the first page',
      access: ['query:{table}'],
      params: tableParams,
      query: z.strictObject({
        ...pageQuery,
        where: z
          .string()
          .min(1)
          .max(WHERE_CHARS_MAX)
          .optional()
          .describe('a condition in SQL; the same for every page'),
        asOf: z.string().max(200).optional().describe('version, snapshot, time or topic/partition@offset'),
      }),
      answer: pageOf(z.record(z.string(), z.unknown())),
      problems: [
        'table.unknown',
        'version.unknown',
        'snapshot.expired',
        'sql.syntax',
        'sql.denied',
        'sql.failed',
        'sql.timeout',
        'result.too_large',
        'limit.queries',
        'limit.rate',
      ],
      handle: async ({ params, query, context, caller }) => {
        const place = await findTable(door, params.table)
        const isNewest = query.cursor === undefined && query.asOf === undefined && query.where === undefined
        const etag = etagOf(place)
        if (isNewest && isKnown(context.req.header('if-none-match'), etag)) return notModified(etag)
        const key = keyOf(await read(door, place))
        const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, cursorSchema)
        if (cursor !== undefined && query.asOf !== undefined)
          throw new LakeError('request.invalid', 'asOf belongs to the first page; the cursor carries it')
        if (cursor?.after !== undefined && cursor.after.length !== key.length)
          throw new LakeError('request.invalid', 'the cursor is of another table')
        const { rows, result } = await rowsOf(door, context, caller, {
          ...select(place.name, key, query.limit, query.where, cursor),
          where: query.where,
          asOf: cursor?.asOf ?? query.asOf ?? `${place.pipeline}@${place.version.number}`,
        })
        const items = rows.slice(0, query.limit)
        const asOf = [...result.versions].map(([pipeline, version]) => `${pipeline}@${version}`).join(',')
        const nextCursor = rows.length > query.limit ? encodeCursor(nextOf(items, key, cursor, asOf)) : null
        return context.json({ items, nextCursor }, 200, {
          'x-kappalake-version': asOf.replaceAll('@', '=').replaceAll(',', ', '),
          ...(isNewest ? { etag } : {}),
        })
      },
    }),
  ]
}

/** The rows of a small result, read as a whole. */
export async function rowsOf(
  door: ServerDoor,
  context: Context,
  caller: Caller,
  request: Omit<QueryRequest, 'format'>,
): Promise<{ readonly rows: readonly Row[]; readonly result: QueryResult }> {
  const result = await runQuery(door, caller, { ...request, format: 'json' }, context.req.raw.signal)
  const parts: Uint8Array[] = []
  for await (const part of result.body) parts.push(part)
  const { rows } = JSON.parse(Buffer.concat(parts).toString('utf8')) as { readonly rows: readonly Row[] }
  return { rows, result }
}

/** One row more than the page holds tells whether there is another page. */
function select(
  table: string,
  key: readonly KeyColumn[],
  limit: number,
  where: string | undefined,
  cursor: Cursor | undefined,
): { sql: string; params: QueryParams } {
  const conditions = [
    // The engine has seen to it that this is one condition; it may end in a comment.
    ...(where === undefined ? [] : [`(\n${where}\n)`]),
    ...(cursor?.after === undefined ? [] : [`(${isAfter(key, quoted)})`]),
  ]
  const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
  const from = `SELECT * FROM ${quoted(table)} ${filter}`
  if (key.length === 0) return { sql: `${from} LIMIT ${limit + 1} OFFSET $1::BIGINT`, params: [cursor?.skip ?? '0'] }
  return { sql: `${from} ORDER BY ${orderOf(key, quoted)} LIMIT ${limit + 1}`, params: cursor?.after ?? [] }
}

function nextOf(items: readonly Row[], key: readonly KeyColumn[], cursor: Cursor | undefined, asOf: string) {
  if (key.length === 0) return { asOf, skip: String(Number(cursor?.skip ?? 0) + items.length) }
  return { asOf, after: keyValues(key, items.at(-1)!) }
}
