// The same code over the same log gives the same tables: verifications with other batch sizes and numbers of lanes, while
// the live tables move on, and from the archive when the topics no longer hold their old records.
import { Kafka, logLevel } from 'kafkajs'
import { TABLES } from '../cdc/tables.mjs'
import { figure } from '../exact/world.mjs'
import { SOURCES } from '../windows/pipelines.mjs'
import { archived, NEW, NEW_WINDOWS } from './definitions.mjs'
import { drain, newProcess, newStore, rowsOf, pipelineOf, until, untilState, versionsOf } from './lake.mjs'
import { differenceOf, startReplay, untilReplay } from './replays.mjs'

const PIPELINES = ['flow', 'cdc']
const COMMIT = { minInterval: '300ms' }

/** How lanes and batches are cut, for a live run and for replays of it. */
export const SETTINGS = [
  { lanes: 2, records: 300 },
  { lanes: 1, records: 37 },
  { lanes: 3, records: 100_000 },
]

function settingsOf({ lanes, records }) {
  return { lanes, commit: { ...COMMIT, microBatch: { age: '150ms', records } }, pipelines: archived(NEW) }
}

/** @param {object[]} settings the first is that of the live run */
export async function sameCode(world, traffic, { kind, settings, name, other }) {
  const store = newStore(world, { name: `same-${name}`, kind })
  const say = (what, value, unit, target, isOk, more) => figure(`p10.${name}.${what}`, value, unit, target, isOk, more)
  const lake = await newProcess(world, { name: `same-${name}`, store, settings: settingsOf(settings[0]) })
  lake.start()
  await drain(lake, PIPELINES)
  const checks = other === undefined ? [] : [await fresh(lake, other, say)]

  const digests = new Map()
  // The first replays run beside a live pipeline that is at work.
  const more = traffic.more()
  more.catch(() => undefined)
  for (const each of settings) {
    if (each !== settings[0]) {
      await more
      await drain(lake, PIPELINES)
      await lake.signalTree('SIGTERM')
      lake.write(settingsOf(each))
      lake.start()
      for (const pipeline of PIPELINES) await untilState(lake, pipeline, 'running')
    }
    const label = `lanes-${each.lanes}.records-${each.records}`
    checks.push(...(await verified(lake, (what, ...rest) => say(`${label}.${what}`, ...rest), digests)))
  }

  const deleted = await deleteOld(world, lake)
  checks.push(say('deleted', deleted, 'records', '> 0', deleted > 0))
  checks.push(...(await verified(lake, (what, ...rest) => say(`archive.${what}`, ...rest), digests)))
  await lake.signalTree('SIGTERM')
  return checks.every(Boolean)
}

/** Verifies both pipelines at once; the digests of what does not move must be those of every other time. */
async function verified(lake, say, digests) {
  const asked = []
  for (const pipeline of PIPELINES) asked.push(await startReplay(lake, { pipeline, mode: 'verify' }))
  const checks = []
  for (const { id, pipeline } of asked) {
    const replay = await untilReplay(lake, id, 'done', ({ state }) => state === 'done')
    const { equal, tables } = await differenceOf(lake, id)
    const filled = tables.filter(({ rowsAfter }) => rowsAfter !== '0')
    const unlike = tables.filter((each) => each.kind !== 'equal' || each.digestBefore !== each.digestAfter)
    const wanted = pipeline === 'flow' ? NEW_WINDOWS.length + Object.keys(SOURCES).length : TABLES.length
    const version = (await versionsOf(lake, pipeline)).find(({ number }) => number === Number(replay.version))
    const at = JSON.stringify([pipeline, version.positions])
    const digest = tables.map(({ table, digestAfter }) => `${table} ${digestAfter}`).join('\n')
    const isKnown = (digests.get(at) ?? digest) === digest
    digests.set(at, digest)
    const isRight = equal && replay.difference?.equal === true && unlike.length === 0 && isKnown
    checks.push(
      say(`${pipeline}`, unlike.length, 'tables', '0', isRight && filled.length >= wanted, {
        compared: tables.length,
        rows: tables.reduce((sum, { rowsAfter }) => sum + Number(rowsAfter), 0),
        isKnown,
        unlike: unlike.slice(0, 2),
      }),
    )
  }
  return checks
}

function topicOf({ partition }) {
  return partition.slice(0, partition.lastIndexOf('/'))
}

/** Takes the older half of what is committed out of every topic. */
async function deleteOld(world, lake) {
  const admin = new Kafka({ brokers: [world.broker.address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  let deleted = 0
  for (const pipeline of PIPELINES) {
    const { partitions } = await until('positions', () => pipelineOf(lake, pipeline), Boolean)
    for (const topic of new Set(partitions.map(topicOf))) {
      const ends = partitions
        .filter((each) => topicOf(each) === topic)
        .map(({ partition, position }) => ({
          partition: Number(partition.slice(topic.length + 1)),
          offset: String(BigInt(position) / 2n),
        }))
      // The client knows the leaders of topics alone that it was asked of before.
      await admin.fetchTopicOffsets(topic)
      await admin.deleteTopicRecords({ topic, partitions: ends.filter(({ offset }) => offset !== '0') })
      deleted += ends.reduce((sum, { offset }) => sum + Number(offset), 0)
    }
  }
  await admin.disconnect()
  return deleted
}

/** What never ran other code, against what came to it by replays, row by row. */
async function fresh(lake, other, say) {
  let [rows, unlike] = [0, []]
  const tables = {
    flow: [...Object.keys(SOURCES), ...NEW_WINDOWS.flatMap(({ name }) => [name, `${name}__late`])],
    cdc: TABLES.flatMap(({ name }) => [name, `${name}__dlq`]),
  }
  for (const pipeline of PIPELINES) {
    const [{ version }, { version: theirs }] = [await pipelineOf(lake, pipeline), await pipelineOf(other, pipeline)]
    for (const table of tables[pipeline]) {
      const sql = `SELECT * FROM "${table}"`
      const [one, two] = [await rowsOf(lake, sql, pipeline, version), await rowsOf(other, sql, pipeline, theirs)]
      rows += one.length
      if (one.join('\n') !== two.join('\n')) {
        const known = new Set(two)
        unlike.push({ table, rows: [one.length, two.length], first: one.find((line) => !known.has(line)) })
      }
    }
  }
  return say('fresh', unlike.length, 'tables', '0', unlike.length === 0 && rows > 0, { rows, unlike })
}
