import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AvroSchema } from '../../src/avro-schema.ts'
import { wantedColumns } from '../../src/define-avro.ts'
import { evolveColumns, joinColumns, type Evolved, type WantedColumns } from '../../src/evolve-columns.ts'
import { tableColumns } from '../../src/ingest/decode/columns.ts'
import type { SchemaEntry } from '../../src/ingest/decode/avro-schemas.ts'
import { firstColumns } from '../../src/ingest/first-columns.ts'
import { GrowingTables, registryColumns } from '../../src/ingest/growing.ts'
import { Holds } from '../../src/ingest/holds.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type RunResult } from '../../src/ingest/pipeline.ts'
import { openChain } from '../../src/lake/chain.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { createTable, openTable, writeEvolved } from '../../src/lake/table.ts'
import { parsePartitionId } from '../../src/log.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { framed } from '../support/registry-server.ts'
import {
  cellsOf,
  columnsText,
  entryOf,
  growingEncoder,
  growingTable,
  histories,
  leavesOf,
  wantedOf,
  type GrowingFile,
} from '../support/growing.ts'

const TABLE = growingTable('orders', 'orders')

/** Columns after schemas in an order; undefined where one does not fit. */
function after(schemas: readonly WantedColumns[]) {
  let columns: ReturnType<typeof joinColumns> | undefined = []
  for (const wanted of schemas) {
    const evolved: Evolved | undefined = columns && evolveColumns(columns, wanted, 'add-widen')
    columns = evolved?.kind === 'fits' ? evolved.columns : undefined
  }
  return columns
}

describe('columns', () => {
  const shuffled = (areFriends: boolean) =>
    histories(areFriends).chain((schemas) => {
      const wanted = schemas.map((schema) => wantedOf(schema))
      return fc.tuple(fc.constant(wanted), fc.shuffledSubarray(wanted, { minLength: wanted.length }))
    })

  test('do not depend on the order of schemas that fit each other', () => {
    fc.assert(
      fc.property(shuffled(true), ([one, other]) => {
        const columns = after(one)
        expect(columns).toBeDefined()
        expect(columnsText(after(other)!)).toBe(columnsText(columns!))
      }),
    )
  })

  test('are the same in all orders in which all schemas fit', () => {
    fc.assert(
      fc.property(shuffled(false), ([one, other]) => {
        const [a, b] = [after(one), after(other)]
        if (a !== undefined && b !== undefined) expect(columnsText(a)).toBe(columnsText(b))
      }),
      { numRuns: 250 },
    )
  })

  test('stay the very same where a schema asks for nothing new, and never get narrower', () => {
    fc.assert(
      fc.property(shuffled(false), ([schemas]) => {
        let columns: ReturnType<typeof joinColumns> = []
        for (const wanted of schemas) {
          const evolved = evolveColumns(columns, wanted, 'add-widen')
          if (evolved.kind === 'incompatible') continue
          expect(columnsText(joinColumns(columns, evolved.columns))).toBe(columnsText(evolved.columns))
          columns = evolved.columns
          expect(evolveColumns(columns, wanted, 'strict')).toEqual({ kind: 'fits', columns })
          expect(joinColumns(columns, wanted.columns)).toBe(columns)
        }
      }),
    )
  })

  const fields = (...list: readonly (readonly [string, unknown])[]) =>
    wantedOf({ type: 'record', name: 'R', fields: list.map(([name, type]) => ({ name, type })) })

  test.each([
    ['string', 'int', 'a: the table has string, the schema int'],
    ['int', { type: 'array', items: 'int' }, 'a: the table has int, the schema list<int>'],
    ['int', 'double', 'a: the table has int, the schema double'],
    ['double', 'int', 'a: the table has double, the schema int'],
  ])('a column of %j is none of %j', (before, now, problem) => {
    const columns = after([fields(['a', before])])!
    expect(evolveColumns(columns, fields(['a', now]), 'add-widen')).toEqual({
      kind: 'incompatible',
      problems: [problem],
    })
  })

  test('a wide column takes what is narrower', () => {
    const columns = after([fields(['a', 'double'], ['b', 'long'])])!
    expect(evolveColumns(columns, fields(['a', 'float'], ['b', 'int']), 'strict')).toEqual({ kind: 'fits', columns })
  })

  test('a name in another case is another field, which no table can have beside it', () => {
    const columns = after([fields(['a', 'int'])])!
    expect(evolveColumns(columns, fields(['A', 'int']), 'add-widen')).toMatchObject({ kind: 'incompatible' })
  })

  test('what has several types in one schema may be a column of others, in whatever order they come', () => {
    const [several, one] = [fields(['a', ['null', 'int', 'string']]), fields(['a', 'string'])]
    expect(after([several])).toEqual([])
    const columns = after([several, one])!
    expect(columns).toMatchObject([{ name: 'a', type: { kind: 'string' } }])
    expect(evolveColumns(columns, several, 'strict')).toEqual({ kind: 'fits', columns })
    expect(after([one, several])).toEqual(columns)
  })

  test('a table has as many columns as any', () => {
    const many = fields(...Array.from({ length: 2_001 }, (_, k) => [`f${k}`, 'int'] as const))
    expect(evolveColumns([], many, 'add-widen')).toEqual({
      kind: 'incompatible',
      problems: ['there are more than 2000 columns'],
    })
  })

  test('evolve says what schemas may do', () => {
    const columns = after([fields(['a', 'int'])])!
    expect(evolveColumns(columns, fields(['b', 'int']), 'add-only').kind).toBe('fits')
    expect(evolveColumns(columns, fields(['a', 'long']), 'add-only').kind).toBe('incompatible')
    expect(evolveColumns(columns, fields(['b', 'int']), 'strict').kind).toBe('incompatible')
  })

  test('what is declared, or redacted, is never one of them', () => {
    const schema = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'id', type: 'string' },
        { name: 'total', aliases: ['amount'], type: 'int' },
        { name: 'email', type: 'string' },
        { name: 'note', aliases: ['old'], type: ['null', 'string'] },
        { name: '_hidden', type: 'int' },
        { name: 'either', type: ['int', 'string'] },
      ],
    }
    const columns = [
      { name: 'id', type: { kind: 'string' } as const },
      { name: 'amount', type: { kind: 'long' } as const },
    ]
    const redact = [['email', 'drop']] as const
    expect(wantedOf(schema, { columns, redact } as never)).toEqual({
      columns: [{ name: 'note', type: { kind: 'string' }, fromRegistry: true }],
      others: ['_hidden', 'either'],
    })
  })
})

