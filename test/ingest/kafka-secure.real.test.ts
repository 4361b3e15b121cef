import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { runCheck, checksOf } from '../../src/cli/doctor.ts'
import { KafkaConnection } from '../../src/ingest/kafka-connection.ts'
import { metadata } from '../../src/ingest/kafka-protocol.ts'
import { kafkaSecurity } from '../../src/ingest/kafka-security.ts'
import { KafkaSink } from '../../src/ingest/kafka-sink.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import { openSource } from '../../src/ingest/source.ts'
import { defineLake, open, raw, table } from '../../src/index.ts'
import type { LoadedConfig } from '../../src/config.ts'
import type { KafkaSettings, OAuthSettings } from '../../src/settings.ts'
import { makeAuthority, type Authority, type Certificate } from '../../infra/certificates.mjs'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { cursorsAt, drain, records } from '../support/log.ts'
import { trustStore } from '../support/shop-store.ts'
import { startTokenServer, type TokenServer } from '../support/token-server.ts'

// One broker with a door for each way in. What is read here is what a pipeline reads, what is sent is what a change topic
// is sent, and the check is the doctor's.

const PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule'
const SCRAM = 'org.apache.kafka.common.security.scram.ScramLoginModule'
const OAUTH = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule'
const VALIDATOR = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler'
const CLIENT = { id: 'alice', secret: 'the-secret-of-alice' }
const ALICE = { username: 'alice', password: 'alice-secret' }

