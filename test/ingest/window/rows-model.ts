import { expect } from 'vitest'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { windowsOf } from '../../../src/ingest/window/kinds.ts'
import type { Row } from './rows-harness.ts'
import { aggregate } from './arbitrary.ts'

// Windows over the rows of a keyed table: the rules in plain TypeScript, record by record.

export const B = 3

export interface Variant {
  readonly isVersioned: boolean
  readonly keeps: boolean
}

export interface Event {
  /** Keys of partition 0 are even, those of partition 1 are odd. */
  readonly key: number
  readonly isTombstone: boolean
  readonly rev: number
  /** null: SQL null; undefined: the record does not say. */
  readonly g: string | null | undefined
  readonly v: number | null | undefined
  readonly at: number | null | undefined
  readonly note: string
}

export interface Standing {
  readonly id: string
  readonly g: string | null
  readonly v: number | null
  readonly at: number | null
  readonly note: string
  readonly partition: number
  readonly offset: number
}

export interface Half {
  readonly row: Standing
  readonly weight: 1 | -1
  readonly clock: number
}

export interface Placed extends Event {
  readonly partition: number
  readonly offset: number
}

/** Rules U1, U2, U4, U5, A2 and T4, one record after the other: halves of each change, and what stands in the end. */
export class Reference {
  readonly #variant: Variant
  readonly #rows = new Map<number, Standing>()
  readonly #versions = new Map<number, number>()
  readonly #clocks: number[]
  readonly halves: Half[] = []

  constructor(variant: Variant, partitions = 2) {
    this.#variant = variant
    this.#clocks = Array.from({ length: partitions }, () => -Infinity)
  }

