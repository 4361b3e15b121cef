import * as z from 'zod'
import { saslFields, tlsFields, toSasl, toTls } from './config-kafka.ts'
import { keys } from './config-keys.ts'
import { pipelinesSchema } from './define-check.ts'
import { duration, invalidField, leaf, name, parseFields, problem, size, strict, whole } from './define-fields.ts'
import { isServedSafely, UNSAFE_HOST } from './served.ts'
import type { HttpSettings, KafkaSettings, RegistrySettings, Settings, StoreSettings } from './settings.ts'

/**
 * The one schema of settings, for YAML, TypeScript, the environment and flags. Every key with its default:
 * docs/config.md; for editors: docs/kappalake.schema.json.
 */

const SALT_CHARACTERS_MIN = 16

const text = z.string().min(1, { error: 'is empty' })
/** `${VAR:-}` gives an empty text, which means absent. */
const optionalText = z.string().optional()
const yes = z.union([z.boolean(), leaf('true or false', readBoolean)], { error: 'must be true or false' })
/** A list, or its text form `a:9092,b:9092`, as the environment and flags give it. */
const addresses = z
  .union([z.array(z.string()), z.string()], { error: 'must be a list of host:port' })
  .transform((given, context) => {
    const list = (typeof given === 'string' ? given.split(',') : given)
      .map((item) => item.trim())
      .filter((s) => s !== '')
    const wrong = list.find((address) => !/^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/.test(address))
    if (list.length > 0 && wrong === undefined) return list
    const message = wrong === undefined ? 'names no broker' : `"${wrong}" is not host:port`
    context.addIssue({ code: 'custom', message, params: { fix: 'Write host:port, such as localhost:9092.' } })
    return z.NEVER
  })

const kafka = strict(
  {
    brokers: addresses,
    clientId: optionalText,
    ssl: z
      .union([yes, tlsFields], {
        error: 'must be true, false or {ca, cert, key}',
      })
      .optional(),
    sasl: saslFields.optional(),
    connectionTimeout: duration({ minMs: 100 }),
    requestTimeout: duration({ minMs: 1_000 }),
    fetchBytesMax: size(64 * 1024),
    fetchPartitionBytesMax: size(64 * 1024),
    fetchWait: duration({ maxMs: 30_000 }),
  },
  { topics: 'topic settings are' },
)

const storeFields = strict({
  url: text,
  endpoint: optionalText,
  region: optionalText,
  accessKeyId: optionalText,
  secretAccessKey: optionalText,
  sessionToken: optionalText,
})

const registry = strict({
  url: text.refine(isPlainUrl, { error: 'must be an http or https address without user name and query' }),
  username: optionalText,
  password: optionalText,
  token: optionalText,
  ca: optionalText,
  timeout: duration({ minMs: 100, maxMs: 30_000 }).prefault('10s'),
  cacheDir: optionalText,
})
/** Who knows the salt can find out what was hashed by trying: it must not be found by trying itself. */
const salt = z.string().min(SALT_CHARACTERS_MIN, { error: `has fewer than ${SALT_CHARACTERS_MIN} characters` })

const share = leaf('a share such as 0.15', (given): number => {
  if (/^(0?\.\d{1,6}|1(\.0{1,6})?)$/.test(given) && Number(given) > 0) return Number(given)
  throw problem(`"${given}" is not a share`, 'Write a number above 0 and at most 1: 0.15.')
})

const lanes = leaf('auto or a number of lanes', (given): number | 'auto' => {
  if (given === 'auto') return given
  if (/^\d{1,3}$/.test(given) && +given >= 1 && +given <= 256) return Number(given)
  throw problem(`"${given}" is not a number of lanes`, 'Write auto or a number from 1 to 256.')
})

const http = strict(
  {
    host: text,
    port: whole(0, 65_535),
    keys: keys.optional(),
    insecure: yes,
    queriesPerSecond: whole(1, 100_000),
    queriesAtOnce: whole(1, 10_000),
  },
  { auth: 'OpenID Connect is', tls: 'TLS is', cors: 'CORS is' },
)

