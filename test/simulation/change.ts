/** What a record of the simulated log says: a row as it is now, that it is gone, or that all rows are. */
export interface SimChange {
  readonly op: 'u' | 'd' | 't'
  /** Unlike any other record's. */
  readonly v: string
  readonly k: string
  /** The version. */
  readonly n: number
  /** Columns that a record may leave out. */
  readonly a?: string
  readonly b?: string
}

export const KEPT = ['a', 'b'] as const

export function writeChange(change: SimChange): string {
  return JSON.stringify(change)
}

export function readChange(bytes: Uint8Array): SimChange | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as SimChange
  } catch {
    return undefined
  }
}

/** Which of the columns that a row may take over from its key's row the record lacks. */
export function lacksOf(change: SimChange): ('a' | 'b')[] {
  return KEPT.filter((name) => change[name] === undefined)
}
