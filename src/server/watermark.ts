import * as z from 'zod'
import type { StoredWindow } from '../window-property.ts'
import { parsePartitionId, type PartitionId } from '../log.ts'
import type { PartitionStatus, PipelineStatus } from '../status.ts'
import type { Version } from '../version.ts'

export const partitionSchema = z.object({
  partition: z.string(),
  clock: z.string().nullable().describe('largest event time so far; null while no row has one'),
  position: z.string().describe('the next offset to read'),
  end: z.string().nullable().describe('null where this process has not asked for it'),
  lag: z.string().nullable(),
  idle: z.boolean().nullable().describe('null where this process does not read the log'),
  holding: z.boolean().describe('the watermark waits for this partition'),
})

export type PartitionJson = z.output<typeof partitionSchema>

/** The combined watermark (rule C1) of a source table at a version; undefined while some partition has no clock. */
export function watermarkOf({ watermarksMs }: Version, source: string): number | undefined {
  return ownOf(watermarksMs, source)
}

/** A table may be called `constructor`. */
function ownOf<V>(record: Readonly<Record<string, V>>, name: string): V | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

/**
 * The partitions that feed a window and which of them hold the watermark back. Clocks, positions and the watermark are
 * the version's; only ends and idleness are what this process knows of the log.
 */
export function partitionsOf(
  version: Version,
  { definition, topic, outOfOrdernessMs }: StoredWindow,
  status: PipelineStatus | undefined,
): readonly PartitionJson[] {
  const clocks = ownOf(version.clocksMs, definition.source) ?? {}
  const known = new Map(status?.partitions.map((each) => [each.partition, each]))
  const watermarkMs = watermarkOf(version, definition.source)
  const list = [...version.positions.keys()]
    .filter((id) => parsePartitionId(id).topic === topic)
    .toSorted((a, b) => parsePartitionId(a).partition - parsePartitionId(b).partition)
  const holding = holders(list, clocks, { watermarkMs, outOfOrdernessMs }, known)
  return list.map((id) => {
    const position = version.positions.get(id)!
    const { end, isIdle } = known.get(id) ?? {}
    return {
      partition: id,
      clock: instantText(clocks[id]),
      position: String(position),
      end: end === undefined ? null : String(end),
      lag: end === undefined ? null : String(end > position ? end - position : 0n),
      idle: isIdle ?? null,
      holding: holding.has(id),
    }
  })
}

/**
 * A partition holds the watermark when it has not let it pass: its own is not above it, or it has no clock yet (C9). An
 * idle one does not count, unless all are: then the watermark stays where the furthest one took it (C7). What it has
 * passed was idle then, and is taken for idle still where nobody knows.
 */
function holders(
  list: readonly PartitionId[],
  clocks: Readonly<Record<PartitionId, number>>,
  { watermarkMs, outOfOrdernessMs }: { readonly watermarkMs: number | undefined; readonly outOfOrdernessMs: number },
  known: ReadonlyMap<PartitionId, PartitionStatus>,
): ReadonlySet<PartitionId> {
  const own = (id: PartitionId) => (clocks[id] === undefined ? -Infinity : clocks[id] - outOfOrdernessMs - 1)
  const furthest = Math.max(...list.map(own))
  if (list.every((id) => known.get(id)?.isIdle === true)) return new Set(list.filter((id) => own(id) === furthest))
  const holds = (id: PartitionId): boolean => {
    const isIdle = known.get(id)?.isIdle
    if (isIdle === true) return false
    if (watermarkMs === undefined) return own(id) === -Infinity
    return isIdle === false ? own(id) <= watermarkMs : own(id) === watermarkMs || own(id) === -Infinity
  }
  return new Set(list.filter(holds))
}

/** RFC 3339 in UTC, as far as it reaches. */
export function instantText(inMs: number | undefined): string | null {
  return inMs === undefined || Math.abs(inMs) > 8.64e15 ? null : new Date(inMs).toISOString()
}
