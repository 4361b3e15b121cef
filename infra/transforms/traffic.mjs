// What is produced, and what must become of it: a plain function of each record, beside which no SQL of ours is run.
import { createHash } from 'node:crypto'
import { Kafka, logLevel } from 'kafkajs'
import { randomOf } from '../exact/random.mjs'
import { sleep } from '../exact/world.mjs'
import { SALT, SECRET, TOPICS } from './definitions.mjs'

/** Of the reference table at the version that is pinned. */
export const RANGES = Array.from({ length: 200 }, (_, k) => ({
  first_ip: 16_777_216 + 4_096 * k,
  // Every third range leaves a gap behind it; the last has no end.
  last_ip: k === 199 ? null : 16_777_216 + 4_096 * k + (k % 3 === 0 ? 2_047 : 4_095),
  country: `country ${k % 50}`,
}))

const AGENTS = ['Mozilla/5.0', 'Googlebot/2.1', 'curl/8', null, 'A Crawler', 'Mozilla/5.0 (X11; Linux x86_64)']
const pick = (random, list) => list[Math.floor(random() * list.length)]

function eventOf(random, k) {
  const number = 16_777_000 + Math.floor(random() * 4_096 * 205)
  const ip = [24, 16, 8, 0].map((bits) => (number >>> bits) & 255).join('.')
  if (random() < 0.01) return `{"user_id":"u${k}`
  return JSON.stringify({
    user_id: `u${Math.floor(random() * 500)}`,
    event_type: pick(random, ['click', 'view', 'error', random() < 0.2 ? 'broken' : 'buy']),
    timestamp: 1_700_000_000_000 + 7 * k,
    user_agent: pick(random, AGENTS),
    ip: random() < 0.02 ? 'nowhere' : random() < 0.05 ? null : ip,
    service_name: pick(random, ['web', 'api']),
    ...(random() < 0.9 ? { payload: { url: `https://host-${k % 7}.example/${k}`, duration_ms: k } } : {}),
  })
}

function accountOf(random, k) {
  const broken = random() < 0.02
  const text = JSON.stringify({
    id: `a${k}`,
    status: pick(random, ['active', 'closed', null]),
    n: random() < 0.02 ? 'no number' : k,
    email: random() < 0.1 ? null : `${SECRET}-${k % 300}@example.com`,
    phone: `${SECRET} ${k}`,
    sensitive_data: { ssn: `${SECRET} ${k}` },
    more: k % 5,
  })
  return broken ? text.slice(0, -1) : text
}

/** Produces until `records` are there, at a pace; gives all of them with their places. */
export async function produce(world, { records, perSecond, seed }) {
  const random = randomOf(seed)
  const producer = await producerOf(world)
  const log = []
  const startedMs = performance.now()
  for (let k = 0; k < records;) {
    const [topic, valueOf] = random() < 0.6 ? [TOPICS.events, eventOf] : [TOPICS.accounts, accountOf]
    const partition = Math.floor(random() * world.partitions)
    const batch = []
    for (const size = 1 + Math.floor(random() * 120); batch.length < size && k < records; k++) {
      const timestampMs = 1_750_000_000_000 + Math.floor(random() * 1e9)
      batch.push({ timestampMs, value: valueOf(random, k) })
    }
    const messages = batch.map(({ value, timestampMs }) => ({ partition, value, timestamp: String(timestampMs) }))
    const [{ baseOffset }] = await producer.send({ topic, messages, acks: -1 })
    for (const [i, record] of batch.entries()) log.push({ topic, partition, offset: Number(baseOffset) + i, ...record })
    const aheadMs = (k / perSecond) * 1_000 - (performance.now() - startedMs)
    if (aheadMs > 5) await sleep(aheadMs)
  }
  await producer.disconnect()
  return log
}

/** Rows of the reference table, one after the other in one partition. */
export async function sendRanges(world, ranges) {
  const producer = await producerOf(world)
  const messages = ranges.map((range) => ({
    key: JSON.stringify({ first_ip: range.first_ip }),
    value: JSON.stringify(range),
    partition: range.first_ip % world.partitions,
  }))
  await producer.send({ topic: TOPICS.ranges, messages, acks: -1 })
  await producer.disconnect()
}

