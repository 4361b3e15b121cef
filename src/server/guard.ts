import type { MiddlewareHandler } from 'hono'
import { LakeError } from '../error.ts'
import { asksForKeys } from '../served.ts'
import type { HttpSettings } from '../settings.ts'

// Without keys the API answers this machine only. A web page in a browser on this machine can reach loopback too: by a
// name that resolves there (so Host is checked), and by requests that need no permission (so Origin and the browser's
// own word on where the request comes from are checked, and what changes something needs a JSON body). Where keys are
// asked for, or none are on purpose, any name will do, and a page may call the host that it came from.

const LOCAL_HOST = /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i

export function isLocalHost(host: string): boolean {
  return LOCAL_HOST.test(host)
}

export function guardOf(http: HttpSettings): MiddlewareHandler {
  const isLocalOnly = !asksForKeys(http) && http.insecure !== true
  return async (context, next) => {
    const host = context.req.header('host') ?? new URL(context.req.url).host
    if (isLocalOnly && !isLocalHost(host)) throw forbidden('the Host header does not name this machine', isLocalOnly)
    const origin = hostOf(context.req.header('origin'))
    const isOwn = origin === host.toLowerCase() || (isLocalOnly && origin !== undefined && isLocalHost(origin))
    if (context.req.header('origin') !== undefined && !isOwn)
      throw forbidden('the request comes from another origin', isLocalOnly)
    if (context.req.header('sec-fetch-site') === 'cross-site')
      throw forbidden('the request comes from another site', isLocalOnly)
    if (context.req.header('content-encoding') !== undefined)
      throw new LakeError('request.invalid', 'compressed request bodies are not read', {
        fix: 'Leave out content-encoding.',
      })
    await next()
  }
}

export const headers: MiddlewareHandler = async (context, next) => {
  await next()
  context.res.headers.set('x-content-type-options', 'nosniff')
  context.res.headers.set('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
  if (!context.res.headers.has('cache-control')) context.res.headers.set('cache-control', 'no-store')
}

/** Of an Origin header, in lower case; undefined for `null` and what is none. */
function hostOf(origin: string | undefined): string | undefined {
  return /^https?:\/\/([^/]+)$/i.exec(origin ?? '')?.[1]?.toLowerCase()
}

function forbidden(message: string, isLocalOnly: boolean): LakeError {
  return new LakeError('request.forbidden', message, {
    fix: isLocalOnly
      ? 'Call the API as http://localhost or http://127.0.0.1, from a program on this machine.'
      : 'Call the API from a program, or from a page of its own host.',
  })
}
