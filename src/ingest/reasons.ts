import type { LakeErrorCode } from '../error.ts'

/** Reasons that time does not cure: the pipeline waits for a person. Everything else is tried again. */
export const NEEDS_A_PERSON: ReadonlySet<LakeErrorCode> = new Set([
  'kafka.gap',
  'kafka.topic_replaced',
  'kafka.log_truncated',
  'kafka.corrupt',
  'transform.not_row_wise',
  'decode.too_many_dead_letters',
  'decode.stopped',
  'schema.incompatible',
  'upsert.key_in_two_partitions',
  'window.open_rows_max',
  'aggregate.overflow',
  'aggregate.negative_count',
  'table.claimed',
  'config.invalid',
  'config.unsupported',
  'store.no_conditional_write',
  'store.corrupt',
])
