import type { Column } from '../../src/batch.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { deadLetterColumns } from '../../src/ingest/decode/columns.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { appendFiles, createTable, writeVersionHints, type LakeTable } from '../../src/lake/table.ts'
import { encodedColumns, writeEncoded } from './encoder-writer.ts'
import { upserted, writeKeyed, type KeyedStep } from './keyed-writer.ts'
import type { Row, Value } from './value.ts'
import { Writer } from './writer.ts'

/** A table in a store, with all that is known about it because the test wrote it. */
export interface Written {
  readonly table: LakeTable
  readonly key: string
  readonly rows: readonly Row[]
  /** Keys of the rows at some of the snapshots that are still in the metadata, the oldest among them. */
  readonly snapshots: ReadonlyMap<string, readonly string[]>
  /** By key: row id and sequence number. v3 only. */
  readonly lineage: ReadonlyMap<string, readonly [string, string]> | undefined
}

interface Plan {
  readonly name: string
  readonly columns: readonly Column[]
  readonly key: string
  readonly partitionBy?: readonly string[]
  readonly formatVersion?: 2 | 3
  /** Written by a lane from records of JSON; otherwise by the test, with the statistics that the values say. */
  readonly isEncoded?: boolean
  /** One snapshot each. */
  readonly commits: readonly (readonly Row[])[]
  /** Of a keyed table, in the place of commits. */
  readonly steps?: readonly KeyedStep[]
}

const KINDS = ['boolean', 'int', 'long', 'float', 'double', 'string', 'binary', 'date', 'uuid'] as const
const TIMES = ['timestamp', 'timestamptz'] as const

/** One column for every primitive type, named after it, and a key. */
const primitives: readonly Column[] = [
  { name: 'id', type: { kind: 'int' }, required: true },
  ...KINDS.map((kind): Column => ({ name: `a_${kind}`, type: { kind } })),
  ...TIMES.map((kind): Column => ({ name: `a_${kind}`, type: { kind } })),
  { name: 'a_decimal', type: { kind: 'decimal', precision: 9, scale: 2 } },
  { name: 'a_decimal18', type: { kind: 'decimal', precision: 18, scale: 4 } },
  { name: 'a_decimal38', type: { kind: 'decimal', precision: 38, scale: 10 } },
  { name: 'a_enum', type: { kind: 'enum', symbols: ['new', 'paid'] } },
]

const nested: readonly Column[] = [
  { name: 'numbers', type: { kind: 'list', element: { kind: 'long' } } },
  { name: 'counts', type: { kind: 'map', value: { kind: 'double' } } },
  {
    name: 'place',
    type: {
      kind: 'struct',
      fields: [
        { name: 'city', type: { kind: 'string' } },
        {
          name: 'at',
          type: { kind: 'struct', fields: [{ name: 'x', type: { kind: 'decimal', precision: 9, scale: 2 } }] },
        },
      ],
    },
  },
  {
    name: 'lines',
    type: {
      kind: 'list',
      element: {
        kind: 'struct',
        fields: [
          { name: 'sku', type: { kind: 'string' } },
          { name: 'tags', type: { kind: 'map', value: { kind: 'list', element: { kind: 'date' } } } },
        ],
      },
    },
  },
]

const uuid = (hex: string) => Buffer.from(hex.padStart(32, '0'), 'hex')
const [MIN_DAY, MAX_DAY, US] = [-719_162, 2_932_896, 86_400_000_000n]
const instants = [
  null,
  0n,
  -1n,
  1_510_871_468_000_001n,
  -62_135_596_800_000_000n,
  253_402_300_799_999_999n,
  -US - 1n,
  US,
]

