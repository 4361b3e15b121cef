import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import { NativeText } from '../../src/ingest/decode/native-text.ts'
import { RecordClock } from '../../src/ingest/decode/record-clock.ts'
import { SlabPool, type Slab, type SlabColumn } from '../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../src/ingest/decode/table-decoder.ts'
import { laneColumns, tableColumns } from '../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { batchOf, definition, tablePlan } from '../support/lake-table.ts'

const storage = new MemoryStorage('record-clock')
beforeAll(() => expect(laneColumns.map(({ name }) => name)).toEqual(['__event_ms', '__clock_ms']))
afterAll(() => storage.close())

interface Event {
  readonly partition: number
  /** Microseconds; null: none. `poison`: no row. */
  readonly atUs: bigint | null | 'poison' | 'tombstone'
  readonly timestampMs: number
}

const SKEW_MS = 1_000
const DEFINITION: TableDefinition = definition({
  columns: [
    { name: 'at', type: { kind: 'timestamp', unit: 'us' } },
    { name: 'text', type: { kind: 'string' } },
  ],
  eventTime: { column: 'at', unit: 'us', outOfOrdernessMs: 0, idleAfterMs: 0, maxFutureSkewMs: SKEW_MS },
})

/** The rules in plain words, one record after the other: T1, T4, C8, L1. */
function reference(
  events: readonly Event[],
  before: Record<number, number>,
): { rows: unknown[]; clocks: unknown; future: number } {
  let future = 0
  const clocks = new Map(Object.entries(before).map(([p, clock]) => [Number(p), clock]))
  const rows = events.flatMap(({ partition, atUs, timestampMs }) => {
    if (atUs === 'poison' || atUs === 'tombstone') return []
    const clock = clocks.get(partition) ?? null
    if (atUs === null) return [[partition, null, clock]]
    const eventMs = Math.floor(Number(atUs) / 1000)
    const isGuarded = timestampMs === -1 || eventMs <= timestampMs + SKEW_MS
    if (!isGuarded) future++
    if (isGuarded && eventMs > (clock ?? -Infinity)) clocks.set(partition, eventMs)
    return [[partition, eventMs, clock]]
  })
  return { rows, clocks: Object.fromEntries(clocks), future }
}

function longs(slab: Slab, { dataAt, validAt }: SlabColumn): (number | null)[] {
  const values = new BigInt64Array(slab.buffer, dataAt, slab.rows)
  const valid = new Uint8Array(slab.buffer, validAt)
  return Array.from(values, (value, k) => ((valid[k >> 3]! & (1 << (k & 7))) === 0 ? null : Number(value)))
}

/** Decodes micro-batches one after the other, as a lane does, and gives the lane's columns of every row. */
function judged(
  micro: readonly (readonly Event[])[],
  before: Record<number, number>,
  definition = DEFINITION,
): ReturnType<typeof reference> {
  const native = new NativeText()
  const decoder = new TableDecoder(definition, native, new SlabPool(), { hasLaneColumns: true })
  const columns = tableColumns(definition)
  const clock = new RecordClock(definition, columns, true)
  const partitionAt = columns.findIndex(({ name }) => name === '_kafka_partition')
  const clocks: Record<string, number> = {}
  for (const [partition, ms] of Object.entries(before)) clocks[`shop.orders/${partition}`] = ms
  const rows: unknown[] = []
  const next = new Map<number, bigint>()
  let future = 0
  for (const events of micro) {
    const batches = [0, 1, 2].map((partition) => {
      const first = next.get(partition) ?? 0n
      const mine = events.filter((event) => event.partition === partition)
      next.set(partition, first + BigInt(mine.length))
      const records = mine.map(({ atUs, timestampMs }) => ({ value: valueOf(atUs), timestampMs }))
      return batchOf(records, { partition, first })
    })
    const { rows: slabs, kept, counts } = decoder.decode(batches, new Set())
    clock.judge(slabs, kept, 'shop.orders', counts, clocks)
    for (const { futureEvents = 0 } of counts.values()) future += futureEvents
    for (const [id, { clockMs }] of counts)
      if (clockMs !== undefined) clocks[id] = Math.max(clocks[id] ?? -Infinity, clockMs)
    for (const slab of slabs) {
      const partitions = new Int32Array(slab.buffer, slab.columns[partitionAt]!.dataAt, slab.rows)
      const [event, before] = slab.columns.slice(-2).map((column) => longs(slab, column))
      for (let row = 0; row < slab.rows; row++) rows.push([partitions[row], event![row], before![row]])
    }
    native.clear()
  }
  const own = Object.entries(clocks).map(([id, ms]) => [id.split('/')[1], ms])
  return { rows, clocks: Object.fromEntries(own), future }
}

