/**
 * One event of the demo's shop: what stands in the log, and beside it, made by the generator and not by any decoder,
 * what must become of it in its table.
 */
export interface ShopRecord {
  readonly key: string | undefined
  readonly value: string | Uint8Array | undefined
  readonly expected: ShopOutcome
}

export type ShopOutcome =
  /** Each declared column as the text that the table's ledger expression gives; null for SQL null. */
  | { readonly kind: 'row'; readonly columns: readonly (string | null)[]; readonly hasExtra: boolean }
  | { readonly kind: 'dead-letter' }
  | { readonly kind: 'tombstone' }

export type ShopTopic = 'shop.orders' | 'shop.customers' | 'shop.page_views'

/** Shares of the events. */
const POISON = 0.005
const TOMBSTONES = 0.03
const LATE = 0.02
const UNKNOWN_FIELDS = 0.05
const LATE_MS_MAX = 600_000

/** A pure function of its arguments; `timestampMs` is the time of the record, itself given by the offset. */
export function shopRecord(
  seed: number,
  topic: ShopTopic,
  partition: number,
  offset: number,
  timestampMs: number,
): ShopRecord {
  const random = dice(seed, topic, partition, offset)
  const event = EVENTS[topic](random, partition, offset, timestampMs)
  const roll = random()
  if (roll < POISON) return poison(event, random)
  if (topic === 'shop.orders' && roll < POISON + TOMBSTONES)
    return { key: event.key, value: undefined, expected: { kind: 'tombstone' } }
  const hasExtra = random() < UNKNOWN_FIELDS
  const value = hasExtra ? { ...event.value, campaign: { name: 'spring ☀', rank: pick(random, 9) } } : event.value
  return {
    key: event.key,
    value: toJson(value),
    expected: { kind: 'row', columns: event.columns, hasExtra },
  }
}

/** An event that fits its table. The first field of `value` is a required one. */
interface ShopEvent {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
  readonly columns: readonly (string | null)[]
}
type Random = () => number

const EVENTS: Readonly<
  Record<ShopTopic, (random: Random, partition: number, offset: number, timestampMs: number) => ShopEvent>
> = { 'shop.orders': order, 'shop.customers': customer, 'shop.page_views': pageView }

const STATUSES = ['created', 'paid', 'shipped', 'cancelled'] as const
const NOTES = [
  'please ring twice',
  'für Oma 🎂',
  '送り状は不要',
  'line\nbreak "quoted" \\ \u0007',
  '',
  'Ünïcödé ≠ ascii',
] as const
const CITIES = ['Berlin', 'Zürich', 'São Paulo', '東京', "L'Aquila", 'Kraków'] as const
const TAGS = ['new', 'vip', 'gift', 'b2b', 'été'] as const
const NAMES = ['Ada Lovelace', 'José Núñez', '山田 花子', 'Zoë 🌻', "Siân O'Neill", 'Łukasz'] as const
const PATHS = ['/', '/search?q=käse', '/cart', '/item/%F0%9F%8D%95', '/checkout'] as const

/** Eight orders at a time, each created, paid, and shipped or cancelled over the offsets of its partition. */
function order(random: Random, partition: number, offset: number, timestampMs: number): ShopEvent {
  const block = Math.floor(offset / 24)
  const step = Math.floor((offset % 24) / 8)
  const orderId = `o-${partition}-${block * 8 + (offset % 8)}`
  const status = STATUSES[step === 2 && random() < 0.1 ? 3 : step]!
  const customerId = `c-${pick(random, 500)}`
  const cents = pick(random, 5_000_000) + 1
  const amount = decimal(cents)
  const quantity = random() < 0.1 ? null : 1 + pick(random, 9)
  const note = random() < 0.7 ? undefined : choose(random, NOTES)
  const tags = TAGS.slice(0, pick(random, TAGS.length + 1))
  const address = random() < 0.2 ? null : { city: choose(random, CITIES), zip: String(10_000 + pick(random, 89_999)) }
  const isGift = random() < 0.1
  const atMs = eventMs(random, timestampMs)
  return {
    key: orderId,
    value: {
      orderId,
      customerId,
      status,
      // A decimal is a number or a text; both must give the same value.
      amount: random() < 0.5 ? amount : cents / 100,
      quantity,
      ...(note === undefined ? {} : { note }),
      tags,
      address,
      isGift,
      updatedAt: random() < 0.2 ? withOffset(atMs) : new Date(atMs).toISOString(),
    },
    columns: [
      orderId,
      customerId,
      status,
      amount,
      quantity === null ? null : String(quantity),
      note ?? null,
      tags.join(','),
      address?.city ?? null,
      address?.zip ?? null,
      String(isGift),
      micros(atMs),
    ],
  }
}