/** Values at the edges of each type: extremes, both sides of zero and 1970, NaN, texts whose orders differ. */
const EDGES: Readonly<Record<string, readonly Value[]>> = {
  a_boolean: [true, null, false],
  a_int: [0, 1, -1, 2_147_483_647, null, -2_147_483_648, 42],
  a_long: [0n, -1n, 9_223_372_036_854_775_807n, null, -9_223_372_036_854_775_808n, 9_007_199_254_740_993n],
  a_float: [0, 1.5, null, -1.5, 3.4028234663852886e38, 1.401298464324817e-45, Infinity, NaN, -Infinity],
  a_double: [1e300, 0, NaN, -0.1, null, -Infinity, 5e-324, Infinity, 42],
  a_string: [
    'a',
    null,
    '',
    'ä',
    'x'.repeat(40),
    '😀'.repeat(20),
    '～'.repeat(17),
    '\u{10ffff}'.repeat(20),
    '\ufeffabc',
    'line\nbreak "quoted" \\ tab\t',
    `${'z'.repeat(15)}\ud7ff\ud7ff`,
  ],
  a_binary: [
    Buffer.alloc(0),
    Buffer.of(0),
    null,
    Buffer.alloc(40, 0xff),
    Buffer.concat([Buffer.alloc(15, 1), Buffer.alloc(5, 0xff)]),
    Buffer.of(0xff),
    Buffer.of(0x7f, 0x80),
  ],
  a_date: [0, -1, null, 17_486, MIN_DAY, MAX_DAY, 365],
  a_uuid: [
    uuid('f79c3e09677c4bbda4793f349cb785e7'),
    null,
    uuid('0'),
    uuid('f'.repeat(32)),
    uuid('7f'),
    uuid(`80${'0'.repeat(30)}`),
  ],
  a_timestamp: instants,
  a_timestamptz: instants.toReversed(),
  a_decimal: [0n, 1_420n, -1_420n, null, 999_999_999n, -999_999_999n, 1n, 128n],
  a_decimal18: [null, 10n ** 18n - 1n, 1n - 10n ** 18n, 0n, 12_345n, -255n],
  a_decimal38: [10n ** 38n - 1n, 0n, 1n - 10n ** 38n, null, 1n, -(2n ** 64n)],
  a_enum: ['new', 'paid', null],
  numbers: [[], [1n, null, -9_223_372_036_854_775_808n], null, [9_007_199_254_740_993n]],
  counts: [
    [],
    [
      ['b', 1.5],
      ['a', null],
      ['ä', NaN],
    ],
    null,
  ],
  place: [{ city: 'Köln', at: { x: -1n } }, { city: null, at: null }, null, { city: '', at: { x: null } }],
  lines: [[], [{ sku: 'a', tags: [['d', [0, null]]] }, null, { sku: null, tags: null }], [{ sku: 'b', tags: [] }]],
}

/** Below the least multiple of the width there is nothing: engines disagree about what an integer is truncated to. */
const TRUNCATED_EDGES: typeof EDGES = {
  ...EDGES,
  a_int: [0, 1, -1, 2_147_483_647, null, -2_147_483_646, 42],
  a_long: [0n, -1n, 9_223_372_036_854_775_807n, null, -9_223_372_036_854_775_806n, 9_007_199_254_740_993n],
}

/** JSON has no NaN and no infinities. */
const JSON_EDGES: typeof EDGES = {
  ...EDGES,
  a_float: [0, 1.5, null, -1.5, 3.4028234663852886e38, 1.401298464324817e-45],
  a_double: [1e300, 0, -0.1, null, 5e-324, 42],
  counts: [
    [],
    [
      ['b', 1.5],
      ['a', null],
      ['ä', -0.1],
    ],
    null,
  ],
}

const ROWS = 27
const SNAPSHOTS_READ = 4

function rowsOf(columns: readonly Column[], values = EDGES): Row[] {
  return Array.from({ length: ROWS }, (_, id) =>
    Object.fromEntries(
      columns.map(({ name }) => [name, values[name]?.[id % values[name].length] ?? (name === 'id' ? id : null)]),
    ),
  )
}

function inCommits(rows: readonly Row[], size: number): Row[][] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, index) =>
    rows.slice(index * size, (index + 1) * size),
  )
}

const BY_TRANSFORM: Readonly<Record<string, readonly string[]>> = {
  identity: primitives
    .slice(1)
    .map(({ name }) => name)
    .filter((name) => !['a_uuid', 'a_float', 'a_double'].includes(name)),
  bucket: ['int', 'long', 'string', 'binary', 'date', 'uuid', ...TIMES, 'decimal', 'decimal18', 'decimal38'].map(
    (kind) => `bucket(5, a_${kind})`,
  ),
  truncate: ['int', 'long', 'string', 'binary', 'decimal', 'decimal18', 'decimal38'].map(
    (kind) => `truncate(3, a_${kind})`,
  ),
  year: ['date', ...TIMES].map((kind) => `year(a_${kind})`),
  month: ['date', ...TIMES].map((kind) => `month(a_${kind})`),
  day: ['date', ...TIMES].map((kind) => `day(a_${kind})`),
  hour: TIMES.map((kind) => `hour(a_${kind})`),
}

