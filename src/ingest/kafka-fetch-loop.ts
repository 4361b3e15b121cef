import type { FetchLimits, FetchAnswer, FetchedPartition } from './kafka-protocol.ts'
import { fetchRecords } from './kafka-protocol.ts'
import type { KafkaCluster } from './kafka-cluster.ts'
import type { KafkaConnection } from './kafka-connection.ts'
import { KAFKA_ERROR, protocolError } from './kafka-error.ts'
import type { Standing } from './kafka-placement.ts'

/**
 * The long polls to one broker, for all partitions that it leads, one after the other on a connection of their own.
 * A broker fills its answer in the order of the request: a partition that moved goes to the end of the queue, one that
 * got nothing stays in front, so every partition has its turn, and a batch larger than the limits comes whole.
 */
export class FetchLoop {
  readonly #nodeId: number
  readonly #cluster: KafkaCluster
  readonly #limits: FetchLimits
  readonly #queue = new Map<string, Standing>()
  #connection: KafkaConnection | undefined
  #isPolling = false
  #isClosed = false

  constructor(nodeId: number, cluster: KafkaCluster, limits: FetchLimits) {
    this.#nodeId = nodeId
    this.#cluster = cluster
    this.#limits = limits
  }

  add(standing: Standing): void {
    this.#queue.set(keyOf(standing), standing)
  }

  find(fetched: FetchedPartition): Standing | undefined {
    return this.#queue.get(keyOf(fetched))
  }

  remove(standing: Standing): void {
    this.#queue.delete(keyOf(standing))
  }

  moveToEnd(standing: Standing): void {
    this.remove(standing)
    this.add(standing)
  }

  /** Empties the queue after a failure; the connection is gone too. */
  takeAll(): Standing[] {
    const all = [...this.#queue.values()]
    this.#queue.clear()
    this.#disconnect()
    return all
  }

  /** Sends the next request, unless one is under way or nothing is to be read here. */
  poll(): Promise<FetchAnswer> | undefined {
    if (this.#isPolling || this.#isClosed) return undefined
    if (this.#queue.size === 0) return this.#disconnect()
    this.#isPolling = true
    return this.#ask().finally(() => (this.#isPolling = false))
  }

  close(): void {
    this.#isClosed = true
    this.#disconnect()
  }

  async #ask(): Promise<FetchAnswer> {
    const asked = [...this.#queue.values()].map(({ topicId, partition, offset, leaderEpoch, epoch }) => ({
      topicId,
      partition,
      offset,
      leaderEpoch,
      lastFetchedEpoch: epoch,
    }))
    const connection = await this.#connected()
    const answer = await connection.send(fetchRecords(asked, this.#limits), this.#limits.maxWaitMs)
    if (answer.error !== KAFKA_ERROR.none) throw protocolError(answer.error, `broker ${this.#nodeId}`)
    return answer
  }

  async #connected(): Promise<KafkaConnection> {
    if (this.#connection?.isOpen === true) return this.#connection
    this.#disconnect()
    const opened = await this.#cluster.openReader(this.#nodeId)
    if (this.#isClosed) opened.close()
    else this.#connection = opened
    return opened
  }

  #disconnect(): undefined {
    this.#connection?.close()
    this.#connection = undefined
  }
}

function keyOf({ topicId, partition }: { readonly topicId: Buffer; readonly partition: number }): string {
  return `${topicId.toString('latin1')}${partition}`
}
