// `npm run pressure`: a broker whose topic grows at ten times the rate that is kept up for half a minute, into a keyed
// table of the assembled service; then a minute at that rate. Memory stays bounded, nothing restarts, the lag drains.
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { jsonLines } from './child.mjs'
import { end, install, inWorld } from './frame.mjs'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '5000' },
    times: { type: 'string', default: '10' },
    flood: { type: 'string', default: '30' },
    soak: { type: 'string', default: '60' },
    drain: { type: 'string', default: '180' },
  },
})
install('kafka')
const { caughtUp, createTopic, figure, newLake, sleep } = await import('./exact/world.mjs')
const { childrenOf } = await import('./exact/lake-process.mjs')

const MIB = 2 ** 20
const rate = Number(values.rate)
end(await inWorld({ partitions: 4 }, pressure))

async function pressure(world) {
  const topic = 'pressure.events'
  await createTopic(world, topic)
  const delays = path.join(world.folder, 'loop-delay.json')
  const more = {
    LOOP_DELAY_FILE: delays,
    NODE_OPTIONS: `--import ${pathToFileURL(path.join(root, 'infra/exact/loop-delay.mjs')).href}`,
  }
  const { lake } = await newLake(world, { name: 'pressure', topic, kind: 'disk', key: ['id'], more })
  lake.start()
  if (!(await caughtUp([lake], 60_000))) throw new Error('the service does not answer')
  const { pid } = lake
  const flood = await watched(lake, produce(world, topic, rate * Number(values.times), Number(values.flood)))
  const startedMs = performance.now()
  const isDrained = await caughtUp([lake], Number(values.drain) * 1_000)
  const drainS = Math.round((performance.now() - startedMs) / 1_000)
  rmSync(delays, { force: true })
  const soak = await watched(lake, produce(world, topic, rate, Number(values.soak)))
  const isSame = lake.isRunning && lake.pid === pid && flood.isQuiet && soak.isQuiet
  const mainMax = Math.max(...flood.samples.map(({ main }) => main))
  const treeMax = Math.max(...flood.samples.map(({ tree }) => tree))
  // The second half: what a start needs once is no slope.
  const late = soak.samples.slice(soak.samples.length >> 1)
  const slope = Math.round(slopeOf(late.map(({ main }) => main / MIB)) * 60 * 10) / 10
  const descriptors = late.at(-1).descriptors - late[0].descriptors
  const { p999, max } = JSON.parse(readFileSync(delays, 'utf8'))
  await lake.signalTree('SIGTERM')
  const tree = { ...flood.produced, treeMib: Math.round(treeMax / MIB) }
  return [
    figure('pressure.main', Math.round(mainMax / MIB), 'MiB', '<= 512', mainMax <= 512 * MIB, tree),
    figure('pressure.restarts', isSame ? 0 : 1, 'restarts', '0', isSame),
    figure('pressure.drained', drainS, 's', `<= ${values.drain}`, isDrained),
    figure('pressure.memory', slope, 'MiB/min', '<= 16', slope <= 16, soak.produced),
    figure('pressure.descriptors', descriptors, 'descriptors', '<= 20', descriptors <= 20),
    figure('pressure.loop.p999', Math.round(p999), 'ms', '<= 200', p999 <= 200, { max: Math.round(max) }),
  ].every(Boolean)
}

/** Samples the tree twice a second for as long as something goes on. */
async function watched(lake, going) {
  const samples = []
  let [isOver, isQuiet] = [false, true]
  const end = going.finally(() => (isOver = true))
  end.catch(() => undefined)
  while (!isOver) {
    if (!lake.isRunning) isQuiet = false
    else samples.push(sampleOf(lake.pid))
    await sleep(500)
  }
  return { produced: await end, samples, isQuiet }
}

function sampleOf(pid) {
  const resident = (of) => {
    try {
      return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${of}/status`, 'latin1'))?.[1] ?? 0) * 1_024
    } catch {
      return 0
    }
  }
  const main = resident(pid)
  const tree = childrenOf(pid).reduce((sum, child) => sum + resident(child), main)
  return { main, tree, descriptors: readdirSync(`/proc/${pid}/fd`).length }
}

/** Least squares, per second. */
function slopeOf(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const middle = (values.length - 1) / 2
  const [up, down] = values.reduce(
    ([a, b], value, k) => [a + (k - middle) * (value - mean), b + (k - middle) ** 2],
    [0, 0],
  )
  return down === 0 ? 0 : (up / down) * 2
}

async function produce(world, topic, perSecond, seconds) {
  const given = { brokers: [world.broker.address], topic, partitions: world.partitions, perSecond, seconds }
  const [produced] = await jsonLines(process.execPath, [
    path.join(root, 'infra/exact/flood.mjs'),
    JSON.stringify(given),
  ])
  return produced
}
