import * as fc from 'fast-check'
import { DuckDBBlobValue, type DuckDBValue } from '@duckdb/node-api'
import { describe, expect, test } from 'vitest'
import type { Column, ColumnType } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { tableColumns } from '../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import type { StagedTable } from '../../src/ingest/lane.ts'
import { applyTransform, type DataFile, type IcebergType, type PartitionValue } from '../../src/lake/table.ts'
import type { RecordBatch } from '../../src/log.ts'
import { batchOf, definition, tablePlan, type TestRecord } from '../support/lake-table.ts'
import { openStore } from '../support/parquet.ts'
import { mutated, objectArbitrary } from './decode/arbitrary.ts'

const { storage, reader } = await openStore('laws')

const type = (kind: 'string' | 'int' | 'long' | 'float' | 'double' | 'binary' | 'date' | 'uuid' | 'boolean') => ({
  kind,
})
const COLUMNS: readonly Column[] = [
  { name: 'text', type: type('string') },
  { name: 'i', type: type('int') },
  { name: 'l', type: type('long') },
  { name: 'f', type: type('float') },
  { name: 'd', type: type('double') },
  { name: 'flag', type: type('boolean') },
  { name: 'bytes', type: type('binary') },
  { name: 'day', type: type('date') },
  { name: 'id', type: type('uuid') },
  { name: 'price', type: { kind: 'decimal', precision: 9, scale: 2 } },
  { name: 'large', type: { kind: 'decimal', precision: 38, scale: 10 } },
  { name: 'at', type: { kind: 'timestamp' } },
  { name: 'atz', type: { kind: 'timestamptz', unit: 'ms' } },
  {
    name: 'inner',
    type: {
      kind: 'struct',
      fields: [
        { name: 'a', type: type('string') },
        { name: 'b', type: type('int') },
      ],
    },
  },
  { name: 'list', type: { kind: 'list', element: type('int') } },
]

async function encode(
  def: TableDefinition,
  batches: readonly (readonly RecordBatch[])[],
  partition: readonly (readonly [string, string])[] = [],
): Promise<StagedTable[]> {
  const encoder = await openEncoder({ tables: [def], storage, clock: systemClock })
  const staged: StagedTable[] = []
  for (const list of batches) staged.push(await encoder.encode(tablePlan(def, partition), list, new Set()))
  await encoder.close()
  return staged
}

const records = (columns: readonly Column[], max: number, share = true): fc.Arbitrary<TestRecord[]> =>
  fc.array(
    fc.record({
      value: fc.oneof(
        { weight: 12, arbitrary: share ? mutated(objectArbitrary(columns)) : objectArbitrary(columns, false) },
        { weight: 1, arbitrary: fc.constant(null) },
      ),
      timestampMs: fc.integer({ min: -1, max: 2_000_000_000_000 }),
    }),
    { minLength: 1, maxLength: max, size: 'max' },
  )

function byOffset(a: DuckDBValue[], b: DuckDBValue[]): number {
  return Number((a[0] as bigint) - (b[0] as bigint))
}

/** Every row and dead letter of some micro-batches, in offset order, and the sums of their counts. */
async function contents(staged: readonly StagedTable[]): Promise<unknown> {
  const rows: DuckDBValue[][] = []
  const dead: DuckDBValue[][] = []
  const sums = { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: Number.NEGATIVE_INFINITY }
  for (const { files, deadLetterFiles, counts } of staged) {
    for (const file of files) rows.push(...(await reader.rows(storage, file, '_offset, columns(*)::varchar')))
    for (const file of deadLetterFiles)
      dead.push(...(await reader.rows(storage, file, '_offset, code, message, value::varchar, _timestamp::varchar')))
    for (const count of counts.values()) {
      sums.rows += count.rows
      sums.deadLetters += count.deadLetters
      sums.tombstones += count.tombstones
      sums.skipped += count.skipped
      sums.clockMs = Math.max(sums.clockMs, count.clockMs ?? Number.NEGATIVE_INFINITY)
    }
  }
  return { rows: rows.sort(byOffset), dead: dead.sort(byOffset), sums }
}

