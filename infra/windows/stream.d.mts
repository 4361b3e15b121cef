import type { RunSource } from './pipelines.mjs'

export interface StreamRecord {
  readonly key: string
  readonly kts: number
  readonly value: string | null
}

/** Records of one partition; the same for the same options. */
export function records(
  source: RunSource,
  options: {
    readonly partition: number
    readonly seed: number
    readonly records: number
    readonly baseMs: number
  },
): Generator<StreamRecord, void>

/** The last record of each partition: everything before it is final once it is read. */
export function closing(source: RunSource, partition: number, baseMs: number): StreamRecord
