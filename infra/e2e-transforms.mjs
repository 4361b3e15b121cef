// `npm run e2e:transforms`: events that are cleaned and enriched by a pinned table, accounts that lose what is sensitive,
// and a function, over a real broker, while the whole process tree and its children are killed at random. After every
// other death the pipelines come from YAML instead of TypeScript, and go on: they are one code. Every table and its dead
// letters against a plain function of the producer's records, their topics too: nothing missing, all in order, repeats
// around deaths alone; and a replay of them that must be equal.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld, milliseconds } from './frame.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '16000' },
    rate: { type: 'string', default: '1500' },
    partitions: { type: 'string', default: '12' },
    lanes: { type: 'string', default: '2' },
    store: { type: 'string', default: 'disk' },
    'kill-every': { type: 'string', default: '3s' },
    kills: { type: 'string', default: '4' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '60' },
  },
})
install('kafka')
const { createTopics, figure, sleep } = await import('./exact/world.mjs')
const { LakeProcess } = await import('./exact/lake-process.mjs')
const { randomOf } = await import('./exact/random.mjs')
const { freePort } = await import('./ports.mjs')
const { drain, newProcess, newStore, pipelineOf, rowsOf, until } = await import('./p10/lake.mjs')
const { differenceOf, startReplay, untilReplay } = await import('./p10/replays.mjs')
const { CLEAN, HOST, lakeText, PIPELINES, pipelines, SALT, SECRET, TOPICS } =
  await import('./transforms/definitions.mjs')
const { expected, expectedTopics, produce, QUERIES, RANGES, READ, sendRanges } =
  await import('./transforms/traffic.mjs')
const { inspect, readTopics } = await import('./windows/topic.mjs')
const { isPublished } = await import('./windows/world.mjs')

const number = (name) => Number(values[name])
const random = randomOf(number('seed'))
const say = (what, ...rest) => figure(`transforms.${values.store}.${what}`, ...rest)
/** One name for both: whoever comes goes on at once. */
const WRITER = 'transforms'
const commit = { minInterval: '150ms', microBatch: { age: '100ms' } }

end(await inWorld({ partitions: number('partitions'), s3: values.store === 's3' }, run))

async function run(world) {
  const startedMs = performance.now()
  await createTopics(world, Object.values(TOPICS))
  const store = newStore(world, { name: 'transforms', kind: values.store })
  process.env.KAPPALAKE__SALTS__PEOPLE = SALT
  writeFileSync(path.join(world.folder, 'clean.ts'), CLEAN)
  writeFileSync(path.join(world.folder, 'host.ts'), HOST)

  await sendRanges(world, RANGES)
  const yaml = await newProcess(world, { name: 'yaml', store, settings: settingsOf() })
  yaml.start()
  await drain(yaml, ['reference'])
  const { version: at } = await pipelineOf(yaml, 'reference')
  await yaml.signalTree('SIGTERM')
  yaml.write(settingsOf(Number(at)))
  const ts = await typescript(world, store, Number(at))

  const lake = { current: yaml }
  yaml.start()
  let isProducing = true
  const producing = produce(world, {
    records: number('records'),
    perSecond: number('rate'),
    seed: number('seed'),
  }).finally(() => (isProducing = false))
  producing.catch(() => undefined)
  const kills = await killWhile(
    () => isProducing,
    lake,
    [yaml, ts],
    async () => {
      // What is looked up moves on, and nobody sees it.
      await sendRanges(
        world,
        RANGES.map((range) => ({ ...range, country: 'nowhere' })),
      )
    },
  )
  const log = await producing
  await drain(lake.current, PIPELINES)
  const drainedS = Math.round((performance.now() - startedMs) / 1_000)

  const killed = kills.tree + kills.child
  const checks = [
    say('produced', log.length, 'records', `>= ${values.records}`, log.length >= number('records')),
    say('kills', killed, 'kills', `>= ${values.kills}`, killed >= number('kills') && kills.swaps > 0, kills),
    ...(await compared(lake.current, log)),
    ...(await published(world, lake.current, log, killed)),
    ...(await kept(lake.current, [yaml, ts])),
    await replayed(lake.current),
  ]
  await lake.current.signalTree('SIGTERM')
  const seconds = Math.round((performance.now() - startedMs) / 1_000)
  checks.push(say('took', seconds, 's', `<= ${values.limit}`, seconds <= number('limit'), { drainedS }))
  return checks.every(Boolean)
}

