import { afterEach, describe, expect, test } from 'vitest'
import { avro, debezium, defineLake, json, raw, t, table, tumbling, type LakeDefinition } from '../../src/define.ts'
import { testLake, type Lab, type LabOptions } from '../../src/testing.ts'

const labs: Lab[] = []
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close()
})

async function open(lake: LakeDefinition, options: LabOptions = {}): Promise<Lab> {
  const lab = await testLake(lake, options)
  labs.push(lab)
  return lab
}

const orders = table('orders', {
  from: { topic: 'shop.orders', key: 'string' },
  columns: {
    orderId: t.string().required(),
    status: t.enum('created', 'paid', 'cancelled'),
    amount: t.decimal(12, 2),
    updatedAt: t.timestamptz('ms'),
  },
  key: ['orderId'],
  eventTime: { column: 'updatedAt', outOfOrderness: '5s', idleAfter: '30s' },
})
const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  input: 'rows',
  groupBy: ['status'],
  select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
})
const shop = defineLake({ shop: [orders, revenue] })
const at = (time: string): Date => new Date(`2026-03-02T${time}Z`)
const micros = (time: string): bigint => BigInt(at(time).getTime()) * 1_000n
const window = (time: string) => ({ window_start: micros(time), window_end: micros(time) + 60_000_000n })

