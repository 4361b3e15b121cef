import { LakeError, type LakeErrorCode } from '../error.ts'
import { ROUTES, type Operations } from './operations.ts'

export interface ClientOptions {
  /** Where the API is: `http://127.0.0.1:7780`, or below a path where it is mounted. */
  readonly url: string
  /** `id.secret`, where the server asks for keys. */
  readonly key?: string
  /** Of every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Default: that of the runtime. A lake's own `fetch` will do, without any network. */
  readonly fetch?: (request: Request) => Promise<Response>
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export type OperationId = keyof Operations

/** What an operation takes: parts of the address, the query, the body. */
export type InputOf<Id extends OperationId> = Omit<Operations[Id], 'answer'>
export type AnswerOf<Id extends OperationId> = Operations[Id]['answer']

/** Parts of a request that no operation has a name for. */
export interface RequestParts extends CallOptions {
  readonly path?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, unknown>>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** Sends requests, and makes LakeErrors of what is no answer. */
export interface Caller {
  /** Throws what the server's problem says; `not_ready` when nothing answers, `sql.cancelled` when `signal` aborts. */
  send(id: OperationId, parts: RequestParts): Promise<Response>
}

export function openCaller({ url, key, headers = {}, fetch: fetchWith = fetch }: ClientOptions): Caller {
  const base = url.replace(/\/+$/, '')
  const own = key === undefined ? headers : { ...headers, authorization: `Bearer ${key.trim()}` }
  return {
    async send(id, { path = {}, query = {}, body, headers: more = {}, signal }) {
      const [method, template] = ROUTES[id]
      const hasBody = method === 'POST'
      const request = new Request(`${base}${pathOf(template, path)}${queryOf(query)}`, {
        method,
        headers: { ...own, ...(hasBody ? { 'content-type': 'application/json' } : {}), ...more },
        ...(hasBody ? { body: JSON.stringify(body ?? {}) } : {}),
        // A key goes to the address that was named, and not to where that one points.
        redirect: 'manual',
        ...(signal === undefined ? {} : { signal }),
      })
      const response = await fetchWith(request).catch((cause: unknown) => {
        throw signal?.aborted === true ? cancelled(cause) : notReady(`nothing answers at ${base}`, cause)
      })
      if (response.ok) return response
      throw await refusalOf(response, base, id)
    },
  }
}

/** A problem as the server writes it, as the error that it was there. */
export function errorOf(problem: Readonly<Record<string, unknown>>): LakeError | undefined {
  const { code, title, detail, fix, retryable, ...context } = problem
  if (typeof code !== 'string') return undefined
  const message = [detail, title, code].find((text) => typeof text === 'string' && text !== '') as string
  return new LakeError(code as LakeErrorCode, message, {
    retryable: retryable === true,
    context,
    ...(typeof fix === 'string' ? { fix } : {}),
  })
}

export function cancelled(cause: unknown): LakeError {
  return new LakeError('sql.cancelled', 'the request was cancelled', { cause })
}

export function notReady(message: string, cause?: unknown): LakeError {
  return new LakeError('not_ready', message, {
    retryable: true,
    cause,
    fix: 'Start kappalake there, or name another address.',
  })
}

async function refusalOf(response: Response, base: string, id: OperationId): Promise<LakeError> {
  const body: unknown = await response.json().catch(() => undefined)
  // One that is not ready says so in its answer.
  if (id === 'ready' && typeof body === 'object' && body !== null && 'checks' in body)
    return new LakeError('not_ready', 'the server is not ready', { retryable: true, context: { ...body } })
  const error = typeof body === 'object' && body !== null ? errorOf({ ...body }) : undefined
  return error ?? notReady(`${base} answers ${response.status}, and not as kappalake does`)
}

function pathOf(template: string, path: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(path[name] ?? ''))
}

function queryOf(query: Readonly<Record<string, unknown>>): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  const text = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)])).toString()
  return text === '' ? '' : `?${text}`
}
