/** Windows one slide apart, by their ends, both of them included. */
export interface WindowRange {
  readonly firstEnd: number
  readonly lastEnd: number
}

/** Cells that count for the same windows, and how many rows they are. */
export interface CellSpan extends WindowRange {
  readonly rows: number
}

/** What becomes of a range of windows. */
export interface Division {
  /** Without windows at its ends that no cell counts for. */
  readonly range: WindowRange
  /** How many all of its windows are made of. */
  readonly rows: number
  /** Whether some of the cells at hand count for all windows of the range. */
  readonly hasWhole: boolean
  /** Cells that count for some of its windows and not for all. */
  readonly partial: readonly CellSpan[]
  /** Undefined: the range is made at once. */
  readonly halves: readonly [WindowRange, WindowRange] | undefined
}

/** Ends of the windows that a slice counts for: of those of its place, from `minEnd` on (rules W2, S2). */
export function spanOf(
  { sizeMs, slideMs, offsetMs }: { readonly sizeMs: number; readonly slideMs: number; readonly offsetMs: number },
  startMs: number,
  minEnd: number | undefined,
): WindowRange {
  const phase = (ms: number): number => (((ms - offsetMs) % slideMs) + slideMs) % slideMs
  // Ends are a size behind starts; the first one is the next after the slice begins.
  const firstEnd = startMs + slideMs - phase(startMs - sizeMs)
  return { firstEnd: Math.max(firstEnd, minEnd ?? firstEnd), lastEnd: startMs - phase(startMs) + sizeMs }
}

/**
 * One step of making windows next to each other, which share most of their slices: what counts for all of them is merged
 * once, and what is left is looked at in two halves. So the rows that are at hand at any time are those of one window, or
 * `rowsMax`, and a window of many slices takes about two merges. `baseRows`: of what counts for all of the range and was
 * merged before; `spans`: of all other cells. Undefined: the range has no window.
 */
export function divide(
  range: WindowRange,
  spans: readonly CellSpan[],
  baseRows: number,
  slideMs: number,
  rowsMax: number,
): Division | undefined {
  const inside = spans.filter(({ firstEnd, lastEnd }) => firstEnd <= range.lastEnd && lastEnd >= range.firstEnd)
  const own = baseRows > 0 ? range : extentOf(range, inside)
  if (own === undefined) return undefined
  const windows = windowsIn(own, slideMs)
  const rows = inside.reduce(
    (sum, span) => sum + span.rows * windowsIn(overlapOf(own, span), slideMs),
    baseRows * windows,
  )
  const isWhole = ({ firstEnd, lastEnd }: CellSpan): boolean => firstEnd <= own.firstEnd && lastEnd >= own.lastEnd
  const middle = own.firstEnd + Math.floor((windows - 1) / 2) * slideMs
  return {
    range: own,
    rows,
    hasWhole: inside.some(isWhole),
    partial: inside.filter((span) => !isWhole(span)),
    halves:
      windows === 1 || rows <= rowsMax
        ? undefined
        : [
            { firstEnd: own.firstEnd, lastEnd: middle },
            { firstEnd: middle + slideMs, lastEnd: own.lastEnd },
          ],
  }
}

function extentOf(range: WindowRange, spans: readonly CellSpan[]): WindowRange | undefined {
  if (spans.length === 0) return undefined
  let [firstEnd, lastEnd] = [Infinity, -Infinity]
  for (const span of spans) {
    firstEnd = Math.min(firstEnd, span.firstEnd)
    lastEnd = Math.max(lastEnd, span.lastEnd)
  }
  return overlapOf(range, { firstEnd, lastEnd })
}

function overlapOf(a: WindowRange, b: WindowRange): WindowRange {
  return { firstEnd: Math.max(a.firstEnd, b.firstEnd), lastEnd: Math.min(a.lastEnd, b.lastEnd) }
}

function windowsIn({ firstEnd, lastEnd }: WindowRange, slideMs: number): number {
  return (lastEnd - firstEnd) / slideMs + 1
}
