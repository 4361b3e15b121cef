import net from 'node:net'
import tls from 'node:tls'
import loggers from 'kafkajs/src/loggers/index.js'
import Connection from 'kafkajs/src/network/connection.js'
import Encoder from 'kafkajs/src/protocol/encoder.js'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { KafkaSettings } from '../settings.ts'
import { connectionError, hungUp, unavailable } from './kafka-error.ts'
import { API_VERSIONS, apiVersions, type KafkaRequest } from './kafka-protocol.ts'
import type { KafkaSecurity } from './kafka-security.ts'
import { WireReader } from './kafka-wire.ts'

// The inside of kafkajs 2.2.4 (pinned; it declares no exports): connecting, TLS, SASL and re-authentication are its
// work, and it is silent here. After that the socket is ours, because its reader costs more than the decoding.
const { createLogger, LEVELS } = loggers

const CLIENT_ID = 'kappalake'
const CONNECTION_TIMEOUT_MS = 5_000
const REQUEST_TIMEOUT_MS = 30_000
const KEEP_ALIVE_MS = 60_000
/** A session is given up when so much of its life is over, before the broker ends it. */
const SESSION_SHARE = 0.8
/** One read from the socket. Larger than a stream's chunk, so that a full pipe costs fewer calls. */
const SOCKET_READ_BYTES = 256 << 10
/** A response longer than this is not one: the length was read from something that is no Kafka. */
const RESPONSE_BYTES_MAX = 1 << 30

/**
 * One socket to one broker, and the requests on it in order: a broker answers them one after the other, so a long poll
 * keeps later ones waiting. Every failure is a LakeError and ends the connection; a new one must be opened.
 */
export class KafkaConnection {
  readonly broker: string
  readonly #clock: Clock
  readonly #settings: KafkaSettings
  readonly #connection: Connection
  readonly #waiting = new Map<number, Waiting>()
  readonly #frame = new FrameReader((response) => this.#answer(response))
  #correlationId = 0
  #isOurs = false
  #hasAnswered = false
  #renewMs = Infinity
  #failure: LakeError | undefined

  /** Connects, authenticates and checks that the broker speaks our versions. */
  static async open(
    host: string,
    port: number,
    settings: KafkaSettings,
    security: KafkaSecurity,
    clock: Clock,
  ): Promise<KafkaConnection> {
    const opened = new KafkaConnection(host, port, settings, security, clock)
    try {
      await opened.#handshake()
    } catch (error) {
      const failure = connectionError(error, opened.broker)
      opened.close(failure)
      throw failure
    }
    return opened
  }