const awkward: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'at', type: { kind: 'timestamptz' } },
  { name: 'at_day', type: { kind: 'string' } },
  { name: '名前-x', type: { kind: 'string' } },
  { name: '1st', type: { kind: 'int' } },
]

const letters: readonly Row[] = Array.from({ length: 12 }, (_, index) => ({
  _topic: 'shop.orders',
  _kafka_partition: index % 3,
  _offset: BigInt(index) * 10_000_000_000n,
  _timestamp: index % 4 === 0 ? null : BigInt(index) * 1_000_000n,
  key: index % 2 === 0 ? null : Buffer.of(index),
  value: Buffer.from(`{"broken": ${index}`),
  headers: null,
  stage: 'decode',
  code: 'decode.json',
  message: `no number at byte ${index}`,
  code_hash: 'c0de',
  status: 'pending',
  attempts: 0,
  _clock: index === 0 ? null : BigInt(index) * 1_000_000n,
}))

const ticks = Array.from({ length: 140 }, (_, index): Row => ({
  id: BigInt(index),
  a_string: index % 7 === 0 ? null : `t${index % 5}`,
}))
const tickColumns: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'a_string', type: { kind: 'string' } },
]

const wide = [...primitives, ...nested]

const keyedRows = rowsOf(wide)
const ids = (first: number, end: number) => Array.from({ length: end - first }, (_, index) => first + index)
const upserts = (some: readonly number[], shift: number) => upserted(keyedRows, some, 'id', shift)
const steps: readonly KeyedStep[] = [
  { upserts: upserts(ids(0, 18), 0) },
  { upserts: [...upserts(ids(4, 9), 3), ...upserts(ids(18, 27), 0)] },
  { deletes: [0, 5, 20] },
  // Twice in one commit, back from the dead, and never there.
  { upserts: [...upserts([7, 5], 1), ...upserts([7, 8, 2], 5)], deletes: [99, 8] },
  // All that is left of the first file.
  { deletes: ids(0, 18) },
  { upserts: upserts(ids(1, 12), 11), deletes: [26] },
  { compacts: true, deletes: [3, 19] },
  { upserts: upserts([3, 4, 21], 2), deletes: [6, 22] },
  { compacts: true },
  { deletes: [23] },
]

