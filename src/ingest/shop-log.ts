import type { Clock } from '../clock.ts'
import type { TopicInfo } from '../log.ts'
import type { ShopSettings } from '../settings.ts'
import { shopRecord, type ShopTopic } from './shop-record.ts'

/** What the demo's log holds, as a log in memory is asked for it. */
export interface ShopContent {
  topics(): readonly TopicInfo[]
  logStart(topic: string, partition: number): bigint
  end(topic: string, partition: number): bigint
  /** Undefined at and beyond the end. */
  record(topic: string, partition: number, offset: bigint): ShopLogRecord | undefined
}

export interface ShopLogRecord {
  readonly timestampMs: number
  readonly key: Uint8Array | undefined
  readonly value: Uint8Array | undefined
}

export const SHOP_TOPICS: Readonly<Record<ShopTopic, { readonly partitions: number }>> = {
  'shop.orders': { partitions: 3 },
  'shop.customers': { partitions: 1 },
  'shop.page_views': { partitions: 3 },
}

/** The time before the epoch over which the first records are spread. */
const HISTORY_MS = 3_600_000

/**
 * A shop's events as a log that nobody has to write: each record is a pure function of (seed, topic, partition, offset),
 * and the end grows with the clock, so any process at any time sees the same log under the same offsets. A clock that is
 * set back does not shorten it while the process lives.
 */
export function shopContent(settings: ShopSettings, clock: Clock): ShopContent {
  const topics = Object.entries(SHOP_TOPICS).map(([topic, { partitions }]) => ({
    topic,
    topicId: `${topic}-${settings.seed}-${settings.epochMs}`,
    partitions: Array.from({ length: partitions }, (_, i) => i),
  }))
  let newestMs = 0
  const end = (topic: string, partition: number): bigint => {
    newestMs = Math.max(newestMs, clock.nowMs())
    return shopEnd(settings, topic as ShopTopic, partition, newestMs)
  }
  return {
    topics: () => topics,
    logStart: () => 0n,
    end,
    record: (topic, partition, offset) =>
      offset < 0n || offset >= end(topic, partition)
        ? undefined
        : shopLogRecord(settings, topic as ShopTopic, partition, Number(offset)),
  }
}

/** The next offset to be written at an instant: records go round the partitions in turn. */
export function shopEnd(settings: ShopSettings, topic: ShopTopic, partition: number, nowMs: number): bigint {
  const { partitions } = SHOP_TOPICS[topic]
  const elapsedMs = Math.max(0, Math.min(nowMs, settings.untilMs ?? Infinity) - settings.epochMs)
  const records = settings.recordsAtStart + Math.floor((elapsedMs * settings.recordsPerSecond) / 1_000)
  return BigInt(Math.max(0, Math.ceil((records - partition) / partitions)))
}

/** The record at an offset, whether or not the log has grown that far. */
export function shopLogRecord(
  settings: ShopSettings,
  topic: ShopTopic,
  partition: number,
  offset: number,
): ShopLogRecord {
  const timestampMs = shopTimestampMs(settings, topic, partition, offset)
  const { key, value } = shopRecord(settings.seed, topic, partition, offset, timestampMs)
  return { timestampMs, key: bytes(key), value: bytes(value) }
}

/** Grows with the offset. */
export function shopTimestampMs(settings: ShopSettings, topic: ShopTopic, partition: number, offset: number): number {
  const index = offset * SHOP_TOPICS[topic].partitions + partition
  const { recordsAtStart, recordsPerSecond, epochMs } = settings
  if (index < recordsAtStart) return epochMs - HISTORY_MS + Math.floor((index * HISTORY_MS) / recordsAtStart)
  return epochMs + Math.floor(((index - recordsAtStart) * 1_000) / recordsPerSecond)
}

function bytes(value: string | Uint8Array | undefined): Uint8Array | undefined {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : value
}
