// New code beside old code, with records coming all the time: the processes of both, killed in every phase of a replay;
// the difference looked at and approved; cut over, gone back, cut over again. Who writes when, and what the tables say.
import { checkVersion } from '../cdc/world.mjs'
import { figure, sleep } from '../exact/world.mjs'
import { compareAt } from '../windows/world.mjs'
import { NEW, NEW_WINDOWS, OLD, OLD_WINDOWS } from './definitions.mjs'
import {
  drain,
  hashAt,
  newProcess,
  newStore,
  openQuery,
  pipelineOf,
  rowsOf,
  until,
  untilState,
  versionsOf,
} from './lake.mjs'
import {
  differenceOf,
  expectedDifference,
  foundDifference,
  killIn,
  order,
  startReplay,
  untilPhase,
  untilReplay,
} from './replays.mjs'

const PIPELINES = ['flow', 'cdc']
const WORK = ['rebuilding', 'verifying', 'catching-up', 'ready']
/** Many versions in a short run. */
const COMMIT = { minInterval: '200ms', microBatch: { age: '100ms' } }
/** So slow that each phase is seen, and faster than records come. */
const RATE_LIMIT = 4_000
/** Rows of it are more than fit between a server and a reader who does not read. */
const LONG = 'SELECT o.*, i.range FROM orders o, range(40) i'

/** Whether all held. `isRepeated`: goes back and cuts over once more. */
export async function newCode(world, traffic, { kind, lanes, name }) {
  const store = newStore(world, { name: `code-${name}`, kind })
  const commit = { ...COMMIT, ...(kind === 's3' ? { minInterval: '400ms' } : {}) }
  const started = (who, pipelines) => newProcess(world, { name: who, store, settings: { lanes, commit, pipelines } })
  const [a, b] = [await started(`a-${name}`, OLD), await started(`b-${name}`, NEW)]
  const say = (what, value, unit, target, isOk, more) => figure(`p10.${name}.${what}`, value, unit, target, isOk, more)
  const checks = []

  a.start()
  await traffic.start()
  await drain(a, PIPELINES)
  b.start()
  for (const pipeline of PIPELINES) await untilState(b, pipeline, 'superseded', 'code.changed')
  const replays = await start(b)

  const kills = { a: 0 }
  for (const phase of WORK) {
    if (await killIn(b, replays.flow.id, phase)) kills[phase] = 1
    if (phase !== 'rebuilding') continue
    await a.signalTree('SIGKILL')
    a.start()
    kills.a++
  }
  for (const { id } of Object.values(replays)) await untilPhase(b, id, 'ready')
  checks.push(...(await looked(b, replays, traffic, say)))

  const readers = await pin(a, b)
  const orders = await approve(b, replays)
  checks.push(say('approved', orders.filter(({ status }) => status === 202).length, 'orders', '2', isAccepted(orders)))
  // Somewhere between the order and the version that says that it was done.
  await b.signalTree('SIGKILL')
  b.start()
  kills['cutting-over'] = 1
  await cutOver(b, a, replays, 'code.superseded')
  const killed = Object.values(kills).reduce((sum, count) => sum + count, 0)
  checks.push(say('kills', killed, 'kills', `${WORK.length + 2}`, killed === WORK.length + 2, kills))
  checks.push(say('pinned', await readers.differences(), 'readers', '0', (await readers.differences()) === 0))

  await moves(b)
  for (const { id } of Object.values(replays)) await order(b, id, 'rollback')
  for (const pipeline of PIPELINES) {
    await untilState(a, pipeline, 'running')
    await untilState(b, pipeline, 'superseded')
  }
  await moves(a)

  const again = await start(b)
  for (const { id } of Object.values(again)) await untilPhase(b, id, 'ready')
  await approve(b, again)
  await cutOver(b, a, again, 'code.superseded')
  const { produced, positions } = await traffic.stop()
  await drain(b, PIPELINES)
  await untilAt(b, 'cdc', positions)
  checks.push(say('produced', produced, 'records', '> 0', produced > 0))
  checks.push(...(await history(b, traffic, say)))
  await a.signalTree('SIGTERM')
  return { isOk: checks.every(Boolean), lake: b }
}

async function start(lake) {
  const found = {}
  for (const pipeline of PIPELINES)
    found[pipeline] = await startReplay(lake, { pipeline, rateLimit: RATE_LIMIT, keepOld: '1h' })
  return found
}

/** What the replays say that they found, against the recomputation at the version that they began at. */
async function looked(lake, replays, traffic, say) {
  const checks = []
  const flow = await untilReplay(lake, replays.flow.id, 'compared', ({ difference }) => difference !== null)
  const found = await differenceOf(lake, flow.id)
  const { positions } = (await versionsOf(lake, 'flow')).find(({ number }) => number === Number(flow.version))
  const log = traffic.log()
  for (const window of NEW_WINDOWS.filter(({ source }) => source === 'orders')) {
    const before = OLD_WINDOWS.find(({ name }) => name === window.name)
    const wanted = expectedDifference(before, window, log, positions)
    const got = foundDifference(found, window.name)
    const isRight = JSON.stringify(got) === JSON.stringify(wanted)
    checks.push(say(`difference.${window.name}`, isRight ? 0 : 1, 'tables', '0', isRight, { wanted, got }))
  }
  const foreign = found.tables.filter(({ table }) => !table.startsWith('revenue')).map(({ table }) => table)
  checks.push(say('difference.shared', foreign.length, 'tables', '0', foreign.length === 0, { foreign }))

  const cdc = await untilReplay(lake, replays.cdc.id, 'compared', ({ difference }) => difference !== null)
  const changes = await differenceOf(lake, cdc.id)
  const accounts = changes.tables.find(({ table }) => table === 'accounts')
  const isRetyped = accounts?.columns.retyped.join() === 'tag: uuid → string'
  checks.push(say('difference.type', Number(isRetyped), 'columns', '1', isRetyped, { found: accounts?.columns }))
  const key = foundDifference(changes, 'entries')
  // Other rows would be another fold: under the new key the rows are the same.
  const isSame = key !== undefined && key.added + key.removed === 0 && key.rowsBefore === key.rowsAfter
  checks.push(say('difference.key', isSame ? 0 : 1, 'tables', '0', isSame, { found: key }))

  const refused = await order(lake, flow.id, 'cutover')
  const isRefused = refused.status === 409 && refused.body.code === 'replay.diff_unapproved'
  checks.push(say('unapproved', refused.status, 'status', '409', isRefused, { code: refused.body.code }))
  return checks
}

