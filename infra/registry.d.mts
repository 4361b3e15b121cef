export interface StartedRegistry {
  readonly url: string
  readonly port: number
  /** Registers a schema and gives its id. */
  register(
    subject: string,
    body: {
      readonly schema: string
      readonly schemaType?: string
      readonly references?: readonly { readonly name: string; readonly subject: string; readonly version: number }[]
    },
  ): Promise<number>
  /** SIGKILL. What was kept in `dir` stays. */
  kill(): Promise<void>
  /** SIGKILL, and removes its files. */
  stop(): Promise<void>
}
export function registryJar(): string | undefined
export interface RegistryOptions {
  /** Default: a free one. */
  readonly port?: number
  /** Where its schemas are kept; without it they end with the process. */
  readonly dir?: string
}
export function startRegistry(options?: RegistryOptions): Promise<StartedRegistry>