/** All settings with every default in place: what `defaults` and the layers above it add up to. */
export const settingsSchema = strict(
  {
    writer: text,
    kafka,
    store: storeFields,
    registry: registry.optional(),
    salts: z.record(name, salt).optional(),
    commit: strict({
      minInterval: duration({ maxMs: 600_000 }),
      microBatch: strict({ bytes: size(64 * 1024), age: duration({ minMs: 1 }), records: whole(1, 10_000_000) }),
      heartbeat: duration({ minMs: 1_000 }),
    }),
    deadLetters: strict({ shareMax: share, records: whole(1, 1_000_000_000) }),
    lanes,
    takeoverAfter: duration({ minMs: 1_000 }),
    maintenance: strict({
      expire: yes,
      grace: duration({ minMs: 3_600_000 }),
      expireEvery: duration({ minMs: 1_000 }),
      compact: yes,
      compaction: strict({
        smallFile: size(1024),
        deadShare: share,
        target: size(1024),
        rowsMax: whole(1, 1_000_000_000),
        smallFilesMax: whole(2, 10_000_000),
        deadShareMax: share,
      }),
    }),
    http,
    query: strict({
      children: whole(1, 64),
      queueMax: whole(0, 10_000),
      rowsMax: whole(1, 10_000_000),
      bytesMax: size(1024),
      timeout: duration({ minMs: 1 }),
      memory: size(64 * 2 ** 20),
      cacheDir: text,
      cacheBytesMax: size(2 ** 20),
    }),
    windows: strict({ memory: size(64 * 2 ** 20) }),
    log: strict({ level: z.enum(['debug', 'info', 'warn', 'error', 'silent']) }),
  },
  {
    auth: 'authentication outside of http.keys is',
    catalog: 'an Iceberg REST catalog is',
    retention: 'retention settings are',
    replicas: 'replicas are',
  },
)

/** A whole file: settings, of which all but `kafka` may be left out, and the definition or where it stands. */
export const fileSchema = strict({ ...settingsSchema.shape, pipelines: pipelinesSchema, definition: text })

/** Defaults that depend on nothing. Texts, so that they print as they are written. */
export const DEFAULTS = {
  store: { url: 'file:./lake' },
  kafka: {
    connectionTimeout: '10s',
    requestTimeout: '30s',
    fetchBytesMax: '16MiB',
    fetchPartitionBytesMax: '4MiB',
    fetchWait: '250ms',
  },
  commit: { microBatch: { bytes: '32MiB', age: '500ms', records: 500_000 }, heartbeat: '60s' },
  deadLetters: { shareMax: 0.5, records: 1_000 },
  lanes: 'auto',
  takeoverAfter: '90s',
  maintenance: {
    expire: true,
    grace: '24h',
    expireEvery: '1h',
    compact: true,
    compaction: {
      smallFile: '32MiB',
      deadShare: 0.15,
      target: '128MiB',
      rowsMax: 2_000_000,
      smallFilesMax: 2_000,
      deadShareMax: 0.3,
    },
  },
  http: { host: '127.0.0.1', port: 7780, insecure: false, queriesPerSecond: 20, queriesAtOnce: 4 },
  query: {
    children: 2,
    queueMax: 16,
    rowsMax: 100_000,
    bytesMax: '64MiB',
    timeout: '30s',
    memory: '800MB',
    cacheBytesMax: '4GiB',
  },
  windows: { memory: '512MiB' },
  log: { level: 'info' },
} as const

/** What only secrets may be: never printed, never written out in a file. */
export const SECRETS: readonly string[] = [
  'kafka.sasl.clientSecret',
  'kafka.sasl.password',
  'kafka.ssl.key',
  'kafka.ssl.passphrase',
  'registry.password',
  'registry.token',
  'store.secretAccessKey',
  'store.sessionToken',
]

/** Whether a setting is one of these, or a salt. */
export function isSecret(field: string): boolean {
  return SECRETS.includes(field) || field.startsWith('salts.')
}