async function producerOf({ broker }) {
  const kafka = new Kafka({ brokers: [broker.address], logLevel: logLevel.NOTHING, retry: { retries: 20 } })
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

const REDACTED = ['sensitive_data', 'email', 'phone']

/** By table, what its rows and dead letters must be: texts, in no order. */
export function expected(log) {
  const tables = { processed_events: [], active_accounts: [], hosts: [] }
  const add = (table, { partition, offset }, row) => tables[table].push(JSON.stringify([partition, offset, ...row]))
  const dead = (table, record, code, value) => add(table, record, ['dead', code, value])
  for (const record of log) {
    const value = parsed(record.value)
    if (record.topic === TOPICS.accounts) {
      if (value === undefined) dead('active_accounts', record, 'decode.json', '')
      else if (typeof value.n !== 'number') {
        const kept = Object.fromEntries(Object.entries(value).filter(([field]) => !REDACTED.includes(field)))
        dead('active_accounts', record, 'decode.type', JSON.stringify(kept))
      } else if (value.status === 'active') {
        const extra = JSON.stringify({ phone: '****', more: value.more })
        add('active_accounts', record, [
          value.id,
          value.status,
          value.n,
          hashed(value.email),
          record.timestampMs,
          extra,
        ])
      }
      continue
    }
    if (value === undefined) {
      for (const table of ['processed_events', 'hosts']) dead(table, record, 'decode.json', record.value)
      continue
    }
    if (value.event_type === 'broken') dead('hosts', record, 'transform.map_failed', record.value)
    else if (value.payload !== undefined) add('hosts', record, [value.user_id, new URL(value.payload.url).hostname])
    if (value.ip === 'nowhere') dead('processed_events', record, 'transform.failed', record.value)
    else if (!/bot|crawler|spider/i.test(value.user_agent ?? ''))
      add('processed_events', record, [
        value.user_id,
        value.event_type,
        value.timestamp,
        value.payload?.duration_ms ?? null,
        countryOf(value.ip),
        record.timestampMs,
      ])
  }
  return tables
}

/** What `expected` says, as a lake is asked for it. */
export const QUERIES = {
  processed_events: [
    'user_id',
    'event_type',
    'epoch_ms("timestamp")',
    'payload.duration_ms',
    'country',
    'epoch_ms(processed_at)',
  ],
  active_accounts: ['id', 'status', 'n', 'email', 'epoch_ms(processed_at)', '_extra'],
  hosts: ['user_id', 'host'],
}

/**
 * What the topics must hold, by topic: texts of `[partition, offset, …]`, by the rows that `expected` gives. Rows that are
 * not wanted there are left out.
 */
export function expectedTopics(log) {
  const { processed_events: events, active_accounts: accounts } = expected(log)
  const rowsOf = (lines) => lines.map((line) => JSON.parse(line)).filter(([, , first]) => first !== 'dead')
  return {
    [TOPICS.processed]: rowsOf(events).map((row) => JSON.stringify(row)),
    [TOPICS.active]: rowsOf(accounts)
      .filter(([, , , , n]) => n % 10 !== 0)
      .map(([partition, offset, id, , n, email, at]) => JSON.stringify([partition, offset, id, n, email, at])),
  }
}

/** What a record of a topic says, as `expectedTopics` has it. */
export const READ = {
  [TOPICS.processed]: (row) => [
    row._kafka_partition,
    Number(row._offset),
    row.user_id,
    row.event_type,
    Date.parse(row.timestamp),
    row.payload === null ? null : Number(row.payload.duration_ms),
    row.country,
    Date.parse(row.processed_at),
  ],
  [TOPICS.active]: (row) => [
    ...row.place.split('/').map(Number),
    row.id,
    row.n,
    row.email,
    Date.parse(row.processed_at),
  ],
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function hashed(text) {
  return text === null ? null : createHash('sha256').update(SALT).update(text).digest('hex')
}

function countryOf(ip) {
  if (ip === null) return null
  const number = ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  return (
    RANGES.find(({ first_ip: first, last_ip: last }) => first <= number && number <= (last ?? Infinity))?.country ??
    null
  )
}
