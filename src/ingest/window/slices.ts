import { isSliced, type WindowDefinition } from '../../define-window.ts'

/** SQL over the start of a slice of hopping windows: which windows it is part of (rules W2, S1). */
export interface Slices {
  readonly sizeMs: number
  readonly slideMs: number
  /** Ends of the first and the last of its windows. */
  firstEnd(start: string): string
  lastEnd(start: string): string
  /** A list of the starts of its windows. */
  windowStarts(start: string): string
}

/** Undefined for windows whose cells are no slices. */
export function slicesOf(definition: WindowDefinition): Slices | undefined {
  const { window } = definition
  if (window.kind !== 'hopping' || !isSliced(definition)) return undefined
  const { sizeMs, slideMs, offsetMs } = window
  const phase = (start: string): string => `(((${start} - ${offsetMs}) % ${slideMs} + ${slideMs}) % ${slideMs})`
  const last = (start: string): string => `(${start} - ${phase(start)})`
  // As many steps back as leave the window's end behind the slice.
  const first = (start: string): string =>
    `(${last(start)} - (${sizeMs - 1} - ${phase(start)}) // ${slideMs} * ${slideMs})`
  return {
    sizeMs,
    slideMs,
    firstEnd: (start) => `(${first(start)} + ${sizeMs})`,
    lastEnd: (start) => `(${last(start)} + ${sizeMs})`,
    windowStarts: (start) => `range(${first(start)}, ${last(start)} + 1, ${slideMs})`,
  }
}
