// A service over the pipelines, the producer's log, and the comparisons of what readers find with the recomputation.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../check/check.mjs'
import { jsonLines } from '../child.mjs'
import { LakeProcess } from '../exact/lake-process.mjs'
import { sleep } from '../exact/world.mjs'
import { freePort } from '../ports.mjs'
import { recompute } from './oracle.mjs'
import { pipelineConfig, SOURCES } from './pipelines.mjs'
import { rowsAt } from './topic.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))

export const PIPELINE = 'flow'

/** A `kappalake start` over all pipelines in a store of its own; `kind` is `disk` or `s3`. */
export async function newLake(world, { name, kind, lanes, windows, format }) {
  const store =
    kind === 's3'
      ? { url: `${world.server.url}/${name}`, endpoint: world.server.endpoint, region: 'us-east-1' }
      : { url: `file://${world.folder}/lake-${name}` }
  const port = await freePort()
  const config = path.join(world.folder, `${name}.yaml`)
  const settings = {
    writer: 'windows',
    kafka: { brokers: [world.broker.address] },
    store,
    lanes,
    takeoverAfter: '5s',
    // Many versions in a short run.
    commit: { minInterval: kind === 's3' ? '300ms' : '150ms', microBatch: { age: '100ms' } },
    http: { port },
    query: { cacheDir: path.join(world.folder, `cache-${name}`), children: 1 },
    pipelines: { [PIPELINE]: pipelineConfig(windows, format) },
  }
  writeFileSync(config, JSON.stringify(settings))
  const { accessKeyId = 'test', secretAccessKey = 'test' } = world.server?.settings ?? {}
  const credentials = {
    KAPPALAKE__STORE__ACCESS_KEY_ID: accessKeyId,
    KAPPALAKE__STORE__SECRET_ACCESS_KEY: secretAccessKey,
  }
  const log = path.join(world.folder, `${name}.log`)
  const lake = new LakeProcess({ config, port, log, env: kind === 's3' ? credentials : {} })
  world.running.push(lake)
  return { lake, store, log }
}

/** Runs the producer; resolves with what it did. */
export async function produce(world, options) {
  const args = { brokers: [world.broker.address], partitions: world.partitions, ...options }
  const [done] = await jsonLines(process.execPath, [path.join(here, 'producer.mjs'), JSON.stringify(args)])
  return done
}

/** The producer's log: records by partition, by topic. */
export function readLog(file) {
  const topics = new Map(Object.values(SOURCES).map(({ topic }) => [topic, new Map()]))
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue
    const { topic, partition, ...record } = JSON.parse(line)
    const partitions = topics.get(topic)
    if (!partitions.has(partition)) partitions.set(partition, [])
    partitions.get(partition).push(record)
  }
  return topics
}

/** What a window's tables must hold at the positions of a version. */
export function expected(window, log, positions) {
  const source = SOURCES[window.source]
  const records = log.get(source.topic)
  const until = new Map(
    [...records.keys()].map((partition) => [partition, Number(positions[`${source.topic}/${partition}`] ?? 0)]),
  )
  return recompute(window, source, records, until)
}

/** All kept versions, oldest first, with numbers as numbers; undefined when the service went away. */
export async function versionsOf(lake) {
  const found = []
  for (let cursor = ''; cursor !== undefined;) {
    const page = await lake.ask(`/v1/pipelines/${PIPELINE}/versions?limit=1000${cursor}`)
    if (page === undefined) return undefined
    found.push(...page.items.map((item) => ({ ...item, number: Number(item.number) })))
    cursor = page.nextCursor === null ? undefined : `&cursor=${encodeURIComponent(page.nextCursor)}`
  }
  return found.toReversed()
}

/**
 * A window and its late table at a version, read over HTTP, against the recomputation at its positions: the number of
 * rows, and of those that differ or are missing, with the first of them.
 */
