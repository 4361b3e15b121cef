// Processes over one store, each with the code that it was started with, and what is asked of them.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { LakeProcess } from '../exact/lake-process.mjs'
import { caughtUp, credentials, sleep } from '../exact/world.mjs'
import { freePort } from '../ports.mjs'

const LOOK_EVERY_MS = 20

/** Where several processes keep one lake; `kind` is `disk` or `s3`. */
export function newStore(world, { name, kind }) {
  if (kind === 's3') return { url: `${world.server.url}/${name}`, endpoint: world.server.endpoint, region: 'us-east-1' }
  return { url: `file://${world.folder}/lake-${name}` }
}

/**
 * A process that can be given other settings between two starts. `settings`: lanes, commit, pipelines. `env` and `key`
 * are what it is started with, and what the API is asked with.
 */
export async function newProcess(world, { name, store, settings, env = {}, key }) {
  const [port, config, log] = [
    await freePort(),
    path.join(world.folder, `${name}.yaml`),
    path.join(world.folder, `${name}.log`),
  ]
  const write = (more) =>
    writeFileSync(
      config,
      JSON.stringify({
        writer: name,
        kafka: { brokers: [world.broker.address] },
        store,
        takeoverAfter: '5s',
        query: { cacheDir: path.join(world.folder, `cache-${name}`), children: 1, timeout: '120s' },
        ...more,
        http: { port, ...more.http },
      }),
    )
  write(settings)
  const all = { ...(store.endpoint === undefined ? {} : credentials(world)), ...env }
  const lake = new LakeProcess({ config, port, log, env: all, key })
  world.running.push(lake)
  return Object.assign(lake, { name, log, write })
}

/** A request with its status; undefined while the service does not answer. */
export async function send(lake, pathname, body, headers = {}) {
  try {
    const answer = await fetch(`${lake.url}${pathname}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...lake.headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    })
    return { status: answer.status, body: await answer.json() }
  } catch {
    return undefined
  }
}

/** The first answer that is as wanted; throws after `limitMs`, and says what was there instead. */
export async function until(what, look, isWanted, limitMs = 120_000) {
  const deadlineMs = performance.now() + limitMs
  let last
  while (performance.now() < deadlineMs) {
    const found = await look()
    if (found !== undefined && isWanted(found)) return found
    last = found ?? last
    await sleep(LOOK_EVERY_MS)
  }
  throw new Error(`${what}: not within ${limitMs / 1_000} s; last seen: ${JSON.stringify(last)?.slice(0, 1_500)}`)
}

export function pipelineOf(lake, pipeline) {
  return lake.ask(`/v1/pipelines/${pipeline}`)
}

/** Waits until the process says this of a pipeline; `code`: the reason that it gives. */
export function untilState(lake, pipeline, state, code) {
  return until(
    `${lake.name}: ${pipeline} ${state} ${code ?? ''}`,
    () => pipelineOf(lake, pipeline),
    (found) => found.state === state && (code === undefined || found.reason?.code === code),
  )
}

/** Waits until all that the log holds is committed. */
export async function drain(lake, pipelines, limitMs = 120_000) {
  for (const pipeline of pipelines)
    if (!(await caughtUp([lake], limitMs, pipeline)))
      throw new Error(
        `${lake.name}: ${pipeline} does not drain: ${JSON.stringify(await pipelineOf(lake, pipeline))?.slice(0, 1_500)}`,
      )
}

/** All kept versions of a pipeline, the oldest first, with numbers as numbers. */
export async function versionsOf(lake, pipeline) {
  const found = []
  for (let cursor = ''; cursor !== undefined;) {
    const page = await lake.ask(`/v1/pipelines/${pipeline}/versions?limit=1000${cursor}`)
    if (page === undefined) throw new Error(`${lake.name} does not list the versions of ${pipeline}`)
    found.push(...page.items.map((item) => ({ ...item, number: Number(item.number) })))
    cursor = page.nextCursor === null ? undefined : `&cursor=${encodeURIComponent(page.nextCursor)}`
  }
  return found.toReversed()
}

/** A query at a version whose answer is read when somebody wants it. */
export async function openQuery(lake, sql, pipeline, version) {
  const answer = await fetch(`${lake.url}/v1/query?format=ndjson`, {
    method: 'POST',
    headers: { ...lake.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ sql, asOf: `${pipeline}@${version}` }),
  })
  if (!answer.ok) throw new Error(`${lake.name}: ${answer.status} ${(await answer.text()).slice(0, 500)}`)
  const reader = answer.body.getReader()
  const chunks = [(await reader.read()).value]
  return {
    async rest() {
      for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
      return linesOf(Buffer.concat(chunks).toString())
    },
  }
}

/** Rows as they are printed, in no order. */
export async function rowsOf(lake, sql, pipeline, version) {
  return (await openQuery(lake, sql, pipeline, version)).rest()
}

function linesOf(text) {
  const lines = text.split('\n').filter((line) => line !== '')
  if (lines.at(-1)?.startsWith('{"error"')) throw new Error(lines.at(-1))
  return lines.sort()
}

/** One text for the rows of all these tables at a version. */
export async function hashAt(lake, tables, pipeline, version) {
  const hash = createHash('sha256')
  for (const table of tables)
    hash.update(`${table}\n${(await rowsOf(lake, `SELECT * FROM "${table}"`, pipeline, version)).join('\n')}\n`)
  return hash.digest('hex')
}