/** Checks merged layers. `storeUrl` is where a relative `file:` address was resolved to; `cores` is what `auto` means. */
export function toSettings(merged: unknown, storeUrl: string, cores: number): Settings {
  const given = parseFields(settingsSchema, merged)
  return {
    writer: given.writer,
    source: { kind: 'kafka', kafka: toKafka(given.kafka) },
    store: { ...present(given.store), url: storeUrl } as StoreSettings,
    ...(given.registry === undefined ? {} : { registry: toRegistry(given.registry) }),
    ...(given.salts === undefined ? {} : { salts: given.salts }),
    commit: {
      minIntervalMs: given.commit.minInterval,
      microBatch: {
        bytesMax: given.commit.microBatch.bytes,
        recordsMax: given.commit.microBatch.records,
        ageMsMax: given.commit.microBatch.age,
      },
      heartbeatMs: given.commit.heartbeat,
      deadLetters: given.deadLetters,
    },
    lanes: given.lanes === 'auto' ? cores : given.lanes,
    takeoverAfterMs: given.takeoverAfter,
    maintenance: {
      isExpiring: given.maintenance.expire,
      graceMs: given.maintenance.grace,
      expireEveryMs: given.maintenance.expireEvery,
      isCompacting: given.maintenance.compact,
      compaction: {
        smallBytes: given.maintenance.compaction.smallFile,
        deadShare: given.maintenance.compaction.deadShare,
        targetBytes: given.maintenance.compaction.target,
        rowsMax: given.maintenance.compaction.rowsMax,
        smallFilesMax: given.maintenance.compaction.smallFilesMax,
        deadShareMax: given.maintenance.compaction.deadShareMax,
      },
    },
    http: toHttp(given.http),
    query: {
      children: given.query.children,
      queueMax: given.query.queueMax,
      rowsMax: given.query.rowsMax,
      bytesMax: given.query.bytesMax,
      timeoutMs: given.query.timeout,
      memoryBytesMax: given.query.memory,
      cacheDir: given.query.cacheDir,
      cacheBytesMax: given.query.cacheBytesMax,
    },
    windows: { memoryBytesMax: given.windows.memory },
    log: given.log,
  }
}

/** The JSON Schema of a file, with the defaults, for editors. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema, { io: 'input', unrepresentable: 'any' }) as any
  const settle = (node: any, defaults: any): void => {
    delete node.required
    for (const [key, property] of Object.entries<any>(node.properties ?? {})) {
      const value = defaults?.[key]
      if (typeof value === 'object') settle(property, value)
      else if (value !== undefined) property.default = value
    }
  }
  const { pipelines, ...settings } = schema.properties
  settle({ properties: settings }, DEFAULTS)
  delete settings.store.required
  settings.store = { anyOf: [{ type: 'string' }, settings.store] }
  delete schema.required
  return { ...schema, title: 'kappalake.yaml', properties: { ...settings, pipelines } }
}

function toHttp(given: z.output<typeof http>): HttpSettings {
  const { keys: known, ...rest } = given
  const settings = { ...rest, ...(known === undefined ? {} : { keys: known }) }
  if (!isServedSafely(settings)) throw invalidField(['http', 'host'], ...UNSAFE_HOST)
  return settings
}

function toKafka(given: z.output<typeof kafka>): KafkaSettings {
  const { brokers, clientId, ssl, sasl } = given
  return {
    brokers,
    ...present({ clientId }),
    ...(ssl === undefined || ssl === false ? {} : { ssl: ssl === true ? true : toTls(ssl) }),
    ...(sasl === undefined ? {} : { sasl: toSasl(sasl) }),
    connectionTimeoutMs: given.connectionTimeout,
    requestTimeoutMs: given.requestTimeout,
    fetchBytesMax: given.fetchBytesMax,
    fetchPartitionBytesMax: given.fetchPartitionBytesMax,
    fetchWaitMs: given.fetchWait,
  }
}

function toRegistry({ url, timeout, ...others }: z.output<typeof registry>): RegistrySettings {
  return { url, timeoutMs: timeout, ...present(others) }
}

/** Without the entries that are undefined or empty. */
function present<T extends Readonly<Record<string, string | undefined>>>(given: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== '')) as {
    [K in keyof T]?: string
  }
}

function isPlainUrl(given: string): boolean {
  const url = URL.canParse(given) ? new URL(given) : undefined
  const isHttp = url?.protocol === 'http:' || url?.protocol === 'https:'
  return url !== undefined && isHttp && `${url.username}${url.password}${url.search}${url.hash}` === ''
}

function readBoolean(given: string): boolean {
  if (given === 'true' || given === 'false') return given === 'true'
  throw problem(`"${given}" is not true or false`)
}
