import { backoffMs, type Clock } from '../clock.ts'
import { asLakeError, type LakeError } from '../error.ts'
import type { Cursor, PartitionId, RecordBatch } from '../log.ts'
import { topicIdText, UNAVAILABLE_MS_MAX, type KafkaCluster, type Leader } from './kafka-cluster.ts'
import { KAFKA_ERROR, protocolError } from './kafka-error.ts'
import { FetchLoop } from './kafka-fetch-loop.ts'
import { place, Standing } from './kafka-placement.ts'
import type { FetchAnswer, FetchedPartition, FetchLimits } from './kafka-protocol.ts'
import { corrupt, decodeRecordSet, inPartition, scanRecordSet, type RecordSet } from './record-set.ts'
import { logTruncated } from './log-errors.ts'
import { Mailbox } from './mailbox.ts'

type Event =
  | { readonly kind: 'placed'; readonly leaders: ReadonlyMap<Standing, Leader> }
  | { readonly kind: 'answered'; readonly loop: FetchLoop; readonly answer: FetchAnswer }
  | { readonly kind: 'lost'; readonly loop: FetchLoop; readonly error: LakeError }
  | { readonly kind: 'failed'; readonly error: LakeError }
  | { readonly kind: 'ended' }

/**
 * One reading of some partitions, from their cursors on. Every partition is either with its leader's fetch loop or
 * astray; strays are placed again, with back-off, after a look at the metadata and at the log's bounds:
 *
 *              placed                      answered: batches are yielded, the next request is on its way
 *   astray ──────────────▶ fetch loop ───┐
 *      ▲                    │    ▲       │
 *      └────────────────────┘    └───────┘
 *        lost connection, leader moved, any passing error
 *
 * Back-pressure: a loop asks again only when its last answer was taken, so each broker has at most one answer that is
 * being read and one that waits.
 */
export class KafkaReader {
  readonly #cluster: KafkaCluster
  readonly #clock: Clock
  readonly #limits: FetchLimits
  readonly #events = new Mailbox<Event>()
  readonly #loops = new Map<number, FetchLoop>()
  readonly #standings = new Map<PartitionId, Standing>()
  readonly #astray = new Set<Standing>()
  #isPlacing = false

