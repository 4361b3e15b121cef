import { X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import * as z from 'zod'
import { invalidField, strict } from './define-fields.ts'
import type { KafkaSaslSettings, KafkaTlsSettings } from './settings.ts'

/** `kafka.ssl` and `kafka.sasl`: how brokers are trusted, and how they know us. */

const optionalText = z.string().optional()

export const tlsFields = strict({
  ca: optionalText,
  cert: optionalText,
  key: optionalText,
  passphrase: optionalText,
  serverName: optionalText,
})

const PASSWORD_MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const
const PASSWORD_FIELDS = ['username', 'password'] as const
const OAUTH_FIELDS = ['tokenEndpoint', 'clientId', 'clientSecret'] as const
const OAUTH_OPTIONAL = ['scope', 'audience', 'ca', 'extensions'] as const

/** RFC 7628: what stands between two separators of the message. */
const extensions = z.record(
  z.string().regex(/^(?!auth$)[A-Za-z]+$/, { error: 'is not the name of a SASL extension' }),
  z.string().regex(/^[\x20-\x7e]*$/, { error: 'must be printable ASCII' }),
)

export const saslFields = strict({
  mechanism: z.enum([...PASSWORD_MECHANISMS, 'oauthbearer']),
  username: optionalText,
  password: optionalText,
  tokenEndpoint: z
    .string()
    .refine(isTokenEndpoint, {
      error: 'must be an https address without user and password; http only for this machine',
    })
    .optional(),
  clientId: optionalText,
  clientSecret: optionalText,
  scope: optionalText,
  audience: optionalText,
  ca: optionalText,
  extensions: extensions.optional(),
}).superRefine((given, context) => {
  const isOAuth = given.mechanism === 'oauthbearer'
  const [needed, foreign] = isOAuth
    ? [OAUTH_FIELDS, PASSWORD_FIELDS]
    : [PASSWORD_FIELDS, [...OAUTH_FIELDS, ...OAUTH_OPTIONAL]]
  for (const field of needed)
    if (!isGiven(given[field]))
      context.addIssue({ code: 'custom', path: [field], message: `is missing: ${given.mechanism} needs it` })
  for (const field of foreign)
    if (isGiven(given[field]))
      context.addIssue({ code: 'custom', path: [field], message: `is of no use with ${given.mechanism}` })
})

export function toSasl(given: z.output<typeof saslFields>): KafkaSaslSettings {
  const { mechanism } = given
  if (mechanism !== 'oauthbearer') return { mechanism, username: given.username!, password: given.password! }
  return {
    mechanism,
    tokenEndpoint: given.tokenEndpoint!,
    clientId: given.clientId!,
    clientSecret: given.clientSecret!,
    ...Object.fromEntries(
      OAUTH_OPTIONAL.filter((field) => isGiven(given[field])).map((field) => [field, given[field]]),
    ),
  }
}

/** Checks what TLS is given before anybody connects. Throws `config.invalid` that names the field. */
export function toTls(given: z.output<typeof tlsFields>): KafkaTlsSettings {
  const settings = Object.fromEntries(Object.entries(given).filter(([, value]) => isGiven(value))) as KafkaTlsSettings
  const { ca, cert, key } = settings
  for (const field of ['ca', 'cert', 'key'] as const) {
    const text = settings[field]
    if (text === undefined || text.includes('-----BEGIN ')) continue
    // The text may be a key: it is not repeated.
    throw invalidField(['kafka', 'ssl', field], 'is not a PEM text', `Write "\${file:path/to/${field}.pem}".`)
  }
  if ((cert === undefined) !== (key === undefined))
    throw invalidField(
      ['kafka', 'ssl', cert === undefined ? 'cert' : 'key'],
      'is missing: a certificate and its key go together',
    )
  for (const [field, text] of [
    ['ca', ca],
    ['cert', cert],
  ] as const)
    if (text !== undefined) readCertificate(field, text)
  try {
    tls.createSecureContext({ ca, cert, key, passphrase: settings.passphrase })
  } catch (cause) {
    throw invalidField(
      ['kafka', 'ssl', 'key'],
      `does not fit the certificate, or cannot be read: ${reasonOf(cause)}`,
      'Give the key of this certificate, and kafka.ssl.passphrase where it is encrypted.',
    )
  }
  return settings
}

function readCertificate(field: 'ca' | 'cert', text: string): void {
  try {
    new X509Certificate(text)
  } catch (cause) {
    throw invalidField(['kafka', 'ssl', field], `is not a certificate: ${reasonOf(cause)}`)
  }
}

/** What OpenSSL says, which never holds the text itself. */
function reasonOf(cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause)
  return message.split(':').at(-1)!.trim()
}

function isTokenEndpoint(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && ['localhost', '127.0.0.1', '[::1]'].includes(hostname))
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== ''
}