let folder: string
let kafka: TestKafka
let tokens: TokenServer
let authority: Authority
let foreign: Authority
let alice: Certificate
let oauth: OAuthSettings

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'kappalake-secure-'))
  authority = makeAuthority(folder, 'test-ca')
  foreign = makeAuthority(folder, 'foreign-ca')
  alice = authority.sign('alice', 'DNS:alice')
  const jwks = path.join(folder, 'jwks.json')
  tokens = await startTokenServer(jwks, CLIENT)
  const oauthDoor = 'listener.name.sasl.oauthbearer'
  kafka = await startKafka({
    extraListeners: { SASL: 'SASL_SSL', MTLS: 'SSL', EXPIRED: 'SSL', NAMED: 'SSL' },
    scramUsers: { alice: ALICE.password },
    flags: [`-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://${jwks}`],
    properties: {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': authority.sign('localhost', 'DNS:localhost,IP:127.0.0.1').keystore,
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': authority.caFile,
      'listener.name.mtls.ssl.client.auth': 'required',
      'listener.name.expired.ssl.keystore.location': authority.sign('localhost', 'DNS:localhost', 0).keystore,
      'listener.name.named.ssl.keystore.location': authority.sign('broker', 'DNS:broker.example').keystore,
      'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER',
      'listener.name.sasl.plain.sasl.jaas.config': `${PLAIN} required user_alice="${ALICE.password}";`,
      'listener.name.sasl.scram-sha-256.sasl.jaas.config': `${SCRAM} required;`,
      'listener.name.sasl.scram-sha-512.sasl.jaas.config': `${SCRAM} required;`,
      [`${oauthDoor}.sasl.jaas.config`]: `${OAUTH} required;`,
      [`${oauthDoor}.sasl.server.callback.handler.class`]: VALIDATOR,
      // The broker ends a session when its token is over.
      [`${oauthDoor}.connections.max.reauth.ms`]: 3_600_000,
      'sasl.oauthbearer.jwks.endpoint.url': `file://${jwks}`,
      'sasl.oauthbearer.expected.audience': 'kafka',
      'sasl.oauthbearer.expected.issuer': 'https://issuer.example',
    },
  })
  oauth = {
    mechanism: 'oauthbearer',
    tokenEndpoint: `${tokens.url}/token`,
    clientId: CLIENT.id,
    clientSecret: CLIENT.secret,
    scope: 'kafka',
  }
  await kafka.createTopic('secure', 2)
  for (let p = 0; p < 2; p++) await kafka.produce('secure', p, records(`p${p}-`, 2_000))
})
afterAll(async () => {
  await tokens?.close()
  await kafka?.stop()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => Object.assign(tokens, { lifeSeconds: 3_600, audience: 'kafka', isAway: false }))

const at = (door: string, settings: Partial<KafkaSettings>): KafkaSettings => ({
  brokers: [kafka.extraAddresses[door]!],
  ssl: { ca: authority.ca },
  ...settings,
})

/** Every way in that is right. */
const WAYS: Readonly<Record<string, () => KafkaSettings>> = {
  'TLS and PLAIN': () => at('SASL', { sasl: { mechanism: 'plain', ...ALICE } }),
  'TLS and SCRAM-SHA-256': () => at('SASL', { sasl: { mechanism: 'scram-sha-256', ...ALICE } }),
  'TLS and SCRAM-SHA-512': () => at('SASL', { sasl: { mechanism: 'scram-sha-512', ...ALICE } }),
  'TLS and OAUTHBEARER': () => at('SASL', { sasl: oauth }),
  'mutual TLS': () => at('MTLS', { ssl: { ca: authority.ca, cert: alice.cert, key: alice.key } }),
  'a name that is not the one called': () => at('NAMED', { ssl: { ca: authority.ca, serverName: 'broker.example' } }),
}

describe.each(Object.keys(WAYS))('%s', (way) => {
  test('reads', async () => {
    const source = openKafka(WAYS[way]!(), systemClock)
    const drained = await drain(source, await cursorsAt(source, 'secure'))
    for (const p of [0, 1])
      expect(drained.values(`secure/${p}`)).toEqual(Array.from({ length: 2_000 }, (_, i) => `p${p}-${i}`))
    await source.close()
  })

  test('publishes', async () => {
    const topic = `changes-${way.replaceAll(/\W+/g, '-')}`
    await kafka.createTopic(topic, 1)
    const sink = new KafkaSink(WAYS[way]!(), systemClock)
    await sink.send(topic, [{ key: 'k', value: 'v', headers: {} }])
    await sink.close()
    const source = openKafka({ brokers: kafka.brokers }, systemClock)
    expect((await drain(source, await cursorsAt(source, topic))).values(`${topic}/0`)).toEqual(['v'])
    await source.close()
  })
})

test('a lake ingests over it, in lanes of their own', async () => {
  const { brokers, ssl } = at('SASL', {})
  const store = `file:${folder}/lake`
  await trustStore({ url: store })
  const rows = table('rows', { from: { topic: 'secure', value: raw() } })
  const lake = await open(defineLake({ shop: [rows] }), {
    kafka: { brokers, ssl: ssl!, sasl: oauth },
    store,
    lanes: 1,
    query: { cacheDir: path.join(folder, 'cache') },
  })
  try {
    for (const partition of [0, 1]) await lake.waitFor(rows, { partition, offset: 1_999n })
    expect(await lake.sql`select count(*) n from ${rows}`).toEqual([{ n: 4_000n }])
  } finally {
    await lake.close()
  }
})

/** Every way that is wrong: what is said, and what to do. */
const WRONG: readonly (readonly [string, () => KafkaSettings, RegExp, RegExp])[] = [
  [
    'a wrong password',
    () => at('SASL', { sasl: { mechanism: 'plain', ...ALICE, password: 'wr0ng-pass' } }),
    /refuses the credentials/,
    /user name and password/,
  ],
  [
    'a wrong password of SCRAM',
    () => at('SASL', { sasl: { mechanism: 'scram-sha-512', ...ALICE, password: 'wr0ng-pass' } }),
    /refuses the credentials/,
    /user name and password/,
  ],
  ['an authority that nobody named', () => at('MTLS', { ssl: true }), /is not trusted/, /kafka\.ssl\.ca/],
  ['another authority', () => at('MTLS', { ssl: { ca: foreign.ca } }), /is not trusted/, /kafka\.ssl\.ca/],
  ['no certificate where one is asked for', () => at('MTLS', {}), /certificate of this client/, /kafka\.ssl\.cert/],
  [
    'a certificate of another authority',
    () => {
      const { cert, key } = foreign.sign('alice', 'DNS:alice')
      return at('MTLS', { ssl: { ca: authority.ca, cert, key } })
    },
    /certificate of this client/,
    /kafka\.ssl\.cert/,
  ],
  [
    'a certificate of ours whose time is over',
    () => {
      const { cert, key } = authority.sign('alice', 'DNS:alice', 0)
      return at('MTLS', { ssl: { ca: authority.ca, cert, key } })
    },
    /certificate of this client/,
    /not over/,
  ],
  ['a certificate of the broker whose time is over', () => at('EXPIRED', {}), /expired/, /Renew/],
  ['a certificate for another name', () => at('NAMED', {}), /altnames/, /serverName/],
  [
    'a client that the token endpoint does not know',
    () => at('SASL', { sasl: { ...oauth, clientSecret: 'wr0ng-pass' } }),
    /token endpoint.*invalid_client/,
    /clientSecret/,
  ],
  [
    'a token endpoint that points elsewhere',
    () => at('SASL', { sasl: { ...oauth, tokenEndpoint: `${tokens.url}/elsewhere` } }),
    /redirects are not followed/,
    /points to/,
  ],
  [
    'tokens for somebody else',
    () => {
      tokens.audience = 'another-service'
      return at('SASL', { sasl: oauth })
    },
    /refuses the token/,
    /audience/,
  ],
]

describe.each(WRONG)('%s', (_, settings, message, fix) => {
  test('is denied at once, with what to do, to readers and the doctor alike', async () => {
    const given = settings()
    const source = openKafka(given, systemClock)
    const read = await source.topics(['secure']).catch((error: unknown) => error)
    expect(read).toMatchObject({ code: 'kafka.denied', retryable: false, fix: expect.stringMatching(fix) })
    expect(String(read)).toMatch(message)
    await source.close()
    const { detail, ok } = await doctor(given)
    expect([ok, detail.startsWith('kafka.denied')]).toEqual([false, true])
    expect(JSON.stringify([String(read), read, detail])).not.toMatch(/wr0ng-pass|alice-secret|the-secret-of-alice/)
  })
})

test.each([
  'a wrong password',
  'no certificate where one is asked for',
  'a client that the token endpoint does not know',
])('change topics are told the same: %s', async (name) => {
  const [, settings, , fix] = WRONG.find(([each]) => each === name)!
  const sink = new KafkaSink(settings(), systemClock)
  const sent = await sink.send('secure', [{ key: 'k', value: 'v', headers: {} }]).catch((error: unknown) => error)
  expect(sent).toMatchObject({ code: 'kafka.denied', fix: expect.stringMatching(fix) })
  expect(String(sent)).not.toMatch(/wr0ng-pass|alice-secret|the-secret-of-alice/)
  await sink.close()
})

describe('what only hangs up', () => {
  test.each([
    ['plain text where TLS is spoken', () => at('SASL', { ssl: false, connectionTimeoutMs: 2_000 }), /set kafka\.ssl/],
    [
      'TLS where plain text is spoken',
      () => ({ brokers: kafka.brokers, ssl: { ca: authority.ca } }),
      /leave kafka\.ssl out/,
    ],
    ['no SASL where it is asked for', () => at('SASL', {}), /kafka\.sasl/],
  ])('%s: the fix says what it may be', async (_, settings, fix) => {
    const { ok, detail, fix: said } = await doctor(settings(), HASTY)
    expect([ok, detail.startsWith('kafka.unavailable')]).toEqual([false, true])
    expect(said).toMatch(fix)
  })
})

test('sessions end with their tokens, and no record is lost', async () => {
  tokens.lifeSeconds = 4
  const before = tokens.given
  await kafka.createTopic('long', 1)
  const source = openKafka(at('SASL', { sasl: oauth }), systemClock)
  const cursors = await cursorsAt(source, 'long')
  const reading = new AbortController()
  const seen: string[] = []
  const reader = (async () => {
    for await (const batch of source.read(cursors, reading.signal))
      for (let i = 0; i < batch.count; i++) seen.push(String(batch.offsets[i]))
  })()
  for (let i = 0; i < 6; i++) {
    await kafka.produce('long', 0, records(`${i}-`, 1))
    await systemClock.sleep(1_000)
  }
  await expect.poll(() => seen.length).toBe(6)
  expect(seen).toEqual(Array.from({ length: 6 }, (_, i) => String(i)))
  expect(tokens.given - before).toBeGreaterThanOrEqual(2)
  reading.abort()
  await reader
  await source.close()
})

test('a connection is given up before the broker ends its session, which it does', async () => {
  tokens.lifeSeconds = 4
  const settings = at('SASL', { sasl: oauth })
  const [host, port] = settings.brokers[0]!.split(':')
  const open = () =>
    KafkaConnection.open(host!, Number(port), settings, kafkaSecurity(settings, systemClock), systemClock)
  const connection = await open()
  expect(connection.isOpen).toBe(true)
  await connection.send(metadata(['secure']))
  await systemClock.sleep(3_300)
  expect(connection.isOpen).toBe(false)
  await systemClock.sleep(1_700)
  await expect(connection.send(metadata(['secure']))).rejects.toMatchObject({ code: 'kafka.unavailable' })
  const next = await open()
  await next.send(metadata(['secure']))
  next.close()
})

test('a token endpoint that is away is waited for', async () => {
  tokens.isAway = true
  const source = openKafka(at('SASL', { sasl: oauth }), systemClock)
  const asked = source.topics(['secure'])
  await systemClock.sleep(500)
  tokens.isAway = false
  expect((await asked).get('secure')?.partitions).toEqual([0, 1])
  await source.close()
})

/** Gives up on brokers that do not answer twenty times as soon. */
const HASTY: Clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() * 20 }

async function doctor(given: KafkaSettings, clock = systemClock) {
  const loaded = {
    settings: { source: { kind: 'kafka', kafka: given }, http: { host: '127.0.0.1', port: 1 } },
    definition: { pipelines: [{ tables: [{ topic: 'secure' }] }] },
  } as unknown as LoadedConfig
  const unused = () => Promise.reject(new Error('not looked at'))
  const parts = { openStorage: unused, assertConditionalWrites: unused, openSource }
  return runCheck(checksOf(loaded, parts, clock).find(({ name }) => name === 'log')!)
}
