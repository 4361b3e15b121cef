import { asLakeError, type LakeError } from '../error.ts'
import { parsePartitionId, partitionId, type Cursor, type PartitionId, type RecordBatch } from '../log.ts'
import {
  groupByNode,
  leaderOf,
  topicIdBytes,
  topicIdText,
  UNAVAILABLE_MS_MAX,
  type KafkaCluster,
  type Leader,
} from './kafka-cluster.ts'
import { KAFKA_ERROR, protocolError } from './kafka-error.ts'
import { offsetForLeaderEpoch, type TopicMetadata } from './kafka-protocol.ts'
import { checkInsideLog, checkTopicId, logTruncated } from './log-errors.ts'
import { emptyRecordSet } from './record-set.ts'

/**
 * Metadata reach brokers one after the other, and a new leader may know less for a moment. A topic is believed to be
 * gone, replaced or cut only when a second look after this time says the same.
 */
const DOUBT_MS = 1_000

/** Where a reader stands in one partition, and how it fares there. */
export class Standing {
  readonly id: PartitionId
  readonly topic: string
  readonly partition: number
  readonly topicId: Buffer
  /** Epoch that the leader must have to be the one we mean. */
  leaderEpoch = -1
  /** Failures in a row. */
  attempts = 0
  #offset: bigint
  #epoch: number
  #end: bigint
  #awaySinceMs: number | undefined
  #doubtSinceMs: number | undefined

  constructor(id: PartitionId, cursor: Cursor) {
    const { topic, partition } = parsePartitionId(id)
    this.id = id
    this.topic = topic
    this.partition = partition
    this.topicId = topicIdBytes(cursor.topicId)
    this.#offset = cursor.offset
    this.#epoch = cursor.leaderEpoch
    this.#end = cursor.offset
  }

  get offset(): bigint {
    return this.#offset
  }

  /** Epoch of the last batch below the offset, -1 when unknown. */
  get epoch(): number {
    return this.#epoch
  }

  get cursor(): Cursor {
    return { offset: this.#offset, leaderEpoch: this.#epoch, topicId: topicIdText(this.topicId) }
  }

  /** A leader answered: whatever was wrong before is over. */
  moveTo(offset: bigint, epoch: number, end: bigint): void {
    this.#offset = offset
    this.#epoch = epoch
    this.#end = end
    this.attempts = 0
    this.#awaySinceMs = undefined
  }

  /** Counts a passing failure. Answers it when the partition has been away for longer than `budgetMs`. */
  fail(error: LakeError, nowMs: number, budgetMs: number): LakeError | undefined {
    this.attempts++
    this.#awaySinceMs ??= nowMs
    return nowMs - this.#awaySinceMs > budgetMs ? error : undefined
  }

  /** Throws `error` when it was there at an earlier look already. */
  doubt(error: LakeError, nowMs: number): void {
    this.attempts++
    this.#doubtSinceMs ??= nowMs
    if (nowMs - this.#doubtSinceMs >= DOUBT_MS) throw error
  }

  believe(): void {
    this.#doubtSinceMs = undefined
  }

  emptyBatch(): RecordBatch {
    const { topic, partition, cursor } = this
    return emptyRecordSet({
      topic,
      partition,
      topicId: cursor.topicId,
      position: cursor.offset,
      leaderEpoch: cursor.leaderEpoch,
      end: this.#end,
    })
  }
}

/**
 * Finds the leaders of partitions, and checks that each cursor still fits the log before anything is read from it.
 * Answers those that may be read now. Throws what stops the reading, or what keeps all of them away at the moment.
 */
export async function place(
  cluster: KafkaCluster,
  standings: readonly Standing[],
  nowMs: number,
): Promise<ReadonlyMap<Standing, Leader>> {
  const topics = await cluster.topics([...new Set(standings.map(({ topic }) => topic))])
  const found = standings.flatMap((standing) => {
    const leader = believableLeader(topics, standing, nowMs)
    return leader === undefined ? [] : [{ standing, leader }]
  })
  await checkEpochs(cluster, found)
  const leaders = found.map(({ leader }) => leader)
  const [logStart, logEnd] = await Promise.all([
    cluster.offsets(leaders, 'logStart'),
    cluster.offsets(leaders, 'highWatermark'),
  ])
  const placed = new Map<Standing, Leader>()
  for (const { standing, leader } of found) {
    const { id, offset } = standing
    if (!isPassing(standing, nowMs, () => checkInsideLog(id, offset, logStart.get(id)!, logEnd.get(id)!))) continue
    standing.believe()
    placed.set(standing, leader)
  }
  return placed
}

function believableLeader(
  topics: ReadonlyMap<string, TopicMetadata>,
  standing: Standing,
  nowMs: number,
): Leader | undefined {
  let leader: Leader | undefined
  isPassing(standing, nowMs, () => {
    leader = leaderOf(topics, standing.topic, standing.partition)
    checkTopicId(standing.topic, standing.cursor, topicIdText(leader.topicId))
  })
  return leader !== undefined && leader.topicId.equals(standing.topicId) ? leader : undefined
}

/** Whether the check holds. A failure that a second look may contradict is remembered, any other is thrown. */
function isPassing(standing: Standing, nowMs: number, check: () => void): boolean {
  try {
    check()
    return true
  } catch (error) {
    const failure = asLakeError(error)
    if (failure.retryable) {
      const last = standing.fail(failure, nowMs, UNAVAILABLE_MS_MAX)
      if (last !== undefined) throw last
    } else if (failure.code === 'kafka.gap' || failure.code === 'kafka.denied') throw failure
    else standing.doubt(failure, nowMs)
    return false
  }
}

/** Asks the leaders where the epochs that we read from end in their logs: below our position means that we read what is lost. */
async function checkEpochs(
  cluster: KafkaCluster,
  found: readonly { readonly standing: Standing; readonly leader: Leader }[],
): Promise<void> {
  const known = found
    .filter(({ standing }) => standing.epoch >= 0)
    .map(({ standing, leader }) => ({ ...leader, epoch: standing.epoch, offset: standing.offset }))
  const positions = new Map(known.map(({ topic, partition, offset }) => [partitionId(topic, partition), offset]))
  const answers = await Promise.all(
    [...groupByNode(known)].map(([nodeId, partitions]) => cluster.ask(nodeId, offsetForLeaderEpoch(partitions))),
  )
  for (const { topic, partition, error, leaderEpoch, endOffset } of answers.flat()) {
    const id = partitionId(topic, partition)
    if (error !== KAFKA_ERROR.none) throw protocolError(error, id)
    const offset = positions.get(id)!
    // A leader that knows no such epoch, because all of it was deleted, proves nothing.
    if (leaderEpoch >= 0 && endOffset >= 0n && endOffset < offset) throw logTruncated(id, endOffset, offset)
  }
}
