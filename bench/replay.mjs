// What a replay costs those who do not replay, and how long it takes: the rate of a replay against that of ingesting the
// same log, in the same run; how old records are when they are committed, with a replay beside and without; from the
// order to cut over until the main chain has the new tables, and what readers see meanwhile. One JSON line a figure.
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { chainOf, committedIn, runLake, startLake, warmRate } from './append/lake.mjs'
import { openWorld, runScript } from './append/world.mjs'
import { figure, note, rounded } from './support/figures.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '4000000' },
    rounds: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '2' },
    rate: { type: 'string', default: '40000' },
  },
})
const RATE_SHARE_MIN = 0.9
const LAG_SHARE_MAX = 1.1
const CUTOVER_MS_MAX = 2_000
const LOOK_EVERY_MS = 20
const LIMIT_MS = 300_000
/** The new code of the cut-over. */
const FILTERED = { where: "status <> 'CANCELLED'" }

const records = Number(values.records)
const lanes = Number(values.lanes)
const perSecond = Number(values.rate)
const world = await openWorld(records)
let log = records
try {
  const rounds = []
  for (let round = 0; round < Number(values.rounds); round++) {
    let after
    const run = await runLake({
      ...world,
      lanes,
      records: log,
      whenDone: async (lake) => (after = { replay: await replay(lake), lag: await lags(lake) }),
    })
    rounds.push({ ingest: run.warm.recordsPerSecond, ...after })
    note('replay', rounds.at(-1))
  }
  report(rounds, await cutover())
} catch (error) {
  console.error(`replay: ${error.message}`)
  process.exitCode = 1
} finally {
  await world.close()
}

function report(rounds, { ms, commits, answers, wrong }) {
  const [ingest, rate] = [median(rounds.map((each) => each.ingest)), median(rounds.map((each) => each.replay))]
  const share = median(rounds.map((each) => each.replay / each.ingest))
  figure('replay.rate', rate / 1e6, 'M records/s', `>= ${RATE_SHARE_MIN} of ingest`, {
    peer: { name: 'ingest', value: rounded(ingest / 1e6) },
    pass: share >= RATE_SHARE_MIN,
    detail: { shares: rounds.map((each) => rounded(each.replay / each.ingest)) },
  })
  const lag = (which) => median(rounds.map((each) => each.lag[which]))
  const over = median(rounds.map((each) => each.lag.beside / each.lag.alone))
  figure('replay.lag', lag('beside'), 'ms', `<= ${LAG_SHARE_MAX} of the lag without`, {
    peer: { name: 'no replay', value: rounded(lag('alone')) },
    pass: over <= LAG_SHARE_MAX,
    detail: { shares: rounds.map((each) => rounded(each.lag.beside / each.lag.alone)), perSecond },
  })
  figure('replay.cutover', ms, 'ms', `<= ${CUTOVER_MS_MAX}, in 1 commit`, {
    peer: { name: 'the bar', value: CUTOVER_MS_MAX },
    pass: ms <= CUTOVER_MS_MAX && commits === 1,
    detail: { commits },
  })
  figure('replay.readers', wrong, 'answers', '0 that are neither before nor after', {
    peer: { name: 'answers', value: Math.max(1, answers) },
    pass: wrong === 0 && answers > 0,
  })
}

/** Records a second of a replay of all that is there, warm as for ingestion. */
async function replay(lake) {
  const { id } = await start(lake, { mode: 'verify' })
  const fork = path.join(chainOf(lake.store), 'forks', id)
  const seen = []
  const startedMs = performance.now()
  for (let committed = 0; committed < log; await sleep(LOOK_EVERY_MS)) {
    if (performance.now() - startedMs > LIMIT_MS) throw new Error(`the replay is at ${committed} of ${log} records`)
    const now = committedIn(fork)
    if (now > committed) seen.push({ records: now, seconds: (performance.now() - startedMs) / 1_000 })
    committed = Math.max(committed, now)
  }
  await untilReplay(lake, id, ({ state }) => state === 'done')
  return warmRate(seen, log)
}

/** How old records are when they are committed, while they come at a steady pace: alone, and beside a replay. */
async function lags(lake) {
  const alone = await lag(lake, 8)
  const { id } = await start(lake, { mode: 'verify' })
  await untilReplay(lake, id, ({ progress }) => progress?.phase === 'rebuilding')
  // While it rebuilds and no longer: what comes after takes less.
  const beside = await lag(lake, 8, async () => (await replayOf(lake, id)).progress?.phase === 'rebuilding')
  await untilReplay(lake, id, ({ state }) => state === 'done')
  return { alone, beside }
}

