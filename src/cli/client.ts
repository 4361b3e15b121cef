import { Option } from 'commander'
import { LakeError, type LakeErrorCode } from '../error.ts'

export const DEFAULT_URL = 'http://127.0.0.1:7780'

/** The key for a server that asks for one. It is read from the environment so that no list of processes shows it. */
export function tokenOption(): Option {
  return new Option('--token <key>', 'key of the API; better in the environment').env('KAPPALAKE_TOKEN')
}

/** The HTTP API as the reading commands use it. */
export interface Client {
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: unknown): Promise<T>
  /** Gives the lines of an answer as they come, some at a time; rejects with the reason when it breaks off. */
  stream(path: string, body: unknown, onText: (text: string) => void): Promise<void>
  /** Items of all pages, up to `max`. */
  list<T>(path: string, max: number): Promise<readonly T[]>
}

/** Answers that are problems become LakeErrors; a server that cannot be reached is `not_ready`. */
export function openClient(
  url: string,
  fetchWith: typeof fetch,
  signal: AbortSignal,
  token: string | undefined,
): Client {
  const base = url.replace(/\/+$/, '')
  const key = token === undefined || token === '' ? {} : { authorization: `Bearer ${token.trim()}` }
  const reach = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = { ...(init.headers as Record<string, string>), ...key }
    // A key goes to the address that was named, and not to where that one points.
    return fetchWith(`${base}${path}`, { ...init, headers, redirect: 'manual', signal }).catch((cause: unknown) => {
      if (signal.aborted) throw interrupted()
      throw new LakeError('not_ready', `nothing answers at ${base}`, {
        cause: (cause as Error).cause ?? cause,
        fix: 'Start kappalake there ("kappalake start"), or name another address with --url or KAPPALAKE_URL.',
      })
    })
  }
  const ask = async <T>(path: string, init: RequestInit): Promise<T> => {
    const response = await reach(path, init)
    const body = parse(await response.text())
    if (response.ok && body !== undefined) return body as T
    throw problemOf(base, response.status, body)
  }
  const posted = (body: unknown, accept: string): RequestInit => ({
    method: 'POST',
    headers: { accept, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const get = <T>(path: string) => ask<T>(path, { headers: { accept: 'application/json' } })
  return {
    get,
    post: (path, body) => ask(path, posted(body, 'application/json')),
    stream: async (path, body, onText) => {
      const response = await reach(path, posted(body, '*/*'))
      if (!response.ok) throw problemOf(base, response.status, parse(await response.text()))
      // Of a result that fails on its way the last line says why, and is no row: it waits for the next.
      let last = ''
      try {
        const decoder = new TextDecoder()
        for await (const bytes of response.body ?? []) {
          const text = last + decoder.decode(bytes, { stream: true })
          const end = text.lastIndexOf('\n', text.length - 2) + 1
          if (end > 0) onText(text.slice(0, end))
          last = text.slice(end)
        }
      } catch (cause) {
        if (signal.aborted) throw interrupted()
        const { error } = (parse(last) ?? {}) as { readonly error?: unknown }
        if (error !== undefined) throw problemOf(base, response.status, error)
        throw new LakeError('sql.failed', 'the result broke off: what was printed is not all of it', {
          cause,
          fix: 'Run it again with -o ndjson, which says why it breaks off.',
        })
      }
      onText(last)
    },
    list: async <T>(path: string, max: number) => {
      const items: T[] = []
      let cursor: string | undefined
      do {
        const query = new URLSearchParams({ limit: String(Math.min(1_000, max - items.length)) })
        if (cursor !== undefined) query.set('cursor', cursor)
        const page = await get<{ readonly items: readonly T[]; readonly nextCursor?: string | null }>(
          `${path}${path.includes('?') ? '&' : '?'}${query}`,
        )
        items.push(...page.items)
        cursor = page.nextCursor ?? undefined
      } while (cursor !== undefined && items.length < max)
      return items.slice(0, max)
    },
  }
}

function interrupted(): LakeError {
  return new LakeError('sql.cancelled', 'interrupted', { fix: 'Run it again.' })
}

function problemOf(base: string, status: number, body: unknown): LakeError {
  const { code, title, detail, fix, ...facts } = (typeof body === 'object' && body !== null ? body : {}) as {
    readonly [key: string]: unknown
  }
  if (typeof code !== 'string')
    return new LakeError('not_ready', `${base} answers ${status}, and not as kappalake does`, {
      fix: 'Check --url and KAPPALAKE_URL.',
    })
  const message = [detail, title, `status ${status}`].find((text) => typeof text === 'string' && text !== '') as string
  return new LakeError(code as LakeErrorCode, message, { context: facts, ...(typeof fix === 'string' ? { fix } : {}) })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