async function approve(lake, replays) {
  const orders = []
  for (const { id } of Object.values(replays)) {
    const { difference } = await untilReplay(lake, id, 'compared', (replay) => replay.difference !== null)
    orders.push(await order(lake, id, 'cutover', { approve: difference.id }))
  }
  return orders
}

function isAccepted(orders) {
  return orders.every(({ status }) => status === 202)
}

/** Waits until main has the new code, and the processes of the old one have said that they know. */
async function cutOver(lake, old, replays, code) {
  for (const { id } of Object.values(replays)) await untilPhase(lake, id, 'cut-over')
  for (const pipeline of PIPELINES) {
    await untilState(lake, pipeline, 'running')
    await untilState(old, pipeline, 'superseded', code)
  }
}

/** Readers of a version while the code changes: one that asks again and again, and one that is in the middle of it. */
async function pin(a, b) {
  const { version } = await until('a version', () => pipelineOf(a, 'flow'), Boolean)
  const tables = ['orders', 'revenue', 'revenue_rows', 'revenue__late', 'sensor_load']
  const hash = await hashAt(a, tables, 'flow', version)
  const open = await openQuery(a, LONG, 'flow', version)
  let counted
  return {
    async differences() {
      if (counted !== undefined) return counted
      const rest = (await open.rest()).join('\n')
      const again = [await rowsOf(a, LONG, 'flow', version), await rowsOf(b, LONG, 'flow', version)]
      const hashes = [await hashAt(a, tables, 'flow', version), await hashAt(b, tables, 'flow', version)]
      counted = again.filter((rows) => rows.join('\n') !== rest).length + hashes.filter((each) => each !== hash).length
      return counted
    },
  }
}

/** Waits for some versions more, of the pipeline whose records never end. */
async function moves(lake) {
  const pipeline = 'cdc'
  const { version } = await until('a version', () => pipelineOf(lake, pipeline), Boolean)
  await until(
    `${lake.name} moves on`,
    () => pipelineOf(lake, pipeline),
    (found) => Number(found.version) >= Number(version) + 4,
  )
}

async function untilAt(lake, pipeline, positions) {
  const isThere = ({ partitions }) =>
    partitions.every(({ partition, position }) => (positions[partition] ?? '0') === position)
  await until(`${pipeline} at the end of the log`, () => pipelineOf(lake, pipeline), isThere)
  await sleep(500)
}

/** Every stretch of both chains: who wrote it, and what its first and last version say, against log and ledger. */
async function history(lake, traffic, say) {
  const checks = []
  const log = traffic.log()
  for (const pipeline of PIPELINES) {
    const stretches = stretchesOf(await versionsOf(lake, pipeline))
    const kinds = stretches.map(({ isNew }) => (isNew ? 'new' : 'old')).join()
    const isWhole = kinds === 'old,new,old,new'
    checks.push(say(`${pipeline}.stretches`, stretches.length, 'stretches', '4', isWhole, { kinds }))
    const foreign = stretches.flatMap(({ isNew, versions }) =>
      versions.filter(({ kind, writer }) => kind === 'ingest' && writer.startsWith('b-') !== isNew),
    )
    checks.push(say(`${pipeline}.foreign`, foreign.length, 'versions', '0', foreign.length === 0))
    let [compared, wrong, first] = [0, 0, undefined]
    for (const { isNew, versions } of stretches)
      for (const version of new Set([versions[0], versions.at(-1)])) {
        const verdicts =
          pipeline === 'cdc'
            ? [await checkVersion(lake, traffic.ledger(), version)]
            : await Promise.all(
                (isNew ? NEW_WINDOWS : OLD_WINDOWS).map((window) => compareAt(lake, window, log, version)),
              )
        for (const { differences, first: found } of verdicts) {
          compared++
          wrong += differences
          first ??= found && { version: version.number, isNew, found }
        }
      }
    checks.push(say(`${pipeline}.differences`, wrong, 'rows', '0', wrong === 0 && compared > 0, { compared, first }))
  }
  return checks
}

/** Between a cut-over and the rollback of it the code is the new one. The version before anything was read says nothing. */
function stretchesOf(versions) {
  const stretches = [{ isNew: false, versions: [] }]
  for (const version of versions.slice(1)) {
    if (version.kind === 'cutover') stretches.push({ isNew: true, versions: [] })
    if (version.kind === 'rollback') stretches.push({ isNew: false, versions: [] })
    stretches.at(-1).versions.push(version)
  }
  return stretches
}
