import * as z from 'zod'
import type { EventTime } from '../define.ts'
import { LakeError } from '../error.ts'
import { openTable, type IcebergType, type LakeTable, type SnapshotInfo } from '../lake/table.ts'
import type { Version } from '../version.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'
import { pageOf, pageQuery, slicePage } from './page.ts'
import { suggestion } from './suggest.ts'
import { instantText, watermarkOf } from './watermark.ts'
import { storedDefinition } from '../stored-definition.ts'
import { storedWindow } from '../window-property.ts'

const tableSchema = z.object({
  name: z.string(),
  pipeline: z.string(),
  columns: z.array(z.object({ name: z.string(), type: z.string(), required: z.boolean() })),
  partitionBy: z.array(z.string()),
  rows: z.string(),
  files: z.string(),
  bytes: z.string(),
  snapshot: z.string().nullable().describe('null while the table is empty'),
  version: z.string(),
  time: z.string().describe('when the version was committed'),
  watermark: z.string().nullable().describe('of a table with event time, or of the one that a window is over'),
  outOfOrdernessMs: z.number().nullable().describe('how far events may lie behind the latest of their partition'),
  allowedLatenessMs: z.number().nullable().describe('of a window'),
})

const snapshotSchema = z.object({
  id: z.string(),
  time: z.string(),
  operation: z.string(),
  addedRecords: z.string(),
  totalRecords: z.string(),
  version: z.string().nullable(),
  ranges: z.string().nullable().describe('`topic:p=from-to,…` of what was added'),
})

export const tableParams = z.strictObject({ table: z.string() })

export function tableOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/v1/tables',
      id: 'listTables',
      summary: 'Tables as they stand in the newest versions: those that the caller may read',
      access: ['query'],
      query: z.strictObject(pageQuery),
      answer: pageOf(tableSchema),
      handle: async ({ query, caller }) => {
        const readable = (await standing(door)).filter(({ name }) => caller.may(`query:${name}`))
        const { items, nextCursor } = slicePage(readable, ({ name }) => name, query)
        return {
          items: await Promise.all(items.map(async (each) => tableJson(door, each, await read(door, each)))),
          nextCursor,
        }
      },
    }),
    operation({
      method: 'get',
      path: '/v1/tables/{table}',
      id: 'getTable',
      summary: 'One table; the ETag is its snapshot, and its watermark',
      access: ['query:{table}'],
      params: tableParams,
      answer: tableSchema,
      problems: ['table.unknown'],
      handle: async ({ params, context }) => {
        const place = await findTable(door, params.table)
        const table = await read(door, place)
        const time = eventTimeOf(door, place, table)
        const etag = time === undefined ? etagOf(place) : `${etagOf(place).slice(0, -1)}@${time.watermarkMs}"`
        if (isKnown(context.req.header('if-none-match'), etag)) return notModified(etag)
        return context.json(tableJson(door, place, table), 200, { etag })
      },
    }),
    operation({
      method: 'get',
      path: '/v1/tables/{table}/snapshots',
      id: 'listSnapshots',
      summary: 'The snapshots of a table, newest first',
      access: ['query:{table}'],
      params: tableParams,
      query: z.strictObject(pageQuery),
      answer: pageOf(snapshotSchema),
      problems: ['table.unknown'],
      handle: async ({ params, query }) => {
        const table = await read(door, await findTable(door, params.table))
        const items = table.snapshots
          .toSorted((a, b) => (a.sequenceNumber < b.sequenceNumber ? 1 : -1))
          .map(snapshotJson)
        return slicePage(items, ({ id }) => id, query)
      },
    }),
  ]
}

/** A table where it stands in the newest version of its pipeline. */
export interface TablePlace {
  readonly name: string
  readonly pipeline: string
  readonly version: Version
}

/** Throws `table.unknown`. */
export async function findTable(door: ServerDoor, name: string): Promise<TablePlace> {
  const all = await standing(door)
  const place = all.find((each) => each.name === name)
  if (place !== undefined) return place
  const known = all.map((each) => each.name)
  throw new LakeError('table.unknown', `there is no table ${JSON.stringify(name)}${suggestion(name, known)}`)
}

export function read(door: ServerDoor, { name, version }: TablePlace): Promise<LakeTable> {
  return openTable(door.storage, version.tables[name]!.metadata, name)
}