interface Chunking {
  readonly lanes: number
  readonly recordsMax: number
  readonly batchOffsetsMax: number
  readonly ageMsMax: number
  readonly minIntervalMs: number
  /** Ages, in milliseconds, at which the runs before the last one are stopped. */
  readonly stops: readonly number[]
}

const chunkings = fc.record<Chunking>({
  lanes: fc.integer({ min: 1, max: 3 }),
  recordsMax: fc.integer({ min: 1, max: 12 }),
  batchOffsetsMax: fc.integer({ min: 1, max: 9 }),
  ageMsMax: fc.integer({ min: 0, max: 200 }),
  minIntervalMs: fc.integer({ min: 1, max: 200 }),
  stops: fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 2 }),
})

const logs = (areFriends: boolean) =>
  histories(areFriends).chain((schemas) =>
    fc.record({
      schemas: fc.constant(schemas),
      records: fc.array(fc.tuple(fc.nat(2), fc.nat(schemas.length - 1)), { minLength: 1, maxLength: 40 }),
    }),
  )

/** A pipeline over a log whose records name schemas by their numbers. */
class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  readonly storage = new MemoryStorage('growing')
  readonly chain = openChain(this.storage, 'shop', this.clock)
  readonly holds = new Holds()
  readonly log = new MemoryLog()
  readonly entries: ReadonlyMap<number, ReturnType<typeof entryOf>>
  readonly #records: readonly (readonly [partition: number, schema: number])[]

  constructor({ schemas, records }: { schemas: readonly unknown[]; records: readonly (readonly [number, number])[] }) {
    this.entries = new Map(schemas.map((schema, id) => [id, entryOf(schema)]))
    this.#records = records
    this.log.createTopic('orders', 3)
    for (const [partition, schema] of records)
      this.log.append('orders', partition, [
        { timestampMs: 1, key: undefined, value: framed(schema, new Uint8Array()) },
      ])
  }

  async run(ms: number, { lanes, batchOffsetsMax, minIntervalMs, ...rest }: Chunking): Promise<RunResult> {
    const { clock, storage } = this
    const stop = new AbortController()
    const source = new ContentSource(this.log, clock, { batchOffsetsMax })
    const encoder = growingEncoder(storage, TABLE, this.entries)
    const microBatch = { ...rest, bytesMax: 1 << 20 }
    const pipeline = {
      definition: { name: 'shop', onDataLoss: 'stop', windows: [], tables: [TABLE] } as const,
      storage,
      clock,
      observer: () => undefined,
      control: {
        pauseReason: undefined,
        isHurried: false,
        compactions: new Map(),
        holds: this.holds,
        onHead: () => undefined,
      },
      compaction: undefined,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, lanes, microBatch, clock })),
    }
    let result: RunResult | undefined
    let error: unknown
    const policy = { writer: 'w', minIntervalMs, heartbeatMs: 5_000 }
    void run(source, pipeline, this.chain, policy, stop.signal).then(
      (value) => (result = value),
      (thrown) => (error = thrown),
    )
    await this.world.run(this.world.nowMs + ms, () => result !== undefined || error !== undefined)
    stop.abort()
    await this.world.run(this.world.nowMs + 60_000, () => result !== undefined || error !== undefined)
    if (error !== undefined) throw error
    return result!
  }

  /** Checks every version against the records below its positions; gives the last positions. */
  async check(): Promise<ReadonlyMap<number, bigint>> {
    const head = (await this.chain.head())!
    const ids = new Map<string, number>()
    let positions = new Map<number, bigint>()
    for (let number = 1n; number <= head.number; number++) {
      const version = await this.chain.at({ kind: 'number', number })
      const table = await openTable(this.storage, version.tables['orders']!.metadata)
      positions = new Map([...version.positions].map(([id, offset]) => [parsePartitionId(id).partition, offset]))
      const below = this.#below(positions)
      const wanted = below.map(({ schema }) => this.wanted(schema).columns)
      const columns = registryColumns(TABLE, table.schema)
      expect(columnsText(columns)).toBe(columnsText(wanted.reduce(joinColumns, [])))
      const leaves = leavesOf(table.schema.fields)
      for (const [path, { id }] of leaves) {
        expect(ids.get(path) ?? id).toBe(id)
        ids.set(path, id)
      }
      expect(new Set(ids.values()).size).toBe(ids.size)
      expect(Math.max(...ids.values())).toBeLessThanOrEqual(table.raw['last-column-id'])
      const rows = await this.#rows(table, new Map([...leaves].map(([path, leaf]) => [leaf.id, { path, ...leaf }])))
      const expected = below.map(({ at, schema }) => `${at} ${cellsOf(this.entries.get(schema)!).join()}`)
      expect(rows.toSorted()).toEqual(expected.toSorted())
    }
    return positions
  }

  wanted(schema: number): WantedColumns {
    return wantedColumns((this.entries.get(schema) as { schema: AvroSchema }).schema, TABLE)!
  }

  #below(positions: ReadonlyMap<number, bigint>): { at: string; schema: number }[] {
    const next = new Map<number, bigint>()
    return this.#records.flatMap(([partition, schema]) => {
      const offset = next.get(partition) ?? 0n
      next.set(partition, offset + 1n)
      return offset < (positions.get(partition) ?? 0n) ? [{ at: `${partition}@${offset}`, schema }] : []
    })
  }

  /** What a reader of the table sees: leaves by the ids of the table, of which a file has the type or a narrower one. */
  async #rows(
    table: Awaited<ReturnType<typeof openTable>>,
    leaves: ReadonlyMap<number, { path: string; type: string }>,
  ): Promise<string[]> {
    const rows: string[] = []
    for (const { key } of await dataFiles(this.storage, table)) {
      const file = JSON.parse(Buffer.from((await this.storage.get(key))!).toString()) as GrowingFile
      for (const [id, type] of Object.entries(file.types))
        expect(isReadAs(type, leaves.get(Number(id))!.type)).toBe(true)
      for (const { at, cells } of file.rows)
        rows.push(
          `${at} ${cells
            .map((id) => leaves.get(id)!.path)
            .toSorted()
            .join()}`,
        )
    }
    return rows
  }
}

