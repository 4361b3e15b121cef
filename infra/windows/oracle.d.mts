import type { RunSource, RunWindow } from './pipelines.mjs'

export interface LogRecord {
  readonly offset: number
  readonly kts: number
  readonly key: string
  readonly value: string | null
}

export interface Expected {
  readonly rows: ReadonlyMap<
    string,
    {
      readonly group: string
      readonly start: number
      readonly end: number
      readonly values: Readonly<Record<string, unknown>>
      readonly lastMs: number
    }
  >
  readonly late: readonly {
    readonly partition: number
    readonly offset: number
    readonly weight: 1 | -1
    readonly clockMs: number | null
    readonly counted: number
    readonly reason: string
    readonly windows: readonly (readonly [number, number])[] | null
    readonly row: Readonly<Record<string, unknown>>
  }[]
  readonly clocks: ReadonlyMap<number, number>
}

/** What a window's tables must hold when the log is read up to `positions`. */
export function recompute(
  window: RunWindow,
  source: RunSource,
  log: ReadonlyMap<number, readonly LogRecord[]>,
  positions: ReadonlyMap<number, number>,
  allowedLatenessMs?: number,
): Expected
