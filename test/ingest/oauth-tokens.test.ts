import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { postForm, type Answer, type FormRequest } from '../../src/ingest/guarded-request.ts'
import { firstMessage } from '../../src/ingest/kafka-security.ts'
import { OAuthTokens } from '../../src/ingest/oauth-tokens.ts'
import type { OAuthSettings } from '../../src/settings.ts'
import { InstantClock } from '../support/instant-clock.ts'

const SETTINGS: OAuthSettings = {
  mechanism: 'oauthbearer',
  tokenEndpoint: 'https://issuer.example/token',
  clientId: 'lake',
  clientSecret: 'hush-hush',
  scope: 'kafka',
}

/** An endpoint that a test speaks for. */
function endpoint(settings: Partial<OAuthSettings> = {}) {
  const clock = new InstantClock()
  const asked: FormRequest[] = []
  const state: { next: () => Answer } = { next: () => ok({ access_token: `t${asked.length}`, expires_in: 100 }) }
  const tokens = new OAuthTokens({ ...SETTINGS, ...settings }, clock, async (request) => {
    asked.push(request)
    await Promise.resolve()
    return state.next()
  })
  return { clock, asked, state, tokens }
}

const ok = (value: object): Answer => ({ status: 200, text: JSON.stringify(value) })
const failure = async (tokens: OAuthTokens): Promise<LakeError> => {
  const error = await tokens.token().catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(LakeError)
  return error as LakeError
}

describe('a token', () => {
  test('is asked for as RFC 6749 says', async () => {
    const { asked, tokens } = endpoint({ clientId: 'a b', clientSecret: 'c:d+é', audience: 'brokers' })
    await tokens.token()
    expect(asked[0]).toMatchObject({
      url: SETTINGS.tokenEndpoint,
      headers: { authorization: `Basic ${btoa('a+b:c%3Ad%2B%C3%A9')}` },
      form: { grant_type: 'client_credentials', scope: 'kafka', audience: 'brokers' },
    })
  })

  test('is used for four fifths of its life, by all, and asked for once', async () => {
    const { asked, clock, tokens } = endpoint()
    expect(await Promise.all(Array.from({ length: 9 }, () => tokens.token()))).toEqual(Array(9).fill('t1'))
    clock.advance(79_999)
    expect(await tokens.token()).toBe('t1')
    clock.advance(1)
    expect(await Promise.all([tokens.token(), tokens.token()])).toEqual(['t2', 't2'])
    expect(asked).toHaveLength(2)
  })

  test('is used up while the endpoint is away, and no longer', async () => {
    const { clock, state, tokens } = endpoint()
    await tokens.token()
    const good = state.next
    state.next = () => ({ status: 503, text: '' })
    clock.advance(90_000)
    expect(await tokens.token()).toBe('t1')
    clock.advance(10_000)
    expect(await failure(tokens)).toMatchObject({ code: 'kafka.unavailable', retryable: true })
    state.next = good
    expect(await tokens.token()).toMatch(/^t\d$/)
  })

  test('that is refused is not covered by an old one', async () => {
    const { clock, state, tokens } = endpoint()
    await tokens.token()
    state.next = () => ({ status: 401, text: '{"error":"invalid_client"}' })
    clock.advance(90_000)
    expect(await failure(tokens)).toMatchObject({ code: 'kafka.denied', retryable: false })
  })

  test('that does not say how long it lives is believed its own word', async () => {
    const { asked, clock, state, tokens } = endpoint()
    const claims = { exp: clock.nowMs() / 1_000 + 10 }
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    state.next = () => ok({ access_token: `${part({ alg: 'none' })}.${part(claims)}.`, token_type: 'bearer' })
    await tokens.token()
    clock.advance(7_999)
    await tokens.token()
    expect(asked).toHaveLength(1)
    clock.advance(1)
    await tokens.token()
    expect(asked).toHaveLength(2)
  })

  test('is renewed before it is over, whatever its life is', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 100_000 }), fc.array(fc.nat(50_000_000)), async (life, waits) => {
        const { clock, state, tokens } = endpoint()
        state.next = () => ok({ access_token: String(clock.monotonicMs()), expires_in: life })
        for (const wait of [0, ...waits]) {
          clock.advance(wait)
          const age = clock.monotonicMs() - Number(await tokens.token())
          expect(age).toBeLessThan(life * 1_000)
        }
      }),
    ))
})

describe('an endpoint', () => {
  test.each<[string, Answer, string, RegExp]>([
    ['that refuses', { status: 401, text: '{"error":"invalid_client"}' }, 'kafka.denied', /invalid_client/],
    ['that refuses the scope', { status: 400, text: '{"error":"invalid_scope"}' }, 'kafka.denied', /invalid_scope/],
    ['that says more than a code', { status: 400, text: '{"error":"no hush-hush"}' }, 'kafka.denied', /status 400/],
    ['that points elsewhere', { status: 302, text: '' }, 'kafka.denied', /redirects are not followed/],
    ['that is busy', { status: 429, text: '' }, 'kafka.unavailable', /429/],
    ['that is a web page', { status: 200, text: '<html>' }, 'kafka.unavailable', /no bearer token/],
    ['of another kind of token', ok({ access_token: 'x', token_type: 'mac' }), 'kafka.unavailable', /no bearer token/],
    ['whose token would end the message', ok({ access_token: 'x\u0001y' }), 'kafka.unavailable', /no bearer token/],
    ['whose tokens are over', ok({ access_token: 'x', expires_in: 0 }), 'kafka.denied', /over already/],
  ])('%s', async (_, answer, code, message) => {
    const { state, tokens } = endpoint()
    state.next = () => answer
    const error = await failure(tokens)
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)])
    expect(error.fix).toBeDefined()
    expect(JSON.stringify([error.message, error.fix, error.context, String(error.cause)])).not.toContain('hush-hush')
  })

  test('whatever it says, the secret is in no message', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 100, max: 599 }), fc.json(), async (status, text) => {
        const { state, tokens } = endpoint()
        state.next = () => ({ status, text: text.replaceAll(/\w+/g, SETTINGS.clientSecret) })
        const result = await tokens.token().catch((error: LakeError) => `${error.message} ${error.fix}`)
        expect(result).not.toContain(SETTINGS.clientSecret)
      }),
    ))
})

describe('link-local addresses', () => {
  test.each([
    'http://169.254.169.254/latest/meta-data',
    'http://169.254.0.1/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
    'http://[::ffff:169.254.169.254]/',
    'http://2852039166/', // the first one, as a number
    'http://0xa9fea9fe/',
  ])('%s is never asked', async (url) => {
    const request = { url, headers: {}, form: {}, timeoutMs: 1_000 }
    await expect(postForm(request, new InstantClock())).rejects.toThrow(/link-local/)
  })
})

test('the first message of OAUTHBEARER', () => {
  expect(firstMessage('tok', {}).toString()).toBe('n,,\u0001auth=Bearer tok\u0001\u0001')
  expect(firstMessage('tok', { a: '1', b: '2' }).toString()).toBe(
    'n,,\u0001auth=Bearer tok\u0001a=1\u0001b=2\u0001\u0001',
  )
})
