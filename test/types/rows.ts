import {
  hopping,
  json,
  raw,
  t,
  table,
  tumbling,
  windowSql,
  type Decimal,
  type Table,
  type TableDefinition,
  type Window,
} from '../../src/index.ts'

// What the compiler knows of rows. Read by tsc and run by nobody: a line that must not compile has a comment that says so.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
export const same = <A, B>(..._difference: Same<A, B> extends true ? [] : ['these types differ', A, B]): void =>
  undefined

export const orders = table('orders', {
  from: { topic: 'shop.orders', value: json(), startAt: 'earliest' },
  columns: {
    orderId: t.string(),
    status: t.enum('created', 'paid', 'cancelled'),
    amount: t.decimal(12, 2),
    quantity: t.int().required(),
    weight: t.double(),
    tags: t.list(t.string()),
    lines: t.list(t.struct({ sku: t.string().required(), price: t.decimal(12, 2), at: t.timestampMs() })),
    attributes: t.map(t.long()),
    updatedAt: t.timestamp(),
    seenAt: t.timestampMs(),
    shippedAt: 'timestamptz(ms) required',
    placedAt: 'timestamptz',
    channel: 'enum(web, shop)',
    total: 'decimal(14,2) = amount * quantity',
    day: t.date(),
    blob: t.binary(),
    isGift: t.boolean(),
    serial: t.long(),
  },
  computed: (o, { mul }) => ({ gross: t.decimal(14, 2).as(mul(o.amount, o.quantity)) }),
  key: ['orderId'],
  version: 'updatedAt',
  eventTime: { column: 'updatedAt', outOfOrderness: '5s', idleAfter: '30s' },
  where: (o, { ne }) => ne(o.status, 'test'),
  partitionBy: ['day(updatedAt)', 'bucket(16, orderId)', 'status', 'total', 'hour(_timestamp)'],
})

type Order = typeof orders.$row
same<
  Order,
  {
    readonly orderId: string
    readonly status: 'created' | 'paid' | 'cancelled' | null
    readonly amount: Decimal | null
    readonly quantity: number
    readonly weight: number | null
    readonly tags: readonly (string | null)[] | null
    readonly lines:
      | readonly ({ readonly sku: string; readonly price: Decimal | null; readonly at: Date | null } | null)[]
      | null
    readonly attributes: Readonly<Record<string, bigint | null>> | null
    readonly updatedAt: bigint | null
    readonly seenAt: Date | null
    readonly shippedAt: Date
    readonly placedAt: bigint | null
    readonly channel: 'web' | 'shop' | null
    readonly total: Decimal | null
    readonly day: string | null
    readonly blob: Uint8Array | null
    readonly isGift: boolean | null
    readonly serial: bigint | null
    readonly gross: Decimal | null
    readonly _extra?: string | null
    readonly _kafka_partition: number
    readonly _offset: bigint
    readonly _timestamp: bigint | null
  }
>()
same<(typeof orders.deadLetters.$row)['code'], string>()

export const revenue = tumbling('revenue_1m', orders, {
  size: '1m',
  allowedLateness: '10m',
  input: 'rows',
  groupBy: ['status'],
  where: (o, { and, gt, isNotNull, inList }) =>
    and(gt(o.quantity, 0), isNotNull(o.day), inList(o.status, ['paid', 'created'])),
  select: ({ count, sum, max, top, avg }) => ({
    n: count(),
    revenue: sum('amount'),
    pieces: sum('quantity'),
    weight: sum('weight'),
    mean: avg('amount'),
    last: max('seenAt'),
    best: top(3, 'serial'),
    big: count().where((o, { gte }) => gte(o.amount, '100')),
    half: t.double().as('revenue / 2'),
  }),
})
type Revenue = typeof revenue.$row
same<
  Revenue,
  {
    readonly status: 'created' | 'paid' | 'cancelled'
    readonly window_start: bigint
    readonly window_end: bigint
    readonly last_event_time?: bigint | null
    readonly _final: boolean
    readonly _corrections: number
    readonly n: bigint
    readonly revenue: Decimal | null
    readonly pieces: Decimal | null
    readonly weight: number | null
    readonly mean: number | null
    readonly last: Date | null
    readonly best: readonly bigint[] | null
    readonly big: bigint
    readonly half: number | null
  }
