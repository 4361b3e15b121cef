// `npm run e2e:cdc`: change streams from a real broker to keyed tables, while lanes and the whole process tree are
// killed; the tables against the generator's own at 50 versions along the way, over HTTP, and at the end as PyIceberg
// and DuckDB's Iceberg extension read them. `--full` does disk and S3, with one lane and three; `--partial` leaves columns
// out of updates, which keep their values.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld, milliseconds } from './frame.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '80000' },
    rate: { type: 'string', default: '2000' },
    keys: { type: 'string', default: '400' },
    partitions: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '3' },
    store: { type: 'string', default: 'disk' },
    'kill-every': { type: 'string', default: '9s' },
    kills: { type: 'string', default: '3' },
    versions: { type: 'string', default: '50' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '120' },
    partial: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
  },
})
install('kafka', 'python')
const { caughtUp, createTopic, figure, sleep } = await import('./exact/world.mjs')
const { checkVersion, judge, newLake, PIPELINE, produce, versionsOf } = await import('./cdc/world.mjs')
const { Ledger } = await import('./cdc/ledger.mjs')
const { TABLES } = await import('./cdc/tables.mjs')
const { randomOf } = await import('./exact/random.mjs')

const number = (name) => Number(values[name])
const meanMs = milliseconds('kill-every', values['kill-every'])
const limitMs = number('limit') * 1_000
const stream = {
  partitions: number('partitions'),
  seed: number('seed'),
  keys: number('keys'),
  isPartial: values.partial,
}
const attempts = values.full
  ? ['disk', 's3'].flatMap((kind) => [1, 3].map((lanes) => ({ kind, lanes })))
  : [{ kind: values.store, lanes: number('lanes') }]

let isOk = true
// A broker of its own for each attempt: topics begin at offset 0.
for (const { kind, lanes } of attempts)
  isOk =
    (await inWorld({ partitions: stream.partitions, s3: kind === 's3' }, async (world) => {
      for (const { topic } of TABLES) await createTopic(world, topic)
      return run(world, { kind, lanes, name: `${kind}-${lanes}` })
    })) && isOk
end(isOk)

async function run(world, { kind, lanes, name }) {
  const random = randomOf(stream.seed)
  const startedMs = performance.now()
  const { lake, store, log } = await newLake(world, { name, kind, lanes, isPartial: values.partial })
  const phase = { isProducing: true, isOver: false }
  const stopFile = join(world.folder, `${name}.stop`)
  const producing = produce(world, { stream, records: number('records'), perSecond: number('rate'), stopFile }).finally(
    () => (phase.isProducing = false),
  )
  producing.catch(() => undefined)
  lake.start()
  const watching = watch(lake, phase)
  watching.catch(() => undefined)
  const enough = hasVersions(lake, number('versions'), () => performance.now() - startedMs < limitMs / 2).then(() =>
    writeFileSync(stopFile, ''),
  )
  const kills = await killWhile(() => phase.isProducing && performance.now() - startedMs < limitMs, lake, random)
  await enough
  const produced = await producing
  const isDrained = await drained(
    lake,
    Object.fromEntries(produced.positions),
    limitMs - (performance.now() - startedMs),
  )
  const drainedS = (performance.now() - startedMs) / 1_000
  if (!isDrained) console.error(await stateOf(lake), readFileSync(log, 'utf8').slice(-2_000))
  phase.isOver = true
  const live = await watching
  const rest = isDrained ? await history(lake, live) : []
  await lake.signalTree('SIGTERM')

  const ledger = new Ledger(stream)
  ledger.moveTo(Object.fromEntries(produced.positions))
  const checks = [...live, ...rest]
  const killed = kills.tree + kills.lane
  const target = number('versions')
  const wrong = checks.filter(({ differences }) => differences > 0)
  const cells = checks.reduce((sum, { rows }) => sum + rows, 0)
  return [
    figure(
      `cdc.${name}.produced`,
      produced.produced,
      'records',
      `>= ${values.records}`,
      produced.produced >= number('records'),
    ),
    figure(`cdc.${name}.kills`, killed, 'kills', `>= ${values.kills}`, killed >= number('kills'), kills),
    figure(`cdc.${name}.drained`, Math.round(drainedS), 's', `<= ${values.limit}`, isDrained),
    figure(`cdc.${name}.versions`, checks.length, 'versions', `>= ${target}`, checks.length >= target, {
      live: live.length,
      rows: cells,
    }),
    figure(`cdc.${name}.differences`, sum(checks, 'differences'), 'cells', '0', wrong.length === 0, {
      versions: wrong.map(({ version }) => version),
      first: wrong[0]?.first,
    }),
    isDrained && judged(await judge(world, { store, ledger, name }), name),
  ].every(Boolean)
}

