import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3'
import { LakeError } from '../../error.ts'
import type { StoreSettings } from './storage.ts'

/** The package is loaded when the first S3 store is opened: it costs 200 ms and 20 MB that a local store never needs. */
export type Sdk = typeof import('@aws-sdk/client-s3')

/**
 * Two clients on one pool of connections, because the number of attempts belongs to a client. `data` repeats by itself.
 * `commit` sends once: were it to repeat, a create that landed and lost its answer would come back as 412, and could
 * not be told from another writer's.
 */
export interface S3Clients {
  readonly sdk: Sdk
  readonly data: S3Client
  readonly commit: S3Client
  destroy(): void
}

/** Slowest upload that is waited for: the request time-out covers the body, so it grows with it. */
const bytesPerSecondMin = 1_000_000
const requestTimeoutMs = 15_000

export function uploadTimeoutMs(bytes: number): number {
  return requestTimeoutMs + (bytes / bytesPerSecondMin) * 1_000
}

export async function openClients(settings: StoreSettings): Promise<S3Clients> {
  const [sdk, { NodeHttpHandler }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('@smithy/node-http-handler'),
  ])
  const requestHandler = new NodeHttpHandler({
    connectionTimeout: 2_000,
    requestTimeout: requestTimeoutMs,
    throwOnRequestTimeout: true, // without it the time-out only writes a warning
    socketTimeout: requestTimeoutMs, // the request time-out ends at the headers; this one ends a stalled body
    httpAgent: { keepAlive: true, maxSockets: 64 },
    httpsAgent: { keepAlive: true, maxSockets: 64 },
  })
  const { endpoint, accessKeyId, secretAccessKey, sessionToken } = settings
  const region = settings.region ?? (endpoint === undefined ? undefined : 'us-east-1')
  const base: S3ClientConfig = {
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(accessKeyId === undefined
      ? {} // the SDK's own chain: environment, profile, container, instance
      : {
          credentials: {
            accessKeyId,
            secretAccessKey: secretAccessKey ?? '',
            ...(sessionToken === undefined ? {} : { sessionToken }),
          },
        }),
    // A Buffer goes with its SHA-256 signed; the SDK's default CRC32 in JavaScript costs more than the upload.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false, // else a body of 2 MiB waits six seconds for a server that never answers it
    requestHandler,
  }
  const data = new sdk.S3Client({ ...base, maxAttempts: 4 })
  const commit = new sdk.S3Client({ ...base, maxAttempts: 1 })
  await checkRegion(data)
  return {
    sdk,
    data,
    commit,
    destroy: () => {
      data.destroy()
      commit.destroy()
      requestHandler.destroy()
    },
  }
}

/** Asks for the credentials again. The SDK keeps those it has until the time that they themselves say they end. */
export async function renewCredentials(client: S3Client): Promise<void> {
  const provider = client.config.credentials as (options?: { forceRefresh: boolean }) => Promise<unknown>
  await provider({ forceRefresh: true })
}

async function checkRegion(client: S3Client): Promise<void> {
  try {
    await client.config.region()
  } catch (error) {
    throw new LakeError('config.invalid', 'store.region: no region is known for the S3 store', {
      cause: error,
      fix: 'Set store.region, or AWS_REGION in the environment.',
    })
  }
}