function valueOf(atUs: Event['atUs']): string | null {
  if (atUs === 'tombstone') return null
  if (atUs === 'poison') return '{"at": true}'
  return JSON.stringify({ text: 'a text that is not kept in place', at: atUs === null ? null : Number(atUs) })
}

const byPartition = (events: readonly Event[]): Event[] => events.toSorted((a, b) => a.partition - b.partition)

const event: fc.Arbitrary<Event> = fc.record({
  partition: fc.nat(2),
  atUs: fc.oneof(
    { weight: 12, arbitrary: fc.bigInt({ min: -6_000_000n, max: 6_000_000n }) },
    { weight: 1, arbitrary: fc.constantFrom(null, 'poison' as const, 'tombstone' as const) },
    { weight: 1, arbitrary: fc.constantFrom(-1_500n, 8_000_000_000_000_000n, -8_000_000_000_000_000n) },
  ),
  timestampMs: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 5_000 }) }, fc.constant(-1)),
})

/** The law, of something that gives each row its clock. */
const law = (give: typeof judged): void =>
  fc.assert(
    fc.property(
      fc.array(fc.array(event, { maxLength: 60 }), { minLength: 1, maxLength: 4 }),
      fc.dictionary(fc.constantFrom('0', '1', '2'), fc.integer({ min: -5_000, max: 5_000 })),
      (micro, before) => {
        // Within a micro-batch records are grouped by partition, which changes no clock of another.
        expect(give(micro, before)).toEqual(reference(micro.flatMap(byPartition), before))
      },
    ),
    { numRuns: 200 },
  )

test('each row has its event time and the clock before it, as record by record, in any cut (L1, T1, T4, C8)', () => {
  law(judged)
})

test('C8: an event five minutes ahead of its record moves the clock, one further ahead does not', () => {
  const guarded = { ...DEFINITION, eventTime: { ...DEFINITION.eventTime!, maxFutureSkewMs: 300_000 } }
  const at = (eventMs: number): Event => ({ partition: 0, atUs: BigInt(eventMs) * 1_000n, timestampMs: 1_000_000 })
  expect(judged([[at(1_300_000), at(8_200_000), at(7)]], {}, guarded)).toEqual({
    rows: [
      [0, 1_300_000, null],
      [0, 8_200_000, 1_300_000],
      [0, 7, 1_300_000],
    ],
    clocks: { 0: 1_300_000 },
    future: 1,
  })
})

test('a clock that moves once per batch is found (L1)', () => {
  const oncePerBatch: typeof judged = (micro, before) => {
    let clocks = before
    let future = 0
    const rows = micro.flatMap((events) => {
      const after = judged([events], clocks)
      const stale = after.rows.map((row) => [...(row as unknown[]).slice(0, 2), clocks[(row as number[])[0]!] ?? null])
      clocks = after.clocks as typeof clocks
      future += after.future
      return stale
    })
    return { rows, clocks, future }
  }
  expect(() => law(oncePerBatch)).toThrow(/Counterexample/)
})

test('chunks of thousands of rows carry the clock on', () => {
  const events = Array.from({ length: 5_000 }, (_, k): Event => {
    const atUs = k % 7 === 0 ? null : BigInt(((k * 7_919) % 4_001) * 1_000)
    return { partition: k < 3_000 ? 0 : 2, atUs, timestampMs: -1 }
  })
  expect(judged([events], {})).toEqual(reference(events, {}))
})

test('a table that feeds windows is not encoded without its clocks', async () => {
  const window = {
    kind: 'window',
    name: 'w',
    source: 'orders',
    window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: [],
    nullGroup: 'late',
    where: undefined,
    select: [{ name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined }],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 10,
    oldValuesMax: 10,
    computed: [],
    retainMs: undefined,
    to: undefined,
  } as const
  const encoder = await openEncoder({ tables: [DEFINITION], windows: [window], storage, clock: systemClock })
  const batch = batchOf([{ value: '{"at":1}' }])
  await expect(encoder.encode(tablePlan(DEFINITION), [batch], new Set())).rejects.toMatchObject({ code: 'internal' })
  await encoder.close()
})
