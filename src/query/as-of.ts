import { LakeError } from '../error.ts'
import type { PartitionId } from '../log.ts'
import type { VersionSelector } from '../version.ts'

/** What a reader asks for: one cut of one pipeline, or of each pipeline that the query touches. */
export type AsOf =
  | { readonly kind: 'head' }
  /** A number: a version, or the id of a snapshot. Numbers above the head are taken as snapshots. */
  | { readonly kind: 'number'; readonly number: bigint }
  | { readonly kind: 'pinned'; readonly versions: ReadonlyMap<string, bigint> }
  | Extract<VersionSelector, { kind: 'time' } | { kind: 'offset' }>

const INTEGER = /^\d{1,19}$/
const PINNED = /^([a-z][a-z0-9_]*)@(\d{1,16})$/
const OFFSET = /^([A-Za-z0-9._-]+)\/(\d{1,9})@(\d{1,19})$/
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/

/**
 * `12` (version or snapshot) · `shop@12` or `shop@12,web@7` · `2026-11-21T10:00:00Z` · `shop.orders/0@1234`, which
 * stands for the oldest kept version that holds the record at that offset. Throws `request.invalid`.
 */
export function parseAsOf(text: string | undefined): AsOf {
  if (text === undefined || text === '' || text === 'head') return { kind: 'head' }
  if (INTEGER.test(text)) return { kind: 'number', number: BigInt(text) }
  const [, topic, partition, offset] = OFFSET.exec(text) ?? []
  if (topic !== undefined)
    return { kind: 'offset', partition: `${topic}/${Number(partition)}` as PartitionId, offset: BigInt(offset!) }
  const pins = text.split(',').map((pin) => PINNED.exec(pin.trim()))
  if (pins.every((pin) => pin !== null))
    return { kind: 'pinned', versions: new Map(pins.map((pin) => [pin![1]!, BigInt(pin![2]!)])) }
  const timeMs = TIME.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(timeMs)) return { kind: 'time', timeMs }
  throw new LakeError('request.invalid', `asOf ${JSON.stringify(text.slice(0, 80))} is not a point in history`, {
    fix: 'Write a version (12 or shop@12), a snapshot id, a time (2026-11-21T10:00:00Z) or an offset (topic/0@1234).',
  })
}
