import type { Context } from 'hono'
import * as z from 'zod'
import { SYSTEM_COLUMNS } from '../batch.ts'
import { LakeError } from '../error.ts'
import type { LakeTable } from '../lake/table.ts'
import { CHANGE_TABLES } from '../query/engine.ts'
import type { Caller } from './access.ts'
import type { ServerDoor } from './door.ts'
import { isAfter, isSame, keyOf, keyValues, orderOf, quoted, type KeyColumn } from './key.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageQuery } from './page.ts'
import { rowsOf, type Row } from './rows.ts'
import { findTable, read, tableParams, type TablePlace } from './tables.ts'

const COUNTS = ['added', 'removed', 'changed'] as const
const cursorSchema = z.object({
  from: z.string(),
  to: z.string(),
  counts: z.array(z.string()),
  after: z.array(z.string().nullable()),
})

type Cursor = z.output<typeof cursorSchema>

const when = z.string().min(1).max(200).optional()
const rowSchema = z.record(z.string(), z.unknown()).nullable()
const diffSchema = z.object({
  from: z.string().describe('version'),
  to: z.string().describe('version'),
  key: z.array(z.string()).describe('columns that say which row is which'),
  added: z.string(),
  removed: z.string(),
  changed: z.string(),
  items: z.array(z.object({ change: z.enum(['added', 'removed', 'changed']), before: rowSchema, after: rowSchema })),
  nextCursor: z.string().nullable(),
})

/** Where the row came from: another record may well have brought the same values. */
const NOT_COMPARED: readonly string[] = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset, SYSTEM_COLUMNS.timestamp]

export function diffOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/tables/{table}/diff',
      id: 'diffTable',
      summary: 'Rows that were added, removed or changed between two versions, in the order of the key',
      access: ['query:{table}'],
      params: tableParams,
      query: z.strictObject({
        ...pageQuery,
        from: when.describe('version, snapshot, time or topic/partition@offset; not with a cursor'),
        to: when.describe('the same; the newest version when it is left out'),
      }),
      answer: diffSchema,
      problems: [
        'table.unknown',
        'version.unknown',
        'snapshot.expired',
        'sql.failed',
        'sql.timeout',
        'result.too_large',
        'limit.queries',
        'limit.rate',
      ],
      handle: async ({ params, query: { limit, cursor: given, from, to }, context, caller }) => {
        const place = await findTable(door, params.table)
        const table = await read(door, place)
        const key = keyOf(table)
        if (key.length === 0)
          throw new LakeError('request.invalid', `${place.name} has neither a key nor positions to compare by`)
        const cursor = given === undefined ? undefined : decodeCursor(given, cursorSchema)
        if ((cursor === undefined) === (from === undefined) || (cursor !== undefined && to !== undefined))
          throw new LakeError('request.invalid', 'say `from` on the first page, and the cursor alone on the next ones')
        if (cursor !== undefined && (cursor.after.length !== key.length || cursor.counts.length !== COUNTS.length))
          throw new LakeError('request.invalid', 'the cursor is of another table')
        const sql = diffSql(table, key)
        const start = cursor ?? (await startOf(door, context, caller, place, sql.counts, { from: from!, to }))
        const changes = { table: place.name, from: start.from, to: start.to }
        const { rows } = await rowsOf(door, context, caller, {
          sql: sql.page(limit + 1, cursor !== undefined),
          params: cursor?.after ?? [],
          changes,
        })
        const page = rows.slice(0, limit)
        return {
          from: numberOf(start.from),
          to: numberOf(start.to),
          key: key.map(({ name }) => name),
          ...Object.fromEntries(COUNTS.map((name, index) => [name, start.counts[index]!])),
          items: page.map(({ change, before, after }) => ({ change, before, after })),
          nextCursor: rows.length > limit ? encodeCursor(nextOf(start, page.at(-1)!, key)) : null,
        }
      },
    }),
  ]
}

/** The first page counts, and pins what it has counted. */
async function startOf(
  door: ServerDoor,
  context: Context,
  caller: Caller,
  { name, pipeline }: TablePlace,
  sql: string,
  ends: { readonly from: string; readonly to: string | undefined },
): Promise<Omit<Cursor, 'after'>> {
  const { rows, result } = await rowsOf(door, context, caller, { sql, changes: { table: name, ...ends } })
  const pins = CHANGE_TABLES.map((side) => `${pipeline}@${result.versions.get(side)}`)
  return { from: pins[0]!, to: pins[1]!, counts: COUNTS.map((count) => String(rows[0]![count])) }
}

function nextOf(
  { from, to, counts }: Omit<Cursor, 'after'>,
  { before, after }: Row,
  key: readonly KeyColumn[],
): Cursor {
  return { from, to, counts, after: keyValues(key, (after ?? before) as Row) }
}

function numberOf(pin: string): string {
  return pin.slice(pin.indexOf('@') + 1)
}

/** Rows of both sides by key, without those whose values are the same. */
function diffSql({ schema }: Pick<LakeTable, 'schema'>, key: readonly KeyColumn[]) {
  const isKey = (name: string) => key.some((column) => column.name === name)
  const names = schema.fields.map(({ name }) => name)
  const compared = names.filter((name) => !isKey(name) && !NOT_COMPARED.includes(name))
  const first = quoted(key[0]!.name)
  const [isAdded, isRemoved] = [`b.${first} IS NULL`, `a.${first} IS NULL`]
  const differs = compared.map((name) => `b.${quoted(name)} IS DISTINCT FROM a.${quoted(name)}`)
  const on = key.map((each) => isSame(each, `b.${quoted(each.name)}`, `a.${quoted(each.name)}`)).join(' AND ')
  const from = `FROM "before" AS b FULL OUTER JOIN "after" AS a ON ${on}
    WHERE (${[isAdded, isRemoved, ...differs].join(' OR ')})`
  const row = (side: string) =>
    `struct_pack(${names.map((name) => `${quoted(name)} := ${side}.${quoted(name)}`).join(', ')})`
  const keyOfBoth = (name: string) => `coalesce(b.${quoted(name)}, a.${quoted(name)})`
  return {
    counts: `SELECT count(*) FILTER (WHERE ${isAdded}) AS added, count(*) FILTER (WHERE ${isRemoved}) AS removed,
      count(*) FILTER (WHERE NOT (${isAdded} OR ${isRemoved})) AS changed ${from}`,
    page: (limit: number, isNext: boolean) =>
      `SELECT CASE WHEN ${isAdded} THEN 'added' WHEN ${isRemoved} THEN 'removed' ELSE 'changed' END AS change,
        CASE WHEN ${isAdded} THEN NULL ELSE ${row('b')} END AS "before",
        CASE WHEN ${isRemoved} THEN NULL ELSE ${row('a')} END AS "after"
      ${from} ${isNext ? `AND (${isAfter(key, keyOfBoth)})` : ''}
      ORDER BY ${orderOf(key, keyOfBoth)} LIMIT ${limit}`,
  }
}
