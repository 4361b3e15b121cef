import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { sourceConformance } from '../conformance/source.ts'
import { cursorsAt, drain, record, records } from '../support/log.ts'

sourceConformance('memory log', async () => {
  const log = new MemoryLog()
  let topics = 0
  return {
    open: async () => new ContentSource(log, systemClock, { pollMs: 1, batchOffsetsMax: 7 }),
    createTopic: async (partitions) => {
      const topic = `t${topics++}`
      log.createTopic(topic, partitions)
      return topic
    },
    append: async (topic, partition, records) => void log.append(topic, partition, records),
    appendAborted: async (topic, partition, records) => log.appendHidden(topic, partition, records.length + 1),
    deleteRecordsBefore: async (topic, partition, offset) => log.deleteRecordsBefore(topic, partition, offset),
    deleteTopic: async (topic) => log.deleteTopic(topic),
    recreate: async (topic) => log.recreate(topic),
    truncate: async (topic, partition, to) => log.truncate(topic, partition, to),
    close: async () => undefined,
  }
})

test('every data record is delivered once, whatever the size of batches and wherever holes are', async () => {
  const slot = fc.oneof(fc.string({ maxLength: 20 }), fc.constant(undefined))
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(slot, { maxLength: 40 }), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 60 }),
      async (partitions, batchOffsetsMax, batchBytesMax) => {
        const log = new MemoryLog()
        log.createTopic('t', partitions.length)
        partitions.forEach((slots, p) => {
          for (const value of slots) {
            if (value === undefined) log.appendHidden('t', p)
            else log.append('t', p, [record(value)])
          }
        })
        const source = new ContentSource(log, systemClock, { batchOffsetsMax, batchBytesMax, pollMs: 0 })
        const drained = await drain(source, await cursorsAt(source, 't'))
        partitions.forEach((slots, p) =>
          expect(drained.values(`t/${p}`)).toEqual(slots.filter((value) => value !== undefined)),
        )
      },
    ),
  )
})

test('a compacted log keeps its offsets', async () => {
  const log = new MemoryLog()
  log.createTopic('t', 1)
  log.append('t', 0, records('v', 10))
  log.compact('t', 0, (_, offset) => offset % 3n === 0n && offset < 9n)
  const source = new ContentSource(log, systemClock)
  const drained = await drain(source, await cursorsAt(source, 't'))
  expect(drained.records.get('t/0')!.map(({ offset }) => offset)).toEqual([0n, 3n, 6n])
  expect(drained.cursors.get('t/0')!.offset).toBe(10n)
})

test('a partition with a long backlog does not keep the others waiting', async () => {
  const log = new MemoryLog()
  log.createTopic('t', 3)
  log.append('t', 0, records('a', 1000))
  log.append('t', 1, records('b', 10))
  log.append('t', 2, records('c', 10))
  const source = new ContentSource(log, systemClock, { batchOffsetsMax: 10 })
  const { batches } = await drain(source, await cursorsAt(source, 't'))
  expect(batches.slice(0, 3).map(({ partition }) => partition)).toEqual([0, 1, 2])
})
