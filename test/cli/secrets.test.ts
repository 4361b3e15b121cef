import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { hashOfKey, keyText } from '../../src/api-key.ts'
import { LakeError } from '../../src/error.ts'
import { makeAuthority, type Certificate } from '../../infra/certificates.mjs'
import { noParts, run } from './support.ts'

// Every secret that the settings can hold is given to the commands that read them, and parts fail with errors that are
// full of them. None of it is printed.

const KEY = keyText('ops', Buffer.alloc(32, 7))
const ENV = {
  CLIENT_SECRET: 'client-secret-4711',
  S3_SECRET: 's3-secret-4712',
  S3_TOKEN: 's3-token-4713',
  KAPPALAKE__HTTP__KEYS: JSON.stringify({ id: 'ops', sha256: hashOfKey(KEY), role: 'admin' }),
}
let folder: string
let client: Certificate
let secrets: readonly string[]

beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-secrets-'))
  const authority = makeAuthority(folder, 'ca')
  client = authority.sign('lake', 'DNS:lake')
  writeFileSync(path.join(folder, 'client.pem'), client.cert)
  writeFileSync(path.join(folder, 'client.key'), client.key)
  writeFileSync(
    path.join(folder, 'kappalake.yaml'),
    `kafka:
  brokers: [localhost:9092]
  ssl: { cert: "\${file:client.pem}", key: "\${file:client.key}" }
  sasl:
    mechanism: oauthbearer
    tokenEndpoint: https://issuer.example/token
    clientId: lake
    clientSecret: \${CLIENT_SECRET}
store: { url: s3://bucket/lake, endpoint: "http://me:endpoint-4714@s3.example", accessKeyId: AK, secretAccessKey: "\${S3_SECRET}", sessionToken: "\${S3_TOKEN}" }
pipelines: { shop: { tables: { orders: { from: { topic: shop.orders }, columns: { id: string } } } } }
`,
  )
  const body = client.key.split('\n').slice(1, -2)
  secrets = [KEY.split('.')[1]!, ...Object.values(ENV).slice(0, 3), hashOfKey(KEY), 'endpoint-4714', ...body]
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What a careless library might say. */
const careless = (): Promise<never> =>
  Promise.reject(
    new LakeError('kafka.denied', `cannot log in: clientSecret=${ENV.CLIENT_SECRET}, Authorization: Bearer ${KEY}`, {
      cause: new Error(`http://me:endpoint-4714@s3.example refused secretAccessKey: '${ENV.S3_SECRET}'`),
      fix: `Not with session_token="${ENV.S3_TOKEN}" and\n${client.key}`,
    }),
  )

test.each([
  ['config', 'print', '-o', 'table'],
  ['config', 'print', '-o', 'json'],
  ['config', 'print', '-o', 'csv'],
  ['doctor'],
  ['doctor', '-o', 'json'],
  ['start'],
  ['start', '--lanes', 'none'],
])('%s %s %s %s', async (...args) => {
  const failing = { openStorage: careless, openSource: () => ({ topics: careless, close: async () => undefined }) }
  const { out, err, code } = await run(
    args.filter((each) => typeof each === 'string'),
    { folder, env: ENV, parts: { open: careless as never, doctor: { ...noParts.doctor, ...(failing as object) } } },
  )
  expect(code).toBe(args[0] === 'config' ? 0 : args[0] === 'doctor' ? 3 : 1)
  expect(out + err).not.toBe('')
  for (const secret of secrets) expect(out + err).not.toContain(secret)
})