function customer(random: Random, _partition: number, offset: number, timestampMs: number): ShopEvent {
  const customerId = `c-${offset % 500}`
  const name = choose(random, NAMES)
  const email = random() < 0.1 ? null : `user${offset % 500}@example.org`
  const quarters = pick(random, 400)
  const birthday = new Date(Date.UTC(1940 + pick(random, 70), pick(random, 12), 1 + pick(random, 28)))
    .toISOString()
    .slice(0, 10)
  const isActive = random() < 0.8
  return {
    key: customerId,
    value: { customerId, name, email, score: quarters / 4, birthday, isActive, createdAt: timestampMs },
    columns: [customerId, name, email, String(quarters), birthday, String(isActive), micros(timestampMs)],
  }
}

function pageView(random: Random, _partition: number, _offset: number, timestampMs: number): ShopEvent {
  const viewId = uuid(random)
  const customerId = random() < 0.3 ? null : `c-${pick(random, 500)}`
  const path = choose(random, PATHS)
  const durationMs = pick(random, 60_000)
  // Beyond what a JavaScript number holds.
  const bytes = 2n ** 53n + BigInt(pick(random, 1_000_000)) * 2n + 1n
  const atMs = eventMs(random, timestampMs)
  return {
    key: customerId ?? viewId,
    value: { viewId, customerId, path, durationMs, bytes, at: atMs },
    columns: [viewId, customerId, path, String(durationMs), String(bytes), String(atMs)],
  }
}

/** Bytes that no strict reader may turn into a row. */
function poison(event: ShopEvent, random: Random): ShopRecord {
  const text = toJson(event.value)
  const [required, first] = Object.entries(event.value)[0]!
  const value = choose<() => string | Uint8Array>(random, [
    () => text.slice(0, Math.floor(text.length / 2)),
    () => `[${text}]`,
    () => 'not json at all',
    () => toJson({ ...event.value, [required]: null }),
    () => toJson({ ...event.value, [required]: { nested: first } }),
    () => `${text.slice(0, -1)},${JSON.stringify(required)}:${JSON.stringify(first)}}`,
    () =>
      Buffer.concat([
        Buffer.from(text.slice(0, -1)),
        Buffer.from(',"bad":"'),
        Buffer.of(0xff, 0xfe),
        Buffer.from('"}'),
      ]),
    () => new Uint8Array(0),
  ])()
  return { key: event.key, value, expected: { kind: 'dead-letter' } }
}

/** Up to two seconds before the record, or late by up to ten minutes. */
function eventMs(random: Random, timestampMs: number): number {
  return timestampMs - pick(random, random() < LATE ? LATE_MS_MAX : 2_000)
}

function withOffset(atMs: number): string {
  return new Date(atMs + 2 * 3_600_000).toISOString().replace('Z', '+02:00')
}

function micros(ms: number): string {
  return `${ms}000`
}

function decimal(cents: number): string {
  return `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`
}

/** JSON in which a bigint keeps all its digits. */
function toJson(value: unknown): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`
  return `{${Object.entries(value)
    .map(([name, field]) => `${JSON.stringify(name)}:${toJson(field)}`)
    .join(',')}}`
}

function uuid(random: Random): string {
  const hex = Array.from({ length: 8 }, () => pick(random, 65_536).toString(16).padStart(4, '0')).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`
}

function pick(random: Random, n: number): number {
  return Math.floor(random() * n)
}

function choose<T>(random: Random, list: readonly T[]): T {
  return list[pick(random, list.length)]!
}

/** Uniform numbers in [0, 1) that depend on nothing but the arguments (mulberry32 over a mixed seed). */
function dice(seed: number, topic: ShopTopic, partition: number, offset: number): Random {
  let state = mix(mix(mix(mix(seed | 0, topic.length), partition), offset | 0), Math.floor(offset / 2 ** 32))
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

function mix(hash: number, value: number): number {
  let h = Math.imul(hash ^ value ^ 0x9e3779b9, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