describe('a keyed table and a window over its rows', () => {
  const rows: (typeof orders.$input)[] = [
    { orderId: 'a', status: 'created', amount: '10.00', updatedAt: at('10:00:07') },
    { orderId: 'b', status: 'paid', amount: '5.50', updatedAt: at('10:00:20') },
    { orderId: 'a', status: 'paid', amount: '10.00', updatedAt: at('10:00:30') },
  ]

  test('show what was produced', async () => {
    const lab = await open(shop)
    const places = await lab.produce(orders, rows)
    expect(places.map(({ partition }) => partition)).toEqual([
      places[0]!.partition,
      expect.any(Number),
      places[0]!.partition,
    ])
    expect(await lab.rows(orders)).toEqual([rows[2], rows[1]])
    expect(await lab.rows(revenue)).toEqual([{ status: 'paid', ...window('10:00:00'), n: 2n, revenue: '15.50' }])
    expect(await lab.rows(orders, { where: { amount: { gt: '6' } } })).toEqual([rows[2]])
    expect(await lab.rows('orders', { where: 'amount < 6' })).toEqual([rows[1]])
    expect(await lab.sql`select count(*) n from ${orders} where amount = ${'5.50'}`).toEqual([{ n: 1n }])
    const [first] = await lab.rows(orders, { system: true, limit: 1 })
    expect(first).toMatchObject({ _offset: expect.any(BigInt), _timestamp: micros('10:00:30') })
    const since = { window_start: { gte: at('10:00:00') }, window_end: { lt: at('10:01:01') } }
    expect(await lab.rows(revenue, { where: since })).toHaveLength(1)
    expect(await lab.rows(revenue, { where: (r, { lt }) => lt(r.window_start, at('10:00:00')) })).toEqual([])
    // Whatever is wrong is a LakeError, and rejects.
    const sqlFailed = expect.objectContaining({ code: 'sql.failed' })
    await expect(lab.rows('orders', { orderBy: { nothing: 'asc' } })).rejects.toEqual(sqlFailed)
    await expect(lab.sql`select nothing from ${orders}`).rejects.toEqual(sqlFailed)
    await expect(lab.sql`select * from ${'orders'}`).rejects.toMatchObject({
      code: 'sql.syntax',
      fix: expect.stringContaining('A parameter is a value'),
    })
    await expect(lab.tick('5 minutes')).rejects.toMatchObject({ code: 'config.invalid' })
    // A tombstone takes the row back, and what the window counted.
    await lab.produce(orders, [null], { key: 'a' })
    expect(await lab.rows(orders)).toEqual([rows[1]])
    expect(await lab.rows(revenue)).toEqual([{ status: 'paid', ...window('10:00:00'), n: 1n, revenue: '5.50' }])
  })

  test('as of an earlier version, time or offset', async () => {
    const lab = await open(shop, { startAt: '2026-05-01T00:00:00Z', partitions: 1 })
    await lab.produce(orders, rows.slice(0, 1))
    expect(await lab.rows(orders)).toHaveLength(1)
    await lab.tick('1h')
    await lab.produce(orders, rows.slice(1, 2))
    expect(await lab.rows(orders)).toHaveLength(2)
    expect(lab.now).toEqual(new Date('2026-05-01T01:00:00Z'))
    expect(await lab.rows(orders, { asOf: new Date('2026-05-01T00:30:00Z') })).toEqual([rows[0]])
    expect(await lab.rows(orders, { asOf: 'shop.orders/0@0' })).toEqual([rows[0]])
  })

  test('in virtual time: idle partitions let windows become final, and what comes later is late', async () => {
    const lab = await open(shop)
    const produce = (orderId: string, time: string, partition: number) =>
      lab.produce(orders, [{ orderId, status: 'paid', amount: '1', updatedAt: at(time) }], { partition })
    await produce('a', '10:00:07', 0)
    await produce('b', '10:02:00', 0)
    const final = () => lab.rows(revenue, { system: true }).then((all) => all.map(({ _final }) => _final))
    expect(await lab.watermark(revenue)).toBeUndefined()
    expect(await final()).toEqual([false, false])
    await lab.tick('29s')
    expect(await final()).toEqual([false, false])
    await lab.tick('1s')
    await produce('c', '10:02:01', 0)
    expect(await lab.watermark(revenue)).toEqual(new Date(at('10:01:56').getTime() - 1))
    expect(await final()).toEqual([true, false])
    await produce('d', '10:00:01', 0)
    expect(await lab.late(revenue)).toMatchObject([{ orderId: 'd', _reason: 'late' }])
    await expect(lab.late(orders)).rejects.toMatchObject({ code: 'table.not_window' })
  })

  test('a replay through the same code is equal, through other code a difference by key', async () => {
    const lab = await open(shop)
    await lab.produce(orders, rows)
    expect(await lab.replay()).toMatchObject({ isEqual: true })
    expect((await lab.replay(shop)).tables).toEqual([])
    const doubled = tumbling('revenue_1m', orders, {
      size: '1m',
      input: 'rows',
      groupBy: ['status'],
      where: 'amount > 6',
      select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
    })
    const { isEqual, tables } = await lab.replay(defineLake({ shop: [orders, doubled] }))
    expect(isEqual).toBe(false)
    expect(tables.find((each) => each.table === 'revenue_1m')).toMatchObject({
      changed: '1',
      samples: [{ before: { n: '2', revenue: '15.50' }, after: { n: '1', revenue: '10.00' } }],
    })
    // The lab goes on as it was.
    await lab.produce(orders, [{ orderId: 'c', status: 'paid', amount: '1.00', updatedAt: at('10:00:40') }])
    expect(await lab.rows(revenue)).toMatchObject([{ n: 3n, revenue: '16.50' }])
  })

  test('holds', async () => {
    const lab = await open(shop, { seed: 3 })
    await lab.produce(orders, rows)
    const [held] = await lab.holds({ runs: 4 })
    expect(held).toMatchObject({ seed: 3, records: 3, runs: 4 })
    expect(held!.crashes).toBeGreaterThan(4)
    // And the lab goes on.
    expect(await lab.rows(orders)).toHaveLength(2)
  })
})

