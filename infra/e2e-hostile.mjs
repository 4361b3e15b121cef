// `npm run e2e:hostile`: the open door. A real broker behind TLS and a password, a real registry that is killed in the
// middle, topics in JSON and Avro of which every two hundredth record is poison, and beside them strangers who send
// hostile SQL. At the end no row is missing and none is there twice, each poison record is one dead letter, the outage
// has made none, an honest query got one answer all the time, and no secret stands anywhere. Ingestion with strangers is
// held against ingestion without them, by turns.
import { mkdtempSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { end, install, inWorld } from './frame.mjs'

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '2000' },
    partitions: { type: 'string', default: '4' },
    /** Turns without strangers and with them, and how long each takes. */
    turns: { type: 'string', default: '10' },
    'turn-seconds': { type: 'string', default: '4' },
    strangers: { type: 'string', default: '2' },
    store: { type: 'string', default: 'disk' },
    seed: { type: 'string', default: '1' },
    limit: { type: 'string', default: '180' },
    /** Shorter; and what depends on the machine's load is printed without deciding anything. */
    ci: { type: 'boolean', default: false },
  },
})
install('kafka', 'registry')
const { startRegistry } = await import('./registry.mjs')
const { createTopics, figure, sleep } = await import('./exact/world.mjs')
const { randomOf } = await import('./exact/random.mjs')
const { drain, newProcess, newStore, pipelineOf, rowsOf, until } = await import('./p10/lake.mjs')
const { brokerOptions, environmentOf, makeSecrets, PIPELINES, settingsOf, TOPICS } =
  await import('./hostile/definitions.mjs')
const { SCHEMAS } = await import('./hostile/avro-records.mjs')
const { Strangers, Victim } = await import('./hostile/statements.mjs')
const { Traffic } = await import('./hostile/traffic.mjs')
const { judge, shown } = await import('./hostile/verdict.mjs')
const { watch, median } = await import('./hostile/watch.mjs')

const number = (name) => Number(values[name])
const turns = values.ci ? 1 : number('turns')
const turnSeconds = values.ci ? 2 : number('turn-seconds')
const random = randomOf(number('seed'))
const say = (what, ...rest) => figure(`hostile.${values.store}.${what}`, ...rest)
/** A figure that the load of the machine decides. */
const sayTimed = (what, value, unit, target, isOk, more) => say(what, value, unit, target, isOk, more) || values.ci
const TABLES = Object.keys(TOPICS)
const VICTIM_SQL = `SELECT count(*) AS n, sum(n) AS s, md5(string_agg(id || status || note, ',' ORDER BY id)) AS d FROM clicks`

const secrets = makeSecrets()
const worldOptions = {
  partitions: number('partitions'),
  s3: values.store === 's3',
  brokerOptions: brokerOptions(secrets),
}
const startedMs = performance.now()
const registryDir = mkdtempSync(path.join(os.tmpdir(), 'kappalake-hostile-'))
// Beside the broker: both take their time.
const starting = startRegistry({ dir: registryDir })
starting.catch(() => undefined)
end(await inWorld(worldOptions, run))

async function run(world) {
  const state = { registry: await starting }
  try {
    await createTopics(world, Object.values(TOPICS))
    return await besieged(world, state)
  } finally {
    await state.registry.stop()
  }
}

