// `npm run e2e:exact -- --records 2000000 --partitions 6 --kill-every 2s`: from a real broker to tables on disk and on
// S3, while the whole process tree and single lanes are killed again and again; then the producer's ledger against what
// PyIceberg and DuckDB read. Nothing may be missing, nothing twice, the dead letters exact.
import path from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld, milliseconds } from './frame.mjs'

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '2000000' },
    partitions: { type: 'string', default: '6' },
    'kill-every': { type: 'string', default: '2s' },
    kills: { type: 'string', default: '25' },
    stores: { type: 'string', default: 'disk,s3' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '360' },
  },
})
install('kafka', 'python')
const { caughtUp, createTopic, figure, judge, judged, newLake, produce, sleep } = await import('./exact/world.mjs')
const { randomOf } = await import('./exact/random.mjs')

const records = Number(values.records)
const meanMs = milliseconds('kill-every', values['kill-every'])
const killsMin = Number(values.kills)
const limitMs = Number(values.limit) * 1_000
const kinds = values.stores.split(',')
const random = randomOf(Number(values.seed))

end(
  await inWorld({ partitions: Number(values.partitions), s3: kinds.includes('s3') }, async (world) => {
    let isOk = true
    for (const kind of kinds) isOk = (await attempt(world, kind)) && isOk
    return isOk
  }),
)

async function attempt(world, kind) {
  const startedMs = performance.now()
  const topic = `exact.${kind}`
  const ledger = path.join(world.folder, `ledger-${kind}.csv`)
  await createTopic(world, topic)
  const { lake, store } = await newLake(world, { name: kind, topic, kind })
  // Long enough for the kills, so that they meet a pipeline at work.
  const perSecond = Math.ceil(records / Math.max(20, (1.2 * killsMin * meanMs) / 1_000))
  let isProducing = true
  const producing = produce(world, { topic, records, perSecond, seed: Number(values.seed), ledger }).finally(
    () => (isProducing = false),
  )
  producing.catch(() => undefined)
  lake.start()
  const kills = { tree: 0, lane: 0 }
  let isTree = false
  while (isProducing || kills.tree + kills.lane < killsMin) {
    await sleep(meanMs * (0.2 + 1.6 * random()))
    isTree = !isTree
    // Just after a start there is no lane yet: its turn is kept for it.
    if (isTree || !(await soon(() => lake.killLane(random)))) {
      await lake.signalTree('SIGKILL')
      kills.tree++
      lake.start()
    } else kills.lane++
    if (performance.now() - startedMs > limitMs) break
  }
  const produced = await producing
  const isDrained = await caughtUp([lake], Math.max(1_000, limitMs - (performance.now() - startedMs)))
  const tookS = (performance.now() - startedMs) / 1_000
  await lake.signalTree('SIGTERM')
  const killed = kills.tree + kills.lane
  return [
    figure(`${kind}.produced`, produced.produced, 'records', `${records}`, produced.produced >= records, produced),
    figure(`${kind}.kills`, killed, 'kills', `>= ${killsMin}`, killed >= killsMin, kills),
    figure(`${kind}.drained`, Math.round(tookS), 's', `<= ${values.limit}`, isDrained && tookS <= limitMs / 1_000),
    judged(await judge(world, { store, ledger }), kind),
  ].every(Boolean)
}

async function soon(done) {
  for (let waitedMs = 0; waitedMs < 5_000; waitedMs += 50) {
    if (done()) return true
    await sleep(50)
  }
  return false
}
