// `npm run e2e:windows`: windows over the topics of a real broker, defined in YAML, while the whole process tree and its
// children are killed at random; then every window table and every late table against a recomputation from the
// producer's log: at versions along the way over HTTP, and at the end as PyIceberg and DuckDB's Iceberg extension read
// them. What a reader of their topics of changes has, repeats included, against the tables. `--store s3` does it on S3, `--full` both, with one lane and three;
// `--format avro` has the orders in Avro.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld, milliseconds } from './frame.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '24000' },
    rate: { type: 'string', default: '1500' },
    partitions: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '2' },
    store: { type: 'string', default: 'disk' },
    'kill-every': { type: 'string', default: '3500ms' },
    kills: { type: 'string', default: '4' },
    versions: { type: 'string', default: '8' },
    windows: { type: 'string' },
    format: { type: 'string', default: 'json' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '55' },
    full: { type: 'boolean', default: false },
  },
})
install('kafka', 'python')
const { caughtUp, createTopic, figure, sleep } = await import('./exact/world.mjs')
const {
  compareAt,
  compareListed,
  compareTopic,
  isPublished,
  judge,
  newLake,
  PIPELINE,
  produce,
  readLog,
  untilBehind,
  versionsOf,
} = await import('./windows/world.mjs')
const { inspect, readTopics } = await import('./windows/topic.mjs')
const { SOURCES, WINDOWS } = await import('./windows/pipelines.mjs')
const { randomOf } = await import('./exact/random.mjs')

const number = (name) => Number(values[name])
const meanMs = milliseconds('kill-every', values['kill-every'])
const limitMs = number('limit') * 1_000
const chosen = values.windows?.split(',') ?? WINDOWS.map(({ name }) => name)
const windows = WINDOWS.filter(({ name }) => chosen.includes(name))
const publishing = windows.filter(({ config }) => config.to !== undefined)
const attempts = values.full
  ? ['disk', 's3'].flatMap((kind) => [1, 3].map((lanes) => ({ kind, lanes })))
  : [{ kind: values.store, lanes: number('lanes') }]

let isOk = true
// A broker of its own for each attempt: topics begin at offset 0.
for (const { kind, lanes } of attempts)
  isOk =
    (await inWorld({ partitions: number('partitions'), s3: kind === 's3' }, async (world) => {
      const topics = [...Object.values(SOURCES), ...publishing.map(({ config }) => config.to)]
      for (const { topic } of topics) await createTopic(world, topic)
      return run(world, { kind, lanes, name: `${kind}-${lanes}` })
    })) && isOk
end(isOk)

async function run(world, { kind, lanes, name }) {
  const startedMs = performance.now()
  const restMs = () => limitMs - (performance.now() - startedMs)
  const ledger = path.join(world.folder, `log-${name}.ndjson`)
  const { lake, store, log } = await newLake(world, { name, kind, lanes, windows: chosen, format: values.format })
  let isProducing = true
  const producing = produce(world, {
    records: number('records'),
    perSecond: number('rate'),
    seed: number('seed'),
    baseMs: Date.now(),
    log: ledger,
    format: values.format,
  }).finally(() => (isProducing = false))
  producing.catch(() => undefined)
  lake.start()
  const kills = await killWhile(() => isProducing, restMs, lake, randomOf(number('seed')))
  const { produced } = await producing
  const isDrained = await caughtUp([lake], Math.max(1_000, restMs()), PIPELINE)
  const drainedS = (performance.now() - startedMs) / 1_000
  if (!isDrained)
    console.error(JSON.stringify(await lake.ask(`/v1/pipelines/${PIPELINE}`)), readFileSync(log, 'utf8').slice(-3_000))
  const isTold = isDrained && (await isPublished(lake, publishing, Math.max(5_000, restMs())))
  const all = isDrained ? ((await versionsOf(lake)) ?? []) : []
  const records = readLog(ledger)
  const verdicts = await history(lake, records, all)
  const listed = []
  if (isDrained)
    for (const window of windows)
      listed.push({ name: window.name, ...(await compareListed(lake, window, records, all.at(-1))) })
  const topics = isDrained ? await topicsOf(world, lake, taken(all)) : []
  await lake.signalTree('SIGTERM')

  const killed = kills.tree + kills.child
  const wrong = verdicts.filter(({ differences }) => differences > 0)
  const checks = [
    figure(`windows.${name}.produced`, produced, 'records', `>= ${values.records}`, produced >= number('records')),
    figure(`windows.${name}.kills`, killed, 'kills', `>= ${values.kills}`, killed >= number('kills'), kills),
    figure(`windows.${name}.drained`, Math.round(drainedS), 's', `<= ${values.limit}`, isDrained),
    figure(`windows.${name}.compared`, verdicts.length, 'tables', 'all', verdicts.length >= windows.length, {
      rows: verdicts.reduce((sum, { rows }) => sum + rows, 0),
      versions: all.length,
    }),
    ...windows.map((window) => differencesOf(window, name, wrong)),
    ...listed.map((each) =>
      figure(`windows.${name}.${each.name}.listed`, each.found.open, 'windows', `${each.wanted.open}`, each.isRight, {
        found: each.found,
        wanted: each.wanted,
      }),
    ),
    figure(`windows.${name}.published`, isTold ? publishing.length : 0, 'topics', `${publishing.length}`, isTold),
    ...topics.map(({ window, ...verdict }) => topicFigure(`windows.${name}.${window}.topic`, verdict)),
    isDrained &&
      strangers(await judge(world, { store, log: records, positions: all.at(-1).positions, windows, name }), name),
  ]
  return checks.every(Boolean)
}

