import { LakeError } from '../../error.ts'
import { conditionalFix } from './race.ts'

/**
 * What a failed request tells. absent: no such key. exists: a condition failed. conflict: another request on the key was
 * under way, nothing is known (409). renew: our credentials or our clock, sent again it may pass. unknown: no answer, or
 * one that does not say what happened. full, unsupported, misconfigured, denied: definite, repeating does not help.
 */
export type S3Verdict =
  | 'absent'
  | 'exists'
  | 'conflict'
  | 'renew'
  | 'unknown'
  | 'full'
  | 'unsupported'
  | 'misconfigured'
  | 'denied'

const byName: Readonly<Record<string, S3Verdict>> = {
  ExpiredToken: 'renew', // 400
  ExpiredTokenException: 'renew',
  TokenRefreshRequired: 'renew',
  RequestTimeTooSkewed: 'renew', // 403; the SDK has taken over the server's clock from this answer
  RequestTimeout: 'unknown', // 400: the server waited too long for the body
  NoSuchBucket: 'misconfigured',
  InvalidBucketName: 'misconfigured',
  PermanentRedirect: 'misconfigured',
  AuthorizationHeaderMalformed: 'misconfigured', // signed for another region
  CredentialsProviderError: 'denied',
}

/** By the error's name first, then by status: several names share a status and mean the opposite. */
export function judge(error: unknown): S3Verdict {
  const named = byName[nameOf(error)]
  if (named !== undefined) return named
  const status = statusOf(error)
  switch (status) {
    case 301:
      return 'misconfigured'
    case 404:
      return 'absent'
    case 408: // a proxy's: the server waited too long for the body
      return 'unknown'
    case 409:
      return 'conflict'
    case 412:
      return 'exists'
    case 429:
      return 'unknown'
    case 501:
      return 'unsupported'
    case 507:
      return 'full'
  }
  return status === undefined || status < 400 || status >= 500 ? 'unknown' : 'denied'
}

/** The error that a caller sees when a request has failed for good. */
export function refusal(error: unknown, verdict: S3Verdict, what: string): LakeError {
  if (error instanceof LakeError) return error
  const cause = error instanceof Error ? error.message : String(error)
  const message = `${what}: ${nameOf(error)}${statusOf(error) === undefined ? '' : ` (${statusOf(error)})`}: ${cause}`
  switch (verdict) {
    case 'unsupported':
      return new LakeError('store.no_conditional_write', message, { cause: error, fix: conditionalFix })
    case 'misconfigured':
      return new LakeError('config.invalid', message, {
        cause: error,
        fix: 'Check store.url, store.region and store.endpoint, and create the bucket if it does not exist.',
      })
    case 'full':
      return new LakeError('store.disk_full', message, {
        retryable: true,
        cause: error,
        fix: 'Free space on the S3 server; writing goes on by itself.',
      })
    case 'renew':
      return new LakeError('store.denied', message, {
        retryable: true,
        cause: error,
        fix: 'Renew the credentials of the store (a session token has ended), and set the clock of this machine.',
      })
    case 'denied':
      return new LakeError('store.denied', message, {
        retryable: nameOf(error) === 'CredentialsProviderError', // the provider may have been out of reach
        cause: error,
        fix: 'Check the access key and its rights: s3:ListBucket on the bucket (without it a missing key looks forbidden); s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below its prefix.',
      })
    case 'absent':
    case 'exists':
    case 'conflict':
    case 'unknown':
      return new LakeError('store.unavailable', message, {
        retryable: true,
        cause: error,
        fix: 'Check that the S3 endpoint can be reached from here; reading and writing go on by themselves when it answers.',
      })
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'Error'
}

function statusOf(error: unknown): number | undefined {
  const status = (error as { $metadata?: { httpStatusCode?: unknown } } | undefined)?.$metadata?.httpStatusCode
  return typeof status === 'number' ? status : undefined
}
