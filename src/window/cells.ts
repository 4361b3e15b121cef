/** Columns of cells, in partial files, in the fold and (as `window_start`, `window_end`, …) in `<w>__state`. */
export const CELL_COLUMNS = {
  /** long, milliseconds. */
  start: '__start',
  end: '__end',
  /** long: smallest end of a window that the cell counts for; null: all. Only of sliced windows (rule S2). */
  minEnd: '__min_end',
  /** long: rows, with their signs. */
  rows: '__rows',
  /** long, milliseconds: the last event time; of `events` and sessions. */
  lastEvent: '__last_event',
} as const
