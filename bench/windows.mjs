// What windows cost on top of the table that they are over: count and sum by customer and minute, beside the table and
// without it; hopping windows of 60 panes; what a group takes; how long a micro-batch takes to be merged into a million
// open groups (windows.ts). In the same run the same topic appended, which is the limit. One JSON line a figure.
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
  },
})
const OVER_APPEND_MAX = 1.25
const CPU_PER_MILLION_MAX = 1.2
const PANES_MAX = 1.3
/** Records of the topic are 3 ms apart in each partition, and out of order by less than the bound. */
const EVENT_TIME = { eventTime: { column: 'event_time', outOfOrderness: '5s', idleAfter: '10m' } }
const SELECT = { groupBy: ['customer_id'], select: { order_count: 'count()', total_amount: 'sum(amount)' } }
const TUMBLING = { source: 'orders', tumbling: { size: '1m' }, input: 'events', ...SELECT }

/** By name: what stands in the definition of the table, and over it. */
const RUNS = {
  append: { table: EVENT_TIME },
  tumbling: { table: EVENT_TIME, windows: { revenue: TUMBLING } },
  alone: { table: { ...EVENT_TIME, store: false }, windows: { revenue: TUMBLING } },
  closing: { table: { ...EVENT_TIME, store: false }, windows: { revenue: { ...TUMBLING, emit: 'close' } } },
  hopping: {
    table: { ...EVENT_TIME, store: false },
    windows: {
      load: { source: 'orders', hopping: { size: '1h', slide: '1m' }, input: 'events', emit: 'close', ...SELECT },
    },
  },
  // Every order is a group of its own, and nothing is final before the end.
  groups: {
    table: { ...EVENT_TIME, store: false },
    windows: {
      each: { ...TUMBLING, tumbling: { size: '1d' }, ...SELECT, groupBy: ['order_id'], emit: 'close' },
    },
  },
}

const records = Number(values.records)
const lanes = Number(values.lanes)
const world = await openWorld(records)
try {
  const seen = new Map(Object.keys(RUNS).map((name) => [name, []]))
  // Alternating, so that all of them see the same machine.
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [name, definition] of Object.entries(RUNS)) {
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
const { measureMerge } = await loadSource("export { measureMerge } from './bench/windows.ts'", 'windows')
print(await measureMerge())

function report(seen) {
  const cpu = (name) => median(seen.get(name).map(({ warm }) => warm.cpuPerMillion))
  const detail = (name) => ({
    rounds: seen.get(name).map(({ warm }) => rounded(warm.cpuPerMillion)),
    byScript: seen.get(name).at(-1).cpuSecondsByScript,
    othersShare: rounded(median(seen.get(name).map(({ othersShare }) => othersShare))),
  })
  figure('windows.tumbling.cpu', cpu('tumbling'), 'CPU-s/M', `<= ${OVER_APPEND_MAX} of append`, {
    peer: { name: 'append', value: rounded(cpu('append')) },
    pass: cpu('tumbling') <= OVER_APPEND_MAX * cpu('append'),
    detail: detail('tumbling'),
  })
  figure('windows.alone.cpu', cpu('alone'), 'CPU-s/M', `<= ${CPU_PER_MILLION_MAX}`, {
    peer: { name: 'append', value: rounded(cpu('append')) },
    pass: cpu('alone') <= CPU_PER_MILLION_MAX,
    detail: detail('alone'),
  })
  figure('windows.hopping.cpu', cpu('hopping'), 'CPU-s/M', `<= ${PANES_MAX} of tumbling`, {
    peer: { name: 'tumbling, emit: close', value: rounded(cpu('closing')) },
    pass: cpu('hopping') <= PANES_MAX * cpu('closing'),
    detail: detail('hopping'),
  })
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
