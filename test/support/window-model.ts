import { isSliced, type WindowDefinition, type WindowKind } from '../../src/define-window.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'

// The rules of windows over events in plain TypeScript, record by record, that shares nothing with ours.

/** Of the source: B, the timestamp of every record, and how far ahead of it an event may be. */
export const BOUND_MS = 5
export const KAFKA_MS = 0
export const FUTURE_MS = 1_000

export interface LogRecord {
  readonly partition: number
  readonly at: number | null
  readonly g: string | null
  readonly v: number | null
  readonly d: number | null
  readonly isPoison: boolean
}

interface Counted extends Span {
  readonly g: string | null
  readonly record: LogRecord & { readonly at: number; readonly offset: number }
}

/** A group in a window: what the state must hold of it, unless it is settled. */
export interface Cell extends Span {
  readonly g: string | null
  readonly n: number
  readonly isFinal: boolean
}

/** What a version must hold: all that follows from the log below its positions. */
export class Recount {
  readonly clocks = new Map<PartitionId, number>()
  readonly late: string[] = []
  readonly rows: string[] = []
  readonly stored: string[] = []
  readonly cells: Cell[] = []

  constructor(log: readonly (readonly LogRecord[])[], version: Version, definition: WindowDefinition) {
    const counted: Counted[] = []
    const { window, where, nullGroup, groupBy, allowedLatenessMs } = definition
    for (const [partition, all] of log.entries()) {
      const id: PartitionId = `c/${partition}`
      for (const [offset, record] of all.slice(0, Number(version.positions.get(id) ?? 0n)).entries()) {
        if (record.isPoison) continue
        this.stored.push(`${partition}@${offset}`)
        const clockMs = this.clocks.get(id)
        const { at, v } = record
        // Rules T4 and C8.
        if (at !== null && at - KAFKA_MS <= FUTURE_MS) this.clocks.set(id, Math.max(clockMs ?? -Infinity, at))
        if (where !== undefined && !(v === null || v < 3)) continue
        const g = groupBy.length === 0 ? null : record.g
        const isGroupless = groupBy.length > 0 && nullGroup === 'late' && g === null
        if (at === null || isGroupless) {
          this.late.push(`${partition}@${offset} ${at === null ? 'null_event_time' : 'null_group_key'} 0 0`)
          continue
        }
        const spans = spansAt(window, at)
        const inTime = spans.filter(({ end }) => end + allowedLatenessMs + BOUND_MS > (clockMs ?? -Infinity))
        if (inTime.length < spans.length)
          this.late.push(`${partition}@${offset} late ${spans.length - inTime.length} ${inTime.length}`)
        for (const span of inTime) counted.push({ ...span, g, record: { ...record, at, offset } })
      }
    }
    const isOpenSeen = definition.emit === 'update' && !isSliced(definition)
    const watermarkMs = version.watermarksMs.t ?? -Infinity
    for (const [{ g, start, end }, list] of window.kind === 'session' ? sessions(counted) : cells(counted)) {
      const isFinal = watermarkMs >= end - (window.kind === 'session' ? 0 : 1) + allowedLatenessMs
      this.cells.push({ g, start, end, n: list.length, isFinal })
      if (isFinal || isOpenSeen) this.rows.push(rowText(g, start, end, list, isFinal))
    }
  }
}

interface Span {
  readonly start: number
  readonly end: number
}

/** Rules W1 to W3, N1: the windows of one instant, of a session the provisional one. */
function spansAt(window: WindowKind, ts: number): Span[] {
  const floor = (value: number, size: number, offset: number) => Math.floor((value - offset) / size) * size + offset
  switch (window.kind) {
    case 'tumbling': {
      const start = floor(ts, window.sizeMs, window.offsetMs)
      return [{ start, end: start + window.sizeMs }]
    }
    case 'hopping': {
      const { sizeMs, slideMs, offsetMs } = window
      const spans: Span[] = []
      for (let start = floor(ts, slideMs, offsetMs); start > ts - sizeMs; start -= slideMs)
        spans.push({ start, end: start + sizeMs })
      return spans
    }
    case 'cumulate': {
      const { stepMs, maxMs, offsetMs } = window
      const start = floor(ts, maxMs, offsetMs)
      return Array.from({ length: maxMs / stepMs }, (_, k) => ({ start, end: start + (k + 1) * stepMs })).filter(
        ({ end }) => end > ts,
      )
    }
    case 'session':
      return [{ start: ts, end: ts + window.gapMs }]
    case 'calendar':
      throw new Error('not here')
  }
}

function cells(counted: readonly Counted[]): [Counted, Counted[]][] {
  const found = new Map<string, [Counted, Counted[]]>()
  for (const each of counted) {
    const key = JSON.stringify([each.g, each.start, each.end])
    const cell = found.get(key)
    if (cell === undefined) found.set(key, [each, [each]])
    else cell[1].push(each)
  }
  return [...found.values()]
}

/** Rule N2: the connected components of each group; a distance of exactly the gap merges. */
function sessions(counted: readonly Counted[]): [Counted, Counted[]][] {
  const found: [Counted, Counted[]][] = []
  for (const each of counted.toSorted((a, b) => a.start - b.start)) {
    const open = found.findLast(([{ g }]) => g === each.g)
    if (open === undefined || open[0].end < each.start) found.push([each, [each]])
    else {
      open[1].push(each)
      open[0] = { ...open[0], end: Math.max(open[0].end, each.end) }
    }
  }
  return found
}

function rowText(g: string | null, start: number, end: number, list: readonly Counted[], isFinal: boolean): string {
  const of = list.map(({ record }) => record)
  const values = of.flatMap(({ v }) => (v === null ? [] : [v]))
  const sum = values.reduce((total, v) => total + v, 0)
  const doubles = of.flatMap(({ d }) => (d === null ? [] : [d]))
  // Exact: in quarters, as integers; rounded once.
  const quarters = doubles.reduce((total, d) => total + BigInt(d * 4), 0n)
  const none = values.length === 0
  const newest = of.reduce((best, each) => (each.at >= best.at ? each : best))
  return [
    ...(g === undefined ? [] : [g]),
    start,
    end,
    of.length,
    none ? null : sum,
    none ? null : sum / values.length,
    none ? null : Math.min(...values),
    none ? null : Math.max(...values),
    new Set(values).size,
    newest.at,
    doubles.length === 0 ? null : Number(quarters) / 4,
    values.filter((v) => v > 0).length,
    Math.max(...of.map(({ at }) => at)),
    isFinal,
  ].join(' ')
}
