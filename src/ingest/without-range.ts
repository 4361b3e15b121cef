import { SYSTEM_COLUMNS } from '../batch.ts'
import { type TableDefinition } from '../define.ts'
import { codeHash } from '../define-code.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import {
  changeTable,
  moveAhead,
  openTable,
  partitionSpec,
  readDeletedRows,
  schemaOf,
  storedFiles,
  writePlan,
  type AddedFile,
  type DataFile,
  type LakeTable,
  type Storage,
  type StoredFile,
  type TableSpec,
  type WritePlan,
} from '../lake/table.ts'
import { parsePartitionId, type Positions } from '../log.ts'
import type { TableVersion } from '../version.ts'
import { tableSpecs } from './create-tables.ts'
import { tableColumns } from './decode/columns.ts'
import { definitionAt } from './growing.ts'
import type { OffsetRange, TableWork } from './keys.ts'

/** What `withoutRange` needs beside the table. */
export interface RangeParts {
  readonly storage: Storage
  readonly clock: Clock
  readonly work: TableWork
  /** Number of the version that the tables are taken from, for the summary of the snapshot. */
  readonly version: bigint
}

/**
 * An append table and its dead letters without what came of the offsets [from, until) of each partition, for those to be
 * read again. Files that lie in the range leave, those that reach into it are written anew without its rows. Nobody refers
 * to what it gives until a version does. `tables` are those of a version. Throws `replay.range_keyed`, and
 * `config.unsupported` when the rows that stay have other columns.
 */
export async function withoutRange(
  table: TableDefinition,
  tables: Readonly<Record<string, TableVersion>>,
  range: { readonly from: Positions; readonly until: Positions },
  parts: RangeParts,
): Promise<Readonly<Record<string, TableVersion>>> {
  if (table.key.length > 0)
    throw new LakeError('replay.range_keyed', `${table.name}: what a key has depends on more than a range of offsets`, {
      context: { table: table.name },
      fix: 'Replay the whole table.',
    })
  const ranges = rangesOf(table.topic, range)
  await assertSameColumns(table, tables, parts)
  const made: Record<string, TableVersion> = {}
  for (const { name, properties } of tableSpecs(table)) {
    const opened = await openTable(parts.storage, tables[name]!.metadata, name)
    const { metadata, snapshot } = await without(opened, ranges, properties, parts)
    made[name] = { metadata, snapshot, code: codeHash(table) }
  }
  return made
}

/** Rows that stay and rows that come stand in one table. */
async function assertSameColumns(
  definition: TableDefinition,
  tables: Readonly<Record<string, TableVersion>>,
  { storage }: RangeParts,
): Promise<void> {
  const { name, partitionBy } = definition
  const { schema, spec } = await openTable(storage, tables[name]!.metadata)
  const wanted = schemaOf(tableColumns(definitionAt(definition, { schema })), [], { schema, lastColumnId: 0 }).schema
  const partitions = partitionSpec(name, partitionBy, schema, { specs: [spec], lastFieldId: 0 })
  const isSame = JSON.stringify(wanted.fields) === JSON.stringify(schema.fields)
  if (isSame && JSON.stringify(partitions.fields) === JSON.stringify(spec.fields)) return
  throw new LakeError(
    'config.unsupported',
    `${name}: its columns or partitions are no longer those of the rows that stay`,
    {
      context: { table: name },
      fix: 'Replay the whole table.',
    },
  )
}

function rangesOf(topic: string, { from, until }: { from: Positions; until: Positions }): readonly OffsetRange[] {
  const ranges: OffsetRange[] = []
  for (const [id, first] of from) {
    const { topic: of, partition } = parsePartitionId(id)
    const end = until.get(id)
    if (of === topic && end !== undefined && first < end) ranges.push({ partition, from: first, until: end })
  }
  return ranges
}

async function without(
  table: LakeTable,
  ranges: readonly OffsetRange[],
  properties: TableSpec['properties'],
  parts: RangeParts,
): Promise<LakeTable> {
  const { storage, clock, work, version } = parts
  const [plan, removed, added]: [WritePlan, string[], AddedFile[]] = [writePlan(table), [], []]
  for (const file of await storedFiles(storage, table)) {
    const place = placeOf(file, plan, ranges)
    if (place === 'outside') continue
    const rows = place === 'inside' ? undefined : await work.rowsWithin(plan, file, ranges)
    if (rows?.length === 0) continue
    removed.push(file.key)
    const rest = rows && (await restOf(file, rows, plan, parts))
    if (rest !== undefined) added.push({ ...rest, sequenceNumber: file.sequenceNumber })
  }
  const stamp = { commitId: clock.uuid(), version, ranges: '' }
  const change = { kind: 'write', added, deletes: [], removed } as const
  return changeTable(storage, await moveAhead(storage, table, clock, properties), change, stamp, clock)
}

/** The living rows of a file but for some of them; undefined when there is none. */
async function restOf(
  file: StoredFile,
  rows: Uint32Array,
  plan: WritePlan,
  { storage, work }: RangeParts,
): Promise<DataFile | undefined> {
  const { firstRowId, sequenceNumber } = file
  const deleted = await readDeletedRows(storage, file)
  for (const row of rows) deleted.add(row)
  if (deleted.count === file.recordCount) return undefined
  return work.concatenate(plan, [{ file, firstRowId, sequenceNumber, deleted }])
}

/** What the bounds of a file say: whether all of its rows came of the ranges, or none. */
function placeOf(file: DataFile, plan: WritePlan, ranges: readonly OffsetRange[]): 'inside' | 'outside' | 'unknown' {
  const [partitions, offsets] = [
    boundsOf(file, plan, SYSTEM_COLUMNS.partition),
    boundsOf(file, plan, SYSTEM_COLUMNS.offset),
  ]
  if (partitions === undefined || offsets === undefined) return 'unknown'
  const met = ranges.filter(({ partition, from, until }) => {
    const isOne = partitions.least <= BigInt(partition) && BigInt(partition) <= partitions.most
    return isOne && from <= offsets.most && offsets.least < until
  })
  if (met.length === 0) return 'outside'
  const isWhole = met.every(({ from, until }) => from <= offsets.least && offsets.most < until)
  return isWhole && BigInt(met.length) === partitions.most - partitions.least + 1n ? 'inside' : 'unknown'
}

/** The least and the greatest value of an int or a long in a file, where its statistics say. */
export function boundsOf(
  { metrics }: DataFile,
  { schema }: WritePlan,
  name: string,
): { readonly least: bigint; readonly most: bigint } | undefined {
  const { lower, upper } = metrics.get(schema.fields.find((field) => field.name === name)?.id ?? -1) ?? {}
  if (lower === undefined || upper === undefined) return undefined
  const [least, most] = [lower, upper].map((bytes) => {
    const view = Buffer.from(bytes)
    return bytes.length === 4 ? BigInt(view.readInt32LE()) : view.readBigInt64LE()
  })
  return { least: least!, most: most! }
}
