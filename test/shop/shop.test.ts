import { DuckDBInstance } from '@duckdb/node-api'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { deadLetterSql, ledgerSql, shopDefinition, shopEnds, shopLedger } from '../../src/ingest/shop-ledger.ts'
import { shopContent, SHOP_TOPICS, shopEnd, shopLogRecord } from '../../src/ingest/shop-log.ts'
import { shopRecord, type ShopTopic } from '../../src/ingest/shop-record.ts'
import { ContentSource } from '../../src/ingest/memory-log.ts'
import { parsePartitionId, type PartitionId } from '../../src/log.ts'
import type { ShopSettings } from '../../src/settings.ts'

const EPOCH = Date.UTC(2026, 10, 1)
const settings: ShopSettings = { seed: 42, epochMs: EPOCH, recordsPerSecond: 50, recordsAtStart: 1_000 }
const topics = Object.keys(SHOP_TOPICS) as ShopTopic[]

/** A clock that stands where it is put. */
function clockAt(nowMs: number): Clock & { nowMs: () => number; set: (ms: number) => void } {
  let now = nowMs
  return {
    nowMs: () => now,
    set: (ms: number) => void (now = ms),
    monotonicMs: () => now,
    sleep: async () => undefined,
    random: () => 0.5,
    uuid: () => 'id',
  }
}

const positionsOf = (ends: Readonly<Record<string, number>>) =>
  new Map(Object.entries(ends).map(([id, end]) => [id as PartitionId, BigInt(end)]))

describe('the log', () => {
  test('holds the same record at an offset, whoever asks and when', () => {
    const [early, late] = [shopContent(settings, clockAt(EPOCH)), shopContent(settings, clockAt(EPOCH + 9e6))]
    fc.assert(
      fc.property(fc.constantFrom(...topics), fc.nat(), fc.nat(), (topic, p, o) => {
        const partition = p % SHOP_TOPICS[topic].partitions
        const offset = BigInt(o) % early.end(topic, partition)
        const record = early.record(topic, partition, offset)
        expect(record).toBeDefined()
        expect(late.record(topic, partition, offset)).toEqual(record)
      }),
    )
  })

  test('another seed is another log', () => {
    const other = { ...settings, seed: 43 }
    expect(shopLogRecord(other, 'shop.orders', 0, 7)).not.toEqual(shopLogRecord(settings, 'shop.orders', 0, 7))
  })

  test('begins with recordsAtStart of each topic and grows by recordsPerSecond', () => {
    const clock = clockAt(EPOCH - 1e9)
    const content = shopContent(settings, clock)
    const count = () =>
      topics.map((topic) =>
        content
          .topics()
          .find((info) => info.topic === topic)!
          .partitions.reduce((sum, p) => sum + Number(content.end(topic, p)), 0),
      )
    expect(count()).toEqual([1_000, 1_000, 1_000])
    clock.set(EPOCH + 10_000)
    expect(count()).toEqual([1_500, 1_500, 1_500])
    clock.set(EPOCH)
    expect(count(), 'a clock set back takes nothing away').toEqual([1_500, 1_500, 1_500])
  })

  test('stops growing at untilMs', () => {
    const stopped = { ...settings, untilMs: EPOCH + 2_000 }
    expect(shopEnd(stopped, 'shop.customers', 0, EPOCH + 1_000)).toBe(1_050n)
    expect(shopEnd(stopped, 'shop.customers', 0, EPOCH + 1e9)).toBe(1_100n)
  })

  test('has no record at its end, and timestamps that never fall', () => {
    const clock = clockAt(EPOCH + 5_000)
    const content = shopContent(settings, clock)
    for (const topic of topics) {
      const end = content.end(topic, 0)
      expect(content.record(topic, 0, end)).toBeUndefined()
      let before = -Infinity
      for (let offset = 0n; offset < end; offset++) {
        const { timestampMs } = content.record(topic, 0, offset)!
        expect(timestampMs).toBeGreaterThanOrEqual(before)
        expect(timestampMs).toBeLessThanOrEqual(clock.nowMs())
        before = timestampMs
      }
    }
  })

  test('the ends are those of the content', () => {
    const content = shopContent(settings, clockAt(EPOCH + 777))
    for (const [id, end] of shopEnds(settings, EPOCH + 777)) {
      const { topic, partition } = parsePartitionId(id)
      expect(content.end(topic, partition)).toBe(end)
    }
  })
})