function isReadAs(type: string, column: string): boolean {
  if (type === column || `${type} ${column}` === 'int long' || `${type} ${column}` === 'float double') return true
  const [from, to] = [type, column].map((each) => /^decimal\((\d+), (\d+)\)$/.exec(each))
  return from != null && to != null && from[2] === to[2] && Number(from[1]) <= Number(to[1])
}

describe('a growing table', () => {
  test('has at every version the columns that the records below its positions ask for', async () => {
    await fc.assert(
      fc.asyncProperty(logs(true), chunkings, async (log, chunking) => {
        const bench = new Bench(log)
        for (const ms of chunking.stops) expect((await bench.run(ms, chunking)).kind).toBe('stopped')
        await bench.run(4_000, chunking)
        const positions = await bench.check()
        for (const partition of [0, 1, 2]) expect(positions.get(partition)).toBe(bench.log.end('orders', partition))
      }),
      { numRuns: 25 },
    )
  })

  test('waits with a partition whose schema does not fit, and with no other', async () => {
    let held = 0
    await fc.assert(
      fc.asyncProperty(logs(false), chunkings, async (log, chunking) => {
        const bench = new Bench(log)
        for (const ms of chunking.stops) await bench.run(ms, chunking)
        await bench.run(4_000, chunking)
        const positions = await bench.check()
        for (const partition of [0, 1, 2]) {
          const hold = bench.holds.all.get(`orders/${partition}`)
          expect(positions.get(partition)).toBe(hold?.offset ?? bench.log.end('orders', partition))
          if (hold !== undefined) held++
          if (hold !== undefined) expect(hold.reason.code).toBe('schema.incompatible')
        }
      }),
      { numRuns: 25 },
    )
    expect(held).toBeGreaterThan(0)
  })
})

