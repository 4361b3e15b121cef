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

const REACHABLE = 'Check that the brokers run and can be reached at the addresses that they advertise.'

export function unavailable(
  message: string,
  context: Readonly<Record<string, unknown>> = {},
  cause?: unknown,
): LakeError {
  // What is behind it knows better what to do.
  const { fix = REACHABLE } = cause instanceof LakeError ? cause : {}
  return new LakeError('kafka.unavailable', message, { retryable: true, context, fix, cause })
}

/** What is wrong with the broker's certificate, and what to do. */
const CERTIFICATE_FIXES: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'Give the certificate authority of the cluster as kafka.ssl.ca.',
  UNABLE_TO_GET_ISSUER_CERT: 'Give the whole chain of authorities as kafka.ssl.ca.',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'Give the certificate authority of the cluster as kafka.ssl.ca.',
  SELF_SIGNED_CERT_IN_CHAIN: 'Give the certificate authority of the cluster as kafka.ssl.ca.',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'Give that certificate as kafka.ssl.ca, when it is the right one.',
  CERT_SIGNATURE_FAILURE: 'Give the certificate authority of the cluster as kafka.ssl.ca.',
  CERT_HAS_EXPIRED: 'Renew the certificate of the broker, or its authority; also look at the clock of this machine.',
  CERT_NOT_YET_VALID: 'Look at the clock of this machine, and at the certificate of the broker.',
  CERT_REVOKED: 'Renew the certificate of the broker.',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'Call the broker by a name of its certificate in kafka.brokers and in advertised.listeners, or say that name as kafka.ssl.serverName.',
}

/** What kafkajs or the socket said, in our words. */
export function connectionError(error: unknown, broker: string): LakeError {
  if (error instanceof LakeError) return error
  const { name, type, message, code } = error as { name?: string; type?: string; message?: string; code?: string }
  const denied = (what: string, fix: string): LakeError =>
    new LakeError('kafka.denied', what, {
      context: { broker, ...(code === undefined ? {} : { code }) },
      fix,
      cause: error,
    })
  if (name === 'KafkaJSSASLAuthenticationError' || type === 'UNSUPPORTED_SASL_MECHANISM')
    return denied(`${broker} refuses the credentials: ${message}`, 'Check mechanism, user name and password.')
  const fix = CERTIFICATE_FIXES[code ?? '']
  if (fix !== undefined) return denied(`the certificate of ${broker} is not trusted: ${message}`, fix)
  // An alert is the other side's word about what we showed it, mostly after the handshake was done for us.
  if (/^ERR_SSL_.*_ALERT_/.test(code ?? '') && !/HANDSHAKE_FAILURE|PROTOCOL_VERSION|INTERNAL_ERROR/.test(code!))
    return denied(
      `${broker} refuses the certificate of this client: ${code}`,
      'Give one that the brokers trust, and that is not over, as kafka.ssl.cert and kafka.ssl.key.',
    )
  return new LakeError('kafka.unavailable', `${broker}: ${message ?? String(error)}`, {
    retryable: true,
    context: { broker },
    fix: guess(`${code} ${message}`),
    cause: error,
  })
}

/** The broker closed the connection: after it has answered that is its own affair, before it may be ours. */
export function hungUp(broker: string, hasAnswered: boolean): LakeError {
  const said = `${broker} closed the connection`
  const fix = hasAnswered ? REACHABLE : guess(said)
  return new LakeError('kafka.unavailable', said, { retryable: true, context: { broker }, fix })
}

/** A broker that is spoken to in the wrong way says nothing of it: how it hung up is all that there is. */
function guess(said: string): string {
  if (/disconnected before secure TLS|WRONG_VERSION_NUMBER|HANDSHAKE_FAILURE|PROTOCOL_VERSION/.test(said))
    return 'If this listener speaks no TLS, leave kafka.ssl out; otherwise check that the brokers run.'
  if (/Closed connection|closed the connection/i.test(said))
    return 'If this listener speaks TLS or asks for SASL, set kafka.ssl and kafka.sasl; otherwise check that the brokers run.'
  return REACHABLE
}
