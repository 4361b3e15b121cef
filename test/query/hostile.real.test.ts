import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { asLakeError } from '../../src/error.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { mutated, statements } from './corpus.ts'
import { CHILD_PATH, makeTables, querySettings, resolverOf } from './support.ts'

// Statements that reach for more than the tables of the lake, and such that take all that there is. Each is refused or
// contained: this process lives, queries beside it keep their results, no file changes, nobody is called.

/** Of a hostile statement, and of everybody else's. */
const DEADLINE_MS = 1_000
const PATIENCE_MS = 15_000
/** Niceness of the query processes. */
const PRIORITY = os.getPriority() + 1
const SECRET = 'the-secret-of-another-tenant'
const SEED = Number(process.env['SEED'] ?? 20_261_121)

let engine: Engine
let tables: Awaited<ReturnType<typeof makeTables>>
let listener: Server
let calls = 0
let untouched: ReadonlyMap<string, string>
let socketsOfChild: number

beforeAll(async () => {
  tables = await makeTables()
  await mkdir(path.join(tables.folder, 'secret'))
  await mkdir(path.join(tables.folder, 'wh/t1'), { recursive: true })
  await writeFile(path.join(tables.folder, 'secret/s.csv'), `a\n${SECRET}\n`)
  await writeFile(path.join(tables.folder, 'wh/t1/d.parquet'), await readFile(tables.views[0]!.files[0]!))
  untouched = await filesOf(tables.folder)
  listener = createServer((socket) => (calls++, socket.destroy()))
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  engine = await openEngine({
    settings: querySettings({ children: 2, timeoutMs: PATIENCE_MS, memoryBytesMax: 500 * 1024 * 1024 }),
    resolve: resolverOf(tables.views),
    clock: systemClock,
    childPath: CHILD_PATH,
    priority: () => PRIORITY,
  })
  socketsOfChild = socketsOf(engine.stats().pids[0]!)
}, 30_000)

afterAll(async () => {
  await engine.close()
  listener.close()
  await tables.remove()
})

/** Every file below a folder: its content and when it was written. */
async function filesOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    const { mtimeMs, mode } = await stat(file)
    const hash = entry.isFile()
      ? createHash('sha256')
          .update(await readFile(file))
          .digest('hex')
      : ''
    files.set(file, `${mode} ${mtimeMs} ${hash}`)
  }
  return files
}

function socketsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).filter((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:'))
      .length
  } catch {
    return 0 // it ended meanwhile
  }
}

/** The statement with its places in this test's folder and its addresses at this test's listener. */
function placed(sql: string): string {
  return sql
    .replaceAll('lab/', `${tables.folder}/`)
    .replaceAll('127.0.0.1:9', `127.0.0.1:${(listener.address() as AddressInfo).port}`)
}

/** The code of a refusal; what came of it otherwise. */
async function outcomeOf(sql: string): Promise<string> {
  try {
    const rows = await engine.rows({ sql: placed(sql), timeoutMs: DEADLINE_MS })
    return `rows: ${JSON.stringify(rows, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`
  } catch (error) {
    const { code, message, fix } = asLakeError(error)
    expect(`${message} ${fix}`, sql).not.toContain(SECRET)
    return code
  }
}

const VICTIM = `select count(*) n, sum(amount) s, md5(string_agg(id || status || "at", ',' order by id)) digest from orders`

/** Asks the same again and again beside something; all answers must be one. */
async function besideVictim(work: () => Promise<void>): Promise<number> {
  const [expected] = await engine.rows({ sql: VICTIM })
  const over = new AbortController()
  let answers = 0
  const victim = (async () => {
    while (!over.signal.aborted) {
      expect(await engine.rows({ sql: VICTIM })).toEqual([expected])
      answers++
      await systemClock.sleep(150)
    }
  })()
  try {
    await work()
  } finally {
    over.abort()
    await victim
  }
  return answers
}