describe('laws', () => {
  test('any cut of the records into batches and micro-batches gives the same rows, dead letters and clock', async () => {
    const def = definition({
      columns: COLUMNS,
      unknown: 'extra',
      eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: 86_400_000 },
    })
    await fc.assert(
      fc.asyncProperty(records(COLUMNS, 80), fc.array(fc.tuple(fc.nat(79), fc.boolean())), async (list, cuts) => {
        const places = [...new Map(cuts).entries()]
          .filter(([at]) => at > 0 && at < list.length)
          .sort((a, b) => a[0] - b[0])
        const micro: RecordBatch[][] = [[]]
        let from = 0
        for (const [at, isNew] of [...places, [list.length, false] as const]) {
          micro.at(-1)!.push(batchOf(list.slice(from, at), { first: BigInt(from) }))
          if (isNew) micro.push([])
          from = at
        }
        const whole = await contents(await encode(def, [[batchOf(list)]]))
        expect(await contents(await encode(def, micro))).toEqual(whole)
      }),
      { numRuns: 15 },
    )
  })

  test('every record is a row, a dead letter, a tombstone or skipped', async () => {
    for (const onError of ['dead-letter', 'skip'] as const)
      await fc.assert(
        fc.asyncProperty(records(COLUMNS, 60), async (list) => {
          const [staged] = await encode(definition({ columns: COLUMNS, onError, unknown: 'fail' }), [[batchOf(list)]])
          const { rows, deadLetters, tombstones, skipped } = staged!.counts.get('shop.orders/0')!
          expect(rows + deadLetters + tombstones + skipped).toBe(list.length)
          expect(tombstones).toBe(list.filter(({ value }) => value === null).length)
          expect(onError === 'skip' ? deadLetters : skipped).toBe(0)
        }),
        { numRuns: 10 },
      )
  })

  test('each file holds rows of its partition tuple alone, and all of them are somewhere', async () => {
    const transforms: (readonly [string, string])[] = [
      ...COLUMNS.slice(0, 13).map(({ name }) => [name, 'identity'] as const),
      ...['text', 'i', 'l', 'bytes', 'day', 'id', 'price', 'large', 'at'].map((name) => [name, 'bucket[5]'] as const),
      ...['text', 'i', 'l', 'bytes', 'price', 'large'].map((name) => [name, 'truncate[3]'] as const),
      ...['year', 'month', 'day', 'hour'].map((transform) => ['at', transform] as const),
      ...['year', 'month', 'day'].map((transform) => ['day', transform] as const),
      ['_kafka_partition', 'identity'],
    ]
    await fc.assert(
      fc.asyncProperty(
        records(COLUMNS, 30, false),
        fc.uniqueArray(fc.constantFrom(...transforms), { minLength: 1, maxLength: 2 }),
        async (list, partition) => {
          const def = definition({ columns: COLUMNS })
          const [staged] = await encode(def, [[batchOf(list, { partition: 3 })]], partition)
          const offsets: unknown[] = []
          for (const file of staged!.files) {
            const rows = await reader.rows(
              storage,
              file,
              ['_offset', ...partition.map(([name]) => select(name))].join(),
            )
            for (const [offset, ...values] of rows) {
              offsets.push(offset)
              const tuple = partition.map(([name, transform], k) =>
                applyTransform(transform, icebergType(name, def), partitionValue(values[k]!, name)),
              )
              expect(file.partition.map(comparable), `${partition} ${offset}`).toEqual(tuple.map(comparable))
            }
            expect(file.recordCount).toBe(rows.length)
          }
          const tuples = staged!.files.map((file) => JSON.stringify(file.partition.map(comparable)))
          expect(new Set(tuples).size).toBe(tuples.length)
          expect(new Set(offsets).size).toBe(staged!.counts.get('shop.orders/3')!.rows)
        },
      ),
      { numRuns: 30 },
    )
  })

  test('metrics are true: counts exact, no value outside the bounds', async () => {
    await fc.assert(
      fc.asyncProperty(records(COLUMNS, 40, false), async (list) => {
        const def = definition({ columns: COLUMNS })
        const [staged] = await encode(def, [[batchOf(list)]])
        for (const file of staged!.files) await checkMetrics(def, file)
      }),
      { numRuns: 25 },
    )
  })
})

