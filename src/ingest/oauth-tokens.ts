import type { Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { OAuthSettings } from '../settings.ts'
import { postForm, type Answer } from './guarded-request.ts'

/** A token that is used from now on is good for this share of its life at least. */
const FRESH_SHARE = 0.8
/** Of a token that does not say. */
const LIFE_MS_DEFAULT = 300_000
const LIFE_MS_MAX = 24 * 3_600_000
const TIMEOUT_MS = 10_000

interface Token {
  readonly value: string
  readonly staleMs: number
  readonly expiresMs: number
}

/**
 * Access tokens by client credentials (RFC 6749, 4.4). One is used for all connections until four fifths of its life are
 * over; then the next is asked for, once, however many wait for it. The secret goes to the token endpoint and nowhere
 * else: what that endpoint says is not repeated but for the code of an error.
 */
export class OAuthTokens {
  readonly #settings: OAuthSettings
  readonly #clock: Clock
  readonly #post: typeof postForm
  #token: Token | undefined
  #asking: Promise<Token> | undefined

  constructor(settings: OAuthSettings, clock: Clock, post: typeof postForm = postForm) {
    this.#settings = settings
    this.#clock = clock
    this.#post = post
  }

  /** Throws `kafka.denied` when the endpoint refuses the client, `kafka.unavailable` when it does not answer. */
  async token(): Promise<string> {
    const known = this.#token
    if (known !== undefined && this.#clock.monotonicMs() < known.staleMs) return known.value
    try {
      this.#asking ??= this.#ask().finally(() => (this.#asking = undefined))
      return (this.#token = await this.#asking).value
    } catch (error) {
      // The endpoint may be away for a while: what is still good is used up.
      const isGood = known !== undefined && this.#clock.monotonicMs() < known.expiresMs
      if (isGood && asLakeError(error).retryable) return known.value
      throw error
    }
  }

  async #ask(): Promise<Token> {
    const { tokenEndpoint: url, clientId, clientSecret, scope, audience, ca } = this.#settings
    const askedMs = this.#clock.monotonicMs()
    const answer = await this.#post(
      {
        url,
        headers: { authorization: `Basic ${basic(clientId, clientSecret)}` },
        form: {
          grant_type: 'client_credentials',
          ...(scope === undefined ? {} : { scope }),
          ...(audience === undefined ? {} : { audience }),
        },
        ca,
        timeoutMs: TIMEOUT_MS,
      },
      this.#clock,
    ).catch((cause: unknown) => {
      throw this.#unavailable(cause instanceof Error ? cause.message : String(cause), cause)
    })
    const given = parse(answer)
    if (answer.status !== 200) throw this.#refusal(answer.status, given['error'])
    const { access_token: value, token_type: type = 'bearer' } = given
    // What goes into the message of SASL must not end it.
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value) || String(type).toLowerCase() !== 'bearer')
      throw this.#unavailable('its answer holds no bearer token')
    const lifeMs = Math.min(LIFE_MS_MAX, lifeOf(given['expires_in'], value, this.#clock.nowMs()))
    if (lifeMs <= 0) throw this.#denied('it gives tokens that are over already', 'Compare the clocks of both machines.')
    return { value, staleMs: askedMs + lifeMs * FRESH_SHARE, expiresMs: askedMs + lifeMs }
  }

  #refusal(status: number, code: unknown): LakeError {
    if (status >= 500 || status === 429) return this.#unavailable(`it answers ${status}`)
    if (status >= 300 && status < 400)
      return this.#denied(`it answers ${status}, and redirects are not followed`, 'Give the address that it points to.')
    const why = typeof code === 'string' && /^[a-z_]{1,40}$/.test(code) ? code : `status ${status}`
    return this.#denied(`it refuses the client: ${why}`, 'Check kafka.sasl.clientId, clientSecret, scope and audience.')
  }

  #denied(message: string, fix: string): LakeError {
    return new LakeError('kafka.denied', `the token endpoint ${this.#settings.tokenEndpoint}: ${message}`, { fix })
  }

  #unavailable(message: string, cause?: unknown): LakeError {
    return new LakeError('kafka.unavailable', `the token endpoint ${this.#settings.tokenEndpoint}: ${message}`, {
      retryable: true,
      fix: 'Check that kafka.sasl.tokenEndpoint is right and can be reached from here.',
      cause,
    })
  }
}

/** RFC 6749, 2.3.1: both parts are encoded as in a form first. */
function basic(id: string, secret: string): string {
  const encode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1)
  return Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')
}

function parse({ text }: Answer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** By what the endpoint says, else by what the token says of itself, in milliseconds from now. */
function lifeOf(expiresIn: unknown, token: string, nowMs: number): number {
  const seconds = Number(expiresIn ?? Number.NaN)
  if (Number.isFinite(seconds)) return seconds * 1_000
  const expiry = expiryOf(token)
  return expiry === undefined ? LIFE_MS_DEFAULT : expiry * 1_000 - nowMs
}

/** `exp` of a JSON Web Token, in seconds since 1970. Its signature is for the broker to check. */
function expiryOf(token: string): number | undefined {
  const [, claims] = token.split('.')
  if (claims === undefined) return undefined
  try {
    const { exp } = JSON.parse(Buffer.from(claims, 'base64url').toString('utf8')) as { readonly exp?: unknown }
    return typeof exp === 'number' && Number.isFinite(exp) ? exp : undefined
  } catch {
    return undefined
  }
}
