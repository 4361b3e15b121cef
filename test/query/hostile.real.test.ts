import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { asLakeError } from '../../src/error.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { CHILD_PATH, makeTables, querySettings, resolverOf } from './support.ts'

const DEADLINE_MS = 1_000

let engine: Engine
let tables: Awaited<ReturnType<typeof makeTables>>

beforeAll(async () => {
  tables = await makeTables()
  engine = await openEngine({
    settings: querySettings({ children: 2, timeoutMs: DEADLINE_MS, memoryBytesMax: 500 * 1024 * 1024 }),
    resolve: resolverOf(tables.views),
    clock: systemClock,
    childPath: CHILD_PATH,
  })
}, 30_000)
afterAll(async () => {
  await engine.close()
  await tables.remove()
})

const lines = (name: string): string[] =>
  readFileSync(path.resolve(import.meta.dirname, `../fixtures/sql/${name}`), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')

async function filesOf(folder: string): Promise<Map<string, string>> {
  const names = await readdir(folder)
  return new Map(
    await Promise.all(
      names.map(async (name) => [name, (await readFile(path.join(folder, name))).toString('base64')] as const),
    ),
  )
}

describe('through the whole engine', () => {
  test('statements that reach for more give nothing and change nothing', async () => {
    const before = await filesOf(tables.folder)
    for (const sql of lines('attacks.sql')) {
      const answer = await engine.rows({ sql }).catch((error: unknown) => asLakeError(error).code)
      expect(answer, sql).toMatch(/^(sql\.|table\.unknown)/)
    }
    expect(await engine.rows({ sql: 'select count(*) n, sum(amount) s from orders' })).toEqual([{ n: 10n, s: '67.50' }])
    expect(await filesOf(tables.folder)).toEqual(before)
  }, 60_000)

  test.each(lines('bombs.sql'))(
    'a bomb is contained: %s',
    async (sql) => {
      const startMs = systemClock.monotonicMs()
      const bomb = engine.rows({ sql }).then(
        () => 'ok',
        (error: unknown) => asLakeError(error).code,
      )
      expect(await bomb).toMatch(/^(ok|sql\.\w+|result\.too_large|request\.too_large|table\.unknown)$/)
      expect(systemClock.monotonicMs() - startMs).toBeLessThan(DEADLINE_MS + 1_000)
    },
    30_000,
  )

  test('and those behind it are served', async () => {
    await systemClock.sleep(1_000)
    expect(await engine.rows({ sql: 'select count(*) n from orders' })).toEqual([{ n: 10n }])
  })
})
