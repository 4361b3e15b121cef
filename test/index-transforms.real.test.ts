import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { defineLake, open, t, table, type Lake, type LakeDefinition } from '../src/index.ts'
import type { Settings } from '../src/settings.ts'
import { boundedShop, shopSettings, trustStore } from './support/shop-store.ts'

const SALT = 'a salt of the test, long enough'
const LIMIT_MS = 90_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-transforms-'))
const opened: Lake[] = []

afterAll(async () => {
  for (const lake of opened) await lake.close()
  rmSync(folder, { recursive: true, force: true })
})

async function start(definition: LakeDefinition, settings: Settings): Promise<Lake> {
  const lake = await open(definition, settings)
  opened.push(lake)
  return lake
}

const customers = table('customers', {
  from: { topic: 'shop.customers' },
  key: ['customerId'],
  columns: { customerId: t.string(), name: t.string() },
})

/** Orders that were not cancelled, by a function and by SQL, with their customers' names and without who they are. */
const ordersAt = (version: bigint) =>
  table('orders', {
    from: { topic: 'shop.orders' },
    columns: {
      orderId: t.string().required(),
      customerId: t.string(),
      status: t.string(),
      customer: t.string().as('who.name'),
      processed_at: t.timestamptz().as('_timestamp'),
    },
    map: (row) => (row['status'] === 'cancelled' ? null : row),
    lookup: { who: { table: 'customers', at: String(version), on: { customerId: 'customerId' }, select: ['name'] } },
    redact: { customerId: { hash: 'people' }, note: 'mask', address: 'drop' },
  })
const plain = table('plain', {
  from: { topic: 'shop.orders' },
  columns: { orderId: t.string().required(), customerId: t.string(), status: t.string() },
  where: `status IS DISTINCT FROM 'cancelled'`,
})

interface Row {
  readonly p: number
  readonly o: number
  readonly id: string
  readonly customer: string | null
  readonly name: string | null
}

test('through lanes and a replay: looked up, mapped and redacted', { timeout: LIMIT_MS }, async () => {
  const place = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${place}/lake` }
  await trustStore(store)
  const settings = { ...shopSettings(store, boundedShop(150), place), lanes: 1 }
  const first = await start(defineLake({ reference: [customers] }), settings)
  const { number } = await first.pipelines[0]!.flush()
  await first.close()

  const definition = defineLake({ reference: [customers], shop: [ordersAt(number), plain] })
  await expect(open(definition, settings)).rejects.toMatchObject({ code: 'config.invalid' })
  const lake = await start(definition, { ...settings, salts: { people: SALT } })
  await lake.pipelines[1]!.flush()
  const found = await lake.sql<Row>(
    `SELECT _kafka_partition AS p, _offset::INT AS o, orderId AS id, customerId AS customer, customer AS name FROM orders ORDER BY 1, 2`,
  )
  const wanted = await lake.sql<Row>(
    `SELECT p._kafka_partition AS p, p._offset::INT AS o, p.orderId AS id, p.customerId AS customer, c.name AS name
     FROM plain p LEFT JOIN customers c ON c.customerId = p.customerId ORDER BY 1, 2`,
  )
  expect(found.length).toBeGreaterThan(50)
  expect(found.some(({ name }) => name !== null)).toBe(true)
  expect(found).toEqual(
    wanted.map((row) => ({
      ...row,
      customer: row.customer && createHash('sha256').update(SALT).update(row.customer).digest('hex'),
    })),
  )
  const [kept] = await lake.sql<{ n: bigint }>(
    `SELECT count(*) AS n FROM orders WHERE _extra LIKE '%address%' OR _extra LIKE '%c-%' AND _extra LIKE '%customerId%'`,
  )
  expect(kept).toEqual({ n: 0n })
  const replay = await lake.replay('shop', { mode: 'verify' })
  const difference = await replay.difference()
  expect(difference.isEmpty).toBe(true)
  expect(difference.tables.map(({ kind }) => kind)).toEqual(difference.tables.map(() => 'equal'))
})
