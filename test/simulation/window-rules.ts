import type { SimWindow } from './plan.ts'

// What windows mean, in plain code: what stands in for DuckDB and the checker share how an event is placed and no more.

/** A group in a window, or a session. */
export interface Span {
  readonly g: string
  readonly start: number
  readonly end: number
}

export interface Cell extends Span {
  readonly count: number
  /** The last event time. */
  readonly last: number
}

/** The group of a row. */
export function groupOf(v: string): string {
  return `g${Number(v) % 3}`
}

/** The group of a row that a window over rows reads: what a record may leave as it was. */
export function groupOfRow({ a }: { readonly a: string | null }): string {
  return a === null ? 'g-' : `g${Number(a.slice(1)) % 3}`
}

/** Of rows: what is taken back takes no time with it, so that only sessions, which hold each instant, have a last one. */
export function cellOfRow({ kind }: SimWindow, span: Span, count: number): Cell {
  return { ...span, count, last: kind === 'session' ? span.start : 0 }
}

/** Rules W1, N1: the window of an event, of a session the provisional one. */
export function spanOf({ kind, sizeMs }: SimWindow, g: string, atMs: number): Span {
  const start = kind === 'session' ? atMs : Math.floor(atMs / sizeMs) * sizeMs
  return { g, start, end: start + sizeMs }
}

/** Rule L2, by the clock of the row's own partition. */
export function isLate({ latenessMs, boundMs }: SimWindow, { end }: Span, clockMs: number | undefined): boolean {
  return clockMs !== undefined && end + latenessMs + boundMs <= clockMs
}

/** Rule C2. */
export function isFinal({ kind, latenessMs }: SimWindow, end: number, watermarkMs: number | undefined): boolean {
  return watermarkMs !== undefined && watermarkMs >= end - (kind === 'session' ? 0 : 1) + latenessMs
}
