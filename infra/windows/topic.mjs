// What a reader makes of a topic of changes, repeats included, as docs/topics.md says that it may.
import { Kafka, logLevel } from 'kafkajs'

const READ_WITHIN_MS = 30_000

/** All records that topics have now, by topic, those of a partition in their order. */
export async function readTopics(world, topics) {
  const kafka = new Kafka({ brokers: [world.broker.address], logLevel: logLevel.NOTHING })
  const found = new Map(topics.map((topic) => [topic, []]))
  const left = new Map()
  const admin = kafka.admin()
  await admin.connect()
  for (const topic of topics)
    for (const { partition, high } of await admin.fetchTopicOffsets(topic))
      if (high !== '0') left.set(`${topic} ${partition}`, BigInt(high))
  await admin.disconnect()
  if (left.size === 0) return found
  const consumer = kafka.consumer({ groupId: `judge-${topics.join('-')}` })
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  let timer
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`not read: ${[...left.keys()].join(', ')}`)), READ_WITHIN_MS)
      const eachMessage = async ({ topic, partition, message: { key, value, headers, offset } }) => {
        const texts = Object.entries(headers).map(([name, text]) => [name, String(text)])
        found.get(topic).push({
          partition,
          key: key === null ? null : String(key),
          value: value === null ? null : String(value),
          headers: Object.fromEntries(texts),
        })
        if (BigInt(offset) + 1n >= (left.get(`${topic} ${partition}`) ?? Infinity)) left.delete(`${topic} ${partition}`)
        if (left.size === 0) resolve()
      }
      consumer.run({ autoCommit: false, eachMessage }).catch(reject)
    })
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
  }
  return found
}

/** Of a record: which change it is. */
const versionOf = ({ headers }) => Number(headers['kappalake.version'])
const positionOf = ({ headers }) => Number(headers['kappalake.position'])

/**
 * How often records break what is promised of them. `changes` are those that are not repeats.
 * - `foreign`: of another table; `keys`: the key is not what the value says; `skipped`: versions were not told apart
 * - `unlike`: a repeat is another record than the first of its version and position
 * - `disordered`: what is no repeat is not newer than what its partition has, or its key was in another partition
 * - `holes`: positions that a version's changes lack
 */
export function inspect(records, table) {
  const first = new Map()
  const newest = new Map()
  const places = new Map()
  const positions = new Map()
  const wrong = { foreign: 0, keys: 0, skipped: 0, unlike: 0, disordered: 0, holes: 0 }
  for (const record of records) {
    const { partition, key, value, headers } = record
    const [version, position] = [versionOf(record), positionOf(record)]
    if (headers['kappalake.table'] !== table) wrong.foreign++
    if (headers['kappalake.since'] !== undefined) wrong.skipped++
    if (!isKeyOf(key, value)) wrong.keys++
    const text = JSON.stringify([partition, key, value, Object.entries(headers).toSorted()])
    const change = `${version} ${position}`
    if (first.has(change)) {
      if (first.get(change) !== text) wrong.unlike++
      continue
    }
    first.set(change, text)
    const [before, at] = newest.get(partition) ?? [-1, -1]
    if (version < before || (version === before && position < at)) wrong.disordered++
    else newest.set(partition, [version, position])
    if (key !== null && (places.get(key) ?? partition) !== partition) wrong.disordered++
    places.set(key, partition)
    const { count = 0, max = -1 } = positions.get(version) ?? {}
    positions.set(version, { count: count + 1, max: Math.max(max, position) })
  }
  for (const { count, max } of positions.values()) wrong.holes += max + 1 - count
  return { changes: first.size, repeats: records.length - first.size, versions: positions.size, wrong }
}

function isKeyOf(key, value) {
  if (key === null || value === null) return true
  const row = JSON.parse(value)
  return Object.entries(JSON.parse(key)).every(([name, text]) => row[name] === text)
}

/** The last value of each key, of changes up to a version: what is not newer than what is there is a repeat. */
export function rowsAt(records, version) {
  const rows = new Map()
  for (const record of records) {
    const own = versionOf(record)
    if (own <= version && own > (rows.get(record.key)?.version ?? -1))
      rows.set(record.key, { version: own, value: record.value })
  }
  return [...rows.values()].filter(({ value }) => value !== null).map(({ value }) => value)
}