async function besieged(world, state) {
  const { registry } = state
  const schemaIds = [await registry.register('orders-value', { schema: JSON.stringify(SCHEMAS[0]) })]
  const store = newStore(world, { name: 'hostile', kind: values.store })
  const lake = await newProcess(world, {
    name: 'hostile',
    store,
    settings: settingsOf(world, registry),
    env: environmentOf(secrets),
    key: secrets.admin,
  })
  lake.start()
  const { pid } = lake
  const traffic = new Traffic(world, { perSecond: number('rate'), random, schemaIds })
  await traffic.start()
  for (const pipeline of ['web', 'shop'])
    await until(
      `${pipeline} runs`,
      () => pipelineOf(lake, pipeline),
      ({ state: is, version }) => is === 'running' && Number(version) > 2,
    )
  const events = listen(lake)
  const strangers = new Strangers(lake, world.folder, {
    key: secrets.stranger,
    secrets: Object.values(secrets),
    random,
  })
  await strangers.open(secrets.file)
  const { version } = await pipelineOf(lake, 'web')
  const victim = new Victim(lake, { key: secrets.reader, sql: VICTIM_SQL, asOf: `web@${version}` })

  const measured = await byTurns(lake, traffic, strangers)
  await traffic.sendHuge()
  strangers.start(number('strangers'))
  const outage = await withoutRegistry(state, lake, traffic)
  await traffic.stop()
  await drain(lake, ['web', 'shop'])
  // Every statement once, at least.
  while (strangers.fired < strangers.count && !values.ci) await sleep(50)
  await strangers.stop()
  await victim.stop()
  strangers.close()

  const { records } = traffic
  const checks = [
    say('produced', records.length, 'records', '> 0', records.length > 0),
    ...besiegedWith(strangers, victim),
    ...compareTurns(measured),
    say('outage', outage.letters, 'dead letters', '0', outage.letters === 0 && outage.state === 'waiting', outage),
  ]
  for (const table of TABLES) checks.push(...verdictOf(table, await judge(lake, table, records)))
  checks.push(
    say('alive', Number(lake.pid === pid && lake.isRunning), 'processes', '1', lake.pid === pid && lake.isRunning),
  )
  events.stop()
  checks.push(await silent(lake, registry, events))
  await lake.signalTree('SIGTERM')
  const seconds = Math.round((performance.now() - startedMs) / 1_000)
  checks.push(sayTimed('took', seconds, 's', `<= ${values.limit}`, seconds <= number('limit')))
  return checks.every(Boolean)
}

/** Without strangers and with them, again and again, so that what the machine does besides falls on both. */
async function byTurns(lake, traffic, strangers) {
  const measured = { without: [], with: [] }
  await sleep(1_000)
  for (let turn = 0; turn < turns; turn++) {
    measured.without.push(await watch(lake, traffic, 'web', turnSeconds))
    strangers.start(number('strangers'))
    measured.with.push(await watch(lake, traffic, 'web', turnSeconds))
    await strangers.stop()
  }
  return measured
}

function compareTurns(measured) {
  const perSecond = (measuredTurns) =>
    measuredTurns.reduce((sum, each) => sum + each.perSecond, 0) / measuredTurns.length
  const [without, beside] = [perSecond(measured.without), perSecond(measured.with)]
  // Of records that are on their way, in the middle of all turns, as a time at the pace of the producer.
  const lagMs = (name) => Math.round((median(measured[name].flatMap(({ lags }) => lags)) / without) * 1_000)
  const [lagWithout, lagBeside] = [lagMs('without'), lagMs('with')]
  const rate = beside / without
  return [
    sayTimed('rate', Number(rate.toFixed(3)), 'of that without', '>= 0.9', rate >= 0.9, {
      withoutPerSecond: Math.round(without),
      withPerSecond: Math.round(beside),
    }),
    sayTimed(
      'lag',
      Number((lagBeside / lagWithout).toFixed(3)),
      'of that without',
      '<= 1.1',
      lagBeside <= lagWithout * 1.1,
      {
        withoutMs: lagWithout,
        withMs: lagBeside,
      },
    ),
  ]
}

/** Kills the registry, lets producers come with a schema that nobody has seen, and brings it back. */
async function withoutRegistry(state, lake, traffic) {
  const { registry } = state
  const ids = [...traffic.schemaIds, await registry.register('orders-value', { schema: JSON.stringify(SCHEMAS[1]) })]
  // What it has acknowledged is on its disk within a second.
  await sleep(1_500)
  await registry.kill()
  traffic.schemaIds = ids
  const waiting = await until(
    'shop waits',
    () => pipelineOf(lake, 'shop'),
    ({ reason }) => reason?.code === 'registry.unavailable',
    30_000,
  )
  await sleep(2_000)
  const { state: found, reason } = await pipelineOf(lake, 'shop')
  const { state: web } = await pipelineOf(lake, 'web')
  const letters = await blamed(lake, traffic)
  const restartedMs = performance.now()
  state.registry = await startRegistry({ dir: registryDir, port: registry.port })
  await until(
    'shop goes on',
    () => pipelineOf(lake, 'shop'),
    ({ state: is }) => is === 'running',
    60_000,
  )
  return {
    letters,
    state: waiting.state,
    while: { state: found, code: reason?.code, web },
    awayMs: Math.round(performance.now() - restartedMs),
  }
}