test('is read by a source like any log in memory', async () => {
  const clock = clockAt(EPOCH)
  const source = new ContentSource(shopContent({ ...settings, recordsAtStart: 3_000 }, clock), clock)
  const { topicId } = (await source.topics(['shop.orders'])).get('shop.orders')!
  const reading = new AbortController()
  let [records, nulls] = [0, 0]
  for await (const batch of source.read(
    new Map([['shop.orders/1', { offset: 0n, leaderEpoch: -1, topicId }]]),
    reading.signal,
  )) {
    records += batch.count
    for (let i = 0; i < batch.count; i++) if (batch.valueRanges[2 * i] === -1) nulls++
    if (batch.nextOffset === batch.end) reading.abort()
  }
  const ledger = shopLedger(settings, positionsOf({ 'shop.orders/1': 1_000 })).get('orders')!
  expect([records, nulls]).toEqual([1_000, Number(ledger.tombstones)])
})

const sample = (topic: ShopTopic, n: number) =>
  Array.from({ length: n }, (_, offset) => shopRecord(42, topic, 0, offset, EPOCH + offset))

const share = (topic: ShopTopic, kind: string) => {
  const records = sample(topic, 20_000)
  return records.filter((record) => record.expected.kind === kind).length / records.length
}

describe('the records', () => {
  test('hold poison, tombstones, late events, unknown fields and unicode in their shares', () => {
    for (const topic of topics) expect(share(topic, 'dead-letter')).toBeCloseTo(0.005, 2)
    expect(share('shop.orders', 'tombstone')).toBeCloseTo(0.03, 2)
    expect(share('shop.customers', 'tombstone')).toBe(0)
    const rows = sample('shop.orders', 20_000).filter((record) => record.expected.kind === 'row')
    const values = rows.map((record) => JSON.parse(record.value as string))
    const late = values.filter((value, i) => Date.parse(value.updatedAt) < EPOCH + i - 2_000 - 700).length
    expect(late / values.length).toBeCloseTo(0.02, 2)
    expect(values.filter((value) => value.campaign !== undefined).length / values.length).toBeCloseTo(0.05, 1)
    expect(JSON.stringify(values)).toMatch(/🎂/)
  })

  test('are what they say of themselves, read by another hand', () => {
    for (const { value, expected } of sample('shop.orders', 3_000)) {
      if (expected.kind === 'tombstone') expect(value).toBeUndefined()
      if (expected.kind !== 'row') continue
      const row = JSON.parse(value as string)
      const cents = BigInt(Math.round(Number(row.amount) * 100))
      expect(expected.columns).toEqual([
        row.orderId,
        row.customerId,
        row.status,
        `${cents / 100n}.${String(cents % 100n).padStart(2, '0')}`,
        row.quantity === null ? null : String(row.quantity),
        row.note ?? null,
        row.tags.join(','),
        row.address?.city ?? null,
        row.address?.zip ?? null,
        String(row.isGift),
        String(Date.parse(row.updatedAt) * 1_000),
      ])
      expect(expected.hasExtra).toBe('campaign' in row)
    }
  })

  test('an order goes through its states in one partition', () => {
    const states = new Map<string, string[]>()
    for (const { expected } of sample('shop.orders', 240)) {
      if (expected.kind !== 'row') continue
      const [id, , status] = expected.columns as string[]
      states.set(id!, [...(states.get(id!) ?? []), status!])
    }
    expect(states.size).toBe(80)
    for (const list of states.values()) expect('created paid shipped cancelled').toContain(list[0])
  })
})

const quote = (value: unknown): string =>
  value === null || value === undefined ? 'NULL' : `'${String(value).replaceAll("'", "''")}'`

/** All records of a topic below the positions. */
function recordsOf(topic: ShopTopic, positions: ReturnType<typeof positionsOf>) {
  return [...positions].flatMap(([id, until]) => {
    const at = parsePartitionId(id)
    if (at.topic !== topic) return []
    return Array.from({ length: Number(until) }, (_, offset) => {
      const { timestampMs } = shopLogRecord(settings, topic, at.partition, offset)
      return { partition: at.partition, offset, record: shopRecord(42, topic, at.partition, offset, timestampMs) }
    })
  })
}

/** Places of the current orders. */
function currentOrders(positions: ReturnType<typeof positionsOf>): ReadonlySet<string> {
  const current = new Map<string, string>()
  for (const { partition, offset, record } of recordsOf('shop.orders', positions)) {
    if (record.expected.kind === 'row') current.set(record.key!, `${partition}@${offset}`)
    if (record.expected.kind === 'tombstone') current.delete(record.key!)
  }
  return new Set(current.values())
}

