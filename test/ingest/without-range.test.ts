import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { table } from '../../src/define.ts'
import { emptyTables } from '../../src/ingest/create-tables.ts'
import type { ConcatenateInput, OffsetRange, TableWork } from '../../src/ingest/keys.ts'
import { withoutRange } from '../../src/ingest/without-range.ts'
import { metadataNumber } from '../../src/lake/lake-table.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { appendFiles, openTable, singleValue, writePlan, type DataFile, type WritePlan } from '../../src/lake/table.ts'
import type { Positions } from '../../src/log.ts'
import type { TableVersion } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { rowTable } from '../support/rows.ts'

/** `partition@offset` */
type Row = readonly [partition: number, offset: number]

const rows: fc.Arbitrary<Row> = fc.tuple(fc.nat(2), fc.nat(9))
const given = fc.record({
  files: fc.array(fc.record({ rows: fc.array(rows, { minLength: 1, maxLength: 6 }), hasBounds: fc.boolean() }), {
    maxLength: 5,
  }),
  deadLetters: fc.array(fc.array(rows, { minLength: 1, maxLength: 3 }), { maxLength: 2 }),
  ranges: fc.array(fc.tuple(fc.nat(2), fc.nat(9), fc.nat(9)), { maxLength: 3 }),
})

const clock = new InstantClock()
const definition = rowTable('orders', 'orders')

class Bench {
  readonly storage = new MemoryStorage('range')
  /** Files that were looked into. */
  readonly read: string[] = []

  readonly work = {
    rowsWithin: async (_: WritePlan, file: DataFile, ranges: readonly OffsetRange[]) => {
      this.read.push(file.key)
      const isWithin = ([p, o]: Row): boolean =>
        ranges.some(({ partition, from, until }) => p === partition && from <= BigInt(o) && BigInt(o) < until)
      return Uint32Array.from((await this.rowsIn(file.key)).flatMap((row, k) => (isWithin(row) ? [k] : [])))
    },
    concatenate: async (plan: WritePlan, inputs: readonly ConcatenateInput[]) => {
      const left: Row[] = []
      for (const { file, deleted } of inputs)
        left.push(...(await this.rowsIn(file.key)).filter((_, k) => !deleted.has(k)))
      return this.write(plan, left, true)
    },
  } as unknown as TableWork

  async rowsIn(key: string): Promise<readonly Row[]> {
    return JSON.parse(Buffer.from((await this.storage.get(key))!).toString()) as Row[]
  }

  async write(plan: WritePlan, rows: readonly Row[], hasBounds: boolean): Promise<DataFile> {
    const key = `${plan.dataPrefix}${clock.uuid()}.json`
    await this.storage.put(key, Buffer.from(JSON.stringify(rows)))
    const bounds = (name: string, type: 'int' | 'long', values: readonly number[]) => {
      const { id } = plan.schema.fields.find((field) => field.name === name)!
      const of = (value: number) => singleValue(type, type === 'int' ? value : BigInt(value))
      const [lower, upper] = [of(Math.min(...values)), of(Math.max(...values))]
      return [id, { sizeBytes: 1, valueCount: rows.length, nullCount: 0, lower, upper }] as const
    }
    const partitions = bounds(
      '_kafka_partition',
      'int',
      rows.map(([p]) => p),
    )
    const offsets = bounds(
      '_offset',
      'long',
      rows.map(([, o]) => o),
    )
    const metrics = new Map(hasBounds ? [partitions, offsets] : [])
    return { key, recordCount: rows.length, fileSizeBytes: 1, partition: [], metrics }
  }

  async commit(
    before: TableVersion,
    files: readonly (readonly Row[])[],
    hasBounds: readonly boolean[],
  ): Promise<TableVersion> {
    const opened = await openTable(this.storage, before.metadata)
    const written = await Promise.all(files.map((rows, k) => this.write(writePlan(opened), rows, hasBounds[k] ?? true)))
    const stamp = { commitId: clock.uuid(), version: 1n, ranges: '' }
    const { metadata, snapshot } = await appendFiles(this.storage, opened, written, stamp, clock)
    return { ...before, metadata, snapshot }
  }

  async rowsOf({ metadata }: TableVersion): Promise<{ rows: string[]; keys: string[] }> {
    const files = await dataFiles(this.storage, await openTable(this.storage, metadata))
    const rows = await Promise.all(files.map(({ key }) => this.rowsIn(key)))
    return {
      rows: rows
        .flat()
        .map((row) => row.join('@'))
        .toSorted(),
      keys: files.map(({ key }) => key),
    }
  }
}

