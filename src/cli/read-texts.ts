import { UNITS_MS } from '../define-fields.ts'
import { parsePartitionId, type PartitionId } from '../log.ts'
import type { Row } from './output.ts'

/** One change of a row for people: what differs of one that changed, else its values, without those of the key. */
export function changeText(
  { before, after }: { readonly before: Row | null; readonly after: Row | null },
  key: readonly string[],
): string {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter(
    (name) => !key.includes(name),
  )
  if (before === null || after === null) {
    const row = (after ?? before)!
    return names
      .filter((name) => row[name] !== null)
      .map((name) => `${name}=${valueText(row[name])}`)
      .join('  ')
  }
  return names
    .filter((name) => valueText(before[name]) !== valueText(after[name]))
    .map((name) => `${name}: ${valueText(before[name])} → ${valueText(after[name])}`)
    .join('  ')
}

function valueText(value: unknown): string {
  if (value === undefined) return '(no column)'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** `shop.customers 4 · shop.orders 12 7 9`: offsets of each topic, in the order of its partitions. */
export function positionsText(positions: Readonly<Record<string, string>> = {}): string {
  const topics = new Map<string, [partition: number, offset: string][]>()
  for (const [id, offset] of Object.entries(positions)) {
    const { topic, partition } = parsePartitionId(id as PartitionId)
    topics.set(topic, [...(topics.get(topic) ?? []), [partition, offset]])
  }
  return [...topics]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([topic, offsets]) => [topic, ...offsets.toSorted(([a], [b]) => a - b).map(([, offset]) => offset)].join(' '))
    .join(' · ')
}

/** `5s`, `10m`, `1h30m`; below a second `250ms`. */
export function compoundDuration(ms: number): string {
  let left = ms
  const parts = Object.entries(UNITS_MS)
    .toReversed()
    .flatMap(([unit, size]) => {
      const count = Math.floor(left / size)
      left -= count * size
      return count === 0 ? [] : [`${count}${unit}`]
    })
  return parts.length === 0 ? '0s' : parts.join('')
}