/** Compares the newest version again and again while the service runs and is killed. */
async function watch(lake, phase) {
  const ledger = new Ledger(stream)
  const done = []
  // Spread over the whole run.
  const pauseMs = (1_000 * number('records')) / number('rate') / number('versions') / 2
  while (!phase.isOver && done.length < number('versions')) {
    const [newest] = await versionsOf(lake, { limit: 1 })
    const isNew = newest !== undefined && newest.number > (done.at(-1)?.version ?? 0)
    const verdict = isNew ? await checkVersion(lake, ledger, newest) : undefined
    if (verdict !== undefined) done.push(verdict)
    await sleep(verdict === undefined ? 50 : pauseMs)
  }
  return done
}

/** Versions of the past that nobody looked at while they were new, evenly spread, until there are enough. */
async function history(lake, live) {
  const seen = new Set(live.map(({ version }) => version))
  const all = (await versionsOf(lake, { all: true })).filter(({ number }) => !seen.has(number)).toReversed()
  // The newest in any case: it is the end of the stream.
  const wanted = Math.max(1, number('versions') - live.length)
  const chosen = all.filter(
    (_, i) => Math.floor(((i + 1) * wanted) / all.length) > Math.floor((i * wanted) / all.length),
  )
  const ledger = new Ledger(stream)
  const done = []
  for (const version of chosen) {
    const verdict = await checkVersion(lake, ledger, version)
    if (verdict === undefined) throw new Error(`version ${version.number} could not be read`)
    done.push(verdict)
  }
  return done
}

/** Resolves when the chain is long enough to be compared at so many versions, or nobody waits any longer. */
async function hasVersions(lake, wanted, isWaiting) {
  for (;;) {
    const [newest] = await versionsOf(lake, { limit: 1 })
    // The first holds no rows, and a few cannot be read while they are new.
    if ((newest?.number ?? 0) > wanted + 5 || !isWaiting()) return
    await sleep(200)
  }
}

/** Kills a lane or the whole tree, by turns, at random moments. */
async function killWhile(holds, lake, random) {
  const kills = { tree: 0, lane: 0 }
  let isTree = false
  while (holds()) {
    await sleep(meanMs * (0.4 + 1.2 * random()))
    if (!holds()) break
    isTree = !isTree
    if (!isTree && lake.killLane(random)) kills.lane++
    else if (isTree) {
      await lake.signalTree('SIGKILL')
      kills.tree++
      lake.start()
    }
  }
  return kills
}

/** Waits until the newest version holds all that was produced. */
async function drained(lake, positions, withinMs) {
  const deadlineMs = performance.now() + withinMs
  if (!(await caughtUp([lake], withinMs, PIPELINE))) return false
  while (performance.now() < deadlineMs) {
    const [newest] = await versionsOf(lake, { limit: 1 })
    if (newest !== undefined && Object.entries(positions).every(([id, end]) => (newest.positions[id] ?? '0') === end))
      return true
    await sleep(100)
  }
  return false
}

async function stateOf(lake) {
  const answer = await lake.ask(`/v1/pipelines/${PIPELINE}`)
  return JSON.stringify(answer ?? 'the service does not answer')
}

function judged(lines, name) {
  let isOk = lines.length === 2 * TABLES.length
  for (const { reader, table, version: _version, rows, expected, ...differences } of lines) {
    const count = Object.values(differences).reduce((a, b) => a + b, 0)
    const isRight = count === 0 && rows === expected
    isOk =
      figure(`cdc.${name}.${reader}.${table}`, count, 'rows', '0', isRight, { rows, expected, ...differences }) && isOk
  }
  return isOk
}

function sum(list, name) {
  return list.reduce((total, item) => total + item[name], 0)
}
