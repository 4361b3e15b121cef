// The lake of the run: JSON topics, keyed and not, and a topic in Avro behind a registry, all over a door that asks for
// a password. Everything secret in it is made for the run, so that it can be looked for wherever something is printed.
import { createHash, randomBytes } from 'node:crypto'
import path from 'node:path'
import { makeAuthority } from '../certificates.mjs'

export const TOPICS = { clicks: 'clicks', accounts: 'accounts', orders: 'orders' }
/** Which pipeline a table belongs to. */
export const PIPELINES = { clicks: 'web', accounts: 'web', orders: 'shop' }
export const STATUSES = ['created', 'paid', 'shipped', 'cancelled']

const secretText = () => randomBytes(24).toString('base64url')
const keyOf = (id) => `${id}.${randomBytes(32).toString('base64url')}`

/** What nobody may ever read: passwords, keys of the API, the key of the broker's certificate, a file beside the lake. */
export function makeSecrets() {
  return {
    kafka: secretText(),
    registry: secretText(),
    file: secretText(),
    admin: keyOf('admin'),
    reader: keyOf('reader'),
    stranger: keyOf('stranger'),
  }
}

/** A broker with one door for everybody here, and one with TLS and SCRAM for the lake. */
export function brokerOptions(secrets) {
  return (folder) => {
    const authority = makeAuthority(folder, 'authority')
    return {
      extraListeners: { SECURE: 'SASL_SSL' },
      scramUsers: { lake: secrets.kafka },
      properties: {
        'ssl.keystore.type': 'PEM',
        'ssl.keystore.location': authority.sign('localhost', 'DNS:localhost,IP:127.0.0.1').keystore,
        'ssl.truststore.type': 'PEM',
        'ssl.truststore.location': authority.caFile,
        'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
        'listener.name.secure.scram-sha-512.sasl.jaas.config':
          'org.apache.kafka.common.security.scram.ScramLoginModule required;',
      },
    }
  }
}

export function settingsOf(world, registry) {
  const sasl = { mechanism: 'scram-sha-512', username: 'lake', password: '${KAFKA_PASSWORD}' }
  const ssl = { ca: `\${file:${path.join(world.folder, 'authority.pem')}}` }
  return {
    kafka: { brokers: [world.broker.extraAddresses.SECURE], ssl, sasl },
    registry: {
      url: registry.url,
      username: 'lake',
      password: '${REGISTRY_PASSWORD}',
      timeout: '2s',
      cacheDir: path.join(world.folder, 'schemas'),
    },
    lanes: 2,
    commit: { minInterval: '300ms', microBatch: { age: '200ms' } },
    http: { keys: '${HTTP_KEYS}', queriesPerSecond: 10_000, queriesAtOnce: 100 },
    query: { cacheDir: path.join(world.folder, 'cache'), children: 2, timeout: '30s', memory: '500MB' },
    pipelines: definition(),
  }
}

export function environmentOf(secrets) {
  const entry = (id, role) =>
    JSON.stringify({ id, sha256: createHash('sha256').update(secrets[id]).digest('hex'), role })
  return {
    KAFKA_PASSWORD: secrets.kafka,
    REGISTRY_PASSWORD: secrets.registry,
    HTTP_KEYS: [entry('admin', 'admin'), entry('reader', 'reader'), entry('stranger', 'reader')].join('\n'),
  }
}

function definition() {
  return {
    web: {
      tables: {
        clicks: {
          from: { topic: TOPICS.clicks },
          columns: {
            id: 'string required',
            n: 'long required',
            status: `enum(${STATUSES.join(',')})`,
            amount: 'decimal(12,2)',
            at: 'timestamptz(ms)',
            note: 'string',
          },
        },
        accounts: {
          from: { topic: TOPICS.accounts },
          key: ['id'],
          columns: { id: 'string', n: 'long', note: 'string' },
        },
      },
    },
    shop: {
      tables: {
        orders: {
          from: { topic: TOPICS.orders, value: 'avro' },
          columns: {
            id: 'string required',
            n: 'long required',
            status: `enum(${STATUSES.join(',')})`,
            amount: 'decimal(12,2)',
          },
        },
      },
    },
  }
}
