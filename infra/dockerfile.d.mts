export interface Step {
  readonly op: string
  readonly flags: Readonly<Record<string, string>>
  readonly args: readonly string[]
  readonly text: string
}
export interface Stage {
  readonly name: string | undefined
  readonly image: string
  readonly steps: readonly Step[]
}
export function readDockerfile(text: string): readonly Stage[]
export function isInContext(ignore: string, file: string): boolean
