import { requireTable } from './access.ts'
import * as z from 'zod'
import { SYSTEM_COLUMNS } from '../batch.ts'
import type { DeadLetterFilter, SettleRequest } from '../dead-letters.ts'
import { deadLetterTable } from '../define.ts'
import { LakeError } from '../error.ts'
import { openTable } from '../lake/table.ts'
import { literal } from '../sql-text.ts'
import type { Version } from '../version.ts'
import type { ServerDoor } from './door.ts'
import { idempotencyHeader, idempotencyKeyOf } from './idempotency.ts'
import { jobJson, jobSchema } from './jobs.ts'
import { quoted } from './key.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageOf, pageQuery } from './page.ts'
import { findChain } from './pipelines.ts'
import { rowsOf, type Row } from './rows.ts'
import { suggestion } from './suggest.ts'

const letterSchema = z.object({
  table: z.string().describe('the source table'),
  topic: z.string(),
  partition: z.number(),
  offset: z.string(),
  timestamp: z.string().nullable().describe("the record's own"),
  clock: z.string().nullable().describe('largest event time of the partition before the record, where windows are fed'),
  key: z.string().nullable().describe('base64'),
  value: z.string().nullable().describe('base64'),
  headers: z.array(z.object({ key: z.string(), value: z.string().nullable().describe('base64') })),
  stage: z.string(),
  code: z.string(),
  message: z.string(),
  codeHash: z.string().describe('of the definition that refused the record'),
  status: z.enum(['pending', 'resolved', 'discarded']),
  attempts: z.number().describe('how often it was read again'),
})

const offset = z.string().regex(/^\d{1,19}$/, 'must be an offset, as text')

const where = {
  table: z.string().optional().describe('the source table'),
  code: z.string().max(100).optional(),
  stage: z.string().max(100).optional(),
  from: offset.optional().describe('first offset'),
  until: offset.optional().describe('offset behind the last'),
}

const cursorSchema = z.object({
  version: z.string().regex(/^\d{1,16}$/),
  after: z.tuple([z.string(), z.string(), z.string()]),
})

const params = z.strictObject({ pipeline: z.string() })

export function deadLetterOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/dlq/{pipeline}',
      id: 'listDeadLetters',
      summary: 'Dead letters of all tables of a pipeline, in the order of tables, partitions and offsets',
      access: ['query'],
      params,
      query: z.strictObject({
        ...pageQuery,
        ...where,
        partition: z.coerce.number().int().min(0).optional().describe('of Kafka'),
        status: z.enum(['pending', 'resolved', 'discarded']).optional(),
        bytes: z.enum(['base64', 'none']).default('base64').describe('none: key, value and headers are left out'),
      }),
      answer: pageOf(letterSchema),
      problems: [
        'pipeline.unknown',
        'table.unknown',
        'version.unknown',
        'result.too_large',
        'sql.timeout',
        'limit.queries',
        'limit.rate',
      ],
      handle: async ({ params: { pipeline }, query, context, caller }) => {
        const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, cursorSchema)
        const chain = findChain(door, pipeline)
        if (query.table !== undefined) requireTable(caller, deadLetterTable(query.table))
        const tables = tablesOf(door, pipeline, query.table).filter((table) =>
          caller.may(`query:${deadLetterTable(table)}`),
        )
        const version = await (cursor === undefined ? chain.head() : versionOf(chain.at.bind(chain), cursor.version))
        if (version === undefined) return { items: [], nextCursor: null }
        const sources = await lettersOf(door, tables, version, query.bytes === 'none')
        if (sources.length === 0) return { items: [], nextCursor: null }
        const { sql, params } = select(sources, query, cursor?.after)
        const { rows } = await rowsOf(door, context, caller, { sql, params, asOf: `${pipeline}@${version.number}` })
        const items = rows.slice(0, query.limit).map(letterJson)
        const last = items.at(-1)
        const nextCursor =
          rows.length <= query.limit || last === undefined
            ? null
            : encodeCursor({
                version: String(version.number),
                after: [last.table, String(last.partition), last.offset],
              })
        return { items, nextCursor }
      },
    }),
    ...(['retry', 'discard'] as const).map((kind) =>
      operation({
        method: 'post',
        path: `/v1/dlq/{pipeline}/${kind}`,
        id: `${kind}DeadLetters`,
        summary:
          kind === 'retry'
            ? 'A job that reads the records of pending dead letters again, each at its place in the log'
            : 'A job that discards pending dead letters: they stay where they are, and nobody reads them again',
        access: ['dead-letters'],
        params,
        body: z.strictObject({
          where: z
            .strictObject({ ...where, partition: z.int().min(0).optional().describe('of Kafka') })
            .default({})
            .describe('which; all that are pending when left out'),
          limit: z.int().min(1).optional().describe('of dead letters'),
          dryRun: z.boolean().default(false).describe('nothing is written, what would become of them is counted'),
        }),
        answer: jobSchema,
        status: 202,
        headers: idempotencyHeader,
        problems: ['pipeline.unknown', 'table.unknown', 'replay.running', 'idempotency.mismatch'],
        handle: async ({ params: { pipeline }, body, context }) => {
          findChain(door, pipeline)
          tablesOf(door, pipeline, body.where.table)
          await assertNoReplay(door, pipeline)
          const { limit, dryRun } = body
          const request: SettleRequest = {
            kind,
            pipeline,
            where: given(body.where),
            ...(limit === undefined ? {} : { limit }),
            ...(dryRun ? { dryRun } : {}),
          }
          const job = await door.jobs.ask(request, idempotencyKeyOf(context))
          return context.json(jobJson(job), 202, { location: `/v1/jobs/${job.id}` })
        },
      }),
    ),
  ]
}

