/** A bug put into production code while it is bundled for the simulation, which must then fail. */
export interface Plant {
  readonly name: string
  /** The public bugs of its kind, or what it would do. */
  readonly bug: string
  readonly edits: readonly { readonly file: string; readonly find: string; readonly replace: string }[]
}

export const plants: readonly Plant[] = []