export async function compareAt(lake, window, log, { number, positions }) {
  const { rows, late } = expected(window, log, positions)
  const wanted = [
    ...[...rows.values()].map(({ group, start, end, values }) => lineOf([group, start, end, ...Object.values(values)])),
    ...late.map((each) => `late ${lateLine(window, each)}`),
  ]
  const results = Object.keys(window.select)
  const columns = [`"${window.groupBy}"`, 'epoch_ms(window_start) AS s', 'epoch_ms(window_end) AS e', ...results]
  const found = await query(lake, `SELECT ${columns.join(', ')} FROM ${window.name}`, number)
  const foundLate = await query(lake, `SELECT *, epoch_ms(_clock) AS c FROM ${window.name}__late`, number)
  const got = [
    ...found.map((row) =>
      lineOf([row[window.groupBy], Number(row.s), Number(row.e), ...results.map((name) => row[name])]),
    ),
    ...foundLate.map((row) => `late ${lateLine(window, foundLateRow(row))}`),
  ]
  return { rows: wanted.length, ...differences(wanted, got) }
}

function foundLateRow(row) {
  return {
    partition: row._kafka_partition,
    offset: Number(row._offset),
    weight: row._weight,
    clockMs: row.c === null ? null : Number(row.c),
    counted: row._counted_windows,
    reason: row._reason,
    windows: row._late_windows?.map(({ start, end }) => [Date.parse(start), Date.parse(end)]) ?? null,
    row,
  }
}

/** One line a late row. What is taken back carries the values that the window had read, and no others. */
function lateLine({ input, groupBy, source }, { partition, offset, weight, clockMs, counted, reason, windows, row }) {
  const key = weight > 0 ? [row[SOURCES[source].key]] : []
  const place = input === 'rows' ? key : [partition, offset]
  // Without late windows the reason says what is missing; otherwise the windows say it.
  const why = windows === null || windows.length === 0 ? reason : windows
  return lineOf([...place, row[groupBy] ?? null, weight, clockMs, counted, why])
}

function lineOf(values) {
  return JSON.stringify(values, (_, value) => (typeof value === 'bigint' ? String(value) : value))
}

/** Of two lists as multisets. */
export function differences(wanted, got) {
  const balance = new Map()
  for (const line of wanted) balance.set(line, (balance.get(line) ?? 0) + 1)
  for (const line of got) balance.set(line, (balance.get(line) ?? 0) - 1)
  const wrong = [...balance].filter(([, count]) => count !== 0)
  return {
    differences: wrong.reduce((sum, [, count]) => sum + Math.abs(count), 0),
    first: wrong.slice(0, 3).map(([line, count]) => `${count > 0 ? 'missing' : 'extra'} ${line}`),
  }
}

/** What the topic of a window says at a version against the rows of the table that are to be published, as they are printed. */
export async function compareTopic(lake, { name, config }, records, { number }) {
  const { where = 'true', select } = config.to
  const fields =
    select === undefined ? ['*'] : Object.entries(select).map(([field, text]) => `${sqlOf(text)} AS "${field}"`)
  const wanted = await query(lake, `SELECT ${fields.join(', ')} FROM ${name} WHERE ${where}`, number)
  const got = rowsAt(records, number).map((value) => JSON.parse(value))
  return { rows: wanted.length, ...differences(wanted.map(lineOf), got.map(lineOf)) }
}

/** Of a published field: what is computed has its type in front. */
function sqlOf(text) {
  return text.replace(/^\w+ = /, '')
}

/** Waits until all that is committed is published; false after `limitMs`. */
export async function isPublished(lake, windows, limitMs, pipeline = PIPELINE) {
  const deadlineMs = performance.now() + limitMs
  while (performance.now() < deadlineMs) {
    const { publishing = [] } = (await lake.ask(`/v1/pipelines/${pipeline}`)) ?? {}
    const isSent = ({ name }) => publishing.some(({ table, lagVersions }) => table === name && lagVersions === 0)
    if (windows.every(isSent)) return true
    await sleep(100)
  }
  return false
}

