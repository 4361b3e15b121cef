/** How to reach a Kafka cluster: plain values, so that they cross process boundaries and can be printed (without secrets). */
export interface KafkaSettings {
  /** `host:port`, at least one. */
  readonly brokers: readonly string[]
  readonly clientId?: string
  /** Plain text by default; `true` is TLS with the system's authorities. */
  readonly ssl?: boolean | KafkaTls
  readonly sasl?: KafkaSasl
  readonly fetch?: KafkaFetchSettings
  readonly connectionTimeoutMs?: number
  readonly requestTimeoutMs?: number
  /** How long brokers may be away before a reader gives up with `kafka.unavailable`. */
  readonly unavailableMsMax?: number
}

/** PEM texts, not paths. */
export interface KafkaTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly serverName?: string
}

export type KafkaSasl =
  | {
      readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
      readonly username: string
      readonly password: string
    }
  | { readonly mechanism: 'oauthbearer'; readonly token: string }

export interface KafkaFetchSettings {
  /** Bytes of one response, all partitions of one broker together. A larger first batch still comes whole. */
  readonly maxBytes?: number
  readonly partitionMaxBytes?: number
  /** How long a broker holds an answer back while nothing new arrives. */
  readonly maxWaitMs?: number
}

export const KAFKA_DEFAULTS = {
  clientId: 'kappalake',
  connectionTimeoutMs: 5_000,
  requestTimeoutMs: 30_000,
  unavailableMsMax: 120_000,
  fetch: { maxBytes: 16 << 20, partitionMaxBytes: 4 << 20, maxWaitMs: 250 },
} as const
