import { z } from 'zod'
import { LakeError } from '../error.ts'
import type { QueryParams } from '../query/engine.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageOf, pageQuery } from './page.ts'
import { etagOf, findTable, isKnown, notModified, read, tableParams } from './tables.ts'

/** A page of a table goes on where the last one ended, in the version that the first one was read at. */
const cursorSchema = z.object({
  asOf: z.string(),
  partition: z.string().optional(),
  offset: z.string().optional(),
  skip: z.string().optional(),
})

type Cursor = z.output<typeof cursorSchema>
type Row = Readonly<Record<string, unknown>>

export function rowOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/tables/{table}/rows',
      id: 'listRows',
      summary: 'Rows of a table in the order of the log; the cursor stays at the version of the first page',
      params: tableParams,
      query: z.strictObject({
        ...pageQuery,
        asOf: z.string().max(200).optional().describe('version, snapshot, time or topic/partition@offset'),
      }),
      answer: pageOf(z.record(z.string(), z.unknown())),
      problems: ['table.unknown', 'version.unknown', 'snapshot.expired', 'result.too_large', 'limit.queries'],
      handle: async ({ params, query, context }) => {
        const place = await findTable(door, params.table)
        const isNewest = query.cursor === undefined && query.asOf === undefined
        const etag = etagOf(place)
        if (isNewest && isKnown(context.req.header('if-none-match'), etag)) return notModified(etag)
        const columns = (await read(door, place)).schema.fields.map(({ name }) => name)
        const isOrdered = columns.includes('_partition') && columns.includes('_offset')
        const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, cursorSchema)
        if (cursor !== undefined && query.asOf !== undefined)
          throw new LakeError('request.invalid', 'asOf belongs to the first page; the cursor carries it')
        const result = await door.engine.query(
          {
            ...select(place.name, isOrdered, query.limit, cursor),
            asOf: cursor?.asOf ?? query.asOf ?? `${place.pipeline}@${place.version.number}`,
            format: 'json',
          },
          context.req.raw.signal,
        )
        const { rows } = JSON.parse(await textOf(result.body)) as { readonly rows: readonly Row[] }
        const [pipeline, version] = [...result.versions][0]!
        const items = rows.slice(0, query.limit)
        const nextCursor =
          rows.length > query.limit ? encodeCursor(nextOf(items, isOrdered, cursor, `${pipeline}@${version}`)) : null
        return context.json({ items, nextCursor }, 200, {
          'x-kappalake-version': `${pipeline}=${version}`,
          ...(isNewest ? { etag } : {}),
        })
      },
    }),
  ]
}

/** One row more than the page holds tells whether there is another page. */
function select(
  table: string,
  isOrdered: boolean,
  limit: number,
  cursor: Cursor | undefined,
): { sql: string; params: QueryParams } {
  if (!isOrdered)
    return { sql: `SELECT * FROM "${table}" LIMIT ${limit + 1} OFFSET $1::BIGINT`, params: [cursor?.skip ?? '0'] }
  const from = `SELECT * FROM "${table}"`
  const order = `ORDER BY _partition, _offset LIMIT ${limit + 1}`
  if (cursor === undefined) return { sql: `${from} ${order}`, params: [] }
  return {
    sql: `${from} WHERE _partition > $1::INTEGER OR (_partition = $1::INTEGER AND _offset > $2::BIGINT) ${order}`,
    params: [cursor.partition ?? '-1', cursor.offset ?? '-1'],
  }
}

function nextOf(items: readonly Row[], isOrdered: boolean, cursor: Cursor | undefined, asOf: string) {
  if (!isOrdered) return { asOf, skip: String(Number(cursor?.skip ?? 0) + items.length) }
  const last = items.at(-1)!
  return { asOf, partition: String(last['_partition']), offset: String(last['_offset']) }
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts).toString('utf8')
}
