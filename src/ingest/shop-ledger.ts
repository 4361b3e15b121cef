import { createHash } from 'node:crypto'
import { deadLetterTable, defineLake, json, t, table, type LakeDefinition } from '../define.ts'
import { parsePartitionId, type Positions } from '../log.ts'
import type { ShopSettings } from '../settings.ts'
import { SHOP_TOPICS, shopEnd, shopTimestampMs } from './shop-log.ts'
import { shopRecord, type ShopRecord, type ShopTopic } from './shop-record.ts'

/** The tables of the demo: the current orders by their key, and all events of the two other topics of the shop. */
export const shopDefinition: LakeDefinition = defineLake({
  shop: [
    table('orders', {
      from: { topic: 'shop.orders', value: json() },
      columns: {
        orderId: t.string().required(),
        customerId: t.string().required(),
        status: t.enum('created', 'paid', 'shipped', 'cancelled'),
        amount: t.decimal(12, 2),
        quantity: t.int(),
        note: t.string(),
        tags: t.list(t.string()),
        address: t.struct({ city: t.string(), zip: t.string() }),
        isGift: t.boolean(),
        updatedAt: t.timestamptz().required(),
      },
      key: ['orderId'],
      eventTime: { column: 'updatedAt', outOfOrderness: '5s' },
      partitionBy: ['day(updatedAt)'],
    }),
    table('customers', {
      from: { topic: 'shop.customers' },
      columns: {
        customerId: t.string().required(),
        name: t.string(),
        email: t.string(),
        score: t.double(),
        birthday: t.date(),
        isActive: t.boolean(),
        createdAt: t.timestamptz('ms'),
      },
    }),
    table('page_views', {
      from: { topic: 'shop.page_views' },
      columns: {
        viewId: t.uuid().required(),
        customerId: t.string(),
        path: t.string(),
        durationMs: t.int(),
        bytes: t.long(),
        at: t.long().required(),
      },
      eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5s' },
    }),
  ],
})

/** What must stand in one table of the shop when its pipeline stands at given positions. */
export interface TableLedger {
  readonly rows: bigint
  readonly deadLetters: bigint
  readonly tombstones: bigint
  /** Sum over the rows of 60 bits of a hash of (partition, offset, columns): no order, no row missing or twice. */
  readonly digest: bigint
  /** The same over (partition, offset) of the dead letters. */
  readonly deadLetterDigest: bigint
}

/**
 * By table. Made by the generator, without the decoder that it judges. `fatal` are records, `topic/partition@offset`,
 * that are dead letters whatever they hold.
 */
export function shopLedger(
  settings: ShopSettings,
  positions: Positions,
  fatal: ReadonlySet<string> = new Set(),
): ReadonlyMap<string, TableLedger> {
  const ledger = new Map<string, TableLedger>()
  for (const { topic, name, key } of shopDefinition.pipelines[0]!.tables) {
    let [deadLetters, tombstones, deadLetterDigest] = [0n, 0n, 0n]
    // By key, or by place where every event stays.
    const rows = new Map<string, bigint>()
    for (const [id, until] of positions) {
      const { topic: of, partition } = parsePartitionId(id)
      if (of !== topic) continue
      for (let offset = 0; offset < Number(until); offset++) {
        const record = recordAt(settings, topic as ShopTopic, partition, offset)
        const outcome = fatal.has(`${id}@${offset}`) ? FATAL : record.expected
        const row = key.length > 0 ? record.key! : `${partition}@${offset}`
        if (outcome.kind === 'dead-letter') {
          deadLetters++
          deadLetterDigest += rowHash([partition, offset])
        } else if (outcome.kind === 'tombstone') {
          tombstones++
          rows.delete(row)
        } else rows.set(row, rowHash([partition, offset, ...outcome.columns, outcome.hasExtra]))
      }
    }
    const digest = [...rows.values()].reduce((sum, hash) => sum + hash, 0n)
    ledger.set(name, { rows: BigInt(rows.size), deadLetters, tombstones, digest, deadLetterDigest })
  }
  return ledger
}

/** SQL that gives the same figures from a table: `n` rows and their `digest`, both as text. */
export function ledgerSql(tableName: string): string {
  const columns = ['_kafka_partition', '_offset', ...SQL_COLUMNS[tableName]!, '_extra IS NOT NULL']
  return digestSql(tableName, columns)
}

/** The same for the companion table of dead letters. */
export function deadLetterSql(tableName: string): string {
  return digestSql(deadLetterTable(tableName), ['_kafka_partition', '_offset'])
}

const FATAL = { kind: 'dead-letter' } as const

/** Where every partition of the shop ends at an instant. */
export function shopEnds(settings: ShopSettings, nowMs: number): Positions {
  return new Map(
    Object.entries(SHOP_TOPICS).flatMap(([topic, { partitions }]) =>
      Array.from(
        { length: partitions },
        (_, p) => [`${topic}/${p}` as const, shopEnd(settings, topic as ShopTopic, p, nowMs)] as const,
      ),
    ),
  )
}

/** Expressions whose texts are those of the generator: free of session time zones and of the spelling of doubles. */
const SQL_COLUMNS: Readonly<Record<string, readonly string[]>> = {
  orders: [
    '"orderId"',
    '"customerId"',
    'status',
    'amount',
    'quantity',
    'note',
    `array_to_string(tags, ',')`,
    'address.city',
    'address.zip',
    '"isGift"',
    'epoch_us("updatedAt")',
  ],
  customers: [
    '"customerId"',
    'name',
    'email',
    '(score * 4)::BIGINT',
    'birthday',
    '"isActive"',
    'epoch_us("createdAt")',
  ],
  page_views: ['"viewId"', '"customerId"', 'path', '"durationMs"', 'bytes', '"at"'],
}

function recordAt(settings: ShopSettings, topic: ShopTopic, partition: number, offset: number): ShopRecord {
  return shopRecord(settings.seed, topic, partition, offset, shopTimestampMs(settings, topic, partition, offset))
}

function digestSql(tableName: string, columns: readonly string[]): string {
  const text = columns.map((column) => `coalesce((${column})::VARCHAR, '~')`).join(` || '|' || `)
  return `SELECT count(*)::VARCHAR AS n, coalesce(sum(('0x' || substr(md5(${text}), 1, 15))::BIGINT), 0)::VARCHAR AS digest FROM ${tableName}`
}

function rowHash(columns: readonly (string | number | boolean | null)[]): bigint {
  const text = columns.map((column) => (column === null ? '~' : String(column))).join('|')
  return BigInt(`0x${createHash('md5').update(text).digest('hex').slice(0, 15)}`)
}
