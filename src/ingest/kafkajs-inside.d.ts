// What kafka-connection.ts uses of the inside of kafkajs 2.2.4, which comes without types.

declare module 'kafkajs/src/network/connection.js' {
  import type net from 'node:net'

  export default class Connection {
    constructor(options: object)
    readonly socket: net.Socket | undefined
    setVersions(versions: object): void
    setSupportAuthenticationProtocol(isSupported: boolean): void
    connect(): Promise<unknown>
    authenticate(): Promise<void>
    /** A long of its own kind: milliseconds for which the broker takes requests, 0 for ever. */
    readonly sessionLifetime: { toString(): string }
    send(request: object): Promise<unknown>
    readonly requestQueue: { destroy(): void }
  }
}

declare module 'kafkajs/src/protocol/encoder.js' {
  export default class Encoder {
    writeBuffer(bytes: Buffer): unknown
  }
}

declare module 'kafkajs/src/loggers/index.js' {
  const loggers: { createLogger(options: object): object; readonly LEVELS: { readonly NOTHING: number } }
  export default loggers
}
