import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { avro, defineLake, open, table, type Lake } from '../../src/index.ts'
import { avscType, type Json } from '../ingest/decode/avro-arbitrary.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { mutatedBundle, type MutatedBundle } from '../support/mutated-bundle.ts'
import { framed, RegistryServer } from '../support/registry-server.ts'
import { trustStore } from '../support/shop-store.ts'
import { leftOver, live } from './lives.ts'
import { CRASH_BANNER, pointMutations, type CrashPlan } from './points.ts'

// A table whose columns come from a registry, killed between the growing of its schema and the commit of the rows that
// need it: each record is one row, with all of its values, and the columns are those that the records ask for.

const record = (name: string, ...fields: readonly (readonly [string, Json])[]): Json => ({
  type: 'record',
  name,
  fields: fields.map(([field, type]) => ({ name: field, type })),
})
const SCHEMAS = [
  record('Order', ['id', 'int']),
  record('Order', ['id', 'int'], ['amount', 'int']),
  record('Order', ['id', 'long'], ['amount', 'long'], ['to', record('To', ['city', 'string'])]),
  record('Order', ['id', 'int'], ['note', ['null', 'string']]),
]
/** Records of a partition. */
const EACH = 60

let kafka: TestKafka
let registry: RegistryServer
let bundle: MutatedBundle
let folder: string

/** The later a record, the newer its schema; old ones come between. */
const schemaOf = (n: number): number => Math.min(3, Math.floor((n / EACH) * 4)) * (n % 3 === 0 ? 0 : 1)
function valueOf(n: number, partition: number): Record<string, unknown> {
  const id = 2 * n + partition
  return [
    { id },
    { id, amount: n },
    { id: BigInt(id), amount: BigInt(n), to: { city: `city ${n}` } },
    { id, note: { string: `note ${n}` } },
  ][schemaOf(n)]!
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-crash-growing-'))
  ;[kafka, registry, bundle] = await Promise.all([
    startKafka(),
    RegistryServer.start(),
    mutatedBundle('crash-growing', pointMutations(), { process: 'test/crash/growing-process.ts' }, CRASH_BANNER),
  ])
  await kafka.createTopic('orders', 2)
  // The table begins with the columns of the first: those of the others come with their records.
  const ids = SCHEMAS.map((schema, k) => registry.add(k === 0 ? 'orders-value' : 'others', schema))
  const types = SCHEMAS.map((schema) => avscType(schema))
  for (const partition of [0, 1])
    await kafka.produce(
      'orders',
      partition,
      Array.from({ length: EACH }, (_, n) => {
        const at = schemaOf(n)
        const value = framed(ids[at]!, types[at]!.toBuffer(valueOf(n, partition)))
        return { key: undefined, timestampMs: 1_760_000_000_000, value }
      }),
    )
}, 120_000)
afterAll(async () => {
  bundle?.remove()
  await Promise.all([kafka?.stop(), registry?.close()])
  rmSync(folder, { recursive: true, force: true })
})

const settingsOf = (place: string) => ({
  writer: 'crash',
  kafka: { brokers: kafka.brokers },
  store: `file://${place}/lake`,
  registry: { url: registry.url, cacheDir: `${place}/schemas` },
  commit: { minInterval: '1ms', microBatch: { records: 7, age: '20ms' } },
  lanes: 1,
  query: { children: 1 },
})

const LATER = String.raw`/v0*([2-9]|\d\d)\.json$`

/** Some of them only with `KAPPALAKE_CRASH=all`. */
const CASES: readonly (Pick<CrashPlan, 'point' | 'nth' | 'detail'> & { readonly isLong?: true })[] = [
  { point: 'columns-asked', nth: 1, isLong: true },
  { point: 'columns-known', nth: 2 },
  { point: 'growth-before', nth: 1, detail: 'grown', isLong: true },
  { point: 'growth-written', nth: 1, detail: 'grown' },
  { point: 'growth-written', nth: 2, detail: 'grown' },
  { point: 'version-before', nth: 4, detail: LATER, isLong: true },
]

describe.concurrent('killed', () => {
  test.each(process.env['KAPPALAKE_CRASH'] === 'all' ? CASES : CASES.filter(({ isLong }) => isLong !== true))(
    '$point, time $nth',
    { timeout: 120_000 },
    async ({ point, nth, detail }) => {
      const place = mkdtempSync(path.join(folder, 'lake-'))
      await trustStore({ url: `file://${place}/lake` })
      const marker = path.join(place, 'died')
      const ends = { 'orders/0': EACH, 'orders/1': EACH }
      const env = { LAKE: JSON.stringify({ settings: settingsOf(place), ends }) }
      const first = await live(bundle, env, {
        point,
        nth,
        victim: 'self',
        marker,
        ...(detail === undefined ? {} : { detail }),
      })
      expect(existsSync(marker), `${point} was never reached\n${first.output}`).toBe(true)
      expect(first).toMatchObject({ code: null, signal: 'SIGKILL' })
      const second = await live(bundle, env)
      expect(second, `ended after ${point}: ${second.output}`).toEqual({ code: 0, signal: null, output: '' })
      expect(await leftOver(bundle, place)).toEqual([])
      await isWhole(place)
    },
  )
})

async function isWhole(place: string): Promise<void> {
  const definition = defineLake({ shop: [table('orders', { from: { topic: 'orders', value: avro() } })] })
  const lake: Lake = await open(definition, settingsOf(place))
  try {
    const rows = await lake.sql('SELECT id, amount, "to", note, _extra FROM orders ORDER BY id')
    const expected = Array.from({ length: 2 * EACH }, (_, id) => {
      const value = valueOf(id >> 1, id % 2)
      const amount = value['amount'] === undefined ? null : BigInt(value['amount'] as number | bigint)
      const note = (value['note'] as { string: string } | undefined)?.string ?? null
      return { id: BigInt(id), amount, to: value['to'] ?? null, note, _extra: null }
    })
    expect(rows).toEqual(expected)
  } finally {
    await lake.close()
  }
}
