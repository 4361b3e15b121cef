import { systemClock } from '../../src/clock.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import { sourceConformance } from '../conformance/source.ts'
import { startKafka } from '../support/kafka.ts'

sourceConformance('Kafka', async () => {
  const kafka = await startKafka()
  const partitionsOf = new Map<string, number>()
  const createTopic = async (partitions: number): Promise<string> => {
    const topic = `contract.${partitionsOf.size}`
    await kafka.createTopic(topic, partitions)
    partitionsOf.set(topic, partitions)
    return topic
  }
  return {
    open: async () => openKafka({ brokers: kafka.brokers }, systemClock),
    createTopic,
    append: (topic, partition, records) => kafka.produce(topic, partition, records),
    appendAborted: (topic, partition, records) => kafka.produce(topic, partition, records, { transactional: 'abort' }),
    deleteRecordsBefore: kafka.deleteRecords,
    deleteTopic: kafka.deleteTopic,
    recreate: async (topic) => {
      await kafka.deleteTopic(topic)
      await kafka.createTopic(topic, partitionsOf.get(topic)!)
    },
    truncate: kafka.truncate,
    close: kafka.stop,
  }
})
