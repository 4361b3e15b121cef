import type { MiddlewareHandler } from 'hono'
import { LakeError } from '../error.ts'

// Without keys the API answers this machine only. A web page in a browser on this machine can reach loopback too: by a
// name that resolves there (so Host is checked), and by requests that need no permission (so Origin and the browser's
// own word on where the request comes from are checked, and what changes something needs a JSON body).

const LOCAL_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i

export function isLocalHost(host: string): boolean {
  return LOCAL_HOST.test(host)
}

export const guard: MiddlewareHandler = async (context, next) => {
  const host = context.req.header('host') ?? new URL(context.req.url).host
  if (!isLocalHost(host)) throw forbidden('the Host header does not name this machine')
  const origin = context.req.header('origin')
  if (origin !== undefined && !isLocalOrigin(origin)) throw forbidden('the request comes from another origin')
  if (context.req.header('sec-fetch-site') === 'cross-site') throw forbidden('the request comes from another site')
  if (context.req.header('content-encoding') !== undefined)
    throw new LakeError('request.invalid', 'compressed request bodies are not read', {
      fix: 'Leave out content-encoding.',
    })
  await next()
}

export const headers: MiddlewareHandler = async (context, next) => {
  await next()
  context.res.headers.set('x-content-type-options', 'nosniff')
  context.res.headers.set('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
  if (!context.res.headers.has('cache-control')) context.res.headers.set('cache-control', 'no-store')
}

function isLocalOrigin(origin: string): boolean {
  const [, host] = /^https?:\/\/([^/]+)$/i.exec(origin) ?? []
  return host !== undefined && isLocalHost(host)
}

function forbidden(message: string): LakeError {
  return new LakeError('request.forbidden', message, {
    fix: 'Call the API as http://localhost or http://127.0.0.1, from a program on this machine.',
  })
}
