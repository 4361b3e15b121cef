import { describe, expect, test } from 'vitest'
import { findKey, hashOfKey } from '../../src/api-key.ts'
import { openClient } from '../../src/cli/client.ts'
import { settingsOf } from '../../src/config.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { run } from './support.ts'

const made = async (...args: string[]): Promise<{ key: string; entry: { sha256: string } }> => {
  const { out } = await run(['key', 'new', ...args, '-o', 'json'], { clock: new InstantClock() })
  return JSON.parse(out)
}

describe('key new', () => {
  test('makes a key that its entry lets in', async () => {
    const { key, entry } = await made('--id', 'grafana', '--role', 'reader')
    expect(key).toMatch(/^grafana\.[A-Za-z0-9_-]{43}$/)
    expect(entry).toEqual({ id: 'grafana', sha256: hashOfKey(key), role: 'reader' })
    const { http } = settingsOf({ kafka: { brokers: 'a:1' }, http: { keys: JSON.stringify(entry) } })
    expect(findKey(http.keys!, key, 0)?.id).toBe('grafana')
  })

  test('no two are the same', async () => {
    const keys = await Promise.all(Array.from({ length: 50 }, () => made('--id', 'k', '--role', 'admin')))
    expect(new Set(keys.map(({ key }) => key)).size).toBe(50)
  })

  test('of scopes, with an end', async () => {
    const { entry } = await made('--id', 'k', '--scope', 'query:orders', 'metrics', '--expires', '1d')
    expect(entry).toMatchObject({ scopes: ['query:orders', 'metrics'], expires: '2026-01-02T00:00:00.000Z' })
  })

  test('for people, and nothing on the side of errors', async () => {
    const { out, err, code } = await run(['key', 'new', '--id', 'k', '--role', 'admin'])
    expect(out).toMatch(/^key {4}k\.[\w-]{43}\nentry {2}\{"id":"k","sha256":"[0-9a-f]{64}","role":"admin"\}\n/)
    expect([err, code]).toEqual(['', 0])
  })

  test.each([
    [['--id', 'k'], /either a role or scopes/],
    [['--id', 'k', '--role', 'admin', '--scope', 'metrics'], /either a role or scopes/],
    [['--id', 'K!', '--role', 'admin'], /not an id/],
    [['--id', 'k', '--scope', 'everything'], /"everything" is not a scope/],
    [['--id', 'k', '--role', 'admin', '--expires', 'soon'], /not a duration/],
  ])('%j is refused', async (args, message) => {
    const { err, code, out } = await run(['key', 'new', ...args])
    expect(err).toMatch(message)
    expect([code, out]).toEqual([1, ''])
  })
})

describe('a key of the command line', () => {
  const asked: RequestInit[] = []
  const answers = (response: () => Response): typeof fetch => {
    return async (_, init) => {
      asked.push(init!)
      return response()
    }
  }

  test('goes with each request, and to no other address', async () => {
    const fetchWith = answers(() => Response.json({ items: [], nextCursor: null }))
    const client = openClient('http://lake:7780', fetchWith, new AbortController().signal, 'k.secret\n')
    await client.list('/v1/tables', 10)
    await client.post('/v1/query', { sql: 'select 1' })
    for (const { headers, redirect } of asked.splice(0))
      expect([(headers as Record<string, string>)['authorization'], redirect]).toEqual(['Bearer k.secret', 'manual'])
  })

  test('that is missing or wrong is told with what to do', async () => {
    const problem = { code: 'auth.missing', detail: 'this API asks for a key', fix: 'Send one: KAPPALAKE_TOKEN.' }
    const { err, code } = await run(['tables', '--url', 'http://lake:7780'], {
      fetch: answers(() => Response.json(problem, { status: 401 })),
    })
    expect(err).toMatch(/^✗ auth\.missing: this API asks for a key\n {2}next: .*KAPPALAKE_TOKEN/)
    expect(code).toBe(1)
  })

  test('is in no error', async () => {
    const token = `k.${'s'.repeat(43)}`
    const { err } = await run(['tables', '--url', 'http://lake:7780', '--token', token], {
      fetch: answers(() => {
        throw new TypeError(`cannot send ${token}`)
      }),
    })
    expect(err).toMatch(/^✗ not_ready/)
    expect(err).not.toContain('s'.repeat(43))
  })
})
