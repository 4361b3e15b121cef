import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Hono } from 'hono'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { freePort } from '../../infra/ports.mjs'
import { systemClock, type Clock } from '../../src/clock.ts'
import { dropRebuilds, rebuild } from '../../src/cli/dev-rebuild.ts'
import { demoDefinition } from '../../src/cli/demo-lake.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { LakeError } from '../../src/error.ts'
import { tableCodes } from '../../src/ingest/pipeline.ts'
import { startReplay } from '../../src/replay-handle.ts'
import { REPLAY, type ReplayPhase } from '../../src/replay-status.ts'
import { FakeReplays } from '../support/fake-replays.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { until } from '../support/processes.ts'
import { run, type Ran } from './support.ts'

const shop = demoDefinition.pipelines[0]!
const codes = Object.fromEntries(tableCodes(shop))
const options = { ...REPLAY, autoCutover: 'always' } as const
const OLD = 'b'.repeat(64)

/** Replays that get on by a step whenever somebody waits. */
function world(steps: readonly (() => void)[], replays = new FakeReplays(), isTty = false) {
  const clock = new InstantClock()
  const ending = new AbortController()
  const sleep = clock.sleep.bind(clock)
  let at = 0
  clock.sleep = async (ms, signal) => {
    steps[at++]?.()
    await sleep(ms, signal)
    if (at > 100) ending.abort()
  }
  const texts: string[] = []
  const out = { write: (text: string) => void texts.push(text), isTty, columns: 80, hasColor: false }
  const context: CliContext = {
    env: {},
    folder: '/nowhere',
    clock,
    out,
    err: out,
    signal: ending.signal,
    fetch: () => Promise.reject(new Error('not expected here')),
  }
  const lake = { replays, replay: startReplay.bind(undefined, replays, clock) }
  return { context, lake, ending, replays, told: () => texts.join('') }
}

/** From the rebuild to the cut-over of the replay that is started. */
function life(replays: FakeReplays, id: string): (() => void)[] {
  const to = (phase: ReplayPhase) => () => void replays.phase(id, phase)
  return [
    to('rebuilding'),
    to('verifying'),
    () => void replays.put({ ...replays.phase(id, 'catching-up'), difference: { id: 'd1ff0000', isEqual: false } }),
    to('ready'),
    () =>
      void replays.put({
        ...replays.phase(id, 'cut-over'),
        state: 'done',
        cutover: { version: '13', before: '12' },
      }),
  ]
}

describe('a rebuild', () => {
  test('is shown phase by phase, then the difference, then the way back', async () => {
    const replays = new FakeReplays()
    const { context, lake, told } = world(life(replays, '1'.repeat(64)), replays)
    await rebuild(lake, shop, context)
    expect(replays.started).toMatchObject([{ pipeline: 'shop', options: { autoCutover: 'always' } }])
    expect(told()).toMatch(
      /^11111111 queued\n11111111 rebuilding\n11111111 verifying\n11111111 catching-up\n[\s\S]*≠ revenue_1m[\s\S]*difference d1ff0000\n\n11111111 ready\n11111111 cut-over\n✓ replay 11111111 of shop: cut-over[\s\S]*version 13 has its tables[\s\S]*next: kappalake replay rollback 11111111\n$/,
    )
    expect(told()).not.toContain('accept:')
  })

  test('is a bar on a terminal', async () => {
    const replays = new FakeReplays()
    const { context, lake, told } = world(life(replays, '1'.repeat(64)), replays, true)
    await rebuild(lake, shop, context)
    const drawn = told().split('\r\u001B[2K')
    expect(drawn).toContainEqual(expect.stringMatching(/^rebuilding +█+░+ +50\.0 %/))
    expect(told()).not.toContain('11111111 rebuilding\n')
  })

  test('that was under way is gone on with', async () => {
    const replays = new FakeReplays()
    replays.put({ id: OLD, codes, options })
    const { context, lake, told } = world(life(replays, OLD), replays)
    await rebuild(lake, shop, context)
    expect(replays.started).toEqual([])
    expect(replays.orders).toEqual([])
    expect(told()).toMatch(/^the replay bbbbbbbb of this definition goes on\n[\s\S]*rollback bbbbbbbb\n$/)
  })

  test('of a definition from before is cancelled first, once', async () => {
    const replays = new FakeReplays()
    replays.put({ id: OLD, codes: { ...codes, orders: 'other' }, options })
    const cancelled = () => void replays.put({ id: OLD, state: 'cancelled' })
    const wait = () => undefined
    const { context, lake, told } = world([wait, wait, cancelled, ...life(replays, '2'.repeat(64))], replays)
    await rebuild(lake, shop, context)
    expect(replays.orders).toEqual([{ id: OLD, order: { kind: 'cancel' } }])
    expect(replays.started).toHaveLength(1)
    expect(told()).toMatch(/^the replay bbbbbbbb is of a definition from before[^\n]*\n22222222 queued\n/)
  })

  test("waits for somebody else's, and touches it not", async () => {
    const replays = new FakeReplays()
    replays.put({ id: OLD, options: { ...options, mode: 'verify' } })
    const { context, lake, told } = world([], replays)
    await rebuild(lake, shop, context)
    expect([replays.orders, replays.started]).toEqual([[], []])
    expect(told()).toBe('waiting for the replay bbbbbbbb, which somebody else began: kappalake replay show bbbbbbbb\n')
  })

  test('that fails says why', async () => {
    const replays = new FakeReplays()
    const id = '1'.repeat(64)
    const error = { code: 'replay.offsets_expired', message: 'the log begins at 7', fix: 'Start there.' }
    const { context, lake } = world([() => void replays.put({ id, state: 'failed', error })], replays)
    await expect(rebuild(lake, shop, context)).rejects.toMatchObject({ code: 'replay.offsets_expired' })
  })

  test('ends with the process, and is not cancelled by that', async () => {
    const { context, lake, replays } = world([])
    await expect(rebuild(lake, shop, context)).rejects.toMatchObject({ code: 'sql.cancelled' })
    expect(replays.orders).toEqual([])
  })
})

