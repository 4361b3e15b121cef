import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import type { Hono } from 'hono'
import { LakeError } from '../error.ts'
import type { HttpSettings } from '../settings.ts'

export interface Listening {
  /** With the port that was taken, also when 0 was asked for. */
  readonly url: string
  /** Refuses new connections and breaks off the open ones. */
  close(): Promise<void>
}

const LOOPBACK = ['127.0.0.1', 'localhost', '::1']
const HEADER_BYTES_MAX = 16 * 1024
const HEADERS_MS_MAX = 10_000
const REQUEST_MS_MAX = 30_000

/** Serves an app on this machine. Throws `config.invalid` for other addresses and for a port that is taken. */
export function listen(app: Hono, { host, port }: HttpSettings): Promise<Listening> {
  if (!LOOPBACK.includes(host))
    return Promise.reject(
      new LakeError('config.invalid', `http.host is ${host}, and without keys the API serves this machine only`, {
        fix: `Use one of ${LOOPBACK.join(', ')}; put a proxy that authenticates in front of it for others.`,
      }),
    )
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
        },
      },
      (address) => resolve({ url: urlOf(host, address.port), close: () => close(server as Server) }),
    )
    server.once('error', (cause: NodeJS.ErrnoException) => reject(refusal(urlOf(host, port), cause)))
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
