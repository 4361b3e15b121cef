import { LakeError, type LakeErrorCode } from '../error.ts'

export const DEFAULT_URL = 'http://127.0.0.1:7780'

/** The HTTP API as the reading commands use it. */
export interface Client {
  get<T>(path: string): Promise<T>
  post<T>(path: string, body: unknown): Promise<T>
  /** Items of all pages, up to `max`. */
  list<T>(path: string, max: number): Promise<readonly T[]>
}

/** Answers that are problems become LakeErrors; a server that cannot be reached is `not_ready`. */
export function openClient(url: string, fetchWith: typeof fetch, signal: AbortSignal): Client {
  const base = url.replace(/\/+$/, '')
  const ask = async <T>(path: string, init: RequestInit): Promise<T> => {
    const response = await fetchWith(`${base}${path}`, { ...init, signal }).catch((cause: unknown) => {
      if (signal.aborted) throw new LakeError('sql.cancelled', 'interrupted', { fix: 'Run it again.' })
      throw new LakeError('not_ready', `nothing answers at ${base}`, {
        cause: (cause as Error).cause ?? cause,
        fix: 'Start kappalake there ("kappalake start"), or name another address with --url or KAPPALAKE_URL.',
      })
    })
    const text = await response.text()
    const body = parse(text)
    if (response.ok && body !== undefined) return body as T
    throw problemOf(base, response.status, body)
  }
  const get = <T>(path: string) => ask<T>(path, { headers: { accept: 'application/json' } })
  return {
    get,
    post: (path, body) =>
      ask(path, {
        method: 'POST',
        headers: { accept: 'application/json', 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
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
