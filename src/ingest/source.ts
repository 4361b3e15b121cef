import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Source } from '../log.ts'
import type { SourceSettings } from '../settings.ts'
import { openKafka } from './kafka.ts'

/** Opens the log that the settings name: every process that opens it reads the same records. */
export function openSource(settings: SourceSettings, clock: Clock): Source {
  switch (settings.kind) {
    case 'kafka':
      return openKafka(settings.kafka, clock)
    case 'shop':
      throw new LakeError('config.unsupported', 'the in-process log is not part of this build')
    default:
      return settings satisfies never
  }
}