describe('before another definition', () => {
  test('own replays are cancelled and waited for, those of others are left', async () => {
    const replays = new FakeReplays()
    replays.put({ id: OLD, codes, options })
    replays.put({ id: 'c'.repeat(64), pipeline: 'other', options: REPLAY })
    const cancelled = () => void replays.put({ id: OLD, state: 'cancelled' })
    const { context, lake } = world([() => undefined, cancelled], replays)
    await dropRebuilds(lake, ['shop', 'other', 'none'], context)
    expect(replays.orders).toEqual([{ id: OLD, order: { kind: 'cancel' } }])
    expect((await replays.get(OLD)).state).toBe('cancelled')
  })

  test('one that is being cut over is waited for, and not for ever', async () => {
    const replays = new FakeReplays()
    replays.put({ id: OLD, codes, options })
    replays.order = () => Promise.reject(new LakeError('replay.state', 'it cannot be cancelled'))
    const { context, lake } = world([], replays)
    await dropRebuilds(lake, ['shop'], context)
    expect(context.clock.monotonicMs()).toBe(10_000)
  })
})

const lakeOf = (columns: string, log: string[]) => ({
  pipelines: [],
  replays: new FakeReplays(),
  http: () => new Hono().get('/healthz', (context) => context.text(columns)),
  close: async () => void log.push(`closed ${columns}`),
})

describe('dev', () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-dev-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const write = (port: number, columns: string, more = '') =>
    writeFileSync(
      path.join(folder, 'kappalake.yaml'),
      `kafka: { brokers: [localhost:9092] }\nhttp: { port: ${port} }\n${more}pipelines: { shop: { tables: { orders: { from: { topic: a }, columns: ${columns} } } } }\n`,
    )
  /** Nobody waits for real: a second is a tenth of one. */
  const tenTimes: Clock = {
    ...systemClock,
    monotonicMs: () => systemClock.monotonicMs() * 10,
    sleep: (ms, signal) => systemClock.sleep(ms / 10, signal),
  }
  let ending = new AbortController()
  let running: Promise<Ran> | undefined
  afterEach(async () => {
    ending.abort()
    await running
    ending = new AbortController()
  })
  const start = (log: string[], refused: string) => {
    let text = ''
    const open = async (definition: { pipelines: readonly (typeof shop)[] }): Promise<never> => {
      const columns = definition.pipelines[0]!.tables[0]!.columns.map(({ name }) => name).join()
      if (columns === refused) throw new LakeError('store.unavailable', 'the store is away')
      log.push(`open ${columns}`)
      return lakeOf(columns, log) as never
    }
    running = run(['dev'], {
      folder,
      signal: ending.signal,
      clock: tenTimes,
      parts: { open: open as never },
      onText: (_, given) => void (text += given),
    })
    return (sign: string) => until(sign, () => text.includes(sign), 5_000)
  }

  test('opens what is saved, goes back from what cannot be opened, and ends on the signal', async () => {
    const port = await freePort()
    const log: string[] = []
    write(port, '{ a: int }')
    const told = start(log, 'refused')
    await told('watching the definition')
    write(port, '{ a: what }')
    await told('kappalake.yaml:3')
    await told('the definition from before goes on')
    write(port, '{ refused: int }')
    await told('going back to the definition from before')
    await until('the old one', () => log.length === 3, 5_000)
    write(port, '{ a: int }', '# words\n')
    await told('= kappalake.yaml: nothing else is meant')
    write(port, '{ a: int, b: int }')
    await until('the new one', () => log.at(-1) === 'open a,b', 5_000)
    expect(await (await fetch(`http://127.0.0.1:${port}/healthz`)).text()).toBe('a,b')
    ending.abort()
    const { code } = await running!
    expect(code).toBe(0)
    expect(log).toEqual(['open a', 'closed a', 'open a', 'closed a', 'open a,b', 'closed a,b'])
  })

  test('what is missing may come as a file that nobody has read yet', async () => {
    const port = await freePort()
    const log: string[] = []
    write(port, '{ a: int }')
    const told = start(log, 'refused')
    await told('watching the definition')
    writeFileSync(path.join(folder, 'map.ts'), "import { b } from './b.ts'\nexport default () => ({ b })\n")
    write(port, '{ b: int }, map: ./map.ts')
    await told('Could not resolve')
    writeFileSync(path.join(folder, 'b.ts'), 'export const b = 1\n')
    await until('the new one', () => log.at(-1) === 'open b', 5_000)
    // From now on it is watched like any other.
    writeFileSync(path.join(folder, 'b.ts'), 'export const b = 22\n')
    await told('b.ts: shop.orders changed')
  })

  test('what cannot be opened at first is an error like that of start', async () => {
    write(await freePort(), '{ refused: int }')
    start([], 'refused')
    expect(await running).toMatchObject({ code: 3, err: expect.stringMatching(/^✗ store\.unavailable: /) })
  })
})
