import type { Column } from './batch.ts'
import type { WindowDefinition } from './define-window.ts'
import { LakeError } from './error.ts'

/**
 * Table property of `<w>` and its companions: which window made them. Whoever reads the tables knows it from there, also
 * a process whose configuration names another one, or none.
 */
export const WINDOW_PROPERTY = 'kappalake.window'

/** A window as its tables carry it, with what it takes from its source. */
export interface StoredWindow {
  readonly definition: WindowDefinition
  /** Topic of the source table. */
  readonly topic: string
  /** B of the source's event time. */
  readonly outOfOrdernessMs: number
  /** Columns of the source that are grouped by or aggregated. */
  readonly columns: readonly Column[]
  /** Windows that start earlier were left out: the log was read from the middle, and they may lack input (rule R2). */
  readonly fromMs?: number
}

/** What a window's tables are created with. */
export function windowProperties(window: StoredWindow): Readonly<Record<string, string>> {
  return { [WINDOW_PROPERTY]: JSON.stringify(window) }
}

/** The window that a table belongs to; undefined for tables of other kinds. Throws `store.corrupt`. */
export function storedWindow(properties: Readonly<Record<string, string>>): StoredWindow | undefined {
  const text = properties[WINDOW_PROPERTY]
  if (text === undefined) return undefined
  try {
    const stored = JSON.parse(text) as StoredWindow
    if (stored.definition.kind !== 'window') throw new Error('it is not a window')
    return stored
  } catch (cause) {
    throw new LakeError('store.corrupt', `the table property ${WINDOW_PROPERTY} is not a window`, { cause })
  }
}
