// Starts a real schema registry, Apicurio with Confluent's routes: what `npm run setup` installed. Its schemas live in
// memory, or in `dir`, where they outlive it.
// Tests import startRegistry.
import { existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Child } from './child.mjs'
import { freePort, isFree } from './ports.mjs'

const READY_WITHIN_MS = 90_000
const QUICK_JVM = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto']

/** The program, undefined where it is not installed. */
export function registryJar() {
  const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
  const folder = path.join(path.resolve(root, process.env.KAPPALAKE_CACHE ?? '.cache'), 'registry', 'app')
  const jar = existsSync(folder) ? readdirSync(folder).find((name) => name.endsWith('-runner.jar')) : undefined
  return jar && path.join(folder, jar)
}

export async function startRegistry({ port: chosen, dir } = {}) {
  const jar = registryJar()
  if (jar === undefined) throw new Error('the schema registry is missing: run `npm run setup`')
  const folder = dir ?? mkdtempSync(path.join(os.tmpdir(), 'kappalake-apicurio-'))
  mkdirSync(folder, { recursive: true })
  const log = openSync(path.join(folder, 'log'), 'a')
  const port = chosen ?? (await freePort())
  if (!(await isFree(port))) throw new Error(`port ${port} is in use`)
  const database = dir === undefined ? {} : { APICURIO_DATASOURCE_URL: `jdbc:h2:file:${path.join(folder, 'registry')}` }
  const child = new Child('java', [...QUICK_JVM, '-jar', jar], {
    cwd: folder,
    stdio: ['ignore', log, log],
    env: { ...process.env, ...database, QUARKUS_HTTP_HOST: '127.0.0.1', QUARKUS_HTTP_PORT: String(port) },
  })
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`
  const kill = () => child.end()
  const stop = async () => {
    await kill()
    rmSync(folder, { recursive: true, force: true })
  }
  const deadline = Date.now() + READY_WITHIN_MS
  for (; Date.now() < deadline && child.isRunning; await sleep(100)) {
    const answer = await fetch(`${url}/subjects`, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined)
    if (answer?.ok) return { url, port, kill, stop, register: (subject, body) => register(url, subject, body) }
  }
  const said = readFileSync(path.join(folder, 'log'), 'utf8').slice(-2_000)
  await stop()
  throw new Error(`the schema registry did not start: ${said}`)
}

/** Registers a schema, `{ schema, schemaType?, references? }`, and gives its id. */
async function register(url, subject, body) {
  const answer = await fetch(`${url}/subjects/${encodeURIComponent(subject)}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${subject}: ${answer.status} ${text.slice(0, 500)}`)
  return JSON.parse(text).id
}
