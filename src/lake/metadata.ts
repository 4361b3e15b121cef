import { LakeError } from '../error.ts'
import type { PartitionSpec } from './partition-spec.ts'
import { nameMapping, type IcebergSchema } from './schema.ts'

/** The parts of Iceberg's table metadata that we write; a plain value, encoded as the specification's JSON. */
export interface TableMetadata {
  readonly 'format-version': 2 | 3
  readonly 'table-uuid': string
  readonly location: string
  readonly 'last-sequence-number': bigint
  readonly 'last-updated-ms': number
  readonly 'last-column-id': number
  readonly schemas: readonly IcebergSchema[]
  readonly 'current-schema-id': number
  readonly 'partition-specs': readonly PartitionSpec[]
  readonly 'default-spec-id': number
  readonly 'last-partition-id': number
  readonly 'sort-orders': readonly unknown[]
  readonly 'default-sort-order-id': number
  readonly properties: Readonly<Record<string, string>>
  readonly 'current-snapshot-id'?: bigint
  readonly snapshots: readonly Snapshot[]
  readonly 'snapshot-log': readonly { readonly 'timestamp-ms': number; readonly 'snapshot-id': bigint }[]
  readonly 'metadata-log': readonly { readonly 'timestamp-ms': number; readonly 'metadata-file': string }[]
  readonly refs: Readonly<Record<string, { readonly 'snapshot-id': bigint; readonly type: 'branch' | 'tag' }>>
  /** v3 only. */
  readonly 'next-row-id'?: bigint
}

export interface Snapshot {
  readonly 'snapshot-id': bigint
  readonly 'parent-snapshot-id'?: bigint
  readonly 'sequence-number': bigint
  readonly 'timestamp-ms': number
  readonly 'manifest-list': string
  readonly summary: Readonly<Record<string, string>>
  readonly 'schema-id': number
  readonly 'first-row-id'?: bigint
  readonly 'added-rows'?: bigint
}

export interface NewTable {
  readonly uuid: string
  readonly location: string
  readonly formatVersion: 2 | 3
  readonly schema: IcebergSchema
  readonly lastColumnId: number
  readonly spec: PartitionSpec
  readonly nowMs: number
  readonly properties: Readonly<Record<string, string>>
}

export function newMetadata(table: NewTable): TableMetadata {
  const lastPartitionId = Math.max(999, ...table.spec.fields.map((field) => field['field-id']))
  return {
    'format-version': table.formatVersion,
    'table-uuid': table.uuid,
    location: table.location,
    'last-sequence-number': 0n,
    'last-updated-ms': table.nowMs,
    'last-column-id': table.lastColumnId,
    schemas: [table.schema],
    'current-schema-id': 0,
    'partition-specs': [table.spec],
    'default-spec-id': 0,
    'last-partition-id': lastPartitionId,
    'sort-orders': [{ 'order-id': 0, fields: [] }],
    'default-sort-order-id': 0,
    properties: {
      ...table.properties,
      'schema.name-mapping.default': JSON.stringify(nameMapping(table.schema.fields)),
    },
    snapshots: [],
    'snapshot-log': [],
    'metadata-log': [],
    refs: {},
    ...(table.formatVersion === 3 ? { 'next-row-id': 0n } : {}),
  }
}

/**
 * How far numbers of a table that succeeds another lie above those: the other one goes on meanwhile, and neither may ever
 * come to where a reader saw the successor. A table of a second has this many seconds, row ids as many times as many rows.
 */
const AHEAD = { sequenceNumber: 1n << 30n, rowId: 1n << 40n } as const

/**
 * Metadata of a table that takes the place of `before`, empty: whoever knew that one sees the same table go on. A format
 * version never goes back.
 */
export function successorMetadata(before: TableMetadata, table: Omit<NewTable, 'uuid' | 'location'>): TableMetadata {
  const formatVersion = before['format-version'] === 3 ? 3 : table.formatVersion
  const { uuid, location } = { uuid: before['table-uuid'], location: before.location }
  const fresh = newMetadata({ ...table, formatVersion, uuid, location })
  return {
    ...fresh,
    ...numbersAhead(before, formatVersion, table.nowMs),
    'current-schema-id': table.schema['schema-id'],
    'default-spec-id': table.spec['spec-id'],
    'last-partition-id': Math.max(before['last-partition-id'], fresh['last-partition-id']),
  }
}

/** The same rows under numbers that those of `before` never come to. */
export function aheadOf(before: TableMetadata, nowMs: number): TableMetadata {
  return { ...before, ...numbersAhead(before, before['format-version'], nowMs) }
}

function numbersAhead(
  before: TableMetadata,
  formatVersion: 2 | 3,
  nowMs: number,
): Pick<TableMetadata, 'last-sequence-number' | 'last-updated-ms' | 'next-row-id'> {
  return {
    'last-sequence-number': before['last-sequence-number'] + AHEAD.sequenceNumber,
    'last-updated-ms': Math.max(nowMs, before['last-updated-ms'] + 1),
    ...(formatVersion === 3 ? { 'next-row-id': (before['next-row-id'] ?? 0n) + AHEAD.rowId } : {}),
  }
}