  private constructor(host: string, port: number, settings: KafkaSettings, security: KafkaSecurity, clock: Clock) {
    this.broker = `${host}:${port}`
    this.#clock = clock
    this.#settings = settings
    this.#connection = new Connection({
      host,
      port,
      clientId: settings.clientId ?? CLIENT_ID,
      ssl: security.ssl ?? null,
      sasl: security.sasl() ?? null,
      connectionTimeout: settings.connectionTimeoutMs ?? CONNECTION_TIMEOUT_MS,
      requestTimeout: settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      logger: createLogger({ level: LEVELS.NOTHING, logCreator: () => () => undefined }),
      socketFactory: (options: SocketOptions) => this.#connectSocket(options),
    })
  }

  /** False once it failed, was closed, or must authenticate again. */
  get isOpen(): boolean {
    return this.#failure === undefined && this.#clock.monotonicMs() < this.#renewMs
  }

  /** `waitMs`: how long the broker may hold the answer back on purpose. */
  async send<T>(request: KafkaRequest<T>, waitMs = 0): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure
    const correlationId = (this.#correlationId = (this.#correlationId + 1) & 0x7fffffff)
    const answered = new AbortController()
    const response = new Promise<Buffer>((resolve, reject) => this.#waiting.set(correlationId, { resolve, reject }))
    this.#connection.socket!.write(this.#envelope(request, correlationId))
    const timeoutMs = waitMs + (this.#settings.requestTimeoutMs ?? REQUEST_TIMEOUT_MS)
    void this.#clock.sleep(timeoutMs, answered.signal).then(() => {
      if (!answered.signal.aborted) this.close(unavailable(`${this.broker} did not answer ${request.name} in time`))
    })
    try {
      return decode(request, await response, this.broker)
    } finally {
      answered.abort()
    }
  }

  /** Whatever is under way fails with `reason`. */
  close(reason: LakeError = unavailable(`the connection to ${this.broker} was closed`)): void {
    if (this.#failure !== undefined) return
    this.#failure = reason
    this.#connection.requestQueue.destroy()
    this.#connection.socket?.destroy()
    for (const { reject } of this.#waiting.values()) reject(reason)
    this.#waiting.clear()
  }

  async #handshake(): Promise<void> {
    const connection = this.#connection
    await connection.connect()
    const request = apiVersions()
    const versions = (await connection.send({
      request: { ...request, apiName: request.name, encode: async () => new Encoder().writeBuffer(request.body) },
      response: {
        decode: async (body: Buffer) => ({ clientSideThrottleTime: 0, body }),
        parse: async ({ body }: { body: Buffer }) => decode(request, body, this.broker),
      },
    })) as ReturnType<typeof request.decode>
    for (const [apiKey, version] of API_VERSIONS) {
      const range = versions.get(apiKey)
      if (range === undefined || version < range.minVersion || version > range.maxVersion)
        throw new LakeError('config.unsupported', `${this.broker} does not offer version ${version} of api ${apiKey}`, {
          fix: 'Kafka 3.1 or newer is needed.',
        })
    }
    connection.setVersions(Object.fromEntries(versions))
    connection.setSupportAuthenticationProtocol(versions.has(36))
    await connection.authenticate()
    const lifeMs = Number(connection.sessionLifetime.toString())
    if (lifeMs > 0) this.#renewMs = this.#clock.monotonicMs() + lifeMs * SESSION_SHARE
    connection.requestQueue.destroy() // its timers; nothing goes through it any more
    this.#isOurs = true
  }

  #connectSocket({ host, port, ssl, onConnect }: SocketOptions): net.Socket {
    const callback = (length: number, bytes: Uint8Array): boolean => this.#read(bytes, length)
    const options = { host, port, onread: { buffer: Buffer.allocUnsafeSlow(SOCKET_READ_BYTES), callback } }
    const secure = { ...options, ...(net.isIP(host) === 0 ? { servername: host } : {}), ...ssl }
    const socket = ssl === null ? net.connect(options, onConnect) : tls.connect(secure, onConnect)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_MS)
    socket.on('error', (error) => this.close(connectionError(error, this.broker)))
    socket.on('close', () => this.close(hungUp(this.broker, this.#hasAnswered)))
    return socket
  }

  /** Until the handshake is done the bytes are for kafkajs, as a copy, since the buffer is read into again. */
  #read(bytes: Uint8Array, length: number): boolean {
    if (!this.#isOurs) return this.#connection.socket!.emit('data', Buffer.from(bytes.subarray(0, length)))
    try {
      this.#frame.push(bytes, length)
    } catch (error) {
      this.close(connectionError(error, this.broker))
    }
    return true
  }

  #answer(response: Buffer): void {
    const correlationId = response.readInt32BE(0)
    const waiting = this.#waiting.get(correlationId)
    if (waiting === undefined) return this.close(unavailable(`${this.broker} answered what was not asked`))
    this.#waiting.delete(correlationId)
    this.#hasAnswered = true
    waiting.resolve(response.subarray(4))
  }

  #envelope({ apiKey, apiVersion, body }: KafkaRequest<unknown>, correlationId: number): Buffer {
    const clientId = Buffer.from(this.#settings.clientId ?? CLIENT_ID)
    const head = Buffer.allocUnsafe(15 + clientId.length)
    head.writeInt32BE(head.length - 4 + body.length, 0)
    head.writeInt16BE(apiKey, 4)
    head.writeInt16BE(apiVersion, 6)
    head.writeInt32BE(correlationId, 8)
    head.writeInt16BE(clientId.length, 12)
    clientId.copy(head, 14)
    head[14 + clientId.length] = 0 // no tagged fields
    return Buffer.concat([head, body])
  }
}

interface Waiting {
  readonly resolve: (response: Buffer) => void
  readonly reject: (error: LakeError) => void
}

interface SocketOptions {
  readonly host: string
  readonly port: number
  readonly ssl: object | null
  readonly onConnect: () => void
}

/** Cuts a stream of bytes into responses. Each gets a buffer of exactly its size: one copy, and nothing else held. */
class FrameReader {
  readonly #onFrame: (frame: Buffer) => void
  readonly #size = Buffer.alloc(4)
  #sizeBytes = 0
  #frame: Buffer | undefined
  #filled = 0

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame
  }

  push(bytes: Uint8Array, length: number): void {
    for (let at = 0; at < length;) {
      if (this.#frame === undefined) {
        this.#size[this.#sizeBytes++] = bytes[at++]!
        if (this.#sizeBytes === 4) this.#begin(this.#size.readInt32BE(0))
        continue
      }
      const take = Math.min(length - at, this.#frame.length - this.#filled)
      this.#frame.set(bytes.subarray(at, at + take), this.#filled)
      at += take
      this.#filled += take
      if (this.#filled === this.#frame.length) this.#end(this.#frame)
    }
  }

  #begin(size: number): void {
    if (size < 4 || size > RESPONSE_BYTES_MAX)
      throw unavailable(`a response of ${size} bytes: this is not a Kafka broker`)
    this.#frame = Buffer.allocUnsafeSlow(size)
    this.#filled = 0
    this.#sizeBytes = 0
  }

  #end(frame: Buffer): void {
    this.#frame = undefined
    this.#onFrame(frame)
  }
}

function decode<T>(request: KafkaRequest<T>, body: Buffer, broker: string): T {
  try {
    const reader = new WireReader(body)
    if (request.isFlexible) reader.tags()
    return request.decode(reader)
  } catch (error) {
    throw unavailable(`${broker} answered ${request.name} with something unreadable`, { broker }, error)
  }
}
