// Starts Kafka Connect from Kafka's jars, with Debezium's PostgreSQL connector beside it. Tests import startConnect.
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Child } from './child.mjs'
import { kafkaLibs } from './kafka.mjs'
import { freePort } from './ports.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const READY_WITHIN_MS = 120_000
const QUICK_JVM = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']
const LOG4J =
  '<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>' +
  '<Loggers><Root level="warn"><AppenderRef ref="C"/></Root></Loggers></Configuration>'
const JSON_CONVERTER = 'org.apache.kafka.connect.json.JsonConverter'

export async function startConnect({ brokers }) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-connect-'))
  try {
    const connect = new Connect(folder, await freePort())
    await connect.start(brokers)
    return connect
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

/** Configuration of a connector that streams tables of a PostgreSQL, snapshot first. */
export function debeziumConfig(postgres, { prefix, tables, withSchemas = false, more = {} }) {
  return {
    'connector.class': 'io.debezium.connector.postgresql.PostgresConnector',
    'tasks.max': '1',
    'database.hostname': '127.0.0.1',
    'database.port': String(postgres.port),
    'database.user': postgres.user,
    'database.password': 'none',
    'database.dbname': postgres.database,
    'topic.prefix': prefix,
    'plugin.name': 'pgoutput',
    'slot.name': prefix,
    'publication.name': prefix,
    'publication.autocreate.mode': 'filtered',
    'table.include.list': tables,
    'skipped.operations': 'none', // or truncates are left out
    'poll.interval.ms': '50',
    'topic.creation.default.replication.factor': '1',
    'topic.creation.default.partitions': '1',
    // The switch for schemas is heeded only beside the name of the converter.
    'key.converter': JSON_CONVERTER,
    'key.converter.schemas.enable': String(withSchemas),
    'value.converter': JSON_CONVERTER,
    'value.converter.schemas.enable': String(withSchemas),
    ...more,
  }
}

class Connect {
  #folder
  #child

  constructor(folder, port) {
    this.#folder = folder
    this.url = `http://127.0.0.1:${port}`
    this.port = port
  }

  get pid() {
    return this.#child?.pid
  }

  async start(brokers) {
    const file = (name) => path.join(this.#folder, name)
    writeFileSync(file('log4j2.xml'), LOG4J)
    writeFileSync(file('connect.properties'), properties(brokers, this.url))
    const log = openSync(file('log'), 'a')
    const jvm = [...QUICK_JVM, `-Dlog4j2.configurationFile=${file('log4j2.xml')}`, '-cp', `${kafkaLibs()}/*`]
    const program = 'org.apache.kafka.connect.cli.ConnectDistributed'
    this.#child = new Child('java', [...jvm, program, file('connect.properties')], { stdio: ['ignore', log, log] })
    await this.#until('Connect is up', async () => {
      const answer = await this.#ask('GET', '/connectors').catch(() => undefined)
      return Array.isArray(answer)
    })
  }

  async create(name, config) {
    // While the worker is still joining its group it answers 409 or 500.
    await this.#until(`${name} is accepted`, () =>
      this.#ask('PUT', `/connectors/${name}/config`, config).then(
        () => true,
        () => false,
      ),
    )
    await this.#until(`${name} is running`, async () => {
      const status = await this.#ask('GET', `/connectors/${name}/status`).catch(() => undefined)
      const failed = [status?.connector, ...(status?.tasks ?? [])].find((part) => part?.state === 'FAILED')
      if (failed !== undefined) throw new Error(`${name} failed: ${failed.trace}`)
      return status?.tasks?.length > 0 && status.tasks.every(({ state }) => state === 'RUNNING')
    })
  }

  async remove(name) {
    await this.#ask('DELETE', `/connectors/${name}`)
  }

  /** SIGKILL, and removes its files. */
  async stop() {
    await this.#child?.end()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #ask(method, pathname, body) {
    const answer = await fetch(`${this.url}${pathname}`, {
      method,
      signal: AbortSignal.timeout(20_000),
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json', accept: 'application/json' } }),
    })
    const text = await answer.text()
    if (!answer.ok) throw new Error(`${method} ${pathname}: ${answer.status} ${text.slice(0, 500)}`)
    return text === '' ? undefined : JSON.parse(text)
  }

  async #until(what, holds) {
    const deadline = Date.now() + READY_WITHIN_MS
    for (; Date.now() < deadline && this.#child.isRunning; await sleep(100)) if (await holds()) return
    const said = readFileSync(path.join(this.#folder, 'log'), 'utf8').slice(-2_000)
    throw new Error(`it did not come to pass that ${what}: ${said}`)
  }
}

function properties(brokers, url) {
  const plugins = path.join(path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache'), 'debezium', 'plugins')
  if (!existsSync(plugins)) throw new Error(`Debezium is missing at ${plugins}: run \`npm run setup\``)
  const all = {
    'bootstrap.servers': brokers.join(','),
    'group.id': 'connect',
    'key.converter': JSON_CONVERTER,
    'value.converter': JSON_CONVERTER,
    'config.storage.topic': 'connect-configs',
    'offset.storage.topic': 'connect-offsets',
    'status.storage.topic': 'connect-status',
    'config.storage.replication.factor': 1,
    'offset.storage.replication.factor': 1,
    'offset.storage.partitions': 1,
    'status.storage.replication.factor': 1,
    'status.storage.partitions': 1,
    'offset.flush.interval.ms': 1_000,
    listeners: url,
    'plugin.path': plugins,
    'plugin.discovery': 'service_load',
  }
  return Object.entries(all)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n')
}
