import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { ReadStamps, stampOf, untilChanged } from '../../src/cli/watch-files.ts'
import { InstantClock } from '../support/instant-clock.ts'

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-watch-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const write = (name: string, text: string): string => {
  const file = path.join(folder, name)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, text)
  return file
}

/** States of the files `a` and `b`, one for each look; what comes after the last look is the end. */
async function watching(looks: readonly (readonly [string, string])[]): Promise<{ at: number; changed: string[] }> {
  const ending = new AbortController()
  const clock = new InstantClock()
  let at = -1
  const sleep = clock.sleep.bind(clock)
  clock.sleep = async (ms, signal) => {
    if (++at >= looks.length) ending.abort()
    await sleep(ms, signal)
  }
  const seen = new Map([
    ['a', '0'],
    ['b', '0'],
  ])
  const stamp = (file: string) => looks[at]![file === 'a' ? 0 : 1]
  const changed = await untilChanged(seen, { clock, signal: ending.signal }, stamp)
  return { at, changed: [...changed] }
}

test('a change is taken at the first look at which it was quiet for 200 ms, and what was changed back is none', async () => {
  const state = fc.constantFrom('0', '1', '2')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(state, state), { maxLength: 12 }), async (looks) => {
      const text = looks.map((look) => look.join())
      // A look comes every 100 ms.
      const expected = text.findIndex(
        (now, at) => now !== '0,0' && at >= 2 && text[at - 1] === now && text[at - 2] === now,
      )
      const { at, changed } = await watching(looks)
      if (expected < 0) expect([at, changed]).toEqual([looks.length, []])
      else {
        const [a, b] = looks[expected]!
        expect([at, changed]).toEqual([expected, [...(a === '0' ? [] : ['a']), ...(b === '0' ? [] : ['b'])]])
      }
    }),
  )
})

test('a file is known by what it holds, whichever way it is saved', () => {
  const file = write('stamp/x.ts', 'one')
  const first = stampOf(file)
  expect(stampOf(file)).toBe(first)
  renameSync(write('stamp/x.tmp', 'two'), file)
  expect(stampOf(file)).not.toBe(first)
  expect(stampOf(path.join(folder, 'not there'))).toBe('none')
})

test('around what could not be read, new definitions are seen, and nothing else is', () => {
  write('around/lake.ts', '')
  const reads = new ReadStamps()
  reads.note(path.join(folder, 'around/lake.ts'))
  reads.addAround(new Map([['/before.ts', '7']]))
  expect([...reads.stamps.keys()]).toEqual([
    path.join(folder, 'around/lake.ts'),
    '/before.ts',
    path.join(folder, 'around'),
    '/',
  ])
  const around = () => stampOf(path.join(folder, 'around'))
  const before = around()
  write('around/.kappalake-1234.mjs', '')
  write('around/data.parquet', '')
  expect(around()).toBe(before)
  write('around/select.ts', '')
  expect(around()).not.toBe(before)
})

test('what is read of packages is not watched', () => {
  const reads = new ReadStamps(() => 'x')
  reads.note('/p/node_modules/zod/index.js')
  reads.note('/p/lake.ts')
  expect([...reads.stamps.keys()]).toEqual(['/p/lake.ts'])
})

test('a configuration tells of all that it reads: what is imported, functions with their imports, texts of files', async () => {
  const base = path.join(folder, 'config')
  write('config/rate.ts', 'export const rate = 2')
  write('config/map.ts', "import { rate } from './rate.ts'\nexport default (row) => ({ ...row, n: row.n * rate })")
  write('config/password', 'hush-hush')
  write(
    'config/kappalake.yaml',
    `kafka: { brokers: [b:9092], sasl: { mechanism: plain, username: u, password: "\${file:password}" } }
pipelines: { shop: { tables: { orders: { from: { topic: a }, columns: { n: int }, map: ./map.ts } } } }
`,
  )
  const reads = async (): Promise<string[]> => {
    const files: string[] = []
    await loadConfig({ folder: base, onRead: (file) => files.push(path.relative(base, file)) }).catch(() => undefined)
    return [...new Set(files)].toSorted()
  }
  expect(await reads()).toEqual(['kappalake.yaml', 'map.ts', 'password', 'rate.ts'])
  // What cannot be bundled was read all the same.
  write('config/rate.ts', 'export const rate = {')
  expect(await reads()).toEqual(['kappalake.yaml', 'map.ts', 'password', 'rate.ts'])
  rmSync(path.join(base, 'kappalake.yaml'))
  expect(await reads()).toEqual(['kappalake.config.ts', 'kappalake.yaml', 'kappalake.yml', 'lake.ts'])
})
