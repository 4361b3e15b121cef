// What windows cost on top of the table that they are over: count and sum by status and minute, beside the table and
// without it; hopping windows of 60 panes; the same by 100,000 customers, where almost every record has a group of its
// own; what a group takes; how long a micro-batch takes to be merged into a million open groups (windows.ts). In the same
// run the same topic appended, which is the limit. One JSON line a figure.
import { parseArgs } from 'node:util'
import { runLake } from './append/lake.mjs'
import { openWorld } from './append/world.mjs'
import { figure, note, print, rounded } from './support/figures.mjs'
import { loadSource } from './support/load.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '4000000' },
    rounds: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '2' },
    /** Names of runs, with commas between them; `merge` is one. */
    only: { type: 'string' },
  },
})
const OVER_APPEND_MAX = 1.25
const CPU_PER_MILLION_MAX = 1.2
const PANES_MAX = 1.3
/** Records of the topic are 3 ms apart in each partition, and out of order by less than the bound. */
const EVENT_TIME = { eventTime: { column: 'event_time', outOfOrderness: '5s', idleAfter: '10m' } }
const SELECT = { select: { order_count: 'count()', total_amount: 'sum(amount)' } }
const tumblingBy = (column) => ({
  source: 'orders',
  tumbling: { size: '1m' },
  input: 'events',
  groupBy: [column],
  ...SELECT,
})
const hoppingBy = (column) => ({
  source: 'orders',
  hopping: { size: '1h', slide: '1m' },
  input: 'events',
  emit: 'close',
  groupBy: [column],
  ...SELECT,
})
const UNSTORED = { ...EVENT_TIME, store: false }

/** By name: what stands in the definition of the table, and over it. */
const RUNS = {
  append: { table: EVENT_TIME },
  tumbling: { table: EVENT_TIME, windows: { revenue: tumblingBy('status') } },
  alone: { table: UNSTORED, windows: { revenue: tumblingBy('status') } },
  closing: { table: UNSTORED, windows: { revenue: { ...tumblingBy('status'), emit: 'close' } } },
  hopping: { table: UNSTORED, windows: { load: hoppingBy('status') } },
  'customers.tumbling': { table: EVENT_TIME, windows: { revenue: tumblingBy('customer_id') } },
  'customers.alone': { table: UNSTORED, windows: { revenue: tumblingBy('customer_id') } },
  'customers.closing': { table: UNSTORED, windows: { revenue: { ...tumblingBy('customer_id'), emit: 'close' } } },
  'customers.hopping': { table: UNSTORED, windows: { load: hoppingBy('customer_id') } },
  // Every order is a group of its own, and nothing is final before the end.
  groups: {
    table: UNSTORED,
    windows: { each: { ...tumblingBy('order_id'), tumbling: { size: '1d' }, emit: 'close' } },
  },
}

const records = Number(values.records)
const lanes = Number(values.lanes)
const only = values.only?.split(',')
const isWanted = (name) => only === undefined || only.includes(name)
const runs = Object.entries(RUNS).filter(([name]) => isWanted(name))
if (runs.length > 0) await measureRuns()
if (isWanted('merge')) {
  const { measureMerge } = await loadSource("export { measureMerge } from './bench/windows.ts'", 'windows')
  for (const each of await measureMerge()) print(each)
}

async function measureRuns() {
  const world = await openWorld(records)
  try {
    const seen = new Map(runs.map(([name]) => [name, []]))
    // Alternating, so that all of them see the same machine.
    for (let round = 0; round < Number(values.rounds); round++)
      for (const [name, definition] of runs) {
        if (name === 'groups' && round > 0) continue
        const whenDone = ({ port }) => metrics(port)
        seen.get(name).push(await runLake({ ...world, lanes, ...definition, whenDone }))
        note(`windows: ${name}`, seen.get(name).at(-1))
      }
    report(seen)
  } catch (error) {
    console.error(`windows: ${error.message}`)
    process.exitCode = 1
  } finally {
    await world.close()
  }
}

function report(seen) {
  const cpu = (name) => median(seen.get(name).map(({ warm }) => warm.cpuPerMillion))
  const detail = (name) => ({
    rounds: seen.get(name).map(({ warm }) => rounded(warm.cpuPerMillion)),
    byScript: seen.get(name).at(-1).cpuSecondsByScript,
    othersShare: rounded(median(seen.get(name).map(({ othersShare }) => othersShare))),
  })
  /** Without a bar: by customers it is the rows of the result that cost, and hopping has twice as many. */
  const share = (name, what, peer, target, isWithin) => {
    if (!seen.has(name)) return
    const other = seen.has(peer) ? cpu(peer) : Number.NaN
    figure(`windows.${name}.cpu`, cpu(name), 'CPU-s/M', target ?? 'none', {
      peer: { name: what, value: rounded(other) },
      pass: isWithin?.(cpu(name), other) ?? true,
      detail: detail(name),
    })
  }
  const over = (value, append) => value <= OVER_APPEND_MAX * append
  const alone = (value) => value <= CPU_PER_MILLION_MAX
  const panes = (value, closing) => value <= PANES_MAX * closing
  share('tumbling', 'append', 'append', `<= ${OVER_APPEND_MAX} of append`, over)
  share('alone', 'append', 'append', `<= ${CPU_PER_MILLION_MAX}`, alone)
  share('hopping', 'tumbling, emit: close', 'closing', `<= ${PANES_MAX} of tumbling`, panes)
  share('customers.tumbling', 'append', 'append', `<= ${OVER_APPEND_MAX} of append`, over)
  share('customers.alone', 'append', 'append')
  share('customers.hopping', 'tumbling, emit: close', 'customers.closing')
  if (!seen.has('groups')) return
  const { openRows, stateBytes } = seen.get('groups')[0].after
  figure('windows.group.memory', stateBytes / openRows, 'bytes/group', 'none', {
    peer: { name: 'groups', value: openRows },
    pass: true,
    detail: { peakBytes: seen.get('groups')[0].peakBytes },
  })
}

/** Of the only window. */
async function metrics(port) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const value = (name) => Number(new RegExp(`^kappalake_${name}\\{[^}]*\\} (.*)$`, 'm').exec(text)?.[1])
  return { openRows: value('open_rows'), stateBytes: value('window_state_bytes') }
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
