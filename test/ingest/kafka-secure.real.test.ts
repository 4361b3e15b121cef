import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openKafka } from '../../src/ingest/kafka.ts'
import type { KafkaSettings } from '../../src/settings.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { cursorsAt, drain, records } from '../support/log.ts'

const PLAIN_MODULE = 'org.apache.kafka.common.security.plain.PlainLoginModule'
let dir: string
let kafka: TestKafka
let settings: KafkaSettings

beforeAll(async () => {
  dir = mkdtempSync(path.join(tmpdir(), 'kappalake-tls-'))
  makeCertificates(dir)
  kafka = await startKafka({
    extraListener: { name: 'SECURE', protocol: 'SASL_SSL' },
    properties: {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': path.join(dir, 'keystore.pem'),
      'sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.secure.plain.sasl.jaas.config': `${PLAIN_MODULE} required user_alice="alice-secret";`,
    },
  })
  const ca = readFileSync(path.join(dir, 'ca.pem'), 'utf8')
  const sasl = { mechanism: 'plain', username: 'alice', password: 'alice-secret' } as const
  settings = { brokers: [kafka.extraAddress!], ssl: { ca }, sasl }
})
afterAll(async () => {
  await kafka?.stop()
  rmSync(dir, { recursive: true, force: true })
})

test('reads over TLS with a password', async () => {
  await kafka.createTopic('secure', 2)
  for (let p = 0; p < 2; p++) await kafka.produce('secure', p, records(`p${p}-`, 5_000))
  const source = openKafka(settings, systemClock)
  const drained = await drain(source, await cursorsAt(source, 'secure'))
  for (const p of [0, 1])
    expect(drained.values(`secure/${p}`)).toEqual(Array.from({ length: 5_000 }, (_, i) => `p${p}-${i}`))
  await source.close()
})

test('a wrong password, a mechanism that is not offered and a foreign authority are denied, at once', async () => {
  const sasl = { mechanism: 'plain', username: 'alice', password: 'alice-secret' } as const
  const denied: KafkaSettings[] = [
    { ...settings, sasl: { ...sasl, password: 'wrong' } },
    { ...settings, sasl: { ...sasl, mechanism: 'scram-sha-256' } },
    { ...settings, ssl: true },
  ]
  for (const wrong of denied) {
    const source = openKafka(wrong, systemClock)
    await expect(source.topics(['secure'])).rejects.toMatchObject({ code: 'kafka.denied', retryable: false })
    await source.close()
  }
})

function makeCertificates(dir: string): void {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' })
  const key = ['-newkey', 'rsa:2048', '-nodes']
  openssl('req', '-x509', ...key, '-days', '30', '-subj', '/CN=test-ca', '-keyout', 'ca.key', '-out', 'ca.pem')
  openssl('req', ...key, '-subj', '/CN=localhost', '-keyout', 'broker.key', '-out', 'broker.csr')
  writeFileSync(path.join(dir, 'names.txt'), 'subjectAltName=DNS:localhost,IP:127.0.0.1')
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30', '-extfile', 'names.txt']
  openssl('x509', '-req', '-in', 'broker.csr', ...signed, '-out', 'broker.pem')
  const keystore = ['broker.key', 'broker.pem'].map((file) => readFileSync(path.join(dir, file), 'utf8')).join('')
  writeFileSync(path.join(dir, 'keystore.pem'), keystore)
}