describe('a table without a range of offsets', () => {
  test('holds all other rows; files beside it are as they were, and those in it are not read', async () => {
    await fc.assert(
      fc.asyncProperty(given, async ({ files, deadLetters, ranges }) => {
        const bench = new Bench()
        const { storage, work } = bench
        const pipeline = { name: 'p', tables: [definition], windows: [], onDataLoss: 'stop' } as const
        const empty = await emptyTables(pipeline, new Set(['orders']), {}, storage, clock)
        const bounds = files.map(({ hasBounds }) => hasBounds)
        const orders = await bench.commit(
          empty['orders']!,
          files.map(({ rows }) => rows),
          bounds,
        )
        const tables = {
          orders,
          orders__dlq: await bench.commit(empty['orders__dlq']!, deadLetters, []),
          other: orders,
        }
        const last = new Map(ranges.map(([p, from, until]) => [p, [from, until] as const]))
        const ends = (k: 0 | 1): Positions => new Map([...last].map(([p, each]) => [`orders/${p}`, BigInt(each[k])]))
        const range = {
          from: new Map([...ends(0), ['clicks/0', 0n] as const]),
          until: new Map([...ends(1), ['clicks/0', 99n] as const]),
        }
        const isGone = ([p, o]: Row): boolean => last.has(p) && last.get(p)![0] <= o && o < last.get(p)![1]
        const made = await withoutRange(definition, tables, range, { storage, clock, work, version: 7n })
        expect(Object.keys(made).toSorted()).toEqual(['orders', 'orders__dlq'])
        for (const [name, list] of [
          ['orders', files.map(({ rows }) => rows)],
          ['orders__dlq', deadLetters],
        ] as const) {
          const [before, after] = [await bench.rowsOf(tables[name]), await bench.rowsOf(made[name]!)]
          expect(before.rows).toEqual(
            list
              .flat()
              .map((row) => row.join('@'))
              .toSorted(),
          )
          expect(after.rows).toEqual(
            list
              .flat()
              .filter((row) => !isGone(row))
              .map((row) => row.join('@'))
              .toSorted(),
          )
          const untouched = await Promise.all(before.keys.map(async (key) => !(await bench.rowsIn(key)).some(isGone)))
          expect(before.keys.filter((_, k) => untouched[k]).every((key) => after.keys.includes(key))).toBe(true)
          for (const [k, key] of before.keys.entries()) {
            const inside = (await bench.rowsIn(key)).every(isGone)
            const one = new Set((await bench.rowsIn(key)).map(([p]) => p)).size === 1
            if (inside && one && (name !== 'orders' || bounds[k] === true)) expect(bench.read).not.toContain(key)
          }
          const [was, is] = [
            await openTable(storage, tables[name].metadata),
            await openTable(storage, made[name]!.metadata),
          ]
          expect([is.uuid, is.totalRecords]).toEqual([was.uuid, BigInt(after.rows.length)])
          expect(metadataNumber(is.metadata)).toBeGreaterThan(metadataNumber(was.metadata) + 1_000_000)
        }
      }),
      { numRuns: 100 },
    )
  })

  test('says which definition its rows are of from there on', async () => {
    const bench = new Bench()
    const { storage, work } = bench
    const pipeline = { name: 'p', tables: [definition], windows: [], onDataLoss: 'stop' } as const
    const tables = await emptyTables(pipeline, new Set(['orders']), {}, storage, clock)
    const changed = { ...definition, onError: 'skip' as const }
    const range = { from: new Map(), until: new Map() }
    const { orders } = await withoutRange(changed, tables, range, { storage, clock, work, version: 1n })
    expect(orders!.code).not.toBe(tables['orders']!.code)
    const { properties } = await openTable(storage, orders!.metadata)
    const hash = createHash('sha256').update(properties['kappalake.definition']!).digest('hex')
    expect(hash.slice(0, 32)).toBe(orders!.code)
  })

  test('what a key has depends on more than a range', async () => {
    const bench = new Bench()
    const keyed = table('k', { from: { topic: 'orders' }, columns: { id: 'string required' }, key: ['id'] })
    const { storage, work } = bench
    const range = { from: new Map(), until: new Map() }
    await expect(withoutRange(keyed, {}, range, { storage, clock, work, version: 1n })).rejects.toMatchObject({
      code: 'replay.range_keyed',
    })
  })
})
