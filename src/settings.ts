import type { Scope } from './scopes.ts'

/**
 * Where and how a lake runs: addresses, credentials, intervals, limits. Plain values that cross process boundaries.
 * Nothing here decides a row, so nothing here is part of a table's code hash.
 */
export interface Settings {
  /** Name of this process in versions; a head of the same name is reopened at once. Default: the host name. */
  readonly writer: string
  readonly source: SourceSettings
  readonly store: StoreSettings
  /** Where schemas of values in Avro are; absent where no table needs one. */
  readonly registry?: RegistrySettings
  /** What tables hash redacted fields with, by name. The name is part of a table's code, the salt never is. */
  readonly salts?: Readonly<Record<string, string>>
  readonly commit: CommitSettings
  /** Lane processes; `auto` in a file means one per core. */
  readonly lanes: number
  /** How long a foreign head may stand still, with the log ahead of it, before a standby takes over. */
  readonly takeoverAfterMs: number
  readonly maintenance: MaintenanceSettings
  readonly http: HttpSettings
  readonly query: QuerySettings
  /** Of the process that holds the open windows of a pipeline; default: `windows.memory` of a file. */
  readonly windows?: { readonly memoryBytesMax: number }
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent' }
}

export type SourceSettings =
  | { readonly kind: 'kafka'; readonly kafka: KafkaSettings }
  | { readonly kind: 'shop'; readonly shop: ShopSettings }

export interface KafkaSettings {
  readonly brokers: readonly string[]
  readonly clientId?: string
  readonly ssl?: boolean | KafkaTlsSettings
  readonly sasl?: KafkaSaslSettings
  readonly connectionTimeoutMs?: number
  readonly requestTimeoutMs?: number
  /** Bytes of one fetch response in all, and of one partition in it. */
  readonly fetchBytesMax?: number
  readonly fetchPartitionBytesMax?: number
  readonly fetchWaitMs?: number
}

/** Texts in PEM form. */
export interface KafkaTlsSettings {
  /** Authorities to trust instead of the system's. */
  readonly ca?: string
  /** Of this client, with `key`: mutual TLS. */
  readonly cert?: string
  readonly key?: string
  readonly passphrase?: string
  /** The name that the brokers' certificates carry, where it is not the one that they are called by. */
  readonly serverName?: string
}

export type KafkaSaslSettings =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | OAuthSettings

/** Tokens of an OAuth 2 server, by client credentials (RFC 6749, 4.4). */
export interface OAuthSettings {
  readonly mechanism: 'oauthbearer'
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope?: string
  readonly audience?: string
  /** Authorities that the token endpoint is trusted by, in PEM form. */
  readonly ca?: string
  /** SASL extensions that go with the token (RFC 7628), such as `logicalCluster`. */
  readonly extensions?: Readonly<Record<string, string>>
}

/** The demo's stand-in for Kafka: a pure function of seed and offset that grows with time. */
export interface ShopSettings {
  readonly seed: number
  /** The instant of offset 0; kept beside the demo's lake so that a restart sees the same log. */
  readonly epochMs: number
  readonly recordsPerSecond: number
  /** Records of each topic that are there from the first moment. */
  readonly recordsAtStart: number
  /** From this instant on nothing is added. Default: the log grows for ever. */
  readonly untilMs?: number
}

/** What a child process needs to open the same store. */
export interface StoreSettings {
  readonly url: string
  readonly endpoint?: string
  readonly region?: string
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  readonly sessionToken?: string
}

/** A schema registry with the routes of Confluent's. */
export interface RegistrySettings {
  /** With the path of the API, `https://registry:8081` or `http://apicurio:8080/apis/ccompat/v7`. */
  readonly url: string
  readonly username?: string
  readonly password?: string
  /** In place of user name and password. */
  readonly token?: string
  /** PEM of an authority, beside those of the system. */
  readonly ca?: string
  readonly timeoutMs?: number
  /** Folder of schemas that were read. Default: in the system's temporary folder. */
  readonly cacheDir?: string
}

export interface CommitSettings {
  /** Shortest time between two commits. Default 500 ms on disk, 2 s on object storage. */
  readonly minIntervalMs: number
  readonly microBatch: { readonly bytesMax: number; readonly recordsMax: number; readonly ageMsMax: number }
  /** Longest time between two versions while nothing arrives. */
  readonly heartbeatMs: number
  /** Default: half of a partition's last 1,000 records. */
  readonly deadLetters?: DeadLetterSettings
}

/** How many records of a partition may fail before the pipeline stops. */
export interface DeadLetterSettings {
  /** Largest share of them, */
  readonly shareMax: number
  /** … of so many, the last ones of the partition. */
  readonly records: number
}

/** What is done to the store beside commits, by the process that writes a pipeline. */
export interface MaintenanceSettings {
  /** Whether files that nothing refers to, and old version files, are deleted. */
  readonly isExpiring: boolean
  /** Files younger than this are never deleted: they may belong to a commit under way. At least one hour. */
  readonly graceMs: number
  readonly expireEveryMs: number
  /** Whether small files, and files with many deleted rows, are written again. */
  readonly isCompacting: boolean
  readonly compaction: CompactionSettings
}

export interface CompactionSettings {
  /** A file with fewer live bytes is small. */
  readonly smallBytes: number
  /** A file with a larger share of deleted rows is written again without them. */
  readonly deadShare: number
  /** Wanted size of an output, in bytes and in rows. */
  readonly targetBytes: number
  readonly rowsMax: number
  /** Above one of these, ingestion waits for compaction. */
  readonly smallFilesMax: number
  readonly deadShareMax: number
}

export const MAINTENANCE: MaintenanceSettings = {
  isExpiring: true,
  graceMs: 24 * 3_600_000,
  expireEveryMs: 3_600_000,
  isCompacting: true,
  compaction: {
    smallBytes: 32 * 2 ** 20,
    deadShare: 0.15,
    targetBytes: 128 * 2 ** 20,
    // The keys of a file are read in one piece at start: more would hold up the process.
    rowsMax: 2_000_000,
    smallFilesMax: 2_000,
    deadShareMax: 0.3,
  },
}

export interface HttpSettings {
  readonly host: string
  readonly port: number
  /** Who may call. Without any, the API serves this machine alone. */
  readonly keys?: readonly ApiKey[]
  /** Serves other machines without keys: whoever reaches the address may do everything. */
  readonly insecure?: boolean
  /** Of one key. Default: 20 a second, 4 at once. */
  readonly queriesPerSecond?: number
  readonly queriesAtOnce?: number
}

/** What is known of a key `id.secret`: whose it is, what it may do, and its hash. Two of one id are a rotation. */
export interface ApiKey {
  readonly id: string
  /** Of the whole text, in hexadecimal digits. */
  readonly sha256: string
  readonly scopes: readonly Scope[]
  readonly expiresMs?: number
}

export interface QuerySettings {
  readonly children: number
  readonly queueMax: number
  readonly rowsMax: number
  readonly bytesMax: number
  readonly timeoutMs: number
  readonly memoryBytesMax: number
  /** Folder of the cache of immutable store objects; its bytes are bounded by `cacheBytesMax`. */
  readonly cacheDir: string
  readonly cacheBytesMax: number
}
