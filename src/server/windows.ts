import * as z from 'zod'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import { storedWindow, type StoredWindow } from '../window-property.ts'
import type { ServerDoor } from './door.ts'
import { isAfter, keyOf, keyValues, orderOf, quoted, type KeyColumn } from './key.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageOf, pageQuery } from './page.ts'
import { rowsOf, type Row } from './rows.ts'
import { findTable, read, tableParams, type TablePlace } from './tables.ts'
import { instantText, partitionSchema, partitionsOf, watermarkOf } from './watermark.ts'

/** Which rows are asked for: those that wait for the watermark, those that do not, those that changed after it. */
const CONDITIONS = {
  open: 'NOT "_final"',
  final: '"_final"',
  corrected: '"_corrections" > 0',
} as const

const cursorSchema = z.object({
  asOf: z.string(),
  state: z.enum(['open', 'final', 'corrected']).optional(),
  after: z.array(z.string().nullable()),
})

const windowSchema = z.object({
  state: z.enum(['open', 'final']),
  start: z.string(),
  end: z.string().describe('exclusive'),
  group: z.record(z.string(), z.unknown()),
  results: z.record(z.string(), z.unknown()),
  lastEvent: z.string().nullable().describe('null where the table does not keep it'),
  corrections: z.number().describe('how often it was written again after it was final'),
  finalAt: z.string().nullable().describe('the watermark that makes it final'),
})

const answer = pageOf(windowSchema).extend({
  table: z.string(),
  source: z.string(),
  kind: z.string(),
  input: z.enum(['events', 'rows']),
  emit: z.enum(['update', 'close']),
  version: z.string(),
  watermark: z.string().nullable(),
  outOfOrdernessMs: z.number(),
  allowedLatenessMs: z.number(),
  partitions: z.array(partitionSchema),
})

export function windowOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/tables/{table}/windows',
      id: 'listWindows',
      summary: 'Windows of a window table, newest first, and what its watermark waits for',
      access: ['query:{table}'],
      params: tableParams,
      query: z.strictObject({
        ...pageQuery,
        state: z
          .enum(['open', 'final', 'corrected'])
          .optional()
          .describe('not final · final · written again after that; all when it is left out; not with a cursor'),
      }),
      answer,
      problems: [
        'table.unknown',
        'table.not_window',
        'snapshot.expired',
        'sql.failed',
        'sql.timeout',
        'result.too_large',
        'limit.queries',
        'limit.rate',
      ],
      handle: async ({ params, query, context, caller }) => {
        const place = await findTable(door, params.table)
        const table = await read(door, place)
        const window = windowOf(place, storedWindow(table.properties))
        const key = keyOf(table).map((column) => ({ ...column, isDescending: column.name.startsWith('window_') }))
        const cursor = query.cursor === undefined ? undefined : decodeCursor(query.cursor, cursorSchema)
        if (cursor !== undefined && query.state !== undefined)
          throw new LakeError('request.invalid', 'state belongs to the first page; the cursor carries it')
        if (cursor !== undefined && cursor.after.length !== key.length)
          throw new LakeError('request.invalid', 'the cursor is of another table')
        const state = cursor?.state ?? query.state
        const asOf = cursor?.asOf ?? `${place.pipeline}@${place.version.number}`
        const { rows } = await rowsOf(door, context, caller, {
          sql: select(place.name, key, state, query.limit, cursor !== undefined),
          params: cursor?.after ?? [],
          asOf,
        })
        const items = rows.slice(0, query.limit)
        const isLast = rows.length <= query.limit
        return {
          ...watermarkJson(door, place, window),
          items: items.map((row) => windowJson(window.definition, row)),
          nextCursor: isLast
            ? null
            : encodeCursor({ asOf, ...(state === undefined ? {} : { state }), after: keyValues(key, items.at(-1)!) }),
        }
      },
    }),
  ]
}

/** Throws `table.not_window` for tables of other kinds, companions included. */
function windowOf({ name }: TablePlace, window: StoredWindow | undefined): StoredWindow {
  if (window?.definition.name === name) return window
  const owner = window?.definition.name
  throw new LakeError('table.not_window', `${name} is not a window table`, {
    fix: owner === undefined ? `Read /v1/tables/${name}/rows.` : `Its windows are those of ${owner}.`,
  })
}

function select(
  table: string,
  key: readonly KeyColumn[],
  state: keyof typeof CONDITIONS | undefined,
  limit: number,
  isNext: boolean,
): string {
  const conditions = [
    ...(state === undefined ? [] : [CONDITIONS[state]]),
    ...(isNext ? [`(${isAfter(key, quoted)})`] : []),
  ]
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
  return `SELECT *, epoch_ms("window_end") AS "__end_ms" FROM ${quoted(table)} ${where}
    ORDER BY ${orderOf(key, quoted)} LIMIT ${limit + 1}`
}

/** The newest of what is known of the log, whatever version the page is of. */
function watermarkJson(door: ServerDoor, { name, pipeline, version }: TablePlace, window: StoredWindow) {
  const { definition, outOfOrdernessMs } = window
  const { source, input, emit, allowedLatenessMs } = definition
  const status = door.pipelines.find((each) => each.name === pipeline)?.status()
  return {
    table: name,
    source,
    kind: definition.window.kind,
    input,
    emit,
    version: String(version.number),
    watermark: instantText(watermarkOf(version, source)),
    outOfOrdernessMs,
    allowedLatenessMs,
    partitions: partitionsOf(version, window, status),
  }
}

function windowJson(definition: WindowDefinition, row: Row): z.output<typeof windowSchema> {
  const { groupBy, select: aggregates, window, allowedLatenessMs } = definition
  // Rule C2; an event exactly a gap away still joins a session.
  const finalAtMs = Number(row['__end_ms']) + allowedLatenessMs - (window.kind === 'session' ? 0 : 1)
  return {
    state: row['_final'] === true ? 'final' : 'open',
    start: String(row['window_start']),
    end: String(row['window_end']),
    group: Object.fromEntries(groupBy.map((name) => [name, row[name]])),
    results: Object.fromEntries(aggregates.map(({ name }) => [name, row[name]])),
    lastEvent: typeof row['last_event_time'] === 'string' ? row['last_event_time'] : null,
    corrections: Number(row['_corrections']),
    finalAt: instantText(finalAtMs),
  }
}