async function checkMetrics(def: TableDefinition, file: DataFile): Promise<void> {
  const { schema } = tablePlan(def).data
  for (const { id, name, type: iceberg } of schema.fields) {
    if (typeof iceberg !== 'string') continue
    const metrics = file.metrics.get(id)!
    const [min, max] = [metrics.lower, metrics.upper].map((bytes) =>
      bytes === undefined ? null : sqlBound(bytes, iceberg),
    )
    const column = iceberg === 'string' ? `encode("${name}")` : `"${name}"`
    const [row] = await reader.query(
      storage,
      file,
      `SELECT count(*), count("${name}"), count(*) FILTER (${column} < ${min ?? 'NULL'}), count(*) FILTER (${column} > ${max ?? 'NULL'}) FROM file`,
    )
    const [count, filled, below, above] = row!.map(Number)
    expect([metrics.valueCount, metrics.nullCount, below, above], `${name} ${min} ${max}`).toEqual([
      count,
      count! - filled!,
      0,
      0,
    ])
    // A bound may be missing for texts that COPY cuts within a character; the other types always have one.
    if (filled! > 0 && iceberg !== 'string' && iceberg !== 'binary') expect(metrics.lower, name).toBeDefined()
    if (iceberg === 'double' || iceberg === 'float') expect(metrics.nanCount).toBe(0)
    expect(metrics.sizeBytes).toBeGreaterThan(0)
  }
}

/** A bound as SQL, read from its bytes by the rules of the specification, not by our own code. */
function sqlBound(bytes: Uint8Array, type: string): string {
  const buffer = Buffer.from(bytes)
  if (type === 'boolean') return buffer[0] === 1 ? 'true' : 'false'
  if (type === 'int') return String(buffer.readInt32LE())
  if (type === 'long') return `${buffer.readBigInt64LE()}::bigint`
  if (type === 'float') return `${buffer.readFloatLE()}::float`
  if (type === 'double') return `'${buffer.readDoubleLE()}'::double`
  if (type === 'date') return `DATE '1970-01-01' + ${buffer.readInt32LE()}::int`
  if (type === 'timestamp') return `make_timestamp(${buffer.readBigInt64LE()}::bigint)`
  if (type === 'timestamptz') return `make_timestamptz(${buffer.readBigInt64LE()}::bigint)`
  if (type === 'uuid') return `'${buffer.toString('hex')}'::uuid`
  if (type.startsWith('decimal')) {
    const scale = Number(/, ?(\d+)\)/.exec(type)![1])
    const unscaled = buffer.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
    return decimalText(BigInt.asIntN(8 * buffer.length, unscaled), scale)
  }
  return `unhex('${buffer.toString('hex')}')`
}

function decimalText(unscaled: bigint, scale: number): string {
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const text = `${unscaled < 0n ? '-' : ''}${digits.slice(0, digits.length - scale)}.${digits.slice(digits.length - scale)}`
  return `'${text}'::decimal(38,${scale})`
}

function icebergType(name: string, def: TableDefinition): IcebergType {
  return tablePlan(def).data.schema.fields.find((field) => field.name === name)!.type
}

/** SQL that gives a column in a form that `partitionValue` understands. */
function select(name: string): string {
  const { kind } = columnType(name)
  if (kind === 'string') return `encode("${name}")`
  if (kind === 'date') return `("${name}" - DATE '1970-01-01')::int`
  if (kind === 'timestamp' || kind === 'timestamptz') return `epoch_us("${name}")`
  if (kind === 'uuid') return `unhex(replace("${name}"::varchar, '-', ''))`
  return kind === 'decimal' ? `"${name}"::varchar` : `"${name}"`
}

function columnType(name: string): ColumnType {
  return tableColumns(definition({ columns: COLUMNS })).find((column) => column.name === name)!.type
}

function partitionValue(value: DuckDBValue, name: string): PartitionValue {
  const { kind } = columnType(name)
  if (value === null) return null
  if (kind === 'string') return Buffer.from((value as DuckDBBlobValue).bytes).toString('utf8')
  if (value instanceof DuckDBBlobValue) return value.bytes
  if (kind === 'decimal') return BigInt((value as string).replace('.', ''))
  return value as PartitionValue
}

function comparable(value: PartitionValue): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : String(value)
}
