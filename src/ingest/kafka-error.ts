import { LakeError } from '../error.ts'

/** Error codes of the protocol that this client tells apart. */
export const KAFKA_ERROR = {
  none: 0,
  offsetOutOfRange: 1,
  corruptMessage: 2,
  unknownTopicOrPartition: 3,
  topicAuthorizationFailed: 29,
  groupAuthorizationFailed: 30,
  clusterAuthorizationFailed: 31,
  unknownTopicId: 100,
} as const

const NAMES: ReadonlyMap<number, string> = new Map([
  [3, 'unknown topic or partition'],
  [5, 'leader not available'],
  [6, 'not the leader'],
  [7, 'request timed out'],
  [9, 'replica not available'],
  [14, 'coordinator is loading'],
  [15, 'coordinator not available'],
  [16, 'not the coordinator'],
  [56, 'storage error on the broker'],
  [74, 'fenced leader epoch'],
  [75, 'unknown leader epoch'],
  [78, 'offset not available yet'],
  [100, 'unknown topic id'],
  [103, 'inconsistent topic id'],
])

/** The failure behind an error code: most pass by themselves, a refused permission does not. */
export function protocolError(code: number, what: string): LakeError {
  const context = { kafkaError: code }
  if (
    code === KAFKA_ERROR.topicAuthorizationFailed ||
    code === KAFKA_ERROR.groupAuthorizationFailed ||
    code === KAFKA_ERROR.clusterAuthorizationFailed
  )
    return new LakeError('kafka.denied', `the broker does not allow to read ${what}`, {
      context,
      fix: 'Give this user READ and DESCRIBE on the topic.',
    })
  if (code === KAFKA_ERROR.corruptMessage)
    return new LakeError('kafka.corrupt', `the broker found damaged records in ${what}`, { context })
  return unavailable(`${what}: the broker answers ${NAMES.get(code) ?? 'an error'} (${code})`, context)
}

export function unavailable(
  message: string,
  context: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): LakeError {
  return new LakeError('kafka.unavailable', message, {
    retryable: true,
    context,
    fix: 'Check that the brokers run and can be reached at the addresses that they advertise.',
    cause,
  })
}

const TLS_CODES = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_HAS_EXPIRED',
  'ERR_TLS_CERT_ALTNAME_INVALID',
])

/** What kafkajs or the socket said, in our words. */
export function connectionError(error: unknown, broker: string): LakeError {
  if (error instanceof LakeError) return error
  const { name, type, message, code } = error as { name?: string; type?: string; message?: string; code?: string }
  if (name === 'KafkaJSSASLAuthenticationError' || type === 'UNSUPPORTED_SASL_MECHANISM')
    return new LakeError('kafka.denied', `${broker} refuses the credentials: ${message}`, {
      context: { broker },
      fix: 'Check mechanism, user name and password.',
      cause: error,
    })
  if (code !== undefined && TLS_CODES.has(code))
    return new LakeError('kafka.denied', `the certificate of ${broker} is not trusted: ${message}`, {
      context: { broker, code },
      fix: 'Give the certificate authority of the cluster as ssl.ca.',
      cause: error,
    })
  return unavailable(`${broker}: ${message ?? String(error)}`, { broker }, error)
}
