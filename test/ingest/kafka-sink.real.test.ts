import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { ChangeRecord } from '../../src/ingest/change-sink.ts'
import { KafkaSink } from '../../src/ingest/kafka-sink.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import type { Source } from '../../src/log.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { readTopic } from '../support/read-topic.ts'

// Changes on their way through a real broker.

let kafka: TestKafka
let source: Source
let sink: KafkaSink
beforeAll(async () => {
  kafka = await startKafka()
  source = openKafka({ brokers: kafka.brokers }, systemClock)
  sink = new KafkaSink({ brokers: kafka.brokers }, systemClock)
})
afterAll(async () => {
  await sink.close()
  await source.close()
  await kafka.stop()
})

const record = (key: string, version: number, value: string | null = `${key} of ${version}`): ChangeRecord => ({
  key: JSON.stringify({ k: key }),
  value,
  headers: { 'kappalake.table': 'w', 'kappalake.version': String(version) },
})

describe('a change topic on a broker (E7)', () => {
  test('takes keys, values, nulls and headers; records of one key stay in order, through a crash of the broker', async () => {
    await kafka.createTopic('changes', 3)
    const keys = Array.from({ length: 40 }, (_, k) => `key ${k}`)
    for (let version = 1; version <= 4; version++)
      await sink.send(
        'changes',
        keys.map((key) => record(key, version)),
      )
    await kafka.kill()
    const version5 = [record('key 0', 5, null), record('key 1', 5)]
    await expect(sink.send('changes', version5)).rejects.toMatchObject({ code: 'kafka.unavailable' })
    await kafka.restart()
    for (;;) {
      const isSent = await sink.send('changes', version5).then(
        () => true,
        () => false,
      )
      if (isSent) break
    }
    const read = await readTopic(source, 'changes')
    expect(new Set(read.map(({ partition }) => partition)).size).toBe(3)
    const ofKey = (key: string) => read.filter((each) => each.key === JSON.stringify({ k: key }))
    for (const key of keys) {
      const all = ofKey(key)
      expect(new Set(all.map(({ partition }) => partition)).size).toBe(1)
      const versions = all.map(({ headers }) => Number(headers['kappalake.version']))
      // What failed may have been written all the same, and is there again.
      expect(versions).toEqual(versions.toSorted((a, b) => a - b))
      expect(versions.slice(0, 4)).toEqual([1, 2, 3, 4])
      expect(all[0]).toMatchObject({ value: `${key} of 1`, headers: { 'kappalake.table': 'w' } })
    }
    expect(ofKey('key 0').at(-1)!.value).toBeNull()
    expect(ofKey('key 1').at(-1)!.value).toBe('key 1 of 5')
  }, 120_000)

  test('takes records without a key where they say, in their order', async () => {
    await kafka.createTopic('rows', 2)
    const records = Array.from({ length: 30 }, (_, k): ChangeRecord => ({
      key: null,
      partition: k % 3,
      value: `${k}`,
      headers: { 'kappalake.table': 't' },
    }))
    await sink.send('rows', records)
    const read = await readTopic(source, 'rows')
    expect(new Set(read.map(({ key }) => key))).toEqual(new Set(['']))
    for (const partition of [0, 1]) {
      const own = read.filter((each) => each.partition === partition).map(({ value }) => Number(value))
      expect(own).toEqual(records.map((_, k) => k).filter((k) => (k % 3) % 2 === partition))
    }
  }, 60_000)

  test('that is missing is told, and disturbs no other', async () => {
    await kafka.createTopic('there', 1)
    const sends = await Promise.allSettled([
      sink.send('missing', [record('a', 1)]),
      sink.send('there', [record('a', 1)]),
      sink.send('there', [record('a', 2)]),
    ])
    expect(sends[0]).toMatchObject({ reason: { code: 'kafka.topic_missing', retryable: true } })
    expect(sends.slice(1).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    await kafka.createTopic('missing', 1)
    await sink.send('missing', [record('a', 1)])
    expect(await readTopic(source, 'missing')).toHaveLength(1)
    expect(await readTopic(source, 'there')).toHaveLength(2)
  }, 60_000)

  test('that does not take records so large is told', async () => {
    await kafka.createTopic('small', 1, { 'max.message.bytes': '1000' })
    const noise = randomBytes(4_000).toString('hex')
    await expect(sink.send('small', [record('a', 1, noise)])).rejects.toMatchObject({ code: 'publish.too_large' })
    await sink.send('small', [record('a', 2)])
    expect(await readTopic(source, 'small')).toHaveLength(1)
  }, 60_000)
})
