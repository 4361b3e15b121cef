import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Source } from '../log.ts'
import type { SourceSettings } from '../settings.ts'
import type { ChangeSink } from './change-sink.ts'
import { KafkaSink } from './kafka-sink.ts'
import { openKafka } from './kafka.ts'
import { ContentSource } from './memory-log.ts'
import { shopContent } from './shop-log.ts'

/** Opens the log that the settings name: every process that opens it reads the same records. */
export function openSource(settings: SourceSettings, clock: Clock): Source {
  switch (settings.kind) {
    case 'kafka':
      return openKafka(settings.kafka, clock)
    case 'shop':
      return new ContentSource(shopContent(settings.shop, clock), clock)
    default:
      return settings satisfies never
  }
}

/** Where changes are published: the cluster that is read from. Nothing is sent before the first call. */
export function openSink(settings: SourceSettings, clock: Clock): ChangeSink {
  if (settings.kind === 'kafka') return new KafkaSink(settings.kafka, clock)
  return {
    send: (topic) =>
      Promise.reject(
        new LakeError('config.unsupported', `the in-process log has no topic ${topic} to publish to`, {
          fix: 'Publishing needs Kafka: remove `to`, or set kafka.brokers.',
        }),
      ),
    close: () => Promise.resolve(),
  }
}
