import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { WindowKind } from '../../../src/define-window.ts'
import { floorMod, sliceMs, sliceOf, windowsOf, windowsOfSlice } from '../../../src/ingest/window/kinds.ts'
import { hoppingKind, plainKind, type Hopping } from './arbitrary.ts'

const tumbling = (sizeMs: number, offsetMs = 0): WindowKind => ({ kind: 'tumbling', sizeMs, offsetMs })
const hopping = (sizeMs: number, slideMs: number, offsetMs = 0): Hopping => ({
  kind: 'hopping',
  sizeMs,
  slideMs,
  offsetMs,
})
const cumulate = (stepMs: number, maxMs: number): WindowKind => ({ kind: 'cumulate', stepMs, maxMs, offsetMs: 0 })

const pairs = (kind: WindowKind, eventMs: number): number[][] =>
  windowsOf(kind, eventMs).map(({ startMs, endMs }) => [startMs, endMs])

describe('the table of section 4', () => {
  test.each([
    ['W1', tumbling(10), 0, [[0, 10]]],
    ['W1', tumbling(10), 9, [[0, 10]]],
    ['W1', tumbling(10), 10, [[10, 20]]],
    ['W4', tumbling(10), -1, [[-10, 0]]],
    ['W4', tumbling(10), -10, [[-10, 0]]],
    ['W4', tumbling(10), -11, [[-20, -10]]],
    ['W1', tumbling(10, 3), 2, [[-7, 3]]],
    ['W1', tumbling(10, 3), 12, [[3, 13]]],
    ['W1', tumbling(10, -3), 12, [[7, 17]]],
    [
      'W2',
      hopping(10, 4),
      8,
      [
        [0, 10],
        [4, 14],
        [8, 18],
      ],
    ],
    [
      'W2',
      hopping(10, 4),
      11,
      [
        [4, 14],
        [8, 18],
      ],
    ],
    [
      'W4',
      hopping(10, 4),
      -1,
      [
        [-8, 2],
        [-4, 6],
      ],
    ],
    [
      'W3',
      cumulate(15, 60),
      14,
      [
        [0, 15],
        [0, 30],
        [0, 45],
        [0, 60],
      ],
    ],
    [
      'W3',
      cumulate(15, 60),
      15,
      [
        [0, 30],
        [0, 45],
        [0, 60],
      ],
    ],
    ['W3', cumulate(15, 60), 59, [[0, 60]]],
    ['W4', cumulate(15, 60), -1, [[-60, 0]]],
    ['N1', { kind: 'session', gapMs: 10 }, -3, [[-3, 7]]],
  ] as const)('%s: %j of %i', (_, kind, eventMs, windows) => {
    expect(pairs(kind, eventMs)).toEqual(windows)
  })

  test('W4: at both ends of time', () => {
    expect(pairs(tumbling(1000), -8.64e15)).toEqual([[-8.64e15, -8.64e15 + 1000]])
    expect(pairs(tumbling(1000), 8.64e15)).toEqual([[8.64e15, 8.64e15 + 1000]])
    expect(pairs(tumbling(1001, 7), 8.64e15 - 1)).toEqual([[8639999999999375, 8640000000000376]])
  })
})

const instants = fc.oneof(fc.integer({ min: -200, max: 200 }), fc.integer({ min: -8.64e15, max: 8.64e15 }))

describe('properties of assignment', () => {
  test('W1 to W4: every window has the instant in it, the oldest comes first, none twice', () => {
    fc.assert(
      fc.property(plainKind(), instants, (kind, eventMs) => {
        const windows = windowsOf(kind, eventMs)
        expect(windows.length).toBeGreaterThan(0)
        for (const [k, { startMs, endMs }] of windows.entries()) {
          expect(startMs <= eventMs && eventMs < endMs).toBe(true)
          if (k > 0) expect(windows[k - 1]!.endMs).toBeLessThan(endMs)
        }
      }),
    )
  })

  test('W1, W2: whatever instant a window has, it is the same window; two of one number of steps are of one grid', () => {
    fc.assert(
      fc.property(hoppingKind(), instants, fc.integer({ min: 0, max: 40 }), (kind, eventMs, later) => {
        const { sizeMs, slideMs, offsetMs } = kind
        const windows = windowsOf(kind, eventMs)
        expect(windows.length).toBe(Math.ceil((sizeMs - floorMod(eventMs - offsetMs, slideMs)) / slideMs))
        for (const window of windows) {
          expect(window.endMs - window.startMs).toBe(sizeMs)
          expect(floorMod(window.startMs - offsetMs, slideMs)).toBe(0)
          if (eventMs + later < window.endMs) expect(windowsOf(kind, eventMs + later)).toContainEqual(window)
        }
      }),
    )
  })

  test('W3: windows of one maximum begin together, and end in steps up to it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), instants, (step, steps, eventMs) => {
        const windows = windowsOf(cumulate(step, step * steps), eventMs)
        const { startMs } = windows[0]!
        expect(floorMod(startMs, step * steps)).toBe(0)
        const ends = Array.from({ length: steps }, (_, k) => startMs + (k + 1) * step).filter((end) => end > eventMs)
        expect(windows).toEqual(ends.map((endMs) => ({ startMs, endMs })))
      }),
    )
  })

  test('S1: all of a slice is part of the same windows, each of which is made of whole slices', () => {
    expect(sliceMs(hopping(10, 4))).toBe(2)
    expect(sliceMs(hopping(3_600_000, 60_000))).toBe(60_000)
    fc.assert(
      fc.property(hoppingKind(), instants, (kind, eventMs) => {
        const slice = sliceOf(kind, eventMs)
        expect(slice.endMs - slice.startMs).toBe(sliceMs(kind))
        expect(slice.startMs <= eventMs && eventMs < slice.endMs).toBe(true)
        const windows = windowsOfSlice(kind, slice.startMs)
        expect(windows).toEqual(windowsOf(kind, eventMs))
        for (const { startMs, endMs } of windows) {
          expect(floorMod(slice.startMs - startMs, sliceMs(kind))).toBe(0)
          expect(floorMod(endMs - startMs, sliceMs(kind))).toBe(0)
        }
      }),
    )
  })
})