  constructor(cluster: KafkaCluster, clock: Clock, limits: FetchLimits, from: ReadonlyMap<PartitionId, Cursor>) {
    this.#cluster = cluster
    this.#clock = clock
    this.#limits = limits
    for (const [id, cursor] of from) this.#standings.set(id, new Standing(id, cursor))
    for (const standing of this.#standings.values()) this.#astray.add(standing)
  }

  async *read(ended: AbortSignal): AsyncGenerator<RecordBatch, void, undefined> {
    const onEnd = (): void => this.#events.post({ kind: 'ended' })
    ended.addEventListener('abort', onEnd)
    try {
      while (!ended.aborted) {
        this.#placeStrays(ended)
        const event = await this.#events.take()
        if (ended.aborted) return
        for (const batch of this.#handle(event)) {
          yield batch
          if (ended.aborted) return
        }
      }
    } finally {
      ended.removeEventListener('abort', onEnd)
      for (const loop of this.#loops.values()) loop.close()
    }
  }

  *#handle(event: Event): Generator<RecordBatch, void, undefined> {
    switch (event.kind) {
      case 'placed':
        this.#isPlacing = false
        for (const [standing, leader] of event.leaders) this.#assign(standing, leader)
        return
      case 'answered':
        return yield* this.#deliver(event.loop, event.answer)
      case 'lost':
        for (const standing of event.loop.takeAll()) this.#goAstray(standing, event.error)
        return
      case 'failed':
        throw event.error
      case 'ended':
        return
      default:
        event satisfies never
    }
  }

  #placeStrays(ended: AbortSignal): void {
    if (this.#isPlacing || this.#astray.size === 0) return
    this.#isPlacing = true
    void this.#place([...this.#astray], ended).then((event) => this.#events.post(event))
  }

  async #place(strays: readonly Standing[], ended: AbortSignal): Promise<Event> {
    const attempts = Math.max(...strays.map((standing) => standing.attempts))
    if (attempts > 0) await this.#clock.sleep(backoffMs(this.#clock, attempts - 1), ended)
    if (ended.aborted) return { kind: 'ended' }
    try {
      return { kind: 'placed', leaders: await place(this.#cluster, strays, this.#clock.monotonicMs()) }
    } catch (error) {
      const failure = asLakeError(error)
      if (!failure.retryable) return { kind: 'failed', error: failure }
      const nowMs = this.#clock.monotonicMs()
      const last = strays.map((standing) => standing.fail(failure, nowMs, UNAVAILABLE_MS_MAX)).find(Boolean)
      return last === undefined ? { kind: 'placed', leaders: new Map() } : { kind: 'failed', error: last }
    }
  }

  #assign(standing: Standing, leader: Leader): void {
    this.#astray.delete(standing)
    standing.leaderEpoch = leader.leaderEpoch
    let loop = this.#loops.get(leader.nodeId)
    if (loop === undefined) {
      loop = new FetchLoop(leader.nodeId, this.#cluster, this.#limits)
      this.#loops.set(leader.nodeId, loop)
    }
    loop.add(standing)
    this.#poll(loop)
  }

  #poll(loop: FetchLoop): void {
    void loop.poll()?.then(
      (answer) => this.#events.post({ kind: 'answered', loop, answer }),
      (error) => this.#events.post({ kind: 'lost', loop, error: asLakeError(error) }),
    )
  }

  #goAstray(standing: Standing, error: LakeError): void {
    if (!error.retryable) throw error
    const last = standing.fail(error, this.#clock.monotonicMs(), UNAVAILABLE_MS_MAX)
    if (last !== undefined) throw last
    this.#astray.add(standing)
  }

  /** Moves all positions first, so that the next request is on its way while this answer is being decoded. */
  *#deliver(loop: FetchLoop, answer: FetchAnswer): Generator<RecordBatch, void, undefined> {
    const sets: RecordSet[] = []
    const idle: Standing[] = []
    let bytesBefore = 0
    for (const fetched of answer.partitions) {
      const standing = loop.find(fetched)
      if (standing === undefined) continue
      if (fetched.error !== KAFKA_ERROR.none) {
        loop.remove(standing)
        this.#goAstray(standing, protocolError(fetched.error, standing.id))
        continue
      }
      const set = this.#advance(standing, fetched, bytesBefore === 0)
      bytesBefore += fetched.records.length
      if (set === undefined) idle.push(standing)
      else {
        sets.push(set)
        loop.moveToEnd(standing)
      }
    }
    this.#poll(loop)
    for (const set of sets) yield* decoded(set)
    if (sets.length === 0) for (const standing of idle) yield standing.emptyBatch()
  }

  /** The records that move a partition's position, undefined when nothing does. */
  #advance(standing: Standing, fetched: FetchedPartition, isFirst: boolean): RecordSet | undefined {
    const { id, topic, partition, offset: position, epoch: leaderEpoch } = standing
    if (fetched.diverging !== undefined) throw logTruncated(id, fetched.diverging.endOffset, position)
    const { records: bytes, aborted, lastStableOffset: end } = fetched
    let reached
    try {
      reached = scanRecordSet(bytes, position, leaderEpoch)
    } catch (error) {
      throw inPartition(error, topic, partition)
    }
    // The first batch of an answer comes whole, whatever the limits; without one we would ask for it for ever.
    if (isFirst && bytes.length > 0 && reached.nextOffset === position)
      throw inPartition(corrupt('the broker answers with no whole batch', position), topic, partition)
    standing.moveTo(reached.nextOffset, reached.leaderEpoch, end)
    if (reached.nextOffset === position) return undefined
    return { topic, partition, topicId: topicIdText(standing.topicId), position, leaderEpoch, end, bytes, aborted }
  }
}

function* decoded(set: RecordSet): Generator<RecordBatch, void, undefined> {
  try {
    yield* decodeRecordSet(set)
  } catch (error) {
    throw inPartition(error, set.topic, set.partition)
  }
}
