import type { StoreSettings } from '../src/lake/storage/storage.ts'

export interface S3Server {
  /** `s3://lake`: add a prefix to have a store of one's own. */
  readonly url: string
  readonly endpoint: string
  readonly settings: StoreSettings & { readonly endpoint: string }
  readonly pid: number
  readonly port: number
  readonly dir: string
  /** SIGKILL; the objects stay. */
  kill(): Promise<void>
  /** SIGKILL, and removes the objects unless `dir` was given. */
  stop(): Promise<void>
}

export function startS3(options?: {
  readonly port?: number
  readonly dir?: string
  readonly bucket?: string
}): Promise<S3Server>