export function etagOf({ name, version }: TablePlace): string {
  return `"${version.tables[name]!.snapshot ?? 'empty'}"`
}

export function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  return ifNoneMatch !== undefined && ifNoneMatch.split(',').some((each) => each.trim().replace(/^W\//, '') === etag)
}

export function notModified(etag: string): Response {
  return new Response(null, { status: 304, headers: { etag } })
}

async function standing(door: ServerDoor): Promise<readonly TablePlace[]> {
  const heads = await Promise.all(
    [...door.chains].map(async ([pipeline, chain]) => ({ pipeline, version: await chain.head() })),
  )
  return heads
    .flatMap(({ pipeline, version }) =>
      version === undefined ? [] : Object.keys(version.tables).map((name) => ({ name, pipeline, version })),
    )
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

interface EventTimeInForce {
  readonly watermarkMs: number | undefined
  readonly outOfOrdernessMs: number
  readonly allowedLatenessMs: number | null
}

/** Of a table with event time, of a window and of its companions. */
function eventTimeOf(
  { definition }: ServerDoor,
  { name, pipeline, version }: TablePlace,
  { properties }: Pick<LakeTable, 'properties'>,
): EventTimeInForce | undefined {
  const window = storedWindow(properties)
  if (window !== undefined)
    return {
      watermarkMs: watermarkOf(version, window.definition.source),
      outOfOrdernessMs: window.outOfOrdernessMs,
      allowedLatenessMs: window.definition.allowedLatenessMs,
    }
  const stored = storedDefinition(properties)
  // Tables of earlier releases do not say what made them.
  const eventTime =
    stored === undefined
      ? definition.pipelines.find((each) => each.name === pipeline)?.tables.find((each) => each.name === name)
          ?.eventTime
      : (stored['eventTime'] as EventTime | undefined)
  if (eventTime === undefined) return undefined
  const { outOfOrdernessMs } = eventTime
  return { watermarkMs: watermarkOf(version, name), outOfOrdernessMs, allowedLatenessMs: null }
}

function tableJson(door: ServerDoor, place: TablePlace, table: LakeTable): z.output<typeof tableSchema> {
  const { name, pipeline, version } = place
  const { fields } = table.schema
  const time = eventTimeOf(door, place, table)
  return {
    name,
    pipeline,
    columns: fields.map((field) => ({ name: field.name, type: typeText(field.type), required: field.required })),
    partitionBy: table.spec.fields.map((field) => {
      const column = fields.find(({ id }) => id === field['source-id'])?.name ?? '?'
      if (field.transform === 'identity') return column
      const [, transform, width] = /^(\w+)\[(\d+)\]$/.exec(field.transform) ?? []
      return transform === undefined ? `${field.transform}(${column})` : `${transform}(${width}, ${column})`
    }),
    rows: String(table.totalRecords),
    files: String(table.totalFiles),
    bytes: String(table.totalBytes),
    snapshot: table.snapshot === undefined ? null : String(table.snapshot),
    version: String(version.number),
    time: version.time,
    watermark: instantText(time?.watermarkMs),
    outOfOrdernessMs: time?.outOfOrdernessMs ?? null,
    allowedLatenessMs: time?.allowedLatenessMs ?? null,
  }
}

function snapshotJson({ id, timeMs, operation, summary }: SnapshotInfo): z.output<typeof snapshotSchema> {
  return {
    id: String(id),
    time: new Date(timeMs).toISOString(),
    operation,
    addedRecords: summary['added-records'] ?? '0',
    totalRecords: summary['total-records'] ?? '0',
    version: summary['kappalake.version'] ?? null,
    ranges: summary['kappalake.ranges'] ?? null,
  }
}

/** An Iceberg type as one line: `list<struct<a: int, b: string>>`. */
function typeText(type: IcebergType): string {
  if (typeof type === 'string') return type
  switch (type.type) {
    case 'list':
      return `list<${typeText(type.element)}>`
    case 'map':
      return `map<${typeText(type.key)}, ${typeText(type.value)}>`
    case 'struct':
      return `struct<${type.fields.map((field) => `${field.name}: ${typeText(field.type)}`).join(', ')}>`
  }
}
