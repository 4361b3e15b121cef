import type { Server } from 'node:http'
import net from 'node:net'
import { serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { LakeError } from '../error.ts'
import { isServedSafely, UNSAFE_HOST } from '../served.ts'
import type { HttpSettings } from '../settings.ts'

export interface Listening {
  /** With the port that was taken, also when 0 was asked for. */
  readonly url: string
  /** Refuses new connections and breaks off the open ones. */
  close(): Promise<void>
}

const HEADER_BYTES_MAX = 16 * 1024
const HEADERS_MS_MAX = 10_000
const REQUEST_MS_MAX = 30_000
/** How often Node looks for requests that take too long: the times above are met to within this. */
const CHECK_EVERY_MS = 2_000
const KEEP_ALIVE_MS_MAX = 5_000
/** More than these are closed as they come. */
const CONNECTIONS_MAX = 4_096
/** Then a client opens another one: none holds a worker of a proxy for ever. */
const REQUESTS_PER_SOCKET_MAX = 10_000

/**
 * Serves an app. Throws `config.invalid` for an address that other machines reach when no keys are asked for, and for
 * one that is taken.
 */
export function listen(app: Hono, http: HttpSettings): Promise<Listening> {
  const { host, port } = http
  if (!isServedSafely(http)) {
    const [message, fix] = UNSAFE_HOST
    return Promise.reject(new LakeError('config.invalid', `http.host ${host} ${message}`, { fix }))
  }
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch: app.fetch,
        hostname: host,
        port,
        serverOptions: {
          maxHeaderSize: HEADER_BYTES_MAX,
          headersTimeout: HEADERS_MS_MAX,
          requestTimeout: REQUEST_MS_MAX,
          connectionsCheckingInterval: CHECK_EVERY_MS,
          keepAliveTimeout: KEEP_ALIVE_MS_MAX,
        },
      },
      (address) => resolve({ url: urlOf(host, address.port), close: () => close(server as Server) }),
    )
    Object.assign(server, { maxConnections: CONNECTIONS_MAX, maxRequestsPerSocket: REQUESTS_PER_SOCKET_MAX })
    server.once('error', (cause: NodeJS.ErrnoException) => reject(refusal(urlOf(host, port), cause)))
  })
}

/** Throws as `listen` would, before anything is opened for an address that cannot be had. */
export async function assertServable(http: HttpSettings): Promise<void> {
  const problem = await listenOnce(http)
  if (problem !== undefined) throw refusal(urlOf(http.host, http.port), problem)
}

/** Takes the address for a moment; resolves with why it could not be had. */
export function listenOnce({ host, port }: HttpSettings): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', resolve)
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

function urlOf(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function refusal(url: string, cause: NodeJS.ErrnoException): LakeError {
  const fix = 'Choose another port with --port, or http.port.'
  if (cause.code === 'EADDRINUSE') return new LakeError('config.invalid', `${url} is in use`, { fix })
  return new LakeError('config.invalid', `${url} cannot be served: ${cause.message}`, { cause, fix })
}
