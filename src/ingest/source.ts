import type { Clock } from '../clock.ts'
import type { Source } from '../log.ts'
import type { SourceSettings } from '../settings.ts'
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