describe('formats', () => {
  const columns = {
    id: t.long().required(),
    price: t.decimal(10, 2),
    at: t.timestamptz('ms'),
    day: t.date(),
    note: t.string(),
    tags: t.list(t.string()),
  }
  const row = {
    id: 2n ** 60n,
    price: '12.50',
    at: at('10:00:00'),
    day: '2026-03-02',
    note: 'ÿ “quoted” \n',
    tags: ['a', ''],
  }

  test('JSON, plain and framed: a row that was read can be produced', async () => {
    const plain = table('plain', { from: { topic: 'a' }, columns })
    const framed = table('framed', { from: { topic: 'b', value: json({ framing: 'confluent' }) }, columns })
    const lab = await open(defineLake({ p: [plain, framed] }))
    for (const each of [plain, framed]) {
      await lab.produce(each, [row])
      const [read] = await lab.rows(each)
      expect(read).toEqual(row)
      await lab.produce(each, [read!])
      expect(await lab.rows(each)).toEqual([row, row])
      expect(await lab.deadLetters(each)).toEqual([])
    }
  })

  test('Avro by a schema of the definition', async () => {
    const schema = {
      type: 'record',
      name: 'Item',
      fields: [
        { name: 'id', type: 'long' },
        { name: 'price', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 }] },
        { name: 'at', type: ['null', { type: 'long', logicalType: 'timestamp-millis' }] },
        { name: 'day', type: ['null', { type: 'int', logicalType: 'date' }] },
        { name: 'note', type: ['null', 'string'] },
        { name: 'tags', type: { type: 'array', items: 'string' } },
        { name: 'kind', type: { type: 'enum', name: 'Kind', symbols: ['x', 'y'] } },
        { name: 'share', type: 'double' },
      ],
    }
    const items = table('items', { from: { topic: 'a', value: avro({ schema }) } })
    const lab = await open(defineLake({ p: [items] }))
    const written = { ...row, price: '-12.5', kind: 'y', share: 0.25 }
    await lab.produce(items, [written, { id: -1n, tags: [], kind: 'x', share: 1 }])
    expect(await lab.deadLetters(items)).toEqual([])
    expect(await lab.rows(items)).toEqual([
      { ...written, price: '-12.50', at: micros('10:00:00') },
      { id: -1n, price: null, at: null, day: null, note: null, tags: [], kind: 'x', share: 1 },
    ])
    await expect(lab.produce(items, [{ id: 1, tags: [], kind: 'z', share: 1 }])).rejects.toMatchObject({
      code: 'request.invalid',
      message: 'items.kind is none of x, y',
    })
    const unknown = await open(defineLake({ p: [table('n', { from: { topic: 'n', value: avro() }, columns })] }))
    await expect(unknown.produce('n', [row])).rejects.toMatchObject({ code: 'config.unsupported' })
  })

  test('Avro by schemas of a registry, which grow while the lab is open', async () => {
    const fields = [
      { name: 'id', type: 'long' },
      { name: 'note', type: ['null', 'string'], default: null },
    ]
    const schema = { type: 'record', name: 'Item', fields }
    const from = { topic: 'a', value: avro(), key: 'avro' } as const
    const items = table('items', { from, columns: { id: t.long() }, evolve: 'add-widen', key: ['id'] })
    const subjects = { 'a-value': [schema], 'a-key': ['"long"'] }
    const lab = await open(defineLake({ p: [items] }), { registry: { subjects } })
    await lab.produce(items, [{ id: 1n, note: 'one' }, { id: 2n }, { id: 1n, note: 'two' }])
    expect(await lab.rows(items)).toEqual([
      { id: 1n, note: 'two' },
      { id: 2n, note: null },
    ])
    const more = { ...schema, fields: [...fields, { name: 'price', type: ['null', 'double'], default: null }] }
    expect(await lab.register('a-value', more)).toBe(3)
    await lab.produce(items, [{ id: 3n, note: null, price: 1.5 }])
    expect(await lab.rows(items, { where: 'id = 3' })).toEqual([{ id: 3n, note: null, price: 1.5 }])
    expect(await lab.deadLetters(items)).toEqual([])
    await expect(lab.register('a-value', { type: 'record' })).rejects.toMatchObject({ code: 'config.invalid' })
    expect(await lab.holds({ runs: 3 })).toMatchObject([{ records: 4, runs: 3 }])
  })

  test('a change stream: rows are inserts, and what has an operation is that change', async () => {
    const items = table('items', {
      from: { topic: 'a', value: debezium() },
      columns,
      key: ['id'],
      version: 'source.lsn',
    })
    const lab = await open(defineLake({ p: [items] }))
    await lab.produce(items, [
      row,
      { ...row, id: 2 },
      { op: 'u', before: row, after: { ...row, note: 'other' } },
      { op: 'd', before: { ...row, id: 2 } },
    ])
    expect(await lab.rows(items)).toEqual([{ ...row, note: 'other' }])
    // What is older by its source changes nothing.
    await lab.produce(items, [{ op: 'u', after: { ...row, note: 'stale' }, source: { lsn: 0 } }])
    expect(await lab.rows(items)).toMatchObject([{ note: 'other' }])
    expect(await lab.deadLetters(items)).toEqual([])
  })

  test('raw records, and records as they are', async () => {
    const plain = table('plain', { from: { topic: 'a', value: raw() } })
    const strict = table('strict', { from: { topic: 'b' }, columns })
    const lab = await open(defineLake({ p: [plain, strict] }))
    await lab.produce(plain, [{ key: 'k', value: 'v', headers: [{ key: 'h', value: 'x' }] }, { value: null }])
    const bytes = (text: string) => new Uint8Array(Buffer.from(text))
    expect(await lab.rows(plain, { orderBy: { value: 'asc' } })).toEqual([
      { key: bytes('k'), value: bytes('v'), headers: [{ key: 'h', value: bytes('x') }] },
      { key: null, value: null, headers: [] },
    ])
    const [place] = await lab.produceRaw(strict, [{ value: '{"id": "no"' }], {
      partition: 2,
      timestamp: at('11:00:00'),
    })
    expect(place).toEqual({ topic: 'b', partition: 2, offset: 0n })
    expect(await lab.deadLetters(strict)).toMatchObject([
      { code: 'decode.json', _kafka_partition: 2, _offset: 0n, _timestamp: micros('11:00:00') },
    ])
  })
})

