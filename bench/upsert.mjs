// Upserts from Kafka to a committed table: orders of which four of five update one that is there, compaction running
// and counted, in steady state (every live key was updated twice on average). In the same run the same topic appended,
// which is the limit. At 1 million and, with `--keys 1000000,10000000`, at 10 million keys that live when that state is
// reached; they grow by a fifth of what follows. One JSON line a figure.
import { parseArgs } from 'node:util'
import { runLake } from './append/lake.mjs'
import { openWorld } from './append/world.mjs'
import { figure, note, rounded } from './support/figures.mjs'

const { values } = parseArgs({
  options: { keys: { type: 'string', default: '1000000' }, lanes: { type: 'string', default: '2' } },
})
const CPU_PER_MILLION_MAX = 3
const RATE_SHARE_MIN = 0.6
const INDEX_BYTES_MAX = 33
const RESTART_SECONDS_MAX = 5
const DEAD_SHARE_MAX = { load: 0.3, rest: 0.2 }
const FLAT_MAX = 1.25
const REST_MS = 60_000
/** Records after the first of every key: with four of five of them updates, each of those keys is updated twice. */
const UPDATED_TWICE = 2.5
/** What the others make of the live keys meanwhile: one of five is a new one. */
const GROWTH = 1 + UPDATED_TWICE / 5

const commits = []
try {
  for (const keys of values.keys.split(',').map(Number)) await measure(keys)
  if (commits.length > 1) {
    const [first, last] = [commits[0], commits.at(-1)]
    figure('upsert.commit.flat', last.ms / first.ms, 'ratio', `<= ${FLAT_MAX}`, {
      peer: { name: `${first.keys} keys, ms`, value: rounded(first.ms) },
      pass: last.ms / first.ms <= FLAT_MAX,
    })
  }
} catch (error) {
  console.error(`upsert: ${error.message}`)
  process.exitCode = 1
}

async function measure(keys) {
  // Whole numbers in each of four partitions.
  const atFirst = 8 * Math.round(keys / GROWTH / 8)
  const steady = atFirst * (1 + UPDATED_TWICE)
  // So many more as make a steady slope, since compactions of a large table come seldom; but not for ever.
  const records = steady + Math.min(2 * keys, 6_000_000)
  const world = await openWorld(records, atFirst)
  const lanes = Number(values.lanes)
  const size = `${keys / 1e6}M`
  try {
    const append = await runLake({ ...world, lanes, warmFrom: records / 2 })
    note(`upsert: append ${size}`, append)
    const looks = []
    const upsert = await runLake({
      ...world,
      lanes,
      table: { key: ['order_id'] },
      warmFrom: steady,
      onLook: async ({ port, committed }) => {
        const seen = await metrics(port)
        if (seen !== undefined) looks.push({ committed, ...seen })
      },
      whenDone: async ({ port }) => {
        await sleep(REST_MS)
        return metrics(port)
      },
    })
    note(`upsert: upsert ${size}`, upsert)
    const restart = await restartOf({ ...world, lanes, records })
    report(size, keys, { append, upsert, restart, looks: looks.filter(({ committed }) => committed >= steady) })
  } finally {
    await world.close()
  }
}

function report(size, keys, { append, upsert, restart, looks }) {
  const cpu = upsert.warm.cpuPerMillion
  figure(`upsert.cpu.${size}`, cpu, 'CPU-s/M', `<= ${CPU_PER_MILLION_MAX}`, {
    peer: { name: 'append', value: rounded(append.warm.cpuPerMillion) },
    pass: cpu <= CPU_PER_MILLION_MAX,
    detail: { byScript: upsert.cpuSecondsByScript, othersShare: rounded(upsert.othersShare) },
  })
  const share = upsert.warm.recordsPerSecond / append.warm.recordsPerSecond
  figure(`upsert.rate.${size}`, upsert.warm.recordsPerSecond / 1e6, 'M records/s', `>= ${RATE_SHARE_MIN} of append`, {
    peer: { name: 'append', value: rounded(append.warm.recordsPerSecond / 1e6) },
    pass: share >= RATE_SHARE_MIN,
  })
  const dead = Math.max(...looks.map(({ deadRows, storedRows }) => deadRows / storedRows))
  figure(`upsert.dead.${size}`, dead, 'share', `<= ${DEAD_SHARE_MAX.load}`, {
    peer: { name: 'the bar', value: DEAD_SHARE_MAX.load },
    pass: dead <= DEAD_SHARE_MAX.load,
  })
  const { deadRows, storedRows, keyBytes, keys: held } = upsert.after
  const rest = deadRows / storedRows
  figure(`upsert.dead.rest.${size}`, rest, 'share', `< ${DEAD_SHARE_MAX.rest}`, {
    peer: { name: 'the bar', value: DEAD_SHARE_MAX.rest },
    pass: rest < DEAD_SHARE_MAX.rest,
  })
  figure(`upsert.index.${size}`, keyBytes / held, 'bytes/key', `<= ${INDEX_BYTES_MAX}`, {
    peer: { name: 'the bar', value: INDEX_BYTES_MAX },
    pass: keyBytes / held <= INDEX_BYTES_MAX,
    detail: { keys: held },
  })
  figure(`upsert.restart.${size}`, restart, 's', `< ${RESTART_SECONDS_MAX} at 10M`, {
    peer: { name: 'the bar', value: RESTART_SECONDS_MAX },
    pass: keys < 1e7 || restart < RESTART_SECONDS_MAX,
  })
  const [from, to] = [looks[0], looks.at(-1)]
  const ms = (1_000 * (to.commitSeconds - from.commitSeconds)) / (to.commits - from.commits)
  commits.push({ keys, ms })
  figure(`upsert.commit.${size}`, ms, 'ms', 'none', {
    peer: { name: 'commits', value: to.commits - from.commits },
    pass: true,
  })
}

/** Seconds from the start of the process until the pipeline runs on a store that holds everything. */
async function restartOf(world) {
  let seconds
  await runLake({
    ...world,
    table: { key: ['order_id'] },
    keepStore: true,
    whenDone: async ({ port, startedMs }) => {
      while ((await metrics(port))?.isRunning !== true) await sleep(20)
      seconds = (performance.now() - startedMs) / 1_000
    },
  })
  return seconds
}

async function metrics(port) {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined)
  if (answer?.ok !== true) return undefined
  const text = await answer.text()
  const value = (name) => Number(new RegExp(`^kappalake_${name}(?:\\{[^}]*\\})? (.*)$`, 'm').exec(text)?.[1])
  const seen = {
    keys: value('keys'),
    keyBytes: value('key_index_bytes'),
    storedRows: value('stored_rows'),
    deadRows: value('dead_rows'),
    commits: value('commit_duration_seconds_count'),
    commitSeconds: value('commit_duration_seconds_sum'),
    isRunning: /kappalake_pipeline_state\{[^}]*state="running"[^}]*\} 1/.test(text),
  }
  return Number.isNaN(seen.keys) && !seen.isRunning ? undefined : seen
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
