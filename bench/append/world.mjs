// A real broker with a topic full of orders, for as long as the measurement takes.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kafka, logLevel } from 'kafkajs'
import { startBroker } from '../../infra/kafka.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
export const TOPIC = 'orders'
export const PARTITIONS = 4
/** As an operator would run it: the compilers that optimise, the collector that is Kafka's own choice. */
const BROKER_JVM = ['-XX:+UseG1GC', '-Xshare:auto', '-Xms1g']

/** `keys`: the topic is one of orders that are updated, see `orderSource`. */
export async function openWorld(records, keys) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-bench-'))
  let broker
  const close = async () => {
    await broker?.kill()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    broker = await startBroker({ dir: path.join(folder, 'kafka'), heap: '1g', jvm: BROKER_JVM })
    await fill(broker.address, records, keys)
    const lakeFolder = path.join(folder, 'run')
    mkdirSync(lakeFolder)
    const { address, pid: brokerPid } = broker
    return { folder: lakeFolder, brokerPid, address, topic: TOPIC, partitions: PARTITIONS, records, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Two producers, two partitions each. */
async function fill(address, records, keys) {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic: TOPIC, numPartitions: PARTITIONS, replicationFactor: 1 }],
  })
  await admin.disconnect()
  const share = { address, topic: TOPIC, records: records / PARTITIONS, keys: keys && keys / PARTITIONS }
  await Promise.all(
    [
      [0, 1],
      [2, 3],
    ].map((partitions) => runScript('produce.mjs', { ...share, partitions })),
  )
}

/** Runs a script of this folder in a process of its own; resolves with the JSON that it prints. */
export function runScript(name, argument) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(here, name), JSON.stringify(argument)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (bytes) => (output += bytes))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output.trim().split('\n').at(-1)))
      else reject(new Error(`${name} ended with ${code}`))
    })
  })
}
