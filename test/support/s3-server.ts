import type { StoreSettings } from '../../src/lake/storage/storage.ts'
import { startS3, type S3Server } from '../../infra/s3.mjs'

export { startS3, type S3Server }

/** Settings of a store of its own on a server that several tests share. */
export function storeOn(server: S3Server, prefix: string): StoreSettings & { readonly endpoint: string } {
  return { ...server.settings, url: `${server.url}/${prefix}` }
}
