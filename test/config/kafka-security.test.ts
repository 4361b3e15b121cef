import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { settingsOf } from '../../src/config.ts'
import type { LakeError } from '../../src/error.ts'
import type { KafkaSettings } from '../../src/settings.ts'
import { makeAuthority, type Certificate } from '../../infra/certificates.mjs'

let folder: string
let ca: string
let alice: Certificate
let bob: Certificate
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kappalake-pem-'))
  const authority = makeAuthority(folder, 'ca')
  ca = authority.ca
  alice = authority.sign('alice', 'DNS:alice')
  bob = authority.sign('bob', 'DNS:bob')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const kafkaOf = (kafka: object): KafkaSettings => {
  const { source } = settingsOf({ kafka: { brokers: ['a:1'], ...kafka } })
  return source.kind === 'kafka' ? source.kafka : (undefined as never)
}
const failing = (kafka: object): LakeError => {
  try {
    kafkaOf(kafka)
  } catch (error) {
    return error as LakeError
  }
  throw new Error('was taken')
}

describe('ssl', () => {
  test('is true, an authority, or a certificate with its key', () => {
    expect(kafkaOf({ ssl: true }).ssl).toBe(true)
    expect(kafkaOf({ ssl: 'true' }).ssl).toBe(true)
    expect(kafkaOf({ ssl: false }).ssl).toBeUndefined()
    const { cert, key } = alice
    expect(kafkaOf({ ssl: { ca, cert, key, passphrase: '', serverName: 'b' } }).ssl).toEqual({
      ca,
      cert,
      key,
      serverName: 'b',
    })
  })

  test('is refused before anybody connects, by the field, and without repeating a key', () => {
    const { cert, key } = alice
    const cases: [object, string, RegExp][] = [
      [{ ca: './ca.pem' }, 'kafka.ssl.ca', /not a PEM text/],
      [{ cert, key: key.slice(30) }, 'kafka.ssl.key', /not a PEM text/],
      [{ cert }, 'kafka.ssl.key', /go together/],
      [{ key }, 'kafka.ssl.cert', /go together/],
      [{ cert, key: bob.key }, 'kafka.ssl.key', /does not fit/],
      [{ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' }, 'kafka.ssl.ca', /not a certificate/],
    ]
    for (const [ssl, field, message] of cases) {
      const error = failing({ ssl })
      expect([error.code, error.context.path]).toEqual(['config.invalid', field])
      expect(error.message).toMatch(message)
      expect(JSON.stringify([error.message, error.fix, error.context])).not.toContain(key.slice(60, 100))
    }
  })
})

describe('sasl', () => {
  const oauth = {
    mechanism: 'oauthbearer',
    tokenEndpoint: 'https://issuer.example/token',
    clientId: 'lake',
    clientSecret: 'hush',
  }

  test('of a password, and of a token endpoint', () => {
    const plain = { mechanism: 'plain', username: 'u', password: 'p' }
    expect(kafkaOf({ sasl: plain }).sasl).toEqual(plain)
    expect(kafkaOf({ sasl: { ...oauth, scope: '', extensions: { logicalCluster: 'lkc-1' } } }).sasl).toEqual({
      ...oauth,
      extensions: { logicalCluster: 'lkc-1' },
    })
  })

  test.each<[object, string, RegExp]>([
    [{ mechanism: 'plain', username: 'u' }, 'kafka.sasl.password', /is missing: plain needs it/],
    [{ ...oauth, clientSecret: '' }, 'kafka.sasl.clientSecret', /is missing/],
    [{ ...oauth, password: 'p' }, 'kafka.sasl.password', /of no use/],
    [{ mechanism: 'plain', username: 'u', password: 'p', scope: 's' }, 'kafka.sasl.scope', /of no use with plain/],
    [{ ...oauth, tokenEndpoint: 'http://issuer.example/token' }, 'kafka.sasl.tokenEndpoint', /https/],
    [{ ...oauth, tokenEndpoint: 'https://u:p@issuer.example' }, 'kafka.sasl.tokenEndpoint', /without user/],
    [{ ...oauth, tokenEndpoint: 'file:///etc/passwd' }, 'kafka.sasl.tokenEndpoint', /https/],
    [{ ...oauth, extensions: { auth: 'x' } }, 'kafka.sasl.extensions.auth', /SASL extension/],
    [{ ...oauth, extensions: { a: 'x\u0001auth=Bearer y' } }, 'kafka.sasl.extensions.a', /printable/],
    [{ mechanism: 'gssapi' }, 'kafka.sasl.mechanism', /oauthbearer/],
  ])('%j', (sasl, field, message) => {
    const error = failing({ sasl })
    expect([error.code, error.context.path]).toEqual(['config.invalid', field])
    expect(error.message).toMatch(message)
    expect(`${error.message}${error.fix}`).not.toContain('hush')
  })
})