describe('the ledger', () => {
  const positions = positionsOf({
    'shop.orders/0': 700,
    'shop.orders/1': 0,
    'shop.orders/2': 31,
    'shop.page_views/1': 400,
  })

  test('accounts for every offset', () => {
    const ledger = shopLedger(settings, positions)
    const total = (name: string) => {
      const { rows, deadLetters, tombstones } = ledger.get(name)!
      return Number(rows + deadLetters + tombstones)
    }
    expect([total('customers'), total('page_views')]).toEqual([0, 400])
    // Of orders the current row alone counts.
    const keys = new Set(recordsOf('shop.orders', positions).map(({ record }) => record.key))
    expect(Number(ledger.get('orders')!.rows)).toBeLessThan(keys.size)
    expect(total('orders')).toBeLessThan(731)
  })

  test('grows by what lies between two positions, and its digest sees every row', () => {
    const viewsUntil = (until: number) =>
      shopLedger(settings, positionsOf({ 'shop.page_views/1': until })).get('page_views')!
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 50 }), (from, more) => {
        const [a, b] = [viewsUntil(from), viewsUntil(from + more)]
        const grown = b.rows + b.deadLetters + b.tombstones - (a.rows + a.deadLetters + a.tombstones)
        expect(grown).toBe(BigInt(more))
        if (b.rows > a.rows) expect(b.digest).toBeGreaterThan(a.digest)
        else expect(b.digest).toBe(a.digest)
      }),
      { numRuns: 30 },
    )
  })

  test('its SQL gives the same figures over tables that somebody else filled', async () => {
    const ledger = shopLedger(settings, positions)
    const current = currentOrders(positions)
    const connection = await (await DuckDBInstance.create()).connect()
    await connection.run(`
      SET TimeZone = 'America/St_Johns';
      CREATE TABLE orders ("orderId" VARCHAR, "customerId" VARCHAR, status VARCHAR, amount DECIMAL(12,2), quantity INTEGER,
        note VARCHAR, tags VARCHAR[], address STRUCT(city VARCHAR, zip VARCHAR), "isGift" BOOLEAN, "updatedAt" TIMESTAMPTZ,
        _extra VARCHAR, _kafka_partition INTEGER, _offset BIGINT);
      CREATE TABLE page_views ("viewId" UUID, "customerId" VARCHAR, path VARCHAR, "durationMs" INTEGER, bytes BIGINT,
        "at" BIGINT, _extra VARCHAR, _kafka_partition INTEGER, _offset BIGINT);
      CREATE TABLE orders__dlq (_kafka_partition INTEGER, _offset BIGINT);`)
    for (const [id, until] of positions) {
      const { topic, partition } = parsePartitionId(id)
      const tuples: string[] = []
      for (let offset = 0; offset < Number(until); offset++) {
        const { value, expected } = shopRecord(
          42,
          topic as ShopTopic,
          partition,
          offset,
          shopLogRecord(settings, topic as ShopTopic, partition, offset).timestampMs,
        )
        if (expected.kind === 'dead-letter' && topic === 'shop.orders')
          await connection.run(`INSERT INTO orders__dlq VALUES (${partition}, ${offset})`)
        if (expected.kind !== 'row') continue
        if (topic === 'shop.orders' && !current.has(`${partition}@${offset}`)) continue
        const row = JSON.parse((value as string).replace(/"bytes":(\d+)/, '"bytes":"$1"'))
        const extra = quote(row.campaign === undefined ? null : JSON.stringify(row.campaign))
        const address =
          row.address === null ? 'NULL' : `{city: ${quote(row.address?.city)}, zip: ${quote(row.address?.zip)}}`
        const fields =
          topic === 'shop.orders'
            ? [row.orderId, row.customerId, row.status, row.amount, row.quantity, row.note]
                .map(quote)
                .concat([
                  `[${row.tags.map(quote).join(',')}]::VARCHAR[]`,
                  address,
                  String(row.isGift),
                  `TIMESTAMPTZ ${quote(row.updatedAt)}`,
                ])
            : [row.viewId, row.customerId, row.path, row.durationMs, row.bytes, row.at].map(quote)
        tuples.push(`(${[...fields, extra, partition, offset].join(', ')})`)
      }
      const target = topic.slice('shop.'.length)
      if (tuples.length > 0) await connection.run(`INSERT INTO ${target} VALUES ${tuples.toReversed().join(', ')}`)
    }
    const answer = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJson()[0]
    for (const name of ['orders', 'page_views'])
      expect(await answer(ledgerSql(name))).toEqual({
        n: String(ledger.get(name)!.rows),
        digest: String(ledger.get(name)!.digest),
      })
    const { deadLetters, deadLetterDigest } = ledger.get('orders')!
    expect(deadLetters).toBeGreaterThan(0n)
    expect(await answer(deadLetterSql('orders'))).toEqual({ n: String(deadLetters), digest: String(deadLetterDigest) })
    await connection.run(`UPDATE orders SET amount = amount + 0.01 WHERE rowid = 0`)
    expect((await answer(ledgerSql('orders')))?.digest).not.toBe(String(ledger.get('orders')!.digest))
  })
})

test('the definition has one pipeline over the three topics', () => {
  expect(shopDefinition.pipelines.map(({ name, tables }) => [name, tables.map((table) => table.topic)])).toEqual([
    ['shop', topics],
  ])
})