export const PLANS: readonly Plan[] = [
  { name: 'every_type', columns: wide, key: 'id', commits: inCommits(rowsOf(wide), 9) },
  ...Object.entries(BY_TRANSFORM).map(([name, partitionBy]): Plan => ({
    name: `by_${name}`,
    columns: primitives,
    key: 'id',
    partitionBy,
    commits: inCommits(rowsOf(primitives, name === 'truncate' ? TRUNCATED_EDGES : EDGES), 9),
  })),
  {
    name: 'awkward_names',
    columns: awkward,
    key: 'id',
    partitionBy: ['day(at)', '名前-x', 'bucket(4, 1st)', 'truncate(2, at_day)'],
    commits: inCommits(
      Array.from({ length: 16 }, (_, id) => ({
        id: BigInt(id),
        at: BigInt(id % 4) * US + 5n,
        at_day: ['mon', 'tue', null][id % 3]!,
        '名前-x': ['é', null][id % 2]!,
        '1st': id % 5,
      })),
      8,
    ),
  },
  { name: 'encoded', columns: wide, key: 'id', isEncoded: true, commits: inCommits(rowsOf(wide, JSON_EDGES), 9) },
  {
    name: 'encoded_parts',
    columns: primitives,
    key: 'id',
    isEncoded: true,
    partitionBy: [
      'month(a_timestamp)',
      'day(a_timestamptz)',
      'bucket(3, a_string)',
      'truncate(2, a_decimal)',
      'a_date',
    ],
    commits: inCommits(rowsOf(primitives, JSON_EDGES), 9),
  },
  { name: 'empty', columns: wide, key: 'id', partitionBy: ['day(a_date)'], commits: [] },
  { name: 'empty__dlq', columns: deadLetterColumns, key: '_offset', formatVersion: 3, commits: [] },
  { name: 'orders__dlq', columns: deadLetterColumns, key: '_offset', formatVersion: 3, commits: inCommits(letters, 4) },
  { name: 'keyed', columns: wide, key: 'id', formatVersion: 3, commits: [], steps },
  {
    name: 'keyed_parts',
    columns: primitives,
    key: 'id',
    formatVersion: 3,
    partitionBy: ['a_boolean', 'bucket(3, a_long)', 'year(a_date)'],
    commits: [],
    steps: steps.map((step) => ({ ...step, upserts: (step.upserts ?? []).map(primitivesOf) })),
  },
  {
    name: 'keyed_away',
    columns: wide,
    key: 'id',
    formatVersion: 3,
    commits: [],
    steps: [{ upserts: upserts(ids(0, 9), 0) }, { deletes: ids(0, 9) }],
  },
  // So many deleted rows that the vector holds bitmaps.
  {
    name: 'keyed_large',
    columns: tickColumns,
    key: 'id',
    formatVersion: 3,
    commits: [],
    steps: [
      { upserts: ids(0, 10_000).map((id) => ({ id: BigInt(id), a_string: `t${id % 3}` })) },
      { deletes: ids(0, 10_000).filter((id) => id % 501 !== 0) },
      { deletes: [0, 9_018] },
    ],
  },
  // So many commits that manifests were merged and snapshots expired.
  { name: 'old', columns: tickColumns, key: 'id', partitionBy: ['a_string'], commits: inCommits(ticks, 1) },
  { name: 'old__dlq', columns: tickColumns, key: 'id', formatVersion: 3, commits: inCommits(ticks, 1) },
]

/** Writes all tables into a folder. A minute passes between commits. */
export async function writeTables(folder: string): Promise<readonly Written[]> {
  const storage = await LocalStorage.open(folder)
  const writer = await Writer.open(storage)
  try {
    const written: Written[] = []
    for (const plan of PLANS) written.push(await writeTable(storage, writer, plan))
    return written
  } finally {
    writer.close()
    await storage.close()
  }
}

async function writeTable(storage: LocalStorage, writer: Writer, plan: Plan): Promise<Written> {
  const { name, key, partitionBy = [], formatVersion = 2, commits } = plan
  if (plan.steps !== undefined) return writeKeyed(storage, writer, { ...plan, steps: plan.steps }, minutes())
  const columns = plan.isEncoded === true ? encodedColumns(plan.columns) : plan.columns
  const clock = minutes()
  let table = await createTable(storage, { name, columns, partitionBy, formatVersion }, clock)
  const snapshots = new Map<string, readonly string[]>()
  const lineage = new Map<string, readonly [string, string]>()
  const all: Row[] = []
  for (const commit of commits) {
    const { files, rows } =
      plan.isEncoded === true
        ? await writeEncoded(storage, table, plan.columns, commit, BigInt(all.length))
        : await writer.write(table, commit)
    const stamp = { commitId: clock.uuid(), version: BigInt(snapshots.size + 2), ranges: 't:0=0-1' }
    table = await appendFiles(storage, table, files, stamp, clock)
    for (const row of rows) {
      lineage.set(String(row[key]), [String(all.length), String(table.raw['last-sequence-number'])])
      all.push(row)
    }
    snapshots.set(
      String(table.snapshot),
      all.map((row) => String(row[key])),
    )
  }
  await writeVersionHints(storage, [table])
  const kept = table.snapshots.map(({ id }) => String(id))
  const step = Math.ceil(kept.length / SNAPSHOTS_READ)
  return {
    table,
    key,
    rows: all,
    snapshots: new Map(kept.filter((_, index) => index % step === 0).map((id) => [id, snapshots.get(id)!])),
    lineage: formatVersion === 3 ? lineage : undefined,
  }
}

function minutes(): Clock {
  let minute = 0
  return { ...systemClock, nowMs: () => Date.UTC(2026, 0, 1) + 60_000 * minute++ }
}

function primitivesOf(row: Row): Row {
  return Object.fromEntries(primitives.map(({ name }) => [name, row[name]!]))
}
