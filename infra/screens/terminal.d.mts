export interface Run {
  readonly text: string
  readonly color: number | undefined
  readonly bold: boolean
  readonly dim: boolean
}

/** What a terminal of so many columns shows of the bytes that a command wrote. */
export function shownLines(bytes: string, columns: number): readonly (readonly Run[])[]