function settingsOf(at) {
  return { writer: WRITER, lanes: number('lanes'), commit, pipelines: pipelines(at) }
}

/** The same lake, written in TypeScript. */
async function typescript(world, store, at) {
  const port = await freePort()
  const [config, log] = [path.join(world.folder, 'kappalake.config.ts'), path.join(world.folder, 'ts.log')]
  const settings = {
    writer: WRITER,
    kafka: { brokers: [world.broker.address] },
    store,
    lanes: number('lanes'),
    commit,
    takeoverAfter: '2s',
    http: { port },
    query: { cacheDir: path.join(world.folder, 'cache-ts'), children: 1, timeout: '120s' },
  }
  writeFileSync(path.join(world.folder, 'lake.ts'), lakeText(at))
  writeFileSync(
    config,
    `import definition from './lake.ts'\nexport default { ...${JSON.stringify(settings)}, definition }\n`,
  )
  const { credentials } = await import('./exact/world.mjs')
  const lake = new LakeProcess({ config, port, log, env: values.store === 's3' ? credentials(world) : {} })
  world.running.push(lake)
  return Object.assign(lake, { name: 'ts', log })
}

/** Kills one child, or the whole tree, by turns; after the tree's death the other definition goes on. */
async function killWhile(isProducing, lake, [one, other], once) {
  const kills = { tree: 0, child: 0, swaps: 0 }
  const meanMs = milliseconds('kill-every', values['kill-every'])
  while (isProducing() || kills.tree + kills.child < number('kills')) {
    await sleep(meanMs * (0.4 + 1.2 * random()))
    if (kills.tree + kills.child === 1) await once()
    if (kills.tree <= kills.child || !lake.current.killChild(random)) {
      await lake.current.signalTree('SIGKILL')
      kills.tree++
      lake.current = lake.current === one ? other : one
      kills.swaps++
      lake.current.start()
      // Until it writes, no child of it is worth a death.
      await until(
        'the next one',
        () => pipelineOf(lake.current, 'clean'),
        ({ state }) => state === 'running',
        30_000,
      )
    } else kills.child++
  }
  return kills
}

/** Rows and dead letters of each table against those of the producer's records. */
async function compared(lake, log) {
  const { version } = await pipelineOf(lake, 'clean')
  const checks = []
  for (const [table, wanted] of Object.entries(expected(log))) {
    const columns = QUERIES[table].map((sql, k) => `${sql} AS c${k}`)
    const place = '_kafka_partition AS p, _offset AS o'
    const rows = await rowsOf(lake, `SELECT ${place}, ${columns.join(', ')} FROM ${table}`, 'clean', version)
    const dead = await rowsOf(
      lake,
      `SELECT ${place}, 'dead' AS c0, code AS c1, decode("value") AS c2 FROM ${table}__dlq`,
      'clean',
      version,
    )
    const found = [...rows, ...dead].map(lineOf)
    const [here, there] = [new Set(wanted), new Set(found)]
    const missing = wanted.filter((line) => !there.has(line))
    const extra = found.filter((line) => !here.has(line))
    const twice = found.length - there.size
    const wrong = missing.length + extra.length + twice
    checks.push(
      say(table, wrong, 'rows', '0', wrong === 0 && rows.length > 0 && dead.length > 0, {
        rows: rows.length,
        deadLetters: dead.length,
        missing: missing.slice(0, 2),
        extra: extra.slice(0, 2),
      }),
    )
  }
  return checks
}