  get rows(): readonly Standing[] {
    return [...this.#rows.values()]
  }

  /** The least clock of all partitions, when they have one. */
  get clockMsMin(): number | undefined {
    const least = Math.min(...this.#clocks)
    return least === -Infinity ? undefined : least
  }

  get clockMsMax(): number {
    return Math.max(...this.#clocks)
  }

  /** A record that keeps values has a row to keep them of. */
  lacksBase({ key, isTombstone, g, v, at }: Event): boolean {
    return this.#variant.keeps && !isTombstone && !this.#rows.has(key) && [g, v, at].includes(undefined)
  }

  apply({ key, isTombstone, rev, note, partition, offset, ...given }: Placed): void {
    const clock = this.#clocks[partition]!
    const before = this.#rows.get(key)
    const { at } = given
    // An event time that the record does not say moves no clock.
    if (!isTombstone && typeof at === 'number') this.#clocks[partition] = Math.max(clock, at)
    if (this.#variant.isVersioned && !isTombstone) {
      if (rev < (this.#versions.get(key) ?? -Infinity)) return
      this.#versions.set(key, rev)
    }
    const value = <T>(of: T | undefined, kept: T | undefined): T | null =>
      of !== undefined ? of : ((this.#variant.keeps ? kept : null) ?? null)
    const after: Standing | undefined = isTombstone
      ? undefined
      : {
          id: String(key),
          note,
          partition,
          offset,
          g: value(given.g, before?.g),
          v: value(given.v, before?.v),
          at: value(given.at, before?.at),
        }
    if (after === undefined) this.#rows.delete(key)
    else this.#rows.set(key, after)
    if (before !== undefined) this.halves.push({ row: before, weight: -1, clock })
    if (after !== undefined) this.halves.push({ row: after, weight: 1, clock })
  }
}

/** By group and window what is counted: value → weight, over (v, and who brought it when that matters). */
export class Cells {
  readonly #window: WindowDefinition
  /** Whether it matters who brought a value: where not, the halves of an update to the same values are none. */
  readonly #isPlaced: boolean
  readonly #weights = new Map<string, Map<string, number>>()

  constructor(window: WindowDefinition) {
    this.#window = window
    this.#isPlaced = window.select.some(({ fn }) => fn === 'first' || fn === 'last')
  }

  add(row: Standing, windows: readonly { readonly startMs: number; readonly endMs: number }[], weight: number): void {
    for (const { startMs, endMs } of windows) {
      const cell = JSON.stringify([row.g, startMs, endMs])
      const of = this.#weights.get(cell) ?? new Map<string, number>()
      this.#weights.set(cell, of)
      const place = this.#isPlaced ? [row.partition, row.offset] : [0, 0]
      const value = JSON.stringify([row.at, ...place, row.v])
      of.set(value, (of.get(value) ?? 0) + weight)
    }
  }

  /** Sessions are what touches of the event times that are left (rules N1, N4). */
  #windows(): Iterable<readonly [cell: string, weights: ReadonlyMap<string, number>]> {
    if (this.#window.window.kind !== 'session') return this.#weights
    const cells = [...this.#weights]
      .map(([cell, weights]) => ({ cell: JSON.parse(cell) as [string | null, number, number], weights }))
      .filter(({ weights }) => [...weights.values()].some((weight) => weight !== 0))
      .toSorted((a, b) => a.cell[1] - b.cell[1])
    const sessions: { cell: [string | null, number, number]; weights: Map<string, number> }[] = []
    for (const { cell, weights } of cells) {
      const last = sessions.findLast((session) => session.cell[0] === cell[0])
      if (last === undefined || last.cell[2] < cell[1]) sessions.push({ cell: [...cell], weights: new Map(weights) })
      else {
        last.cell[2] = cell[2]
        for (const [value, weight] of weights) last.weights.set(value, weight)
      }
    }
    return sessions.map(({ cell, weights }) => [JSON.stringify(cell), weights] as const)
  }

  /** Rows of the window table. */
  results(): unknown[] {
    return [...this.#windows()].flatMap(([cell, weights]) => {
      const rows = [...weights].flatMap(([value, weight]) => {
        expect(weight).toBeGreaterThanOrEqual(0)
        return Array.from({ length: weight }, () => JSON.parse(value) as [number, number, number, number | null])
      })
      if (rows.length === 0) return []
      const [g, startMs, endMs] = JSON.parse(cell) as [string | null, number, number]
      const values = rows.flatMap(([, , , v]) => v ?? []).toSorted((a, b) => a - b)
      const ordered = rows
        .filter(([, , , v]) => v !== null)
        .toSorted((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
      const results: Readonly<Record<string, unknown>> = {
        n: rows.length,
        total: values.length === 0 ? null : values.reduce((sum, v) => sum + v, 0),
        most: values.at(-1) ?? null,
        kinds: new Set(values).size,
        early: ordered[0]?.[3] ?? null,
      }
      return [[g, startMs, endMs, ...this.#window.select.map(({ name }) => results[name])]]
    })
  }
}

/** True of what is more than 2, and fails for 4. */
export const FRAGILE = `v > 2 AND CAST(CASE WHEN v = 4 THEN 'x' ELSE '1' END AS INTEGER) = 1`

/** How many of its windows have ended B + L before its clock. */
export function judge(window: WindowDefinition, { row, clock }: Half) {
  const { at, g, v } = row
  // It is asked of rows that `where` is true of, as far as it can be.
  if (window.where === FRAGILE && v === 4) return { counted: [], late: [], reason: 'expression_failed' }
  if (at === null) return { counted: [], late: [], reason: 'null_event_time' }
  if (g === null && window.nullGroup === 'late') return { counted: [], late: [], reason: 'null_group_key' }
  const all = windowsOf(window.window, at)
  const isLate = ({ endMs }: { endMs: number }): boolean => endMs + window.allowedLatenessMs + B <= clock
  const late = all.filter(isLate)
  return { counted: all.filter((each) => !isLate(each)), late, reason: late.length > 0 ? 'late' : undefined }
}

export const isSeen = (window: WindowDefinition, { v }: Standing): boolean => window.where === undefined || (v ?? 0) > 2

/** What the late table lists, without halves that cancel each other out. */
export function lateOf(window: WindowDefinition, halves: readonly Half[]): Map<string, number> {
  const late = new Map<string, number>()
  for (const half of halves) {
    const { row, weight } = half
    const { late: windows, counted, reason } = judge(window, half)
    if (reason === undefined || !isSeen(window, row)) continue
    const values = [row.g, row.v, row.at, reason, counted.length, windows.map(({ startMs }) => startMs)]
    add(late, JSON.stringify(values), weight)
  }
  return late
}

export function listed(rows: readonly Row[]): Map<string, number> {
  const late = new Map<string, number>()
  for (const row of rows) {
    const windows = (row._late_windows as { start: number }[]).map(({ start }) => start)
    const values = [row.g, row.v ?? null, row._event_time, row._reason, row._counted_windows, windows]
    add(late, JSON.stringify(values), row._weight as number)
  }
  return late
}

function add(weights: Map<string, number>, key: string, weight: number): void {
  const sum = (weights.get(key) ?? 0) + weight
  if (sum === 0) weights.delete(key)
  else weights.set(key, sum)
}

export const sorted = (rows: readonly unknown[]): string[] => rows.map((row) => JSON.stringify(row)).toSorted()

/** A law of section 17: SQL over the source's rows, minus the late table's rows times their weight. */
export function recounted(window: WindowDefinition, rows: readonly Row[], late: readonly Row[]): unknown[] {
  const cells = new Cells(window)
  const standing = (row: Row, at: unknown): Standing => ({
    id: '',
    note: '',
    partition: row._kafka_partition as number,
    offset: row._offset as number,
    g: row.g as string | null,
    v: row.v as number | null,
    at: at as number | null,
  })
  for (const row of rows) {
    const { counted, late } = judge(window, { row: standing(row, row.at), weight: 1, clock: -Infinity })
    expect(late).toEqual([])
    if (isSeen(window, standing(row, row.at))) cells.add(standing(row, row.at), counted, 1)
  }
  for (const row of late) {
    const windows = (row._late_windows as { start: number; end: number }[]).map(({ start, end }) => ({
      startMs: start,
      endMs: end,
    }))
    cells.add(standing(row, row._event_time), windows, -(row._weight as number))
  }
  return cells.results()
}

export const PLAIN = [aggregate('n', 'count'), aggregate('total', 'sum', 'v')]
export const VALUES = [...PLAIN, aggregate('most', 'max', 'v'), aggregate('kinds', 'count_distinct', 'v')]
export const POSITIONS = [...VALUES, aggregate('early', 'first', 'v')]
