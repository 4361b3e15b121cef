// `npm run soak`: an owner and a standby on one pipeline of a real broker, killed, frozen and taken over for 90 s
// (--seconds for longer), lanes included. Shows how long it takes until commits go on, and that the ledger is exact.
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld } from './frame.mjs'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '90' },
    rate: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    kills: { type: 'string', default: '25' },
  },
})
install('kafka', 'python')
const { caughtUp, createTopic, figure, headOf, judge, judged, newLake, produce, sleep } =
  await import('./exact/world.mjs')
const { randomOf } = await import('./exact/random.mjs')

const seconds = Number(values.seconds)
const killsMin = Math.max(1, Math.round((Number(values.kills) * seconds) / 90))
const TAKEOVER_MS = 5_000
const random = randomOf(Number(values.seed))
end(await inWorld({ partitions: 4 }, soak))

async function soak(world) {
  const topic = 'soak.events'
  const ledger = path.join(world.folder, 'ledger.csv')
  await createTopic(world, topic)
  const takeoverAfter = `${TAKEOVER_MS}ms`
  const one = await newLake(world, { name: 'one', topic, kind: 'disk', writer: 'one', takeoverAfter, lanes: 1 })
  const two = await newLake(world, { name: 'two', topic, kind: 'disk', writer: 'two', takeoverAfter, lanes: 1 })
  const lakes = [one.lake, two.lake]
  const chain = path.join(one.store.url.slice('file://'.length), 'pipelines/exact')
  for (const lake of lakes) lake.start()
  await until(async () => (await Promise.all(lakes.map(headOf))).every((head) => head !== undefined), 30_000)

  const rate = Number(values.rate)
  const producing = produce(world, {
    topic,
    records: rate * seconds,
    perSecond: rate,
    seed: Number(values.seed),
    ledger,
  })
  producing.catch(() => undefined)
  const kills = { owner: 0, standby: 0, lane: 0, frozen: 0 }
  const restartsMs = []
  const takeoversMs = []
  const endMs = performance.now() + seconds * 1_000
  let frozenDueMs = performance.now() + 20_000
  while (performance.now() < endMs - 3_000) {
    await sleep(random() * 2_000)
    const owner = await ownerOf(lakes)
    if (owner === undefined) continue
    const standby = lakes.find((lake) => lake !== owner)
    const draw = random()
    if (performance.now() > frozenDueMs) {
      // Frozen for longer than the standby waits: it must take over, and the frozen one must find itself fenced.
      frozenDueMs = performance.now() + 60_000
      kills.frozen++
      await owner.signalTree('SIGSTOP')
      takeoversMs.push(await nextCommit(chain))
      await sleep(Math.max(0, 1.5 * TAKEOVER_MS - takeoversMs.at(-1)))
      await owner.signalTree('SIGCONT')
    } else if (draw < 0.45) {
      kills.owner++
      await owner.signalTree('SIGKILL')
      owner.start()
      restartsMs.push(await nextCommit(chain))
    } else if (draw < 0.6) {
      kills.standby++
      await standby.signalTree('SIGKILL')
      standby.start()
    } else if (owner.killLane(random)) kills.lane++
  }
  await producing
  const isDrained = await caughtUp(lakes, 60_000)
  for (const lake of lakes) await lake.signalTree('SIGTERM')
  const killed = kills.owner + kills.standby + kills.lane + kills.frozen
  const restart = median(restartsMs)
  const takeover = Math.max(0, ...takeoversMs)
  return [
    figure('soak.kills', killed, 'kills', `>= ${killsMin}`, killed >= killsMin, kills),
    figure('soak.restart.p50', Math.round(restart), 'ms', '<= 5000', restart <= 5_000, {
      max: Math.max(0, ...restartsMs),
    }),
    figure(
      'soak.takeover.max',
      Math.round(takeover),
      'ms',
      `<= ${TAKEOVER_MS + 5_000}`,
      takeover <= TAKEOVER_MS + 5_000,
    ),
    figure('soak.drained', isDrained, '', 'true', isDrained),
    judged(await judge(world, { store: one.store, ledger }), 'soak'),
  ].every(Boolean)
}

async function ownerOf(lakes) {
  for (const lake of lakes) if ((await lake.ask('/v1/pipelines/exact'))?.state === 'running') return lake
  return undefined
}

/** Milliseconds until the store holds a version that it does not hold now. */
async function nextCommit(folder) {
  const startedMs = performance.now()
  const newest = () =>
    readdirSync(folder)
      .toSorted()
      .findLast((name) => /^v\d+\.json$/.test(name))
  const before = newest()
  await until(async () => newest() !== before, 30_000)
  return performance.now() - startedMs
}

async function until(holds, limitMs) {
  const deadlineMs = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > deadlineMs) throw new Error(`nothing happened within ${limitMs} ms`)
    await sleep(50)
  }
}

function median(values) {
  return values.length === 0 ? 0 : values.toSorted((a, b) => a - b)[values.length >> 1]
}
