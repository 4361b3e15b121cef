// A service over the change streams, and the comparisons of what it answers with the ledger.
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { check } from '../check/check.mjs'
import { jsonLines } from '../child.mjs'
import { LakeProcess } from '../exact/lake-process.mjs'
import { freePort } from '../ports.mjs'
import { compareRows } from './ledger.mjs'
import { tableConfig, TABLES } from './tables.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))

export const PIPELINE = 'cdc'

/** A `kappalake start` over both streams in a store of its own; `kind` is `disk` or `s3`. */
export async function newLake(world, { name, kind, lanes, isPartial }) {
  const store =
    kind === 's3'
      ? { url: `${world.server.url}/${name}`, endpoint: world.server.endpoint, region: 'us-east-1' }
      : { url: `file://${world.folder}/lake-${name}` }
  const port = await freePort()
  const config = path.join(world.folder, `${name}.yaml`)
  const tables = Object.fromEntries(TABLES.map((table) => [table.name, tableConfig(table, { isPartial })]))
  const settings = {
    writer: 'cdc',
    kafka: { brokers: [world.broker.address] },
    store,
    lanes,
    takeoverAfter: '5s',
    // Many versions in a short run.
    commit: { minInterval: kind === 's3' ? '200ms' : '100ms', microBatch: { age: '100ms' } },
    http: { port },
    query: { cacheDir: path.join(world.folder, `cache-${name}`), children: 1 },
    pipelines: { [PIPELINE]: { tables } },
  }
  writeFileSync(config, JSON.stringify(settings))
  const env = kind === 's3' ? credentials(world) : {}
  const log = path.join(world.folder, `${name}.log`)
  const lake = new LakeProcess({ config, port, log, env })
  world.running.push(lake)
  return { lake, store, log }
}

function credentials({ server }) {
  const { accessKeyId, secretAccessKey } = server.settings
  return { KAPPALAKE__STORE__ACCESS_KEY_ID: accessKeyId, KAPPALAKE__STORE__SECRET_ACCESS_KEY: secretAccessKey }
}

/** Runs the producer; resolves with what it did. It goes on with a trickle until `stopFile` is there. */
export async function produce(world, { records, perSecond, stream, stopFile }) {
  const args = { brokers: [world.broker.address], records, perSecond, stopFile, ...stream }
  const [done] = await jsonLines(process.execPath, [path.join(here, 'producer.mjs'), JSON.stringify(args)])
  return done
}

/** The newest versions, newest first, as `{number, positions}` with numbers as numbers; empty while nobody answers. */
export async function versionsOf(lake, { limit = 1_000, all = false } = {}) {
  const found = []
  for (let cursor = ''; cursor !== undefined;) {
    const page = await lake.ask(`/v1/pipelines/${PIPELINE}/versions?limit=${limit}${cursor}`)
    if (page === undefined) return []
    found.push(...page.items.map((item) => ({ ...item, number: Number(item.number) })))
    cursor = all && page.nextCursor !== null ? `&cursor=${encodeURIComponent(page.nextCursor)}` : undefined
  }
  return found
}

/**
 * All tables and their dead letters at one version, read over HTTP, against the ledger at its positions. Answers the
 * number of rows and of differences, or undefined when the service was away.
 */
export async function checkVersion(lake, ledger, version) {
  ledger.moveTo(version.positions)
  const verdict = { version: version.number, rows: 0, differences: 0, first: undefined }
  for (const table of TABLES) {
    const columns = [...Object.keys(table.columns), '_kafka_partition', '_offset'].map((name) => `"${name}"`).join(', ')
    const found = await rowsAt(lake, `select ${columns} from ${table.name}`, version)
    const dead = await rowsAt(lake, `select _kafka_partition, _offset from ${table.name}__dlq`, version)
    if (found === undefined || dead === undefined) return undefined
    const { first, ...counts } = compareRows(table, ledger.rows(table), found)
    const letters = compareLists(
      ledger.deadLetters(table),
      dead.map(({ _kafka_partition, _offset }) => `${_kafka_partition},${_offset}`),
    )
    verdict.rows += found.length
    verdict.differences += counts.missing + counts.twice + counts.extra + counts.cells + letters.count
    verdict.first ??= first ?? (letters.first && `${table.name}: dead letter ${letters.first}`)
  }
  return verdict
}

function compareLists(expected, found) {
  const count = new Map()
  for (const item of found) count.set(item, (count.get(item) ?? 0) + 1)
  for (const item of expected) count.set(item, (count.get(item) ?? 0) - 1)
  const wrong = [...count].filter(([, balance]) => balance !== 0)
  return { count: wrong.length, first: wrong[0]?.[0] }
}

/** Rows of a query at a version. Throws what the service refuses; undefined when it went away meanwhile. */
async function rowsAt(lake, sql, { number }) {
  let answer
  let text
  try {
    answer = await fetch(`${lake.url}/v1/query?format=ndjson`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql, asOf: `${PIPELINE}@${number}` }),
      signal: AbortSignal.timeout(60_000),
    })
    text = await answer.text()
  } catch {
    return undefined
  }
  if (answer.status >= 500) return undefined
  if (!answer.ok) throw new Error(`version ${number}: ${answer.status} ${text.slice(0, 500)}`)
  const rows = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  const failure = rows.at(-1)?.error
  if (failure !== undefined && rows.at(-1)._offset === undefined) return undefined
  return rows
}

/** The ledger against what PyIceberg and DuckDB's Iceberg extension read at the newest version. */
export function judge(world, { store, ledger, name }) {
  const folder = path.join(world.folder, `ledger-${name}`)
  mkdirSync(folder, { recursive: true })
  const tables = TABLES.map((table) => {
    const rows = path.join(folder, `${table.name}.ndjson`)
    const dead = path.join(folder, `${table.name}-dead.csv`)
    writeFileSync(rows, [...ledger.rows(table).values()].map((row) => `${ledgerLine(row)}\n`).join(''))
    writeFileSync(dead, `${ledger.deadLetters(table).join('\n')}\n`)
    const columns = Object.fromEntries(Object.entries(table.columns).map(([column, { duckdb }]) => [column, duckdb]))
    return { name: table.name, key: table.key, columns, rows, dead }
  })
  return check('cdc', { store, server: world.server, pipeline: PIPELINE, tables })
}

function ledgerLine({ values, partition, offset }) {
  const texts = Object.entries(values).map(([name, value]) => [name, value === null ? null : String(value)])
  return JSON.stringify({ ...Object.fromEntries(texts), _kafka_partition: String(partition), _offset: String(offset) })
}