test('a table that begins at the end of its topic begins where the lab does', async () => {
  const latest = table('latest', { from: { topic: 'a', startAt: 'latest' }, columns: { id: t.long() } })
  const lab = await open(defineLake({ p: [latest] }))
  await lab.produce(latest, [{ id: 1 }])
  expect(await lab.rows(latest)).toEqual([{ id: 1n }])
  expect(await lab.holds({ runs: 2 })).toMatchObject([{ records: 1 }])
})

describe('what is refused', () => {
  test('names that are not there, partitions that are not there, and a lab that is closed', async () => {
    const lab = await open(shop)
    await expect(lab.produce('order', [])).rejects.toMatchObject({ code: 'table.unknown', fix: 'Did you mean orders?' })
    await expect(lab.produce('revenue_1m', [])).rejects.toMatchObject({
      code: 'request.invalid',
      fix: expect.stringContaining('orders') as string,
    })
    await expect(lab.rows('nothing')).rejects.toMatchObject({ code: 'table.unknown' })
    await expect(lab.produce(orders, [{ orderId: 'a' }], { partition: 9 })).rejects.toThrow('has 3 partitions')
    await expect(lab.produce(orders, [{ orderId: 'a' }], { partition: -1 })).rejects.toThrow('no partition -1')
    await expect(lab.rows(orders, { where: 'amount > 1) or (true' })).rejects.toMatchObject({
      code: expect.stringMatching(/^sql\./) as string,
    })
    await lab.close()
    await expect(lab.rows(orders)).rejects.toThrow('the lab is closed')
    await lab.close()
  })

  test('what stops the pipeline is thrown by every question', async () => {
    const strict = table('strict', { from: { topic: 'b' }, columns: { id: t.long().required() }, onError: 'stop' })
    const lab = await open(defineLake({ p: [strict] }))
    await lab.produce('strict', [{ id: 'no number' }])
    for (const ask of [() => lab.rows(strict), () => lab.tick('1s'), () => lab.replay()])
      await expect(ask()).rejects.toMatchObject({ code: 'decode.stopped' })
  })
})

test('several pipelines over one topic, a table that hashes, a month that passes', async () => {
  const hashed = table('hashed', {
    from: { topic: 'shop.orders' },
    columns: { orderId: t.string() },
    redact: { orderId: { hash: 'secret' } },
  })
  const lab = await open(defineLake({ shop: { tables: [orders], archive: 'kept' }, other: [hashed] }))
  await lab.produce(orders, [{ orderId: 'a', status: 'paid', amount: '1.00', updatedAt: at('10:00:00') }])
  const [row] = await lab.rows(hashed)
  expect(row!.orderId).toMatch(/^[0-9a-f]{32,}$/)
  expect(await lab.rows('kept')).toHaveLength(1)
  await lab.tick('30d')
  expect(await lab.rows(orders)).toHaveLength(1)
  expect((await lab.holds({ runs: 2 })).map(({ records }) => records)).toEqual([1, 1])
})
