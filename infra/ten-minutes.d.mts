/** What the README tells people to type, in its order; comments are left out. */
export interface ReadmeCommands {
  /** Up to the start. */
  readonly does: readonly string[]
  readonly start: string
  /** In another terminal. */
  readonly asks: readonly string[]
}

export function commandsOf(readme: string): ReadmeCommands