/** Waits for a version that is committed and not published. */
export async function untilBehind(lake, limitMs) {
  const deadlineMs = performance.now() + limitMs
  while (performance.now() < deadlineMs) {
    const { version: head, publishing = [] } = (await lake.ask(`/v1/pipelines/${PIPELINE}`)) ?? {}
    if (publishing.some(({ version }) => Number(version) < Number(head))) return
    await sleep(5)
  }
}

/** Rows of a query at a version. Throws what the service refuses. */
async function query(lake, sql, version) {
  const answer = await fetch(`${lake.url}/v1/query?format=ndjson`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql, asOf: `${PIPELINE}@${version}` }),
    signal: AbortSignal.timeout(60_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`version ${version}: ${answer.status} ${text.slice(0, 500)}`)
  const rows = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  if (rows.at(-1)?.error !== undefined) throw new Error(`version ${version}: ${text.slice(-500)}`)
  return rows
}

/** How many windows of each state `/v1/tables/{table}/windows` lists, page by page, and how many there must be. */
export async function compareListed(lake, window, log, { positions }) {
  const { rows, clocks } = expected(window, log, positions)
  const isFinal = finalAt(window, clocks)
  const final = [...rows.values()].filter(isFinal).length
  const wanted = { open: rows.size - final, final, corrected: 0 }
  const found = {}
  for (const state of Object.keys(wanted)) {
    found[state] = 0
    for (let next = `state=${state}`; next !== undefined;) {
      const page = await lake.ask(`/v1/tables/${window.name}/windows?limit=1000&${next}`)
      if (page === undefined) throw new Error(`${window.name}: its windows cannot be listed`)
      found[state] += page.items.length
      next = page.nextCursor === null ? undefined : `cursor=${encodeURIComponent(page.nextCursor)}`
    }
  }
  return { wanted, found, isRight: Object.keys(wanted).every((state) => wanted[state] === found[state]) }
}

/** Rules C1 and C2, where no partition is idle. */
function finalAt({ source }, clocks) {
  const watermarkMs = Math.min(...clocks.values()) - SOURCES[source].outOfOrdernessMs - 1
  return ({ end }) => end - 1 <= watermarkMs
}

/**
 * The newest version as PyIceberg and DuckDB's Iceberg extension read it: results, `_final` by the clocks (rules C1, C2)
 * and `_corrections`, which must be 0 where no partition was idle. Of sliced windows strangers see the final ones.
 */
export function judge(world, { store, log, positions, windows, name }) {
  const folder = path.join(world.folder, `expected-${name}`)
  mkdirSync(folder, { recursive: true })
  const tables = windows.map((window) => {
    const { rows, clocks } = expected(window, log, positions)
    const isFinalAt = finalAt(window, clocks)
    const lines = [...rows.values()]
      .map((row) => ({ ...row, isFinal: isFinalAt(row) }))
      .filter(({ isFinal }) => isFinal || window.isSliced !== true)
      .map(({ group, start, end, values, lastMs, isFinal }) => ({
        [window.groupBy]: group,
        start_ms: String(start),
        end_ms: String(end),
        ...Object.fromEntries(
          Object.entries(values).map(([key, value]) => [key, value === null ? null : String(value)]),
        ),
        ...(window.input === 'events' ? { last_ms: String(lastMs) } : {}),
        is_final: String(isFinal),
        corrections: '0',
      }))
    const file = path.join(folder, `${window.name}.ndjson`)
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const columns = {
      [window.groupBy]: ['varchar', `"${window.groupBy}"`],
      start_ms: ['bigint', 'epoch_ms(window_start)'],
      end_ms: ['bigint', 'epoch_ms(window_end)'],
      ...Object.fromEntries(Object.entries(window.select).map(([key, { type }]) => [key, [type, `"${key}"`]])),
      ...(window.input === 'events' ? { last_ms: ['bigint', 'epoch_ms(last_event_time)'] } : {}),
      is_final: ['boolean', '_final'],
      corrections: ['int', '_corrections'],
    }
    return { name: window.name, columns, rows: file }
  })
  return check('windows', { store, server: world.server, pipeline: PIPELINE, tables })
}
