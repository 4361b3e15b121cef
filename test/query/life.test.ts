import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { LakeEvent } from '../../src/event.ts'
import { openEngine, type Engine, type EngineOptions } from '../../src/query/engine.ts'
import { CHILD_PATH, makeTables, querySettings, resolverOf, textOf } from './support.ts'

const ENDLESS = 'select count(*) n from range(10000000000) a, range(1000) b'

let open: { close(): Promise<void> }[] = []
afterEach(async () => {
  await Promise.all(open.map((each) => each.close()))
  open = []
})

async function start(given: Partial<EngineOptions['settings']> = {}) {
  const tables = await makeTables()
  const events: LakeEvent[] = []
  const engine: Engine = await openEngine({
    settings: querySettings({ children: 1, ...given }),
    resolve: resolverOf(tables.views),
    clock: systemClock,
    observer: (event) => events.push(event),
    childPath: CHILD_PATH,
  })
  open.push({ close: async () => void (await engine.close(), await tables.remove()) })
  return {
    engine,
    events,
    outcomes: () => events.map((event) => (event.kind === 'query' ? event.outcome : event.kind)),
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await systemClock.sleep(5)
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('what ends a query', () => {
  test('its deadline, by the death of its process', async () => {
    const { engine, outcomes } = await start()
    const [pid] = engine.stats().pids
    const startMs = systemClock.monotonicMs()
    await expect(engine.query({ sql: ENDLESS, format: 'json', timeoutMs: 300 })).rejects.toMatchObject({
      code: 'sql.timeout',
    })
    expect(systemClock.monotonicMs() - startMs).toBeLessThan(1_300)
    await until(() => !isAlive(pid!))
    expect((await engine.rows({ sql: 'select count(*) n from orders' }))[0]).toEqual({ n: 10n })
    expect(outcomes()).toEqual(['timeout', 'ok'])
    expect(engine.stats()).toMatchObject({ running: 0, queued: 0, restarts: 1 })
  })

  test('a crash of its process, which costs nobody else anything', async () => {
    const { engine, outcomes } = await start({ children: 2 })
    const sql = 'select sum(a.range) n from range(20000) a, range(50000) b'
    // The first holds its process until that dies, so that the second must have one of its own.
    const endless = expect(engine.rows({ sql: ENDLESS })).rejects.toMatchObject({ code: 'sql.crashed' })
    await until(() => engine.running()[0]?.state === 'running')
    const other = engine.rows({ sql })
    await until(() => engine.running().length === 2 && engine.running().every(({ state }) => state === 'running'))
    process.kill(engine.stats().pids[0]!, 'SIGKILL')
    await endless
    expect(await other).toEqual([{ n: 9_999_500_000_000n }])
    expect(await engine.rows({ sql: 'select count(*) n from orders' })).toEqual([{ n: 10n }])
    expect(outcomes().toSorted()).toEqual(['crashed', 'ok', 'ok'])
  })

  test('its caller', async () => {
    const { engine, outcomes } = await start()
    const caller = new AbortController()
    const query = expect(engine.query({ sql: ENDLESS, format: 'json' }, caller.signal)).rejects.toMatchObject({
      code: 'sql.cancelled',
    })
    await until(() => engine.running()[0]?.state === 'running')
    const [pid] = engine.stats().pids
    caller.abort()
    await query
    await until(() => !isAlive(pid!))
    expect(outcomes()).toEqual(['cancelled'])
  })

  test('a caller that is gone before it starts, or while it waits', async () => {
    const { engine } = await start()
    await expect(engine.rows({ sql: 'select 1' }, AbortSignal.abort())).rejects.toMatchObject({ code: 'sql.cancelled' })
    const first = engine.query({ sql: ENDLESS, format: 'json', id: 'first' })
    first.catch(() => undefined)
    await until(() => engine.running()[0]?.state === 'running')
    const caller = new AbortController()
    const second = expect(engine.rows({ sql: 'select 1' }, caller.signal)).rejects.toMatchObject({
      code: 'sql.cancelled',
    })
    await until(() => engine.stats().queued === 1)
    caller.abort()
    await second
    expect(engine.stats()).toMatchObject({ queued: 0, running: 1 })
    expect(engine.cancel('first')).toBe(true)
    await expect(first).rejects.toMatchObject({ code: 'sql.cancelled' })
    expect(engine.cancel('first')).toBe(false)
  })

  test('a reader that stops in the middle', async () => {
    const { engine, outcomes } = await start()
    const result = await engine.query({ sql: 'select range n from range(10000000)', format: 'ndjson' })
    for await (const piece of result.body) {
      expect(piece.length).toBeGreaterThan(0)
      break
    }
    expect(engine.running()).toEqual([])
    expect(outcomes()).toEqual(['cancelled'])
    expect(await engine.rows({ sql: 'select 1 a' })).toEqual([{ a: 1 }])
  })

  test('a reader that never comes, at the deadline', async () => {
    const { engine, outcomes } = await start()
    const sql = 'select range n from range(10000000)'
    const result = await engine.query({ sql, format: 'ndjson', timeoutMs: 300 })
    await until(() => engine.running().length === 0)
    expect(outcomes()).toEqual(['timeout'])
    await expect(textOf(result.body)).rejects.toMatchObject({ code: 'sql.timeout' })
  })

  test('a failure after the first rows is an error in the stream, not an end', async () => {
    const { engine } = await start({ rowsMax: 2_000_000, bytesMax: 64 * 1024 * 1024 })
    const sql = `select case when range = 900000 then error('at 900000') else range end n from range(1000000)`
    for (const format of ['ndjson', 'csv'] as const) {
      const result = await engine.query({ sql, format })
      await expect(textOf(result.body)).rejects.toMatchObject({ code: 'sql.failed', message: 'at 900000' })
    }
    await expect(engine.query({ sql, format: 'json' })).rejects.toMatchObject({ code: 'sql.failed' })
  })

  test('closing the engine', async () => {
    const { engine } = await start()
    const query = expect(engine.query({ sql: ENDLESS, format: 'json' })).rejects.toMatchObject({
      code: 'sql.cancelled',
    })
    await until(() => engine.running()[0]?.state === 'running')
    const pids = engine.stats().pids
    await engine.close()
    await query
    expect(pids.filter(isAlive)).toEqual([])
    await expect(engine.rows({ sql: 'select 1' })).rejects.toMatchObject({ code: 'sql.cancelled' })
  })
})

describe('limits', () => {
  test('rows and bytes of a result that must be complete', async () => {
    const { engine } = await start({ rowsMax: 100, bytesMax: 10_000 })
    const count = async (sql: string, maxRows?: number) => (await engine.rows({ sql, maxRows })).length
    expect(await count('select * from range(100)')).toBe(100)
    await expect(count('select * from range(101)')).rejects.toMatchObject({ code: 'result.too_large' })
    await expect(count('select * from range(3)', 2)).rejects.toMatchObject({ code: 'result.too_large' })
    const wide = `select list_transform(range(6000), lambda x: 1)`
    await expect(engine.query({ sql: wide, format: 'json' })).rejects.toMatchObject({ code: 'result.too_large' })
    const streamed = await engine.query({ sql: 'select * from range(1000)', format: 'ndjson' })
    expect((await textOf(streamed.body)).split('\n').length).toBe(1_001)
  })

  test('queries wait in order, and are refused when too many do', async () => {
    const { engine, outcomes } = await start({ queueMax: 2 })
    const sql = 'select count(*) n from range(20000) a, range(2000) b'
    const done: number[] = []
    const queries = [1, 2, 3].map((n) => engine.rows({ sql }).then(() => done.push(n)))
    await until(() => engine.stats().queued === 2)
    await expect(engine.rows({ sql })).rejects.toMatchObject({ code: 'limit.queries', retryable: true })
    await Promise.all(queries)
    expect(done).toEqual([1, 2, 3])
    expect(outcomes()).toEqual(['error', 'ok', 'ok', 'ok'])
  })

  test('memory: a query that wants too much fails, the next one does not', async () => {
    const { engine } = await start({ memoryBytesMax: 500 * 1024 * 1024 })
    const greedy = 'select count(distinct a.range * 100000 + b.range) from range(20000) a, range(20000) b'
    await expect(engine.rows({ sql: greedy })).rejects.toMatchObject({
      code: expect.stringMatching(/^sql\.(failed|crashed|timeout)$/),
    })
    expect(await engine.rows({ sql: 'select 1 a' })).toEqual([{ a: 1 }])
  })

  test('one id, one query', async () => {
    const { engine } = await start()
    const first = engine.rows({ sql: ENDLESS, id: 'x' })
    first.catch(() => undefined)
    await expect(engine.rows({ sql: 'select 1', id: 'x' })).rejects.toMatchObject({ code: 'request.invalid' })
    engine.cancel('x')
  })

  test('a query leaves nothing behind for the next one', async () => {
    const { engine } = await start()
    for (let n = 0; n < 5; n++) {
      expect(await engine.rows({ sql: 'select count(*) n from orders' })).toEqual([{ n: 10n }])
      await expect(engine.rows({ sql: 'select nope from orders' })).rejects.toMatchObject({ code: 'sql.failed' })
      await expect(engine.rows({ sql: 'select * from nope' })).rejects.toMatchObject({ code: 'table.unknown' })
    }
    expect(engine.stats().restarts).toBe(0)
  })

  test('a process that cannot start is an error with a reason', async () => {
    const opening = openEngine({
      settings: querySettings({ children: 1 }),
      resolve: resolverOf([]),
      clock: systemClock,
      childPath: '/nowhere/query-child.js',
    })
    await expect(opening).rejects.toMatchObject({ code: 'internal', message: expect.stringContaining('query process') })
  })

  test('messages of the engine name no file', async () => {
    const { engine } = await start()
    const error: unknown = await engine.rows({ sql: `select '/etc/passwd'::int from orders` }).catch((each) => each)
    expect(error).toMatchObject({ code: 'sql.failed', message: expect.not.stringContaining('/') })
  })
})
