import { LakeError } from '../../src/error.ts'
import { ContentSource } from '../../src/ingest/memory-log.ts'
import {
  partitionId,
  type Cursor,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
} from '../../src/log.ts'
import type { SimProcess } from './process.ts'
import type { Shop } from './shop.ts'

/** The log as one process sees it: behind a network, sometimes away, with short and empty answers. */
export class ProcessSource implements Source {
  /** What was told as advice; nothing may ever depend on it. */
  readonly groupOffsets: Map<PartitionId, bigint>
  readonly #process: SimProcess
  readonly #shop: Shop
  readonly #inner: ContentSource

  constructor(process: SimProcess, shop: Shop, groupOffsets: Map<PartitionId, bigint>) {
    this.#process = process
    this.#shop = shop
    this.groupOffsets = groupOffsets
    const { batchOffsetsMax } = process.plan
    this.#inner = new ContentSource(shop.log, process.clock, { batchOffsetsMax, pollMs: 200 })
  }

  topics: Source['topics'] = (names) => this.#ask('topics', () => this.#inner.topics(names))
  positionsAt: Source['positionsAt'] = (ids, at) => this.#ask('positions', () => this.#inner.positionsAt(ids, at))
  bounds: Source['bounds'] = (ids) => this.#ask('bounds', () => this.#inner.bounds(ids))
  tailAt: Source['tailAt'] = (id, offset) => this.#ask('tail', () => this.#inner.tailAt(id, offset))

  async *read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncGenerator<RecordBatch> {
    for await (const batch of this.#inner.read(from, signal)) {
      if (batch.count > 0 || this.#shop.isBrokerAway) await this.#ask('fetch', () => Promise.resolve())
      if (signal.aborted) return
      const cursor = from.get(partitionId(batch.topic, batch.partition))
      if (cursor !== undefined && batch.count === 0 && this.#process.happens('K5')) yield batch
      yield batch
    }
  }

  advise(_group: string, positions: Positions): Promise<void> {
    return this.#ask('advise', () => {
      for (const [id, offset] of positions) this.groupOffsets.set(id, offset)
      return Promise.resolve()
    })
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  /** A client waits for a broker that is away, and gives up at last. */
  async #ask<T>(what: string, request: () => Promise<T>): Promise<T> {
    const { clock } = this.#process
    const startMs = clock.monotonicMs()
    while (this.#shop.isBrokerAway) {
      await clock.sleep(500)
      if (clock.monotonicMs() - startMs > 10_000)
        throw new LakeError('kafka.unavailable', `${what}: no broker answers`, { retryable: true })
    }
    return this.#process.call(what, request)
  }
}
