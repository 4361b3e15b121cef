import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Source } from '../log.ts'
import type { KafkaSettings } from './kafka-settings.ts'

/** The in-process log of the demo: a pure function of these numbers, so every process that opens it sees one log. */
export interface ShopSettings {
  readonly seed: number
  /** Timestamp of the first record. */
  readonly epochMs: number
  readonly recordsPerSecond: number
  readonly partitions: number
}

/** Which log to read, as plain values: a lane opens the same log in its own process. */
export type SourceSettings =
  | { readonly kind: 'kafka'; readonly kafka: KafkaSettings }
  | ({ readonly kind: 'shop' } & ShopSettings)

export function openSource(settings: SourceSettings, _clock: Clock): Source {
  throw new LakeError('config.unsupported', `the ${settings.kind} log is not part of this build`)
}