function given(where: {
  readonly [name in keyof DeadLetterFilter]: DeadLetterFilter[name] | undefined
}): DeadLetterFilter {
  return Object.fromEntries(Object.entries(where).filter(([, value]) => value !== undefined))
}

/** What is settled while a fork is built would be lost with the cut-over. */
async function assertNoReplay({ jobs }: ServerDoor, pipeline: string): Promise<void> {
  const replay = (await jobs.open(pipeline)).find(({ request }) => request.kind === 'replay')
  if (replay === undefined) return
  throw new LakeError('replay.running', `pipeline ${pipeline} has a replay that is not over`, {
    context: { replay: replay.id },
    fix: 'Wait for it, cut it over, or cancel it.',
  })
}

/** Source tables by name; the one that is named alone. Throws `table.unknown`. */
function tablesOf({ definition }: ServerDoor, pipeline: string, table: string | undefined): readonly string[] {
  const tables = definition.pipelines.find(({ name }) => name === pipeline)?.tables ?? []
  const names = tables.map(({ name }) => name).toSorted()
  if (table === undefined || names.includes(table)) return table === undefined ? names : [table]
  throw new LakeError(
    'table.unknown',
    `pipeline ${pipeline} has no table ${JSON.stringify(table)}${suggestion(table, names)}`,
  )
}

function versionOf(
  at: (when: { readonly kind: 'number'; readonly number: bigint }) => Promise<Version>,
  number: string,
): Promise<Version> {
  return at({ kind: 'number', number: BigInt(number) })
}

/** Which columns each table of dead letters has: `_clock` came later than the others. */
async function lettersOf(
  { storage }: ServerDoor,
  tables: readonly string[],
  version: Version,
  hasNoBytes: boolean,
): Promise<readonly string[]> {
  const there = tables.filter((table) => Object.hasOwn(version.tables, deadLetterTable(table)))
  return Promise.all(
    there.map(async (table) => {
      const name = deadLetterTable(table)
      const { schema } = await openTable(storage, version.tables[name]!.metadata, name)
      const clock = schema.fields.some((field) => field.name === '_clock') ? '_clock' : 'NULL::TIMESTAMPTZ AS _clock'
      const bytes = hasNoBytes ? 'NULL::BLOB AS key, NULL::BLOB AS value, NULL AS headers' : 'key, value, headers'
      const { topic, partition, offset, timestamp } = SYSTEM_COLUMNS
      const columns = [topic, partition, offset, timestamp, clock, bytes, REASON]
      return `SELECT ${literal(table)} AS source, ${columns.join(', ')} FROM ${quoted(name)}`
    }),
  )
}

const REASON = 'stage, code, message, code_hash, status, attempts'

interface Filter extends DeadLetterFilter {
  readonly status?: string
  readonly limit: number
}

/** One row more than the page holds tells whether there is another page. */
function select(
  sources: readonly string[],
  filter: { readonly [name in keyof Filter]: Filter[name] | undefined },
  after: readonly [string, string, string] | undefined,
): { readonly sql: string; readonly params: readonly string[] } {
  const params: string[] = []
  const parameter = (value: string, type: string): string => `CAST($${params.push(value)} AS ${type})`
  const { partition, offset } = SYSTEM_COLUMNS
  const conditions = ['true']
  for (const name of ['code', 'stage', 'status'] as const)
    if (filter[name] !== undefined) conditions.push(`${name} = ${parameter(filter[name], 'VARCHAR')}`)
  if (filter.partition !== undefined)
    conditions.push(`${partition} = ${parameter(String(filter.partition), 'INTEGER')}`)
  if (filter.from !== undefined) conditions.push(`${offset} >= ${parameter(filter.from, 'BIGINT')}`)
  if (filter.until !== undefined) conditions.push(`${offset} < ${parameter(filter.until, 'BIGINT')}`)
  if (after !== undefined) {
    const [s, p, o] = [parameter(after[0], 'VARCHAR'), parameter(after[1], 'INTEGER'), parameter(after[2], 'BIGINT')]
    conditions.push(
      `(source > ${s} OR (source = ${s} AND (${partition} > ${p} OR (${partition} = ${p} AND ${offset} > ${o}))))`,
    )
  }
  const sql = `SELECT * FROM (${sources.join(' UNION ALL ')}) WHERE ${conditions.join(' AND ')}
ORDER BY source, ${partition}, ${offset} LIMIT ${filter.limit! + 1}`
  return { sql, params }
}

function letterJson(row: Row): z.output<typeof letterSchema> {
  const text = (name: string): string | null => (row[name] === null ? null : String(row[name]))
  const { topic, partition, offset, timestamp } = SYSTEM_COLUMNS
  return {
    table: String(row['source']),
    topic: String(row[topic]),
    partition: Number(row[partition]),
    offset: String(row[offset]),
    timestamp: text(timestamp),
    clock: text('_clock'),
    key: text('key'),
    value: text('value'),
    headers: ((row['headers'] ?? []) as { key: string; value: string | null }[]).map(({ key, value }) => ({
      key,
      value,
    })),
    stage: String(row['stage']),
    code: String(row['code']),
    message: String(row['message']),
    codeHash: String(row['code_hash']),
    status: String(row['status']) as z.output<typeof letterSchema>['status'],
    attempts: Number(row['attempts']),
  }
}
