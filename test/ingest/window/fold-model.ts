import { isSliced, type WindowDefinition } from '../../../src/define-window.ts'
import { sliceOf, windowsOf, type HoppingKind } from '../../../src/ingest/window/kinds.ts'
import { B, type Counted } from './fold-harness.ts'

export interface Event {
  readonly partition: number
  readonly g: string | null
  readonly v: number
  readonly ts: number
}

export interface ModelRow {
  readonly g: string | null
  readonly start: number
  readonly end: number
  readonly n: number
  readonly total: number
  readonly low: number
  readonly different: number
  readonly sum: number
  readonly last: number
  readonly final: boolean
}

/** What windows, their finality and their state are, computed from all records each time (rules L2, C1 to C5, N1 to N3). */
export class FoldModel {
  readonly #definition: WindowDefinition
  readonly #clocks: (number | undefined)[]
  /** All that ever counted, in windows; of sessions the provisional ones. */
  readonly #counted: Counted[] = []
  readonly #slices: Counted[] = []
  #watermark: number | undefined
  /** Rows of the table with their corrections. */
  table: readonly (ModelRow & { readonly corrections: number })[] = []

  constructor(definition: WindowDefinition, partitions: number) {
    this.#definition = definition
    this.#clocks = Array.from({ length: partitions }, () => undefined)
  }

  get watermarkMs(): number | undefined {
    return this.#watermark
  }

  get clockMsMin(): number | undefined {
    const clocks = this.#clocks.filter((clock) => clock !== undefined)
    return clocks.length < this.#clocks.length ? undefined : Math.min(...clocks)
  }

