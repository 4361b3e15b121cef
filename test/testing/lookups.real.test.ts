import { expect, test } from 'vitest'
import { defineLake, t, table, tumbling, type MapFunction } from '../../src/define.ts'
import { testLake, type LookupRows } from '../../src/testing.ts'

// A redacting pipeline that looks up where its records come from, and a window over what it found.

const ranges = table('ip_ranges', {
  from: { topic: 'ranges' },
  columns: { first_ip: t.long().required(), last_ip: t.long(), country: t.string() },
  key: ['first_ip'],
})
const plans = table('plans', {
  from: { topic: 'plans' },
  columns: { name: t.string().required(), price: t.decimal(9, 2), since: t.timestampMs() },
})

function lake({ at = 42, map }: { readonly at?: number; readonly map?: MapFunction } = {}) {
  const events = table('events', {
    from: { topic: 'raw-events' },
    columns: {
      user_id: t.string().required(),
      ip: t.long(),
      plan: t.string(),
      email: t.string(),
      status: t.string(),
      country: t.string().as('geo.country'),
      price: t.decimal(9, 2).as('paid.price'),
      processed_at: t.timestamptz().as('_timestamp'),
    },
    lookup: {
      geo: { table: 'ip_ranges', at, between: { value: 'ip', from: 'first_ip', to: 'last_ip' }, select: ['country'] },
      paid: { table: 'plans', at: 7, on: { name: 'lower(plan)' }, select: ['price'] },
    },
    where: "status = 'active'",
    redact: { email: { hash: 'people' }, sensitive_data: 'drop' },
    eventTime: { column: '_timestamp', outOfOrderness: '1s' },
    ...(map === undefined ? {} : { map }),
  })
  const spent = tumbling('spent', events, {
    size: '10s',
    groupBy: ['country'],
    select: ({ count, sum }) => ({ n: count(), spent: sum('price') }),
  })
  return defineLake({ etl: [events, spent], geo: [ranges] })
}

const RANGES = [
  { first_ip: 0, last_ip: 8, country: 'XX' },
  { first_ip: 0, last_ip: 9, country: 'DE' },
  { first_ip: 10n, last_ip: 19, country: 'FR' },
  { first_ip: 100, last_ip: null, country: 'US' },
]
const LOOKUPS: readonly LookupRows[] = [
  { table: ranges, rows: RANGES },
  { table: plans, rows: [{ name: 'pro', price: '10.50', since: new Date(0) }] },
]

const at = (second: number): number => Date.parse('2026-03-02T10:00:00Z') + 1_000 * second

test('a lab looks up the rows that it was opened with, and holds', { timeout: 60_000 }, async () => {
  await using lab = await testLake(lake(), { seed: 7, lookups: LOOKUPS })
  const events = [
    { user_id: 'a', ip: 9, plan: 'PRO', status: 'active', email: 'a@x.org', sensitive_data: '4111' },
    { user_id: 'b', ip: 12, plan: 'free', status: 'active' },
    { user_id: 'c', ip: 55, plan: 'pro', status: 'active' },
    { user_id: 'd', ip: 9, plan: 'pro', status: 'gone' },
    { user_id: 'e', ip: 1_000, plan: 'pro', status: 'active' },
  ]
  for (const [k, event] of events.entries())
    await lab.produce('events', [event], { partition: k % 3, timestamp: at(4 * k) })
  const rows = await lab.rows('events', { orderBy: { user_id: 'asc' }, system: true })
  expect(rows.map((row) => [row['user_id'], row['country'], row['price']])).toEqual([
    ['a', 'DE', '10.50'],
    ['b', 'FR', null],
    ['c', null, '10.50'],
    ['e', 'US', '10.50'],
  ])
  expect(rows[0]).toMatchObject({ _extra: null, email: expect.stringMatching(/^[0-9a-f]{64}$/) })
  const windows = await lab.rows('spent')
  expect(windows.map((row) => [row['country'], row['n'], row['spent']])).toEqual([
    ['DE', 1n, '10.50'],
    ['FR', 1n, null],
    ['US', 1n, '10.50'],
  ])
  // The table of the same name in the lab's own definition is another: what was looked up is in none of its versions.
  expect(await lab.rows(ranges)).toEqual([])
  await lab.produce(ranges, [{ first_ip: 50, last_ip: 60, country: 'IT' }])
  expect(await lab.rows(ranges)).toHaveLength(1)
  expect((await lab.rows('events', { where: { country: 'IT' } })).length).toBe(0)
  await lab.holds({ runs: 3 })
})

test('rows of another version, tried by a replay of changed code', { timeout: 60_000 }, async () => {
  const newer = { table: ranges, at: 43, rows: [{ first_ip: 0, last_ip: 99, country: 'IT' }] }
  await using lab = await testLake(lake(), { lookups: [...LOOKUPS, newer] })
  await lab.produce('events', [{ user_id: 'a', ip: 9, status: 'active' }], { timestamp: at(1) })
  await lab.tick('40d')
  expect((await lab.replay(lake())).isEqual).toBe(true)
  const { isEqual, tables } = await lab.replay(lake({ at: 43 }))
  expect(isEqual).toBe(false)
  expect(tables.find((each) => each.table === 'events')!.samples).toMatchObject([
    { change: 'changed', before: { country: 'DE' }, after: { country: 'IT' } },
  ])
})

test('what is looked up by what a function keeps of the record before does not hold', async () => {
  const map: MapFunction = (row) => {
    const realm = globalThis as unknown as { before?: number }
    const ip = realm.before ?? row['ip']
    realm.before = row['ip']
    return { ...row, ip }
  }
  await using lab = await testLake(lake({ map }), { seed: 7, lookups: LOOKUPS })
  for (let k = 0; k < 12; k++)
    await lab.produce('events', [{ user_id: `u${k}`, ip: k % 2 === 0 ? 9 : 12, status: 'active' }], {
      partition: k % 3,
      timestamp: at(k),
    })
  await expect(lab.holds()).rejects.toMatchObject({
    code: 'testing.does_not_hold',
    message: expect.stringMatching(/table events, row .*: .*country is "(DE|FR)", and was "(DE|FR)" in the plain run/),
  })
})

test('what is missing or wrong is told where the lab is opened', async () => {
  const opened = (lookups: readonly LookupRows[]) => testLake(lake(), { lookups })
  await expect(opened(LOOKUPS.slice(1))).rejects.toMatchObject({
    code: 'config.invalid',
    message: expect.stringContaining('events.lookup.geo: the lab has no rows of ip_ranges at version 42'),
  })
  await expect(opened([{ table: ranges, rows: [{ first_ip: 1 }, { last_ip: 2 }] }])).rejects.toMatchObject({
    code: 'config.invalid',
    message: expect.stringMatching(/^lookups\.ip_ranges\.rows\[1\]: .*first_ip/),
  })
  await expect(opened([...LOOKUPS, LOOKUPS[0]!])).rejects.toMatchObject({
    code: 'config.invalid',
    message: expect.stringContaining('stands twice'),
  })
})

test('ranges that overlap are refused as in production', async () => {
  const overlapping = { table: ranges, rows: [...RANGES, { first_ip: 5, last_ip: 50, country: 'IT' }] }
  await using lab = await testLake(lake(), { lookups: [overlapping, LOOKUPS[1]!] })
  await lab.produce('events', [{ user_id: 'a' }])
  await expect(lab.rows('events')).rejects.toMatchObject({
    code: 'lookup.ambiguous',
    message: expect.stringContaining('ranges of ip_ranges__lookup overlap'),
  })
})
