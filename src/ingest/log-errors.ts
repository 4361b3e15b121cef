import { LakeError } from '../error.ts'
import { partitionId, type Cursor, type PartitionId } from '../log.ts'

/**
 * The ways in which a log may no longer be the one a position was taken from. Every source throws these, so that an
 * operator reads the same words whatever the log is. Offsets are decimal strings in the context: it must be JSON.
 */

/** Throws unless `offset` lies in [logStart, logEnd]. `logEnd` is the end of the log itself, not the last stable offset. */
export function checkInsideLog(partition: PartitionId, offset: bigint, logStart: bigint, logEnd: bigint): void {
  if (offset < logStart) throw gap(partition, offset, logStart)
  if (offset > logEnd) throw logTruncated(partition, logEnd, offset)
}

/** Records [from, until) were deleted before they were read: retention, or an explicit deletion. */
export function gap(partition: PartitionId, from: bigint, until: bigint): LakeError {
  return new LakeError(
    'kafka.gap',
    `${partition}: records ${from} to ${until - 1n} were deleted before they were read`,
    {
      context: { partition, from: String(from), until: String(until) },
      fix: 'Restore the records, or accept the loss and record the gap.',
    },
  )
}

/** The log ends, or goes on differently, at `at`, below a position that was already consumed. */
export function logTruncated(partition: PartitionId, at: bigint, offset: bigint): LakeError {
  return new LakeError(
    'kafka.log_truncated',
    `${partition}: the log was cut at ${at}, and records up to ${offset - 1n} were consumed before`,
    {
      context: { partition, at: String(at), offset: String(offset) },
      fix: 'Roll back to a version below the cut, or replay the table from the log as it is now.',
    },
  )
}

export function topicReplaced(topic: string, expected: string, found: string): LakeError {
  return new LakeError('kafka.topic_replaced', `${topic} was deleted and made again: it is another log now`, {
    context: { topic, expected, found },
    fix: 'Replay the table from the new topic, or restore the old one.',
  })
}

export function topicMissing(topic: string, partition?: PartitionId): LakeError {
  return new LakeError('kafka.topic_missing', `${partition ?? topic} does not exist`, {
    context: partition === undefined ? { topic } : { topic, partition },
    fix: 'Create the topic, or remove it from the definition.',
  })
}

export function checkTopicId(topic: string, cursor: Cursor, found: string): void {
  if (cursor.topicId !== found) throw topicReplaced(topic, cursor.topicId, found)
}

/** One leader epoch of a partition: it wrote the offsets from `start` to the start of the next one. */
export interface EpochStart {
  readonly epoch: number
  readonly start: bigint
}

/**
 * Throws when the epoch below a cursor ends below its offset: what was consumed there is gone, others may have written
 * on (KIP-320). `epochs` are ascending; an unknown epoch in the cursor proves nothing.
 */
export function checkEpoch(topic: string, partition: number, cursor: Cursor, epochs: readonly EpochStart[]): void {
  if (cursor.leaderEpoch < 0) return
  const later = epochs.find(({ epoch }) => epoch > cursor.leaderEpoch)
  if (later !== undefined && later.start < cursor.offset)
    throw logTruncated(partitionId(topic, partition), later.start, cursor.offset)
}
