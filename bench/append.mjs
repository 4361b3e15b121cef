// Kafka to committed table, end to end: a real broker on this machine, one topic of orders, a store on disk, from the
// start of the process until the last record is committed. In the same run the bare drain of the topic, which is the
// limit, and with `--peer flink` Flink SQL with the Iceberg sink. One JSON line a figure; medians over the rounds.
import { parseArgs } from 'node:util'
import { runFlink } from './append/flink.mjs'
import { runLake } from './append/lake.mjs'
import { openWorld, runScript } from './append/world.mjs'
import { figure, note, rounded } from './support/figures.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '4000000' },
    rounds: { type: 'string', default: '3' },
    lanes: { type: 'string', default: '1,2' },
    peer: { type: 'string' },
  },
})
const CPU_PER_MILLION_MAX = 2.2
const RATE_PER_LANE_MIN = 450_000
const MEMORY_BYTES_MAX = 1 << 30
const FIRST_COMMIT_SECONDS_MAX = 2
/** Over the first millions, where the compilers of both still work. */
const FLINK_FACTOR_MIN = 2
const MIB = 1 << 20

const records = Number(values.records)
const laneCounts = values.lanes.split(',').map(Number)
const world = await openWorld(records)
try {
  const drains = []
  const runs = new Map(laneCounts.map((lanes) => [lanes, []]))
  // Alternating, so that all of them see the same machine.
  for (let round = 0; round < Number(values.rounds); round++) {
    drains.push(await runScript('drain.mjs', pick(world)))
    note('append: drain', drains.at(-1))
    for (const lanes of laneCounts) {
      runs.get(lanes).push(await runLake({ ...world, lanes }))
      note(`append: ${lanes} lanes`, runs.get(lanes).at(-1))
    }
  }
  report(drains, runs)
  if (values.peer === 'flink') await compareWithFlink(runs)
} catch (error) {
  console.error(`append: ${error.message}`)
  process.exitCode = 1
} finally {
  await world.close()
}

function report(drains, runs) {
  const drain = {
    rate: median(drains.map(({ seconds }) => records / seconds)),
    cpu: median(drains.map(({ cpuSeconds }) => (1e6 * cpuSeconds) / records)),
  }
  const all = [...runs.values()].flat()
  for (const [lanes, list] of runs) {
    const cpu = median(list.map(({ warm }) => warm.cpuPerMillion))
    const total = median(list.map(({ cpuSeconds }) => (1e6 * cpuSeconds) / records))
    figure(`append.cpu.${lanes === 1 ? '1lane' : `${lanes}lanes`}`, cpu, 'CPU-s/M', `<= ${CPU_PER_MILLION_MAX}`, {
      peer: { name: 'bare drain', value: rounded(drain.cpu) },
      pass: cpu <= CPU_PER_MILLION_MAX,
      detail: {
        withStartUp: rounded(total),
        rounds: list.map(({ warm }) => rounded(warm.cpuPerMillion)),
        seconds: rounded(median(list.map(({ seconds }) => seconds))),
        othersShare: rounded(median(list.map(({ othersShare }) => othersShare))),
      },
    })
  }
  for (const [lanes, list] of runs) {
    const rate = median(list.map(({ warm }) => warm.recordsPerSecond))
    const perLane = rate / lanes
    // With several lanes beside the broker on a machine of few cores, the machine is the limit and not the lane.
    const isJudged = lanes === 1
    figure(
      `append.rate.${lanes === 1 ? 'per-lane' : `${lanes}lanes`}`,
      rate / 1e6,
      'M records/s',
      isJudged ? `>= ${RATE_PER_LANE_MIN / 1e6}` : 'none',
      {
        peer: { name: 'bare drain', value: rounded(drain.rate / 1e6) },
        pass: !isJudged || perLane >= RATE_PER_LANE_MIN,
        detail: { rounds: list.map(({ warm }) => rounded(warm.recordsPerSecond / 1e6)) },
      },
    )
  }
  const peak = Math.max(...all.map(({ peakBytes }) => peakBytes))
  figure('append.memory', peak / MIB, 'MiB', `< ${MEMORY_BYTES_MAX / MIB}`, {
    peer: { name: 'the bar', value: MEMORY_BYTES_MAX / MIB },
    pass: peak < MEMORY_BYTES_MAX,
    detail: { resident: rounded(Math.max(...all.map(({ residentPeakBytes }) => residentPeakBytes)) / MIB) },
  })
  const first = median(all.map(({ firstCommitSeconds }) => firstCommitSeconds))
  figure('append.first-commit', first, 's', `<= ${FIRST_COMMIT_SECONDS_MAX}`, {
    peer: { name: 'the bar', value: FIRST_COMMIT_SECONDS_MAX },
    pass: first <= FIRST_COMMIT_SECONDS_MAX,
    detail: {
      cpuSeconds: rounded(median(all.map(({ firstCommitCpuSeconds }) => firstCommitCpuSeconds))),
      rounds: all.map(({ firstCommitSeconds }) => rounded(firstCommitSeconds)),
    },
  })
}

/** As many lanes as Flink has slots. */
async function compareWithFlink(runs) {
  const flink = await runFlink(world)
  note('append: flink', flink)
  const ours = median(runs.get(laneCounts.at(-1)).map(({ warm }) => warm.cpuPerMillion))
  const factor = flink.cpuPerMillion / ours
  figure('append.flink', ours, 'CPU-s/M', `<= 1/${FLINK_FACTOR_MIN} of Flink`, {
    peer: { name: 'Flink SQL 2.1, Iceberg sink 1.11', value: rounded(flink.cpuPerMillion) },
    pass: factor >= FLINK_FACTOR_MIN,
    detail: {
      factor: rounded(factor),
      flinkRows: flink.long.rows,
      flinkSeconds: rounded(flink.long.seconds),
      flinkCpuSeconds: rounded(flink.long.cpuSeconds),
    },
  })
}

function pick({ address, topic, partitions }) {
  return { address, topic, partitions, records }
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}
