import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hashOfKey } from '../../src/api-key.ts'
import { loadConfig, settingsOf } from '../../src/config.ts'
import { LakeError } from '../../src/error.ts'
import { ROLES } from '../../src/scopes.ts'
import { run } from '../cli/support.ts'

const KAFKA = { brokers: ['a:1'] }
const hash = (text: string) => hashOfKey(text)
const httpOf = (http: object) => settingsOf({ kafka: KAFKA, http }).http

function failing(http: object): LakeError {
  try {
    httpOf(http)
  } catch (error) {
    return error as LakeError
  }
  throw new Error('was taken')
}

describe('keys', () => {
  const entry = { id: 'grafana', sha256: hash('x'), role: 'reader' }

  test('as a list, as lines of JSON, as JSON', () => {
    const expected = [{ id: 'grafana', sha256: hash('x'), scopes: ROLES.reader }]
    for (const keys of [[entry], JSON.stringify(entry), `\n${JSON.stringify(entry)}\n\n`, JSON.stringify([entry])])
      expect(httpOf({ keys }).keys).toEqual(expected)
  })

  test('with scopes and an end', () => {
    const keys = [{ id: 'k', sha256: hash('x'), scopes: ['query:orders', 'metrics'], expires: '2027-01-01T00:00:00Z' }]
    expect(httpOf({ keys }).keys).toEqual([
      { id: 'k', sha256: hash('x'), scopes: ['query:orders', 'metrics'], expiresMs: Date.UTC(2027, 0, 1) },
    ])
  })

  test.each<[string, object | string, RegExp]>([
    ['no rights', { id: 'k', sha256: hash('x') }, /neither a role nor scopes/],
    ['two kinds of rights', { ...entry, scopes: ['metrics'] }, /a role and scopes/],
    ['no scope', { id: 'k', sha256: hash('x'), scopes: [] }, /names no scope/],
    ['a scope that is none', { id: 'k', sha256: hash('x'), scopes: ['query'] }, /"query" is not a scope/],
    ['a role that is none', { ...entry, role: 'root' }, /reader or operator or admin/],
    ['the key itself in the place of its hash', { ...entry, sha256: `grafana.${'A'.repeat(43)}` }, /SHA-256/],
    ['an id that is none', { ...entry, id: 'Grafana' }, /lower-case/],
    ['a field that nobody knows', { ...entry, rôle: 'admin' }, /rôle/],
    ['text that is no JSON', 'grafana:reader', /one JSON object a line/],
  ])('%s', (_, given, message) => {
    const error = failing({ keys: typeof given === 'string' ? given : [given] })
    expect(error.message).toMatch(message)
    expect(error.message).toContain('http.keys')
    expect(JSON.stringify([error.message, error.fix, error.context])).not.toContain('A'.repeat(43))
  })

  test.each(['', ' \n', '[]', []])('none at all, which is no door without a lock: %j', (none) => {
    expect(failing({ keys: none }).message).toMatch(/http\.keys: holds no key/)
  })

  test('two of one id are a rotation: not three, not of different rights, not the same twice', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((text) => ({ ...entry, sha256: hash(text) }))
    expect(httpOf({ keys: [a, b] }).keys).toHaveLength(2)
    expect(failing({ keys: [a, b, c] }).message).toMatch(/grafana has 3 keys/)
    expect(failing({ keys: [a, { ...b, role: 'admin' }] }).message).toMatch(/different rights/)
    expect(failing({ keys: [a, a] }).message).toMatch(/the same key twice/)
  })

  test('whatever stands there, it is refused by name or it is a list of keys with rights', () => {
    fc.assert(
      fc.property(fc.oneof(fc.anything(), fc.json()), (keys) => {
        try {
          for (const { id, sha256, scopes } of httpOf({ keys }).keys ?? [])
            expect([id !== '', /^[0-9a-f]{64}$/.test(sha256), scopes.length > 0]).toEqual([true, true, true])
        } catch (error) {
          expect(error).toBeInstanceOf(LakeError)
          expect((error as LakeError).code).toMatch(/^config\./)
        }
      }),
    )
  })
})

describe('where the API is served', () => {
  const keys = [{ id: 'k', sha256: hash('x'), role: 'admin' }]

  test.each(['0.0.0.0', '::', '10.0.0.1', 'lake.example'])('%s needs keys, or a word', (host) => {
    expect(failing({ host }).message).toMatch(/no keys are asked for/)
    expect(httpOf({ host, keys }).host).toBe(host)
    expect(httpOf({ host, insecure: true }).host).toBe(host)
  })

  test('from a file and the environment, where a flag may say that everybody may come', async () => {
    const { code, err } = await run(['config', 'print', '--host', '0.0.0.0'], { env: ENV, folder: 'examples/orders' })
    expect([code, err]).toEqual([1, expect.stringMatching(/^✗ config\.invalid: --host http\.host: .*no keys/)])
    const insecure = ['config', 'print', '--host', '0.0.0.0', '--insecure', '-o', 'csv']
    const printed = await run(insecure, { env: ENV, folder: 'examples/orders' })
    expect(printed.out).toContain('http.insecure,true,--insecure')
  })

  test('what is printed names the keys and holds no hash', async () => {
    const env = { ...ENV, KAPPALAKE__HTTP__KEYS: JSON.stringify({ id: 'ops', sha256: hash('x'), role: 'admin' }) }
    const { out } = await run(['config', 'print', '-o', 'csv'], { env, folder: 'examples/orders' })
    expect(out).toContain('http.keys,ops,KAPPALAKE__HTTP__KEYS')
    expect(out).not.toContain(hash('x'))
    const { settings } = await loadConfig({ env, folder: 'examples/orders' })
    expect(settings.http.keys).toHaveLength(1)
  })
})

const ENV = { KAPPALAKE__KAFKA__BROKERS: 'a:1' }
