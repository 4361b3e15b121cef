import type { TableDefinition } from '../../define.ts'
import { LakeError } from '../../error.ts'
import type { RecordBatch } from '../../log.ts'
import type { Reason } from './codes.ts'

/** Of a table with `onError: stop`: `did` says what could not be done with the record, `correct` what is to be corrected. */
export function stopped(
  { name }: TableDefinition,
  { topic, partition }: RecordBatch,
  offset: bigint,
  reason: Reason,
  did: 'read' | 'mapped',
  correct: 'columns' | 'expressions' | 'function',
): LakeError {
  return new LakeError('decode.stopped', `${name}: a record could not be ${did}: ${reason.message}`, {
    context: { table: name, topic, partition, offset: String(offset), reason: reason.code },
    fix: `Correct the ${correct}, or set onError to dead-letter, and start again.`,
  })
}