test('a partition comes to its record once, also where the reason is told better later', () => {
  const holds = new Holds()
  const hold = (offset: bigint, message: string) =>
    holds.add('orders/0', {
      offset,
      reason: { code: 'schema.incompatible', message, retryable: false, context: {}, fix: undefined },
    })
  const at = (offset: bigint) => new Map([['orders/0', { offset, leaderEpoch: 0, topicId: 't' }]] as const)
  hold(7n, 'it does not fit')
  expect([holds.haveArrived(at(6n)), holds.haveArrived(at(7n))]).toEqual([false, true])
  hold(7n, 'it does not fit (orders-value version 3)')
  expect(holds.all.get('orders/0')!.reason.message).toContain('version 3')
  expect(holds.haveArrived(at(7n))).toBe(false)
  // Another table of the topic, which waits at an earlier one.
  hold(5n, 'nor there')
  expect([holds.haveArrived(at(5n)), holds.haveArrived(at(5n))]).toEqual([true, false])
})

describe('first columns', () => {
  const subjects = (entry: SchemaEntry) => ({ newest: () => Promise.resolve(entry), usesOf: () => Promise.resolve([]) })
  const record = (...fields: readonly string[]) =>
    entryOf({ type: 'record', name: 'R', fields: fields.map((name) => ({ name, type: 'int' })) })
  const odd: readonly (readonly [SchemaEntry, string])[] = [
    [{ kind: 'unknown' }, 'the registry has no subject orders-value'],
    [{ kind: 'unreadable', message: 'it is a schema of type JSON' }, 'it is a schema of type JSON'],
    [entryOf('string'), 'its values are no records of this format'],
    [{ kind: 'protobuf', text: 'syntax = "proto3";', imports: {} }, 'its values are no records of this format'],
    [record(...Array.from({ length: 2_001 }, (_, k) => `f${k}`)), 'there are more than 2000 columns'],
  ]

  test.each(odd)('a strict table waits for a schema that gives some: %#', async (entry, problem) => {
    const strict = growingTable('orders', 'orders', 'strict')
    await expect(firstColumns(strict, subjects(entry))).rejects.toMatchObject({
      code: 'registry.unavailable',
      retryable: true,
      message: expect.stringContaining(problem),
    })
    expect(await firstColumns(TABLE, subjects(entry))).toEqual([])
    expect(await firstColumns(strict, subjects(record('a')))).toMatchObject([{ name: 'a', type: { kind: 'int' } }])
  })
})

describe('ids', () => {
  const x = wantedOf({ type: 'record', name: 'R', fields: [{ name: 'x', type: 'int' }] })
  const y = wantedOf({ type: 'record', name: 'R', fields: [{ name: 'y', type: 'int' }] })
  const text = wantedOf({ type: 'record', name: 'R', fields: [{ name: 'x', type: 'string' }] })

  test('are given once: also where a later column is in the table before an earlier one', async () => {
    const storage = new MemoryStorage('ids')
    const clock = new World().clock(new Random(1))
    const spec = { name: 'orders', columns: tableColumns(TABLE), partitionBy: [], formatVersion: 2 } as const
    const table = await createTable(storage, spec, clock)
    const growing = new GrowingTables([TABLE])
    expect(growing.planOf(table)).toBeUndefined()
    growing.learn(table, [x])
    const first = leavesOf(growing.planOf(table)!.schema.fields).get('x')!.id
    growing.learn(table, [text, y])
    const second = leavesOf(growing.planOf(table)!.schema.fields)
    expect(second.get('x')).toEqual({ id: first, type: 'int' })
    expect(second.get('y')!.id).toBeGreaterThan(first)
    const grown = await writeEvolved(storage, growing.grow(table, y.columns), 'c', clock)
    expect([...leavesOf(grown.schema.fields).keys()]).not.toContain('x')
    const both = leavesOf(growing.grow(grown, x.columns).schema.fields)
    expect([both.get('x')!.id, both.get('y')!.id]).toEqual([first, second.get('y')!.id])
    // Whoever goes on from the version gives none of them to another column.
    const next = new GrowingTables([TABLE])
    next.learn(grown, [wantedOf({ type: 'record', name: 'R', fields: [{ name: 'z', type: 'int' }] })])
    expect(leavesOf(next.planOf(grown)!.schema.fields).get('z')!.id).toBeGreaterThan(second.get('y')!.id)
  })
})