/** Versions evenly spread over the run, the newest among them. */
function taken(all) {
  const wanted = number('versions')
  return all.filter((_, i) => Math.floor(((i + 1) * wanted) / all.length) > Math.floor((i * wanted) / all.length))
}

async function history(lake, records, all) {
  const verdicts = []
  for (const version of taken(all))
    for (const window of windows)
      verdicts.push({
        window: window.name,
        version: version.number,
        ...(await compareAt(lake, window, records, version)),
      })
  return verdicts
}

function differencesOf(window, name, wrong) {
  const own = wrong.filter((verdict) => verdict.window === window.name)
  const count = own.reduce((sum, { differences }) => sum + differences, 0)
  return figure(`windows.${name}.${window.name}`, count, 'rows', '0', count === 0, {
    versions: own.map(({ version }) => version),
    first: own[0]?.first,
  })
}

/** What the topic of each window promises, and what it says at versions. */
async function topicsOf(world, lake, versions) {
  const read = await readTopics(
    world,
    publishing.map(({ config }) => config.to.topic),
  )
  const verdicts = []
  for (const window of publishing) {
    const records = read.get(window.config.to.topic)
    const found = []
    for (const version of versions) found.push(await compareTopic(lake, window, records, version))
    const differences = found.reduce((sum, each) => sum + each.differences, 0)
    const first = found.find((each) => each.differences > 0)?.first
    const { wrong, ...counts } = inspect(records, window.name)
    verdicts.push({
      window: window.name,
      ...counts,
      wrong: { ...wrong, sentences: wrongSentences(window, records) },
      rows: found.at(-1).rows,
      differences,
      first,
    })
  }
  return verdicts
}

/** Published rows that do not say what their users wrote. */
function wrongSentences({ sentence = () => true }, records) {
  return records.filter(({ value }) => value !== null && !sentence(JSON.parse(value))).length
}

function topicFigure(name, { wrong, differences, changes, rows, ...more }) {
  const broken = Object.values(wrong).reduce((sum, count) => sum + count, differences)
  const isRight = broken === 0 && rows > 0 && changes >= rows
  return figure(name, broken, 'rows', '0', isRight, { ...wrong, differences, changes, rows, ...more })
}

/** Kills one child, whichever it is, or the whole tree, by turns, at random moments, until there were enough. */
async function killWhile(isProducing, restMs, lake, random) {
  const kills = { tree: 0, child: 0 }
  let isTree = false
  while ((isProducing() || kills.tree + kills.child < number('kills')) && restMs() > 0) {
    await sleep(meanMs * (0.4 + 1.2 * random()))
    isTree = !isTree
    // Just after a start there is no child yet: its turn is kept for it.
    if (isTree || !(await soon(() => lake.killChild(random)))) {
      // Every second time what was just committed is not published yet: a moment that chance alone finds too rarely.
      if (kills.tree % 2 === 0 && publishing.length > 0) await untilBehind(lake, 4_000)
      await lake.signalTree('SIGKILL')
      kills.tree++
      lake.start()
    } else kills.child++
  }
  return kills
}

async function soon(done) {
  for (let waitedMs = 0; waitedMs < 5_000; waitedMs += 50) {
    if (done()) return true
    await sleep(50)
  }
  return false
}

function strangers(lines, name) {
  const isRight = lines.map(({ reader, table, version: _version, missing, extra, ...more }) =>
    figure(`windows.${name}.${reader}.${table}`, missing + extra, 'rows', '0', missing + extra === 0, more),
  )
  return lines.length === 2 * windows.length && isRight.every(Boolean)
}
