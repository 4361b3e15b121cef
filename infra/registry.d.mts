export interface StartedRegistry {
  readonly url: string
  /** Registers a schema and gives its id. */
  register(
    subject: string,
    body: {
      readonly schema: string
      readonly schemaType?: string
      readonly references?: readonly { readonly name: string; readonly subject: string; readonly version: number }[]
    },
  ): Promise<number>
  /** SIGKILL, and removes its files. */
  stop(): Promise<void>
}
export function registryJar(): string | undefined
export function startRegistry(): Promise<StartedRegistry>
