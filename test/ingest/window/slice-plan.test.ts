import fc from 'fast-check'
import { expect, test } from 'vitest'
import { sliceMs, windowsOfSlice, type HoppingKind } from '../../../src/ingest/window/kinds.ts'
import { divide, spanOf, type CellSpan, type WindowRange } from '../../../src/ingest/window/slice-plan.ts'

const kind = fc
  .record({ slide: fc.integer({ min: 1, max: 12 }), more: fc.integer({ min: 0, max: 60 }), offset: fc.nat(11) })
  .map(({ slide, more, offset }): HoppingKind => ({
    kind: 'hopping',
    sizeMs: slide + more,
    slideMs: slide,
    offsetMs: offset % slide,
  }))

test('the windows of a slice are those that its event times are assigned to', () => {
  fc.assert(
    fc.property(kind, fc.integer({ min: -200, max: 200 }), fc.nat(60), (kind, slice, skipped) => {
      const startMs = kind.offsetMs + slice * sliceMs(kind)
      const windows = windowsOfSlice(kind, startMs)
      const ends = { firstEnd: windows[0]!.endMs, lastEnd: windows.at(-1)!.endMs }
      expect(spanOf(kind, startMs, undefined)).toEqual(ends)
      const { endMs } = windows[skipped % windows.length]!
      expect(spanOf(kind, startMs, endMs)).toEqual({ ...ends, firstEnd: endMs })
    }),
  )
})

const SLIDE = 5

/** Cells as lists of what they are made of: each one its number. */
interface Cell extends CellSpan {
  readonly number: number
}

const cells = fc.array(fc.record({ first: fc.nat(40), length: fc.nat(20), rows: fc.integer({ min: 1, max: 9 }) }), {
  maxLength: 30,
})

test('every window is made once, in order, of all cells that count for it, and of few rows at once', () => {
  fc.assert(
    fc.property(cells, fc.nat(40), fc.nat(50), fc.integer({ min: 1, max: 100 }), (given, from, length, rowsMax) => {
      const all = given.map(({ first, length, rows }, number): Cell => ({
        number,
        rows,
        firstEnd: first * SLIDE,
        lastEnd: (first + length) * SLIDE,
      }))
      const range = { firstEnd: from * SLIDE, lastEnd: (from + length) * SLIDE }
      const made: [end: number, cells: number[]][] = []
      const walk = (range: WindowRange, spans: readonly CellSpan[], base: readonly number[], above?: WindowRange) => {
        const baseRows = base.reduce((sum, number) => sum + all[number]!.rows, 0)
        const step = divide(range, spans, baseRows, SLIDE, rowsMax)
        if (step === undefined) return
        const { firstEnd, lastEnd } = step.range
        // As statements choose them: what counts, and was not merged above.
        const rest = all.filter((cell) => above === undefined || !isIn(cell, above))
        const whole = rest.filter((cell) => isIn(cell, step.range)).map(({ number }) => number)
        expect(step.hasWhole).toBe(whole.length > 0)
        if (step.halves !== undefined) {
          for (const half of step.halves) walk(half, step.partial, [...base, ...whole], step.range)
          return
        }
        let rows = 0
        for (let end = firstEnd; end <= lastEnd; end += SLIDE) {
          const own = rest.filter((cell) => isIn(cell, { firstEnd: end, lastEnd: end })).map(({ number }) => number)
          const numbers = [...base, ...own].toSorted((a, b) => a - b)
          rows += numbers.reduce((sum, number) => sum + all[number]!.rows, 0)
          if (numbers.length > 0) made.push([end, numbers])
        }
        expect(rows <= rowsMax || firstEnd === lastEnd).toBe(true)
      }
      walk(range, all, [])
      const expected: typeof made = []
      for (let end = range.firstEnd; end <= range.lastEnd; end += SLIDE) {
        const numbers = all.filter((cell) => isIn(cell, { firstEnd: end, lastEnd: end })).map(({ number }) => number)
        if (numbers.length > 0) expected.push([end, numbers])
      }
      expect(made).toEqual(expected)
    }),
  )
})

test('windows over a long time without records are not looked at', () => {
  const spans = [0, 1e12].map((end) => ({ firstEnd: end, lastEnd: end + 60 * SLIDE, rows: 1_000 }))
  let steps = 0
  const walk = (range: WindowRange, spans: readonly CellSpan[], baseRows: number): void => {
    const step = divide(range, spans, baseRows, SLIDE, 10_000)
    steps++
    for (const half of step?.halves ?? []) walk(half, step!.partial, baseRows + (step!.hasWhole ? 1_000 : 0))
  }
  walk({ firstEnd: 0, lastEnd: 2e12 }, spans, 0)
  expect(steps).toBeLessThan(300)
})

function isIn(cell: WindowRange, { firstEnd, lastEnd }: WindowRange): boolean {
  return cell.firstEnd <= firstEnd && cell.lastEnd >= lastEnd
}