/** Topics against the producer's records: each row, in the order of its source, and nothing that must not be stored. */
async function published(world, lake, log, killed) {
  const tables = { [TOPICS.processed]: 'processed_events', [TOPICS.active]: 'active_accounts' }
  const names = Object.values(tables).map((name) => ({ name }))
  const isSent = await isPublished(lake, names, 30_000, 'clean')
  const topics = await readTopics(world, Object.keys(tables))
  const checks = [say('published', isSent ? names.length : 0, 'topics', `${names.length}`, isSent)]
  for (const [topic, wanted] of Object.entries(expectedTopics(log))) {
    const records = topics.get(topic)
    const { wrong, ...counts } = inspect(records, tables[topic])
    const rows = records.map(({ value }) => READ[topic](JSON.parse(value)))
    const found = new Set(rows.map((row) => JSON.stringify(row)))
    const all = new Set(wanted)
    const judged = {
      ...wrong,
      missing: wanted.filter((line) => !found.has(line)).length,
      extra: [...found].filter((line) => !all.has(line)).length,
      moved: topic === TOPICS.active ? moved(records, rows, number('partitions')) : 0,
      unsorted: unsorted(records, rows),
      secret: records.filter(({ value }) => value.includes(SECRET)).length,
    }
    const broken = Object.values(judged).reduce((sum, count) => sum + count, 0)
    // A death sends what one version changed again, and at most that is all.
    const isRight = broken === 0 && wanted.length > 0 && counts.repeats <= killed * wanted.length
    checks.push(say(`topic.${tables[topic]}`, broken, 'rows', '0', isRight, { ...judged, ...counts, rows: all.size }))
  }
  return checks
}

/** Records that have a key, or are in another partition than their source's. */
function moved(records, rows, partitions) {
  return records.filter(({ partition, key }, k) => key !== null || partition !== rows[k][0] % partitions).length
}

/** Rows that come behind a later one of their key and source partition, where they come for the first time. */
function unsorted(records, rows) {
  const [seen, last] = [new Set(), new Map()]
  return records.filter(({ key }, k) => {
    const [from, offset] = rows[k]
    if (seen.has(`${from}/${offset}`)) return false
    seen.add(`${from}/${offset}`)
    const line = `${from} ${key}`
    const isLess = offset < (last.get(line) ?? -1)
    last.set(line, offset)
    return isLess
  }).length
}

/** `[partition, offset, …]`: 64-bit integers are texts in JSON. */
function lineOf(line) {
  const { p, o, ...columns } = JSON.parse(line)
  const isNumber = (text) => typeof text === 'string' && /^\d{1,15}$/.test(text)
  const all = Object.values(columns).map((value) => (isNumber(value) ? Number(value) : value))
  return JSON.stringify([p, Number(o), ...all])
}

/** What must not be stored is nowhere: in no column of any table, and in nothing that was printed. */
async function kept(lake, processes) {
  const { version } = await pipelineOf(lake, 'clean')
  let found = 0
  for (const table of ['active_accounts', 'active_accounts__dlq']) {
    const lines = await rowsOf(lake, `SELECT * FROM ${table}`, 'clean', version)
    // Binary columns are base64 in JSON.
    for (const line of lines)
      for (const value of Object.values(JSON.parse(line))) {
        const text = typeof value === 'string' ? value : JSON.stringify(value)
        if (text.includes(SECRET) || Buffer.from(text, 'base64').toString('latin1').includes(SECRET)) found++
      }
  }
  const config = JSON.stringify(await lake.ask('/v1/config'))
  const printed = processes.filter(({ log }) => readIf(log).match(new RegExp(`${SECRET}|${SALT}`)) !== null)
  return [
    say('secrets', found, 'values', '0', found === 0),
    say('printed', printed.length, 'logs', '0', printed.length === 0),
    say('shown', Number(config.includes(SALT)), 'salts', '0', config.includes('"people"') && !config.includes(SALT)),
  ]
}

function readIf(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** History again through the same code: equal, digest by digest. */
async function replayed(lake) {
  const { id } = await startReplay(lake, { pipeline: 'clean', mode: 'verify' })
  await untilReplay(lake, id, 'done', ({ state }) => state === 'done')
  const { equal, tables } = await differenceOf(lake, id)
  const unlike = tables.filter(({ kind }) => kind !== 'equal')
  return say('replay', unlike.length, 'tables', '0', equal && tables.length >= 3, {
    compared: tables.length,
    rows: tables.reduce((sum, { rowsAfter }) => sum + Number(rowsAfter), 0),
    unlike: unlike.slice(0, 2),
  })
}