/** The mean over the versions that came meanwhile, each by the middle of its records. */
async function lag(lake, seconds, isMeant = () => true) {
  const { address, topic } = world
  const partitions = Array.from({ length: world.partitions }, (_, partition) => partition)
  const each = Math.ceil((perSecond * seconds) / partitions.length)
  const before = log
  let [untilMs, isOver] = [Infinity, false]
  const watching = (async () => {
    while (!isOver && (await isMeant())) await sleep(100)
    untilMs = Date.now()
  })()
  const { sent, records: made } = await runScript('produce.mjs', {
    address,
    topic,
    partitions,
    records: each,
    perSecond,
  })
  log += made
  while (committedIn(chainOf(lake.store)) < log) await sleep(LOOK_EVERY_MS)
  isOver = true
  await watching
  const timeOf = (count) => sent.find(([, produced]) => produced >= count)?.[0]
  const found = versionsIn(chainOf(lake.store)).flatMap(({ position, ms }, i, all) => {
    const from = (all[i - 1]?.position ?? 0) - before
    const sentMs = from < 0 ? undefined : timeOf((from + position - before) / 2)
    return sentMs === undefined || ms > untilMs || position - before === from ? [] : [ms - sentMs]
  })
  if (found.length < 5) throw new Error(`only ${found.length} versions came while the lag was measured`)
  return found.reduce((sum, ms) => sum + ms, 0) / found.length
}

/** From the order to the version that has the new tables, with a process of the old code at work and somebody who asks. */
async function cutover() {
  const store = path.join(world.folder, 'lake')
  const old = await startLake({ ...world, store, lanes })
  const young = await startLake({ ...world, name: 'young', store, lanes: 1, table: FILTERED })
  try {
    await until(async () => (await ask(young, '/v1/pipelines/bench'))?.state === 'superseded')
    const { id } = await start(young, {})
    const ready = await untilReplay(young, id, ({ progress }) => progress?.phase === 'ready')
    const [before, after] = [await count(old), await count(old, FILTERED.where)]
    const answers = []
    let isOver = false
    const asking = (async () => {
      while (!isOver) answers.push(await count(old))
    })()
    const head = versionsIn(chainOf(store)).at(-1).number
    const orderedMs = Date.now()
    await ask(young, `/v1/replays/${id}/cutover`, { approve: ready.difference.id })
    let done
    await until(() => (done = versionsIn(chainOf(store)).find(({ kind }) => kind === 'cutover')) !== undefined)
    await until(async () => (await count(old)) === after)
    isOver = true
    await asking
    const wrong = answers.filter((answer) => answer !== before && answer !== after).length
    return { ms: done.ms - orderedMs, commits: Number(done.number - head), answers: answers.length, wrong }
  } finally {
    await Promise.all([old.stop(), young.stop()])
  }
}

async function count(lake, where = 'true') {
  const answer = await ask(lake, '/v1/query', { sql: `SELECT count(*) AS n FROM orders WHERE ${where}` })
  if (answer === undefined) throw new Error('a reader was refused')
  return Number(answer.rows[0].n)
}

async function start(lake, options) {
  const headers = { 'idempotency-key': randomUUID() }
  const started = await ask(lake, '/v1/replays', { pipeline: 'bench', ...options }, headers)
  if (started === undefined) throw new Error('a replay could not be started')
  return started
}

function replayOf(lake, id) {
  return ask(lake, `/v1/replays/${id}`)
}

async function untilReplay(lake, id, isThere) {
  let found
  await until(async () => {
    found = await replayOf(lake, id)
    if (['failed', 'cancelled'].includes(found?.state)) throw new Error(JSON.stringify(found.error))
    return found !== undefined && isThere(found)
  })
  return found
}

async function until(isThere) {
  const deadlineMs = performance.now() + LIMIT_MS
  while (!(await isThere())) {
    if (performance.now() > deadlineMs) throw new Error('what is waited for does not come')
    await sleep(LOOK_EVERY_MS)
  }
}

/** JSON of the service; undefined when it refuses. */
async function ask({ port }, pathname, body, headers = {}) {
  const answer = await fetch(`http://127.0.0.1:${port}${pathname}`, {
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json', ...headers },
  }).catch(() => undefined)
  return answer?.ok === true ? answer.json() : undefined
}

/** Versions of a chain by their files: when each came, and how many records it holds. */
function versionsIn(folder) {
  return readdirSync(folder)
    .filter((name) => /^v\d+\.json$/.test(name))
    .sort()
    .map((name) => {
      const file = path.join(folder, name)
      const { number, kind, positions } = JSON.parse(readFileSync(file, 'utf8'))
      const position = Object.values(positions).reduce((sum, at) => sum + Number(at), 0)
      return { number: BigInt(number), kind, position, ms: statSync(file).mtimeMs }
    })
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