/**
 * Orders that are dead letters for their schema though nothing is wrong with them. Those whose schema nobody knows may
 * become letters meanwhile: the registry said so before it was away.
 */
async function blamed(lake, traffic) {
  const sql = `SELECT _kafka_partition AS p, _offset AS o FROM orders__dlq WHERE code LIKE 'schema.%'`
  const letters = await rowsOf(lake, sql, 'shop', (await pipelineOf(lake, 'shop')).version)
  // The lake may have a record before its producer is told of it.
  await sleep(200)
  const orders = traffic.records.filter(({ table }) => table === 'orders')
  const poison = orders.filter(({ codes }) => codes !== undefined)
  const places = new Set(poison.map(({ partition, offset }) => `${partition}/${offset}`))
  return letters.map((line) => JSON.parse(line)).filter(({ p, o }) => !places.has(`${p}/${o}`)).length
}

function besiegedWith(strangers, victim) {
  const outcomes = Object.fromEntries(strangers.outcomes)
  return [
    say(
      'statements',
      strangers.wrong.length,
      'statements',
      '0',
      strangers.wrong.length === 0 && strangers.fired > 250,
      {
        fired: strangers.fired,
        slowestMs: Math.round(strangers.slowestMs),
        outcomes,
        wrong: strangers.wrong.slice(0, 5),
      },
    ),
    say('called', strangers.calls, 'connections', '0', strangers.calls === 0),
    say('honest', victim.failures.length, 'answers', '0', victim.failures.length === 0 && victim.answers > 10, {
      answers: victim.answers,
      slowestMs: Math.round(victim.slowestMs),
      failures: victim.failures.slice(0, 3),
    }),
  ]
}

function verdictOf(table, { rows, letters }) {
  return Object.entries({ rows, letters }).map(([what, { count, wanted, missing, twice, samples }]) =>
    say(`${PIPELINES[table]}.${table}.${what}`, count, 'records', '0', count === 0 && wanted > 0, {
      wanted,
      missing,
      twice,
      ...(count === 0 ? {} : { samples }),
    }),
  )
}

/** All that the service says of itself, to whoever may ask for everything. */
async function silent(lake, registry, events) {
  const texts = { log: readFileSync(lake.log, 'utf8'), events: events.text() }
  const routes = ['/v1/config', '/v1/pipelines', '/v1/pipelines/web', '/v1/pipelines/shop', '/v1/tables', '/v1/jobs']
  routes.push(
    '/v1/queries',
    '/v1/dlq/web?bytes=none&limit=1000',
    '/metrics',
    '/readyz',
    '/openapi.json',
    '/iceberg/v1/config',
  )
  for (const route of [...routes, '/v1/nothing', '/v1/query?q=nonsense'])
    texts[route] = await fetch(`${lake.url}${route}`, { headers: lake.headers }).then((answer) => answer.text())
  const isAsked = texts['/v1/config'].includes('"password"') && texts['/v1/config'].includes(registry.url)
  const places = shown(secrets, texts)
  return say('secrets', places.length, 'places', '0', places.length === 0 && isAsked, {
    looked: Object.keys(texts).length,
    logBytes: texts.log.length,
    places,
  })
}

/** What a listener at the stream of replays' and pipelines' events is told: here, of the state of both pipelines. */
function listen(lake) {
  const seen = []
  let isStopped = false
  const look = async () => {
    for (; !isStopped; await sleep(500))
      for (const pipeline of ['web', 'shop']) seen.push(JSON.stringify(await pipelineOf(lake, pipeline)))
  }
  void look()
  return { stop: () => (isStopped = true), text: () => seen.join('\n') }
}