async function assertNothingHappened(): Promise<void> {
  expect(await filesOf(tables.folder)).toEqual(untouched)
  expect(calls).toBe(0)
}

/** Of the statements that were not refused, those that should have been. */
async function notRefused(list: readonly string[]): Promise<readonly string[]> {
  const wrong: string[] = []
  for (const sql of list) {
    const outcome = await outcomeOf(sql)
    if (!/^(sql\.(denied|syntax|multiple_statements|failed)|table\.unknown)$/.test(outcome))
      wrong.push(`${sql} → ${outcome}`)
    for (const pid of engine.stats().pids) expect(socketsOf(pid), sql).toBeLessThanOrEqual(socketsOfChild)
  }
  return wrong
}

describe('statements that reach for more', () => {
  const sources = [...statements('attacks'), ...statements('families')]

  test('are refused', async () => {
    expect(sources.length).toBeGreaterThan(450)
    const answers = await besideVictim(async () => expect(await notRefused(sources)).toEqual([]))
    expect(answers).toBeGreaterThan(3)
    await assertNothingHappened()
    expect(engine.stats().restarts).toBe(0)
  }, 60_000)

  test(`are refused however they are written (SEED=${SEED})`, async () => {
    const list = mutated(sources, 400, SEED)
    expect(new Set(list).size).toBeGreaterThan(380)
    await besideVictim(async () => expect(await notRefused(list)).toEqual([]))
    await assertNothingHappened()
  }, 60_000)
})

const turns = statements('legitimate').map((sql, index) => [sql, index % 2 === 0 ? 'arrow' : 'parquet'] as const)
test.each(turns)('runs: %s, and as %s', async (sql, format) => {
  expect((await engine.rows({ sql })).length).toBeGreaterThan(0)
  const { body } = await engine.query({ sql, format })
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  expect(Buffer.concat(parts).length).toBeGreaterThan(100)
})

test('a query process has no environment of ours, no rights to write files, goes first when memory runs out, and has the priority that it was given', () => {
  const [pid] = engine.stats().pids
  const read = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8')
  const names = read('environ')
    .split('\0')
    .filter((line) => line !== '')
    .map((line) => line.split('=')[0])
  expect(names.filter((name) => !/^(TZ|KAPPALAKE_QUERY|NODE_CHANNEL_\w+|PWD|OLDPWD|SHLVL|_)$/.test(name!))).toEqual([])
  const limits = new Map(
    read('limits')
      .split('\n')
      .map((line) => [line.slice(0, 26).trim(), line.slice(26, 47).trim()]),
  )
  expect(limits.get('Max file size')).toBe('0')
  expect(limits.get('Max core file size')).toBe('0')
  expect(Number(limits.get('Max data size'))).toBe(500 * 1024 * 1024)
  expect(Number(limits.get('Max cpu time'))).toBeLessThan(600)
  expect(Number(limits.get('Max address space'))).toBeGreaterThan(0)
  expect(Number(limits.get('Max open files'))).toBeGreaterThan(0)
  expect(read('oom_score_adj').trim()).toBe('1000')
  expect(os.getPriority(pid!)).toBe(PRIORITY)
})

describe('statements that take all that there is', () => {
  test.each(statements('bombs'))(
    '%s',
    async (sql) => {
      await besideVictim(async () => {
        const startMs = systemClock.monotonicMs()
        expect((await outcomeOf(sql)).replace(/^rows: .*/s, 'rows')).toMatch(
          /^(rows|sql\.\w+|result\.too_large|request\.too_large|table\.unknown)$/,
        )
        expect(systemClock.monotonicMs() - startMs).toBeLessThan(DEADLINE_MS + 1_000)
      })
    },
    30_000,
  )

  test('and those behind them are served', async () => {
    expect(await besideVictim(() => systemClock.sleep(500))).toBeGreaterThan(0)
    await assertNothingHappened()
  }, 10_000)
})
