// What the exactness and soak runs share: a broker, a store, a configuration, a producer with a ledger, the verdict.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel } from 'kafkajs'
import { bundle } from '../build.mjs'
import { check } from '../check/check.mjs'
import { jsonLines } from '../child.mjs'
import { startBroker } from '../kafka.mjs'
import { startS3 } from '../s3.mjs'
import { freePort } from '../ports.mjs'
import { LakeProcess } from './lake-process.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const root = path.resolve(here, '../..')

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Starts a broker and, when wanted, an S3 server; `close` ends and removes everything. `brokerOptions` gives what the
 * broker is started with, for files that it needs in the folder of this world.
 */
export async function openWorld({ partitions, s3 = false, brokerOptions = () => ({}) }) {
  await bundle(path.join(root, 'dist'))
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-exact-'))
  const broker = await startBroker({ dir: path.join(folder, 'kafka'), heap: '512m', ...brokerOptions(folder) })
  const server = s3 ? await startS3({ dir: path.join(folder, 's3') }) : undefined
  const running = []
  const close = async () => {
    for (const lake of running) if (lake.isRunning) await lake.signalTree('SIGKILL')
    await server?.kill()
    await broker.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  return { folder, broker, server, partitions, running, close }
}

export function createTopic(world, topic) {
  return createTopics(world, [topic])
}

export async function createTopics(world, topics) {
  const admin = new Kafka({ brokers: [world.broker.address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  const all = topics.map((topic) => ({ topic, numPartitions: world.partitions, replicationFactor: 1 }))
  await admin.createTopics({ topics: all, waitForLeaders: false })
  // A busy broker that has made them may not know them yet.
  for (let waitedMs = 0; ; waitedMs += 100)
    try {
      await admin.fetchTopicMetadata({ topics })
      break
    } catch (error) {
      if (waitedMs > 30_000) throw error
      await sleep(100)
    }
  await admin.disconnect()
}

/** A `kappalake start` over the topic; `kind` is `disk` or `s3`. */
export async function newLake(
  world,
  { name, topic, kind, writer = 'exact', lanes = 2, takeoverAfter = '5s', minInterval, key = [], more = {} },
) {
  const store =
    kind === 's3'
      ? {
          url: `${world.server.url}/${topic.replaceAll('.', '-')}`,
          endpoint: world.server.endpoint,
          region: 'us-east-1',
        }
      : { url: `file://${world.folder}/lake-${topic}` }
  const port = await freePort()
  const config = path.join(world.folder, `${name}.yaml`)
  writeFileSync(
    config,
    JSON.stringify({
      writer,
      kafka: { brokers: [world.broker.address] },
      store,
      lanes,
      takeoverAfter,
      ...(minInterval === undefined ? {} : { commit: { minInterval } }),
      http: { port },
      query: { cacheDir: path.join(world.folder, `cache-${name}`) },
      pipelines: {
        exact: {
          tables: {
            events: {
              from: { topic },
              ...(key.length > 0 ? { key } : {}),
              columns: { id: 'string required', n: 'long', status: 'string', amount: 'decimal(12,2)', note: 'string' },
            },
          },
        },
      },
    }),
  )
  const env = { ...(kind === 's3' ? credentials(world) : {}), ...more }
  const lake = new LakeProcess({ config, port, log: path.join(world.folder, `${name}.log`), env })
  world.running.push(lake)
  return { lake, store }
}

/** What a process needs in its environment to reach the S3 server. */
export function credentials({ server }) {
  const { accessKeyId = 'test', secretAccessKey = 'test' } = server.settings
  return {
    KAPPALAKE__STORE__ACCESS_KEY_ID: accessKeyId,
    KAPPALAKE__STORE__SECRET_ACCESS_KEY: secretAccessKey,
  }
}

/** Runs the producer; resolves with what it did. */
export function produce(world, { topic, records, perSecond, seed, ledger }) {
  const { broker, partitions } = world
  const args = { brokers: [broker.address], topic, partitions, records, perSecond, seed, ledger }
  return jsonLines(process.execPath, [path.join(here, 'producer.mjs'), JSON.stringify(args)]).then(([line]) => line)
}

/** The ledger against what PyIceberg and DuckDB's Iceberg extension read. One object per reader. */
export function judge(world, { store, ledger }) {
  return check('exact', { store, server: world.server, pipeline: 'exact', table: 'events', ledger })
}

/** Waits until everything that the log holds is committed; false after `limitMs`. */
export async function caughtUp(lakes, limitMs, pipeline = 'exact') {
  const deadlineMs = performance.now() + limitMs
  while (performance.now() < deadlineMs) {
    for (const lake of lakes) {
      const flushed = await lake.ask(`/v1/pipelines/${pipeline}/flush`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      })
      if (flushed !== undefined) return true
    }
    await sleep(250)
  }
  return false
}

/** Number of the newest version, as the process says; undefined while it does not answer. */
export async function headOf(lake) {
  const answer = await lake.ask('/v1/pipelines/exact')
  return answer?.version === undefined || answer.version === null ? undefined : Number(answer.version)
}

/** Prints one figure and returns whether it holds. */
export function figure(name, value, unit, target, isOk, more = {}) {
  console.log(JSON.stringify({ name, value, unit, target, ratio: null, peer: 'ledger', pass: isOk, ...more }))
  return isOk
}

export function judged(lines, kind) {
  let isOk = lines.length === 2
  for (const line of lines) {
    const { reader, missing, twice, wrong, deadMissing, deadTwice, deadWrong, rows, expected } = line
    const differences = { missing, twice, wrong, deadMissing, deadTwice, deadWrong }
    for (const [what, count] of Object.entries(differences))
      isOk = figure(`${kind}.${what}`, count, 'records', '0', count === 0, { reader, rows, expected }) && isOk
  }
  return isOk
}
