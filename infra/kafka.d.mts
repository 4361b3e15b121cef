export interface Broker {
  /** `host:port`, for clients. */
  readonly address: string
  /** Of the extra listeners, by their names. */
  readonly extraAddresses: Readonly<Record<string, string>>
  readonly dir: string
  /** Of the running process; undefined while it is down. */
  readonly pid: number | undefined
  start(): Promise<void>
  /** SIGTERM: an orderly end. */
  stop(): Promise<void>
  /** SIGKILL: a crash. The data stay. */
  kill(): Promise<void>
}

export interface BrokerOptions {
  /** Default: a new temporary folder, removed by `remove`. */
  readonly dir?: string
  readonly heap?: string
  readonly partitionsDefault?: number
  /** Instead of flags that make a short life cheap: benchmarks want a broker at its best. */
  readonly jvm?: readonly string[]
  /** More doors for clients, on `localhost`: `{ SECURE: 'SASL_SSL' }`. */
  readonly extraListeners?: Readonly<Record<string, 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'>>
  /** Users for SCRAM, each for both of its mechanisms: `{ alice: 'her password' }`. */
  readonly scramUsers?: Readonly<Record<string, string>>
  /** More flags of the Java machine, such as system properties. */
  readonly flags?: readonly string[]
  /** More lines of server.properties. */
  readonly properties?: Readonly<Record<string, string | number>>
}

/** Formats and starts one Apache Kafka, broker and controller in one process, on free ports of the loopback. */
export function startBroker(options?: BrokerOptions): Promise<Broker>

/** The folder of Kafka's jars. Throws, with what to do, when it is missing. */
export function kafkaLibs(): string