/** Metadata files that `metadata-log` remembers. */
const METADATA_LOG_MAX = 100

/** The metadata after `snapshot` became the newest of main. `previous` names the file that the old metadata stands in. */
export function withSnapshot(metadata: TableMetadata, snapshot: Snapshot, previous: string): TableMetadata {
  const id = snapshot['snapshot-id']
  const atMs = snapshot['timestamp-ms']
  return {
    ...withEntry(metadata, atMs, previous),
    'last-sequence-number': snapshot['sequence-number'],
    'current-snapshot-id': id,
    snapshots: [...metadata.snapshots, snapshot],
    'snapshot-log': [...metadata['snapshot-log'], { 'timestamp-ms': atMs, 'snapshot-id': id }],
    refs: { ...metadata.refs, main: { 'snapshot-id': id, type: 'branch' } },
    ...(snapshot['added-rows'] === undefined
      ? {}
      : { 'next-row-id': snapshot['first-row-id']! + snapshot['added-rows'] }),
  }
}

/** The metadata as of `atMs`, with the file `previous` that it stood in before among those it remembers. */
export function withEntry(metadata: TableMetadata, atMs: number, previous: string): TableMetadata {
  const entry = { 'timestamp-ms': metadata['last-updated-ms'], 'metadata-file': previous }
  return {
    ...metadata,
    'last-updated-ms': atMs,
    'metadata-log': [...metadata['metadata-log'], entry].slice(-METADATA_LOG_MAX),
  }
}

const MARK = '\u0000n'

/** JSON with 64-bit integers as numbers: neither JSON.stringify nor JSON.parse may touch them. */
export function encodeMetadata(metadata: TableMetadata): Uint8Array {
  const text = JSON.stringify(metadata, (_key, value) => (typeof value === 'bigint' ? `${MARK}${value}` : value), 1)
  return Buffer.from(text.replace(/"\\u0000n(-?\d+)"/g, '$1'), 'utf8')
}

/** Throws `store.corrupt` when the bytes are not table metadata that we can go on from. */
export function decodeMetadata(name: string, bytes: Uint8Array): TableMetadata {
  try {
    const text = Buffer.from(bytes).toString('utf8')
    // One way to match a text, or one that does not end would be tried in all ways.
    const marked = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d{10,}(?![\d.eE])/g, (token) =>
      token.startsWith('"') ? token : `"\\u0000n${token}"`,
    )
    const raw = JSON.parse(marked, (key, value) => {
      if (typeof value === 'string' && value.startsWith(MARK)) {
        const whole = BigInt(value.slice(MARK.length))
        return key.endsWith('-ms') ? Number(whole) : whole
      }
      return typeof value === 'number' && LONG_KEYS.has(key) ? BigInt(value) : value
    }) as TableMetadata
    assertWhole(raw)
    return raw
  } catch (cause) {
    throw new LakeError('store.corrupt', `${name} is not Iceberg table metadata`, { cause, context: { key: name } })
  }
}

function assertWhole(raw: TableMetadata): void {
  if (raw['format-version'] !== 2 && raw['format-version'] !== 3) throw new Error('format-version is not 2 or 3')
  for (const key of REQUIRED_KEYS) if (raw[key] === undefined) throw new Error(`${key} is missing`)
  for (const key of LISTS) if (!Array.isArray(raw[key])) throw new Error(`${key} is no list`)
  if (!raw.schemas.some((schema) => schema['schema-id'] === raw['current-schema-id'] && Array.isArray(schema.fields)))
    throw new Error('the current schema is missing')
  if (!raw['partition-specs'].some((s) => s['spec-id'] === raw['default-spec-id'] && Array.isArray(s.fields)))
    throw new Error('the default partition spec is missing')
  if (raw.snapshots.some((snapshot) => typeof snapshot['manifest-list'] !== 'string' || snapshot.summary === undefined))
    throw new Error('a snapshot lacks its manifest list or summary')
  const current = raw['current-snapshot-id']
  if (current !== raw.refs['main']?.['snapshot-id']) throw new Error('main is not the current snapshot')
  if (current !== undefined && !raw.snapshots.some((snapshot) => snapshot['snapshot-id'] === current))
    throw new Error(`the current snapshot ${current} is missing`)
}

const REQUIRED_KEYS = [
  'table-uuid',
  'location',
  'last-sequence-number',
  'last-updated-ms',
  'schemas',
  'partition-specs',
  'properties',
  'snapshots',
  'snapshot-log',
  'metadata-log',
  'refs',
] as const

const LISTS = ['schemas', 'partition-specs', 'snapshots', 'snapshot-log', 'metadata-log'] as const

const LONG_KEYS: ReadonlySet<string> = new Set([
  'last-sequence-number',
  'current-snapshot-id',
  'snapshot-id',
  'parent-snapshot-id',
  'sequence-number',
  'first-row-id',
  'added-rows',
  'next-row-id',
])
