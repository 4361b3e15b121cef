import type { WindowKind } from '../../define-window.ts'
import { calendarOf, calendarWindowOf, uniformOf, type Window } from './calendar.ts'

/**
 * Which windows an instant belongs to (rules W1 to W5), the oldest first; of sessions the provisional one (N1). Instants
 * are whole milliseconds within ±8.64e15. `assign.ts` says the same in SQL.
 */
export function windowsOf(kind: WindowKind, eventMs: number): readonly Window[] {
  const calendar = calendarOf(kind)
  if (calendar !== undefined) return [calendarWindowOf(calendar, eventMs)]
  const plain = plainOf(kind)
  switch (plain.kind) {
    case 'tumbling': {
      const startMs = eventMs - floorMod(eventMs - plain.offsetMs, plain.sizeMs)
      return [{ startMs, endMs: startMs + plain.sizeMs }]
    }
    case 'hopping': {
      const { sizeMs, slideMs } = plain
      const windows: Window[] = []
      const last = eventMs - floorMod(eventMs - plain.offsetMs, slideMs)
      for (let startMs = last; startMs > eventMs - sizeMs; startMs -= slideMs)
        windows.push({ startMs, endMs: startMs + sizeMs })
      return windows.toReversed()
    }
    case 'cumulate': {
      const { stepMs, maxMs } = plain
      const windows: Window[] = []
      const startMs = eventMs - floorMod(eventMs - plain.offsetMs, maxMs)
      const steps = Math.floor((eventMs - startMs) / stepMs)
      for (let endMs = startMs + (steps + 1) * stepMs; endMs <= startMs + maxMs; endMs += stepMs)
        windows.push({ startMs, endMs })
      return windows
    }
    case 'session':
      return [{ startMs: eventMs, endMs: eventMs + plain.gapMs }]
  }
}

/** Size of the slices of hopping windows (rule S1): every start and every end of a window is the start of a slice. */
export function sliceMs({ sizeMs, slideMs }: HoppingKind): number {
  let [a, b] = [sizeMs, slideMs]
  while (b > 0) [a, b] = [b, a % b]
  return a
}

export function sliceOf(kind: HoppingKind, eventMs: number): Window {
  const size = sliceMs(kind)
  const startMs = eventMs - floorMod(eventMs - kind.offsetMs, size)
  return { startMs, endMs: startMs + size }
}

/** All windows that a slice is part of, the oldest first. */
export function windowsOfSlice(kind: HoppingKind, sliceStartMs: number): readonly Window[] {
  return windowsOf(kind, sliceStartMs)
}

export type HoppingKind = Extract<WindowKind, { kind: 'hopping' }>

/** What is arithmetic in milliseconds. */
export type PlainKind = Exclude<WindowKind, { kind: 'calendar' }>

/** Of a kind that does not follow a wall clock, or that of UTC. */
export function plainOf(kind: WindowKind): PlainKind {
  return kind.kind === 'calendar' ? uniformOf(kind)! : kind
}

/** The remainder of a division that rounds toward −∞: never negative. */
export function floorMod(a: number, n: number): number {
  return ((a % n) + n) % n
}
