// Records of one partition of one topic from a seed: event times that go forward within their bound, and now and then
// do not; updates, null values, poison, rows without event time or group.
import { randomOf } from '../exact/random.mjs'

const DAY_MS = 24 * 3_600_000
const SHARE = { late: 0.03, future: 0.002, noTime: 0.005, noGroup: 0.005, poison: 0.004, deleted: 0.03 }

/**
 * @param source one of SOURCES
 * @param options `partition`, `seed`, `records` of this partition, `baseMs`: the event time at the end, and of the records
 */
export function* records(source, { partition, seed, records: total, baseMs }) {
  const random = randomOf(seed * 1_009 + partition * 31 + source.topic.length)
  const { spanMs, outOfOrdernessMs, latestMs, topic } = source
  // Partitions are not where the others are: lateness is each one's own.
  const behindMs = partition * Math.min(7 * 60_000, spanMs / 20)
  for (let n = 0; n < total; n++) {
    const draw = random()
    const isLate = draw < SHARE.late
    const jitterMs = Math.floor(random() * (isLate ? latestMs : 0.9 * outOfOrdernessMs))
    const progressMs = baseMs - spanMs + Math.floor((spanMs * n) / total) - behindMs
    let timestamp = progressMs - jitterMs
    const what = random()
    if (what < SHARE.future) timestamp += DAY_MS
    const kts = baseMs + n
    const isWithoutTime = what > 1 - SHARE.noTime && source.key === undefined
    const isWithoutGroup = what > 1 - SHARE.noTime - SHARE.noGroup && !isWithoutTime && source.key === undefined
    const fields = make[topic](random, partition, n)
    const { group, ...rest } = fields
    const value = {
      ...rest,
      ...(isWithoutGroup ? {} : group),
      ...(isWithoutTime ? {} : { timestamp }),
    }
    const key = source.key === undefined ? String(n) : rest[source.key]
    const fate = random()
    if (fate < SHARE.poison) yield { key, kts, value: '{"timestamp":' }
    else if (fate < SHARE.poison + SHARE.deleted && source.key !== undefined) yield { key, kts, value: null }
    else yield { key, kts, value: JSON.stringify(value) }
  }
}

/** The last record of each partition: everything before it is final once it is read. */
export function closing(source, partition, baseMs) {
  const timestamp = baseMs + 50 * 60_000
  const { group, ...rest } = make[source.topic](() => 0.5, partition, -1)
  const key = source.key === undefined ? 'end' : rest[source.key]
  return { key, kts: timestamp, value: JSON.stringify({ ...rest, ...group, timestamp }) }
}

const statusOf = (draw) => (draw < 0.45 ? 'created' : draw < 0.9 ? 'paid' : 'cancelled')
const cents = (random) => Math.round(random() * 100_000) / 100

const make = {
  orders: (random, partition) => ({
    // A key keeps to its partition.
    order_id: `o-${partition}-${Math.floor(random() * 300)}`,
    group: { customer_id: `c${Math.floor(random() * 25)}` },
    amount: cents(random),
    status: statusOf(random()),
  }),
  events: (random) => ({
    group: { user_id: `u${Math.floor(random() * 12)}` },
    type: random() < 0.7 ? 'transaction' : 'view',
    amount: random() < 0.1 ? -cents(random) : cents(random),
  }),
  metrics: (random) => ({
    group: { sensor_id: `s${Math.floor(random() * 8)}` },
    value: (random() - 0.5) * 1_000,
  }),
  'processed-events': (random) => ({
    group: { service_name: `s${Math.floor(random() < 0.7 ? random() * 2 : 2 + random() * 4)}` },
    user_id: `u${Math.floor(random() * 100)}`,
    event_type: random() < 0.5 ? 'error' : 'click',
  }),
}
