/**
 * What is shown or logged holds no secret: by the name of a field, and by the form of a text. Both are the last line of
 * defence, behind code that does not put secrets there.
 */

const SECRET_FIELD = /password|passphrase|secret|session_?token|^token$|authorization|access_?key|sha256/i
const MASK = '••••••'

/** Plain JSON without a secret in it. */
export function masked(value: unknown, name = ''): unknown {
  if (value === undefined || value === null) return value
  // A private key is a text; the key of a table is a list of columns.
  if (SECRET_FIELD.test(name) || (name === 'key' && typeof value === 'string')) return MASK
  if (typeof value === 'string') return redacted(value)
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return value.map((item) => masked(item))
  if (typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, masked(item, key)]))
}

const FORMS: readonly (readonly [RegExp, string])[] = [
  // a key of the API
  [/\b([a-z][a-z0-9_-]{0,62})\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])/g, `$1.${MASK}`],
  // a JSON Web Token
  [/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?/g, MASK],
  [/\b(bearer|basic)\s+(?:(?=\S*[\d+/=_])[\w+/=.~-]{8,}|[\w+/=.~-]{20,})/gi, `$1 ${MASK}`],
  // an address with a password
  [/(\/\/)[^/@\s]+@/g, `$1${MASK}@`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, MASK],
  [
    /\b(password|passphrase|client_?secret|secret_?access_?key|session_?token)(["']?\s*[=:]\s*["']?)[^\s"',;&}]+/gi,
    `$1$2${MASK}`,
  ],
]

/** A text for people, without what has the form of a secret. */
export function redacted(text: string): string {
  return FORMS.reduce((sum, [form, instead]) => sum.replace(form, instead), text)
}
