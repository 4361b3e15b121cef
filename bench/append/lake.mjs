// One `kappalake start` on a full topic and an empty store, from the start of the process until all is committed.
import { spawn } from 'node:child_process'
import { openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { freePort } from '../../infra/ports.mjs'
import { root } from '../support/load.mjs'
import { fillMemory } from './memory.mjs'
import { ORDER_COLUMNS } from './orders.mjs'
import {
  cpuSeconds,
  cpuSecondsByScript,
  machineSeconds,
  proportionalBytes,
  residentBytes,
  treeOf,
} from './process-tree.mjs'

const LIMIT_MS = 600_000
const LOOK_EVERY_MS = 20
const METRICS_EVERY_MS = 250
const MEMORY_EVERY_MS = 1_000
/** The slope begins where this share of the records is committed: before it, code is still being compiled. */
const WARM_SHARE = 0.2

/**
 * Runs it and measures the whole process tree. `warm` is the slope from the first version with a fifth of the records
 * to the last version; `firstCommitSeconds` is from the start of the process to the first version that holds records.
 * `table` adds to the definition of the table, `windows` are over it; `onLook` and `whenDone` are called meanwhile and
 * at the end, with the port of the service and, at the end, the time at which it was started. `othersShare` is the part
 * of this machine's cores that neither the tree nor the broker had: near 0 on a quiet one.
 */
export async function runLake({ folder, address, brokerPid, topic, records, lanes, env = {}, ...how }) {
  const { table = {}, windows, warmFrom = WARM_SHARE * records, keepStore = false, whenDone, onLook } = how
  const store = path.join(folder, 'lake')
  if (!keepStore) rmSync(store, { recursive: true, force: true })
  fillMemory(folder)
  const startedMs = performance.now()
  const before = { machine: machineSeconds(), broker: cpuSeconds([brokerPid]) }
  const lake = await startLake({ folder, env, address, store, topic, lanes, table, windows })
  try {
    const look = onLook === undefined ? undefined : (committed) => onLook({ port: lake.port, committed })
    const seen = await watch(lake, chainOf(store), records, startedMs, look)
    const run = {
      ...summary(seen, warmFrom),
      after: await whenDone?.({ port: lake.port, pid: lake.pid, store, startedMs }),
    }
    const brokerCpuSeconds = cpuSeconds([brokerPid]) - before.broker
    const othersSeconds = machineSeconds() - before.machine - brokerCpuSeconds - run.cpuSeconds
    return { ...run, brokerCpuSeconds, othersShare: othersSeconds / (run.seconds * availableParallelism()) }
  } finally {
    await lake.stop()
  }
}

/** A `kappalake start` that ends with this process; `name` tells several of one folder apart. */
export async function startLake({ folder, name = 'kappalake', env = {}, ...how }) {
  const config = path.join(folder, `${name}.yaml`)
  const port = await freePort()
  writeFileSync(config, JSON.stringify({ ...configuration({ ...how, folder, port }), writer: name }))
  const output = path.join(folder, `${name}.log`)
  const log = openSync(output, 'w')
  const child = spawn(process.execPath, [path.join(root, 'dist/main.js'), 'start', '--config', config], {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...env },
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  return {
    port,
    pid: child.pid,
    /** Throws what it said at its end, when it has ended. */
    assertRunning() {
      const ended = child.exitCode ?? child.signalCode
      if (ended !== null) throw new Error(`kappalake ended with ${ended}: ${readFileSync(output, 'utf8').slice(-500)}`)
    },
    async stop() {
      child.kill('SIGTERM')
      await exited
      process.off('exit', killAtExit)
    },
  }
}

/** The folder of versions of the pipeline that is measured. */
export function chainOf(store) {
  return path.join(store, 'pipelines/bench')
}

/** Every version with the time and the CPU time at which it appeared; peaks of memory. */
async function watch(lake, versions, records, startedMs, look) {
  const seen = []
  const peak = { proportional: 0, resident: 0 }
  let [memoryDueMs, metricsDueMs] = [0, 0]
  for (let committed = 0; committed < records; await sleep(LOOK_EVERY_MS)) {
    const ms = performance.now() - startedMs
    lake.assertRunning()
    if (ms > LIMIT_MS) throw new Error(`only ${committed} of ${records} records were committed in ${LIMIT_MS} ms`)
    const now = committedIn(versions)
    if (look !== undefined && ms >= metricsDueMs) {
      metricsDueMs = ms + METRICS_EVERY_MS
      await look(Math.max(committed, now))
    }
    const isMemoryDue = ms >= memoryDueMs
    // Looking through all processes and their memory is work on the cores that are measured.
    if (now <= committed && !isMemoryDue) continue
    const pids = treeOf(lake.pid)
    if (now > committed) seen.push({ records: now, seconds: ms / 1_000, cpuSeconds: cpuSeconds(pids) })
    committed = Math.max(committed, now)
    if (!isMemoryDue) continue
    memoryDueMs = ms + MEMORY_EVERY_MS
    peak.proportional = Math.max(peak.proportional, proportionalBytes(pids))
    peak.resident = Math.max(peak.resident, residentBytes(pids))
  }
  return { seen, peak, byScript: cpuSecondsByScript(treeOf(lake.pid)) }
}

/** Records a second, from the first version with a fifth of them on. */
export function warmRate(seen, records) {
  const first = seen.find((version) => version.records >= WARM_SHARE * records) ?? seen[0]
  return (seen.at(-1).records - first.records) / (seen.at(-1).seconds - first.seconds)
}

function summary({ seen, peak, byScript }, warmFrom) {
  const last = seen.at(-1)
  const first = seen.find((version) => version.records >= warmFrom) ?? seen[0]
  const warmRecords = last.records - first.records
  return {
    seconds: last.seconds,
    cpuSeconds: last.cpuSeconds,
    cpuSecondsByScript: byScript,
    firstCommitSeconds: seen[0].seconds,
    firstCommitCpuSeconds: seen[0].cpuSeconds,
    versions: seen.length,
    warm: {
      records: warmRecords,
      recordsPerSecond: warmRecords / (last.seconds - first.seconds),
      cpuPerMillion: (1e6 * (last.cpuSeconds - first.cpuSeconds)) / warmRecords,
    },
    peakBytes: peak.proportional,
    residentPeakBytes: peak.resident,
  }
}

/** Records in the newest version; the topic has no holes, so positions count them. */
export function committedIn(folder) {
  try {
    const names = readdirSync(folder).filter((name) => /^v\d+\.json$/.test(name))
    const newest = names.sort().at(-1)
    if (newest === undefined) return 0
    const { positions } = JSON.parse(readFileSync(path.join(folder, newest), 'utf8'))
    return Object.values(positions).reduce((sum, position) => sum + Number(position), 0)
  } catch (error) {
    if (error.code === 'ENOENT') return 0
    throw error
  }
}

/** What `kappalake start` is given. */
export function configuration({ address, store, topic, lanes, folder, port, table, windows }) {
  const tables = { orders: { from: { topic }, columns: ORDER_COLUMNS, ...table } }
  return {
    writer: 'bench',
    kafka: { brokers: [address] },
    store: `file://${store}`,
    lanes,
    http: { port },
    query: { cacheDir: path.join(folder, 'cache') },
    pipelines: { bench: { tables, ...(windows === undefined ? {} : { windows }) } },
  }
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
