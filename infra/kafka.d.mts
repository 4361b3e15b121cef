export interface Broker {
  /** `host:port`, for clients. */
  readonly address: string
  /** Of the extra listener, when one was asked for. */
  readonly extraAddress: string | undefined
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
  /** A second door for clients, such as `{ name: 'SECURE', protocol: 'SASL_SSL' }`, on `localhost`. */
  readonly extraListener?: { readonly name: string; readonly protocol: string }
  /** More lines of server.properties. */
  readonly properties?: Readonly<Record<string, string | number>>
}

/** Formats and starts one Apache Kafka, broker and controller in one process, on free ports of the loopback. */
export function startBroker(options?: BrokerOptions): Promise<Broker>

/** The folder of Kafka's jars. Throws, with what to do, when it is missing. */
export function kafkaLibs(): string
