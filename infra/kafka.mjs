// Starts a real Apache Kafka from its jars: `node infra/kafka.mjs [DIR]` runs one until it is interrupted and prints
// its address. Tests and benchmarks import startBroker.
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Kafka, logLevel } from 'kafkajs'
import { Child } from './child.mjs'
import { freePorts } from './ports.mjs'

const READY_WITHIN_MS = 90_000
const QUICK_JVM = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']
const LOG4J =
  '<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>' +
  '<Loggers><Root level="warn"><AppenderRef ref="C"/></Root></Loggers></Configuration>'

export function kafkaLibs() {
  const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
  const libs = path.join(path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache'), 'kafka', 'libs')
  if (!existsSync(libs)) throw new Error(`Apache Kafka is missing at ${libs}: run \`npm run setup\``)
  return libs
}

export async function startBroker(options = {}) {
  const dir = options.dir ?? mkdtempSync(path.join(tmpdir(), 'kappalake-kafka-'))
  const broker = new Broker(dir, options.heap ?? '512m', [...(options.jvm ?? QUICK_JVM), ...(options.flags ?? [])])
  await broker.format(options)
  await broker.start()
  return broker
}

class Broker {
  #heap
  #flags
  #clusterId = `k${randomBytes(16).toString('base64url').slice(1)}`
  #child

  constructor(dir, heap, flags) {
    this.dir = dir
    this.#heap = heap
    this.#flags = flags
  }

  get pid() {
    return this.#child?.pid
  }

  async format({ partitionsDefault = 3, extraListeners = {}, scramUsers = {}, properties = {} }) {
    const names = Object.keys(extraListeners)
    const [port, controllerPort, ...extraPorts] = await freePorts(2 + names.length)
    this.address = `127.0.0.1:${port}`
    this.extraAddresses = Object.fromEntries(names.map((name, i) => [name, `localhost:${extraPorts[i]}`]))
    const extra = names.map((name) => ({ name, protocol: extraListeners[name], address: this.extraAddresses[name] }))
    mkdirSync(this.dir, { recursive: true })
    writeFileSync(path.join(this.dir, 'log4j2.xml'), LOG4J)
    const all = { ...serverProperties(this.dir, port, controllerPort, partitionsDefault, extra), ...properties }
    const lines = Object.entries(all).map(([key, value]) => `${key}=${value}`)
    writeFileSync(this.#file('server.properties'), lines.join('\n'))
    const format = ['kafka.tools.StorageTool', 'format', '--standalone', '-t', this.#clusterId]
    const scram = Object.entries(scramUsers).flatMap(([user, password]) =>
      ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
        '--add-scram',
        `${mechanism}=[name=${user},password=${password}]`,
      ]),
    )
    await promisify(execFile)('java', [...this.#jvm(), ...format, ...scram, '-c', this.#file('server.properties')])
  }

  async start() {
    const log = openSync(this.#file('server.log'), 'a')
    const args = [`-Xmx${this.#heap}`, ...this.#jvm(), 'kafka.Kafka', this.#file('server.properties')]
    const child = new Child('java', args, { stdio: ['ignore', log, log] })
    this.#child = child
    await this.#ready(child)
  }

  async stop() {
    await this.#child?.end('SIGTERM')
  }

  async kill() {
    await this.#child?.end()
  }

  /** An open port proves nothing, another process may hold it: the cluster that answers must have our id. */
  async #ready(child) {
    const deadline = Date.now() + READY_WITHIN_MS
    const kafka = new Kafka({ brokers: [this.address], logLevel: logLevel.NOTHING, retry: { retries: 0 } })
    for (; Date.now() < deadline && child.isRunning; await sleep(100)) {
      if (!(await isListening(this.address))) continue
      const admin = kafka.admin()
      try {
        await admin.connect()
        const { clusterId, brokers } = await admin.describeCluster()
        if (clusterId !== this.#clusterId) throw new Error(`${this.address} belongs to another cluster`)
        if (brokers.length > 0) return
      } catch (error) {
        if (String(error).includes('another cluster')) throw error
      } finally {
        await admin.disconnect().catch(() => undefined)
      }
    }
    await this.kill()
    throw new Error(`Kafka did not start: ${readFileSync(this.#file('server.log'), 'utf8').slice(-2000)}`)
  }

  #jvm() {
    return [...this.#flags, `-Dlog4j2.configurationFile=${this.#file('log4j2.xml')}`, '-cp', `${kafkaLibs()}/*`]
  }

  #file(name) {
    return path.join(this.dir, name)
  }
}

function serverProperties(dir, port, controllerPort, partitions, extra) {
  const broker = `PLAINTEXT://127.0.0.1:${port}`
  const controller = `CONTROLLER://127.0.0.1:${controllerPort}`
  const listeners = [broker, controller, ...extra.map(({ name, address }) => `${name}://${address}`)].join(',')
  const protocols = [
    'CONTROLLER:PLAINTEXT',
    'PLAINTEXT:PLAINTEXT',
    ...extra.map(({ name, protocol }) => `${name}:${protocol}`),
  ]
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'num.partitions': partitions,
    'log.dirs': path.join(dir, 'data'),
    'log.retention.ms': -1,
    'log.cleaner.backoff.ms': 500,
    listeners,
    'advertised.listeners': listeners,
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'controller.quorum.bootstrap.servers': `127.0.0.1:${controllerPort}`,
    'listener.security.protocol.map': protocols.join(','),
    'broker.session.timeout.ms': 2000, // a killed broker may register again only when its session has ended
    'broker.heartbeat.interval.ms': 500,
    'auto.create.topics.enable': false,
    'group.initial.rebalance.delay.ms': 0,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
  }
}

function isListening(address) {
  const [host, port] = address.split(':')
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port) })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const broker = await startBroker(process.argv[2] === undefined ? {} : { dir: process.argv[2] })
  console.log(broker.address)
  const end = () => void broker.stop().then(() => process.exit(0))
  process.on('SIGINT', end).on('SIGTERM', end)
}