  /** What the lane makes of a micro-batch: judged record by record. */
  judge(events: readonly Event[]): Counted[] {
    const { window, allowedLatenessMs } = this.#definition
    const cells: Counted[] = []
    for (const { partition, g, v, ts } of events) {
      const clock = this.#clocks[partition]
      const all = windowsOf(window, ts)
      const inTime = all.filter(({ endMs }) => clock === undefined || endMs + allowedLatenessMs + B > clock)
      this.#clocks[partition] = Math.max(clock ?? ts, ts)
      const record = { g, v, x: v / 4, ts }
      for (const { startMs, endMs } of inTime) this.#counted.push({ ...record, start: startMs, end: endMs })
      if (!isSliced(this.#definition)) {
        for (const { startMs, endMs } of inTime) cells.push({ ...record, start: startMs, end: endMs })
        continue
      }
      if (inTime.length === 0) continue
      const { startMs, endMs } = sliceOf(window as HoppingKind, ts)
      const minEnd = inTime.length === all.length ? {} : { minEnd: inTime[0]!.endMs }
      const cell = { ...record, start: startMs, end: endMs, ...minEnd }
      this.#slices.push(cell)
      cells.push(cell)
    }
    return window.kind === 'session' ? islands(cells) : cells
  }

  /** A version: the watermark over partitions that are not idle, and the table as it must be. */
  commit(idle: ReadonlySet<number>): void {
    const live = this.#clocks.filter((_, p) => !idle.has(p))
    if (live.length > 0 && live.every((clock) => clock !== undefined))
      this.#watermark = Math.max(this.#watermark ?? -Infinity, Math.min(...live) - B - 1)
    const rows = this.#rows().filter(
      ({ final }) => final || (this.#definition.emit === 'update' && !isSliced(this.#definition)),
    )
    const before = this.table
    this.table = rows.map((row) => {
      const prior = before.filter((old) => this.#isPrior(old, row))
      const equal = prior.find((old) => old.start === row.start && isEqual(old, row))
      const corrections = Math.max(0, ...prior.map((old) => old.corrections + (old.final ? 1 : 0)))
      return { ...row, corrections: equal === undefined ? corrections : equal.corrections }
    })
  }

  /** Cells that are not settled, with values and weights of the distinct ones. */
  get cells(): readonly (Omit<ModelRow, 'final' | 'low' | 'different' | 'sum'> & {
    readonly minEnd: number | null
    readonly weights: string
  })[] {
    const { window } = this.#definition
    const until = this.#settledUntil
    const facts =
      window.kind === 'session' ? islands(this.#counted) : isSliced(this.#definition) ? this.#slices : this.#counted
    return grouped(facts)
      .filter(([first]) => {
        const end = isSliced(this.#definition) ? windowsOf(window, first!.start).at(-1)!.endMs : first!.end
        return until === undefined || end > until
      })
      .map((facts) => {
        const weights = new Map<number, number>()
        for (const { v } of facts) weights.set(v, (weights.get(v) ?? 0) + 1)
        const texts = [...weights].toSorted(([a], [b]) => a - b).map((pair) => pair.join(':'))
        const { g, start, end, n, total, last } = rowOf(facts, false)
        return { g, start, end, n, total, last, minEnd: facts[0]!.minEnd ?? null, weights: texts.join(' ') }
      })
  }

  get #settledUntil(): number | undefined {
    const { window, allowedLatenessMs } = this.#definition
    const gap = window.kind === 'session' ? window.gapMs : 0
    const [clock, final] = [this.clockMsMin, this.#finalUntil]
    return clock === undefined || final === undefined ? undefined : Math.min(final, clock - allowedLatenessMs - B - gap)
  }

  get #finalUntil(): number | undefined {
    const { window, allowedLatenessMs } = this.#definition
    if (this.#watermark === undefined) return undefined
    return this.#watermark - allowedLatenessMs + (window.kind === 'session' ? 0 : 1)
  }

  #rows(): ModelRow[] {
    const facts = this.#definition.window.kind === 'session' ? islands(this.#counted) : this.#counted
    const until = this.#finalUntil
    return grouped(facts).map((of) => rowOf(of, until !== undefined && of[0]!.end <= until))
  }

  #isPrior(old: ModelRow, row: ModelRow): boolean {
    if (old.g !== row.g) return false
    if (this.#definition.window.kind !== 'session') return old.start === row.start && old.end === row.end
    return row.start <= old.start && old.end <= row.end
  }
}

function rowOf(facts: readonly Counted[], final: boolean): ModelRow {
  const { g, start, end } = facts[0]!
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  return {
    g,
    start,
    end,
    n: facts.length,
    total: sum(facts.map(({ v }) => v)),
    low: Math.min(...facts.map(({ v }) => v)),
    different: new Set(facts.map(({ v }) => v)).size,
    sum: sum(facts.map(({ v }) => v / 4)),
    last: Math.max(...facts.map(({ ts }) => ts)),
    final,
  }
}

function isEqual(old: ModelRow, row: ModelRow): boolean {
  return (Object.keys(row) as (keyof ModelRow)[]).every((name) => old[name] === row[name])
}

function grouped(facts: readonly Counted[]): Counted[][] {
  const cells = new Map<string, Counted[]>()
  for (const fact of facts) {
    const key = JSON.stringify([fact.g, fact.start, fact.end, fact.minEnd])
    cells.set(key, [...(cells.get(key) ?? []), fact])
  }
  return [...cells.values()]
}

/** Records with the span of their connected component, of each key. */
function islands(records: readonly Counted[]): Counted[] {
  const sorted = records.toSorted((a, b) => a.start - b.start)
  return [...new Set(sorted.map(({ g }) => g))].flatMap((key) => {
    const components: { end: number; records: Counted[] }[] = []
    for (const record of sorted.filter(({ g }) => g === key)) {
      const open = components.at(-1)
      if (open === undefined || record.start > open.end) components.push({ end: record.end, records: [record] })
      else {
        open.records.push(record)
        open.end = Math.max(open.end, record.end)
      }
    }
    return components.flatMap(({ end, records: inside }) =>
      inside.map((record) => ({ ...record, start: inside[0]!.start, end })),
    )
  })
}