>()
same<(typeof revenue.late.$row)['orderId'], string | null>()

const texts = hopping('texts', orders, {
  size: '1h',
  slide: '1m',
  groupBy: ['channel', 'quantity'],
  nullGroup: 'keep',
  select: { n: 'count()', s: 'sum(amount) where quantity > 1', m: 'min(seenAt)', r: 'double = s / n' },
})
same<
  Pick<typeof texts.$row, 'n' | 's' | 'm' | 'r' | 'channel'>,
  {
    readonly n: bigint
    readonly s: Decimal | null
    readonly m: Date | null
    readonly r: number | null
    readonly channel: 'web' | 'shop' | null
  }
>()
same<(typeof texts)['$row']['quantity'], number>()

export const log = table('log', { from: { topic: 'log', value: raw() } })
same<(typeof log.$row)['value'], Uint8Array | null>()
export const free = windowSql('free', orders, 'SELECT')
same<(typeof free.$row)['anything'], unknown>()
export const asTable: TableDefinition = orders
export const asWindow: Window = free
export const ofKinds: Table<{ readonly a: 'int' }, { readonly a: number }> = table('a', {
  from: { topic: 'a' },
  columns: { a: t.int().required() },
}) as unknown as Table<{ readonly a: 'int' }, { readonly a: number }>

const from = { topic: 'o' }
const columns = {
  id: t.string(),
  amount: t.decimal(9, 2),
  tags: t.list(t.string()),
  kind: t.enum('a', 'b'),
  at: t.timestamp(),
}
export const mistakes = () => [
  // @ts-expect-error there is no such column for a key
  table('o', { from, columns, key: ['ID'] }),
  // @ts-expect-error … for a version
  table('o', { from, columns, key: ['id'], version: 'nope' }),
  // @ts-expect-error … for the event time
  table('o', { from, columns, eventTime: { column: 'nope' } }),
  // @ts-expect-error … for a partition
  table('o', { from, columns, partitionBy: ['day(nope)'] }),
  // @ts-expect-error there is no such transform
  table('o', { from, columns, partitionBy: ['minute(at)'] }),
  // @ts-expect-error there is no such option
  table('o', { from, columns, partition: ['id'] }),
  // @ts-expect-error there is no such column in a condition
  table('o', { from, columns, where: (o, { eq }) => eq(o.nope, 'x') }),
  // @ts-expect-error no row has that symbol
  table('o', { from, columns, where: (o, { eq }) => eq(o.kind, 'c') }),
  // @ts-expect-error an instant is bigint
  table('o', { from, columns, where: (o, { gt }) => gt(o.at, 'today') }),
  // @ts-expect-error a text is no number
  table('o', { from, columns, computed: (o, { mul }) => ({ x: t.double().as(mul(o.id, 2)) }) }),
  // @ts-expect-error a condition is a boolean
  table('o', { from, columns, where: (o, { add }) => add(o.amount, 1) }),
  // @ts-expect-error a sum of texts
  tumbling('w', orders, { size: '1m', select: ({ sum }) => ({ s: sum('status') }) }),
  // @ts-expect-error a group of lists
  tumbling('w', orders, { size: '1m', groupBy: ['tags'], select: { n: 'count()' } }),
  // @ts-expect-error there is no such column in an aggregate's condition
  tumbling('w', orders, { size: '1m', select: ({ count }) => ({ n: count().where((o, { eq }) => eq(o.nope, 1)) }) }),
  // @ts-expect-error there is no such column in a window's condition
  tumbling('w', orders, { size: '1m', where: (o, { eq }) => eq(o.nope, 1), select: { n: 'count()' } }),
]
