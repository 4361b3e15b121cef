// Starts a Trino on loopback with given catalogs: one server that is coordinator and worker, from what infra/setup.mjs
// installs when it is asked for `trino`. It is ended by its process, and with ours.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findJdk } from './jdk.mjs'
import { freePort } from './ports.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const startMsMax = 180_000
/** Of Java. */
export const TRINO_JAVA = 24
/** What reads the vectors of Parquet is not yet a part of Java that is there unasked. */
const JVM = ['-Xmx1500M', '-XX:+ExitOnOutOfMemoryError', '-Dfile.encoding=UTF-8', '--add-modules=jdk.incubator.vector']

/** @param {{ catalogs: Record<string, Record<string, string>> }} options properties by name of catalog */
export async function startTrino({ catalogs }) {
  const installed = path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache', 'trino')
  if (!existsSync(path.join(installed, 'plugin'))) {
    throw new Error(`${installed} is missing; run: node infra/setup.mjs trino`)
  }
  const java = path.join(findJdk(TRINO_JAVA, 'Trino'), 'bin/java')
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-trino-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  await mkdir(path.join(folder, 'etc/catalog'), { recursive: true })
  await writeProperties(path.join(folder, 'etc/config.properties'), {
    coordinator: 'true',
    'node-scheduler.include-coordinator': 'true',
    'http-server.http.port': String(port),
    'discovery.uri': url,
    'plugin.dir': path.join(installed, 'plugin'),
    'query.max-memory': '512MB',
    'query.max-memory-per-node': '512MB',
    'memory.heap-headroom-per-node': '256MB',
  })
  for (const [name, properties] of Object.entries(catalogs)) {
    await writeProperties(path.join(folder, 'etc/catalog', `${name}.properties`), properties)
  }
  const node = { environment: 'test', id: 'kappalake', 'data-dir': folder }
  const loopback = { 'internal-address': '127.0.0.1', 'bind-ip': '127.0.0.1' }
  const own = Object.entries({ ...node, ...loopback }).map(([name, value]) => `-Dnode.${name}=${value}`)
  const config = `-Dconfig=${folder}/etc/config.properties`
  const child = spawn(java, [...JVM, ...own, config, '-cp', `${installed}/lib/*`, 'io.trino.server.TrinoServer'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    // Not the caller's environment: its credentials and proxies have no say in what Trino may read.
    env: { PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8' },
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said = (said + text).slice(-8_000)))
  const gone = new Promise((resolve) => {
    child.on('exit', resolve)
    child.on('error', resolve)
  })
  const killWithParent = () => child.kill('SIGKILL')
  process.once('exit', killWithParent)
  const stop = async () => {
    child.kill('SIGKILL')
    await gone
    process.off('exit', killWithParent)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await untilStarted(url, child)
  } catch (error) {
    await stop()
    throw new Error(`Trino did not start: ${error.message}\n${said}`, { cause: error })
  }
  return { url, pid: child.pid, stop, query: (sql) => query(url, sql) }
}

function writeProperties(file, properties) {
  return writeFile(
    file,
    Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
}

async function untilStarted(url, child) {
  const startedMs = performance.now()
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended while starting')
    if (performance.now() - startedMs > startMsMax) throw new Error(`no answer within ${startMsMax} ms`)
    const info = await fetch(`${url}/v1/info`).then(
      (answer) => (answer.ok ? answer.json() : undefined),
      () => undefined,
    )
    if (info?.starting === false) return
    await sleep(250)
  }
}

/**
 * Rows in the forms of Trino's JSON, integers beyond 2^53 as text. Throws Trino's own message when the query fails.
 * Protocol: https://trino.io/docs/current/develop/client-protocol.html
 */
async function query(url, sql) {
  const headers = {
    'X-Trino-User': 'kappalake',
    'X-Trino-Time-Zone': 'UTC',
    // Else times are cut to milliseconds.
    'X-Trino-Client-Capabilities': 'PARAMETRIC_DATETIME',
  }
  let answer = await parsed(await fetch(`${url}/v1/statement`, { method: 'POST', body: sql, headers }))
  let columns = []
  const rows = []
  for (;;) {
    if (answer.error !== undefined) throw new Error(`Trino: ${answer.error.errorName}: ${answer.error.message}`)
    columns = answer.columns ?? columns
    for (const row of answer.data ?? []) rows.push(row)
    if (answer.nextUri === undefined) return { columns: columns.map(({ name }) => name), rows }
    answer = await parsed(await fetch(answer.nextUri, { headers }))
  }
}

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

async function parsed(response) {
  const text = await response.text()
  if (!response.ok) throw new Error(`Trino answered ${response.status}: ${text.slice(0, 500)}`)
  return JSON.parse(text.replaceAll(TOKENS, (token) => (/^-?\d{16,}$/.test(token) ? `"${token}"` : token)))
}
