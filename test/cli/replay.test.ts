import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import type { ReplayOrder, ReplayStatus } from '../../src/replay-status.ts'
import type { FakeReplays } from '../support/fake-replays.ts'
import { definition, makeLake, settings, type TestLake } from '../server/support.ts'
import { run } from './support.ts'

// The command line against the API itself; only what does the replays is played.

let lake: TestLake
let app: Hono
let replays: FakeReplays

beforeEach(async () => {
  lake = await makeLake({ shop: ['orders'] }, 'memory')
  replays = lake.replays
  const engine = undefined as never
  app = createApp({
    ...lake,
    engine,
    definition,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
  })
})
afterEach(() => lake.close())

const NOW = Date.UTC(2026, 10, 21, 12)
const ID = `1a2b3c4d${'0'.repeat(56)}`
const OTHER = `1a2b9999${'0'.repeat(56)}`
const served = async (input: string | URL | Request, init?: RequestInit) => app.request(String(input), init)

/** Each look at a replay finds it one step further. */
function stepping(...steps: (() => void)[]): Clock {
  let [now, index] = [0, 0]
  return {
    ...systemClock,
    nowMs: () => NOW,
    monotonicMs: () => now,
    sleep: async (ms) => {
      now += ms
      // Nobody waits longer than this for anything.
      if (index > steps.length + 300) throw new Error('waits for ever')
      steps[index++]?.()
    },
  }
}

const cli = (args: string, world: Parameters<typeof run>[1] = {}) =>
  run(args.split(' '), { fetch: served as typeof fetch, clock: stepping(), ...world })

const TTY = { isTty: true }
const DIFFERENT = { id: 'd1ff0000', isEqual: false }

/** A replay that stands somewhere. */
function at(status: Partial<ReplayStatus>, id = ID): void {
  replays.put({ id, version: '12', ...status })
}

describe('start', () => {
  test('asks for what was written', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-replay-'))
    const file = path.join(folder, 'offsets.json')
    writeFileSync(file, '{"shop.orders/0": 12, "shop.orders/1": "9007199254740993"}')
    const cases: [string, object][] = [
      ['', {}],
      ['--from earliest --cutover ifEqual', { from: { kind: 'earliest' }, autoCutover: 'ifEqual' }],
      ['--from 2026-11-21', { from: { kind: 'timestamp', timestampMs: Date.UTC(2026, 10, 21) } }],
      ['--from 2026-11-21T10:00:00+02:00', { from: { kind: 'timestamp', timestampMs: Date.UTC(2026, 10, 21, 8) } }],
      ['--from 24h', { from: { kind: 'timestamp', timestampMs: NOW - 86_400_000 } }],
      ['--from a.b/0@1,c/12@3', { from: { kind: 'offsets', offsets: { 'a.b/0': '1', 'c/12': '3' } } }],
      ['--from {"a/0":7}', { from: { kind: 'offsets', offsets: { 'a/0': '7' } } }],
      [
        `--from ${file}`,
        { from: { kind: 'offsets', offsets: { 'shop.orders/0': '12', 'shop.orders/1': '9007199254740993' } } },
      ],
      ['--tables orders,revenue_1m --rate-limit 500', { tables: ['orders', 'revenue_1m'], rateLimit: 500 }],
      ['--keep-old 1d --accept-compacted', { keepOldMs: 86_400_000, acceptCompacted: true }],
    ]
    for (const [flags, options] of cases) {
      const ran = await cli(`replay start shop ${flags}`.trim())
      expect([ran.code, ran.err]).toEqual([0, ''])
      expect(replays.started.at(-1)!.options).toEqual({ mode: 'reprocess', autoCutover: 'never', ...options })
      replays.put({ id: (await replays.list())[0]!.id, state: 'cancelled' })
    }
    await cli(`replay start shop --mode range --tables orders --from a/0@1 --to a/0@9`)
    expect(replays.started.at(-1)!.options).toMatchObject({
      mode: 'range',
      to: { kind: 'offsets', offsets: { 'a/0': '9' } },
    })
    rmSync(folder, { recursive: true })
  })

  test('tells what it is and what comes next', async () => {
    const { out } = await cli('replay start shop')
    expect(out).toMatchInlineSnapshot(`
      "✓ replay 11111111 of shop: queued
        rebuilds revenue_1m · shared orders
        next: a process with this definition begins it
      "
    `)
  })

  test('which takes the place of the live tables by itself is confirmed', async () => {
    const refused = await cli('replay start shop --cutover always')
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringMatching(/take the place of those of shop[\s\S]*--yes/),
    ])
    expect(replays.started).toEqual([])
    const asked: string[] = []
    const ask = async (question: string) => {
      asked.push(question)
      return 'y'
    }
    expect((await cli('replay start shop --cutover always', { ask })).code).toBe(0)
    expect(asked).toEqual(['the rebuilt tables take the place of those of shop, whatever they hold. Go on? [y/N] '])
  })

  test.each<[string, number, RegExp]>([
    ['replay start nope', 1, /✗ pipeline\.unknown: there is no pipeline "nope".*\n {2}next: List the pipelines/],
    ['replay start shop --mode redo', 2, /Allowed choices are reprocess, verify, range/],
    ['replay start shop --tables a,,b', 2, /commas between/],
    ['replay start shop --from nowhere', 1, /--from: neither a place in the log nor a file[\s\S]*next: Write earliest/],
    ['replay start shop --from {"a/0":-1}', 1, /whole numbers by partition/],
    ['replay start shop --from {"a/0":9007199254740993}', 1, /whole numbers by partition/],
    ['replay start shop --from [1]', 1, /neither a place/],
    ['replay start shop --from {a', 1, /not JSON/],
    ['replay start shop --from 2026-13-01', 1, /is not an instant/],
    ['replay start shop --mode range', 1, /a range needs "from"/],
    ['replay start shop --to a/0@1', 1, /"to" belongs to a range/],
    ['replay frobnicate', 2, /unknown command/],
    ['replay', 2, /Usage: kappalake replay/],
    ['replay cutover', 2, /missing required argument 'id'/],
  ])('%s', async (args, code, text) => {
    const ran = await cli(args)
    expect(ran.err).toMatch(text)
    expect([ran.code, ran.out]).toEqual([code, ''])
    expect(replays.started).toEqual([])
  })

  test('one at a time: the screen names the other', async () => {
    await cli('replay start shop')
    const ran = await cli('replay start shop')
    expect([ran.code, ran.err]).toEqual([
      1,
      expect.stringMatching(/✗ replay\.running: .*\n {2}replay: 11111111\n {2}next: Wait for it, or cancel it\.\n$/),
    ])
  })
})

describe('list and show', () => {
  test('what is there, and what a person would do', async () => {
    at({}, 'b'.repeat(64))
    at(
      {
        state: 'done',
        options: { ...(await replays.get('b'.repeat(64))).options, mode: 'verify' },
        difference: DIFFERENT,
      },
      'c'.repeat(64),
    )
    replays.phase(ID, 'ready', { percent: 100, lag: '3' })
    at({ difference: DIFFERENT })
    const { out } = await cli('replay list')
    expect(out).toMatchInlineSnapshot(`
      "replay    pipeline  mode       is      percent  rebuilds    difference  created               next
      ────────  ────────  ─────────  ──────  ───────  ──────────  ──────────  ────────────────────  ────────────────────────────────────────
      1a2b3c4d  shop      reprocess  ready       100  revenue_1m  d1ff0000    2026-11-21T10:00:00Z  kappalake replay diff 1a2b3c4d
      cccccccc  shop      verify     done             revenue_1m  d1ff0000    2026-11-21T10:00:00Z  kappalake replay diff cccccccc
      bbbbbbbb  shop      reprocess  queued           revenue_1m              2026-11-21T10:00:00Z  a process with this definition begins it
      (3 rows)
      "
    `)
    const [first] = JSON.parse((await cli('replay list -o json')).out)
    expect(first).toMatchObject({ id: ID, progress: { phase: 'ready' } })
    expect((await cli('replay list -o csv')).out.split('\r\n')[0]).toMatch(/^id,pipeline,state,/)
  })

  test('says why it waits or failed, and what helps', async () => {
    const error = {
      code: 'schema.incompatible',
      message: 'shop.orders/0 at offset 7: text for a number',
      fix: 'Mend it.',
    }
    for (const state of ['running', 'failed'] as const) {
      at({ state, error })
      const { out } = await cli('replay show 1a2b')
      expect(out).toContain(
        '  reason: shop.orders/0 at offset 7: text for a number (schema.incompatible)\n  fix: Mend it.',
      )
    }
  })

  test('of one, by the beginning of its id', async () => {
    replays.phase(ID, 'catching-up')
    replays.put({ id: OTHER, state: 'cancelled' })
    expect((await cli('replay show 1a2b3')).out).toMatch(/^✓ replay 1a2b3c4d of shop: catching-up/)
    expect((await cli(`replay show ${ID}`)).code).toBe(0)
    const many = await cli('replay show 1a2b')
    expect([many.code, many.err]).toEqual([
      1,
      expect.stringMatching(/beginning of 2 replays: 1a2b9999.*1a2b3c4d.*\n {2}next: Write more/s),
    ])
    const none = await cli('replay show ff')
    expect([none.code, none.err]).toEqual([
      1,
      expect.stringMatching(/replay\.unknown: no replay begins with "ff"\n {2}next: See "kappalake replay list"/),
    ])
  })
})

describe('watch', () => {
  const life = [
    () => replays.phase(ID, 'rebuilding'),
    () =>
      replays.phase(ID, 'rebuilding', {
        done: '18014398509481986',
        percent: 99.97,
        ratePerSecond: null,
        etaSeconds: null,
      }),
    () => replays.phase(ID, 'catching-up', { percent: 100, lag: '1204' }),
    () => at({ difference: DIFFERENT }),
    () => replays.phase(ID, 'ready', { lag: '3' }),
  ]

  test('for a program: a line for each change, until it waits for somebody', async () => {
    at({})
    const { code, out } = await cli('replay watch 1a2b', { clock: stepping(...life) })
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.map(({ progress }) => progress?.phase)).toEqual([
      undefined,
      'rebuilding',
      'rebuilding',
      'catching-up',
      'catching-up',
      'ready',
    ])
    expect(code).toBe(0)
  })

  test('for a person: one line that fits, and what came of it', async () => {
    at({})
    const { out } = await cli('replay watch 1a2b', {
      clock: stepping(...life),
      terminal: { isTty: true, columns: 100 },
    })
    const screens = out.split('\r\u001B[2K')
    expect(screens.join('\n')).toMatchInlineSnapshot(`
      "
      queued: waits for a process with this definition
      rebuilding    ████████████░░░░░░░░░░░░   50.0 %  9,007,199,254,740,993 of 18,014,398,509,481,986  1
      rebuilding    ███████████████████████░   99.9 %  18,014,398,509,481,986 of 18,014,398,509,481,986
      catching-up   ████████████████████████    100 %  lag 1,204
      catching-up   ████████████████████████    100 %  lag 1,204
      ready         ████████████████████████    100 %  lag 3
      ✓ replay 1a2b3c4d of shop: ready, began at version 12
        rebuilt revenue_1m · shared orders
        differs from the live tables: difference d1ff0000
        next: kappalake replay diff 1a2b3c4d
      "
    `)
    for (const line of screens.slice(0, -1)) expect([...line].length).toBeLessThan(100)
  })

  test('fails as the replay failed', async () => {
    at({})
    const error = { code: 'replay.offsets_expired', message: 'the log begins at 12', fix: 'Begin at 12.' }
    const { code, err } = await cli('replay watch 1a2b', { clock: stepping(() => at({ state: 'failed', error })) })
    expect(code).toBe(1)
    expect(err).toBe(
      '✗ replay.offsets_expired: the replay 1a2b3c4d failed: the log begins at 12\n  next: Begin at 12.\n',
    )
  })

  test('of one that cuts over by itself goes on to the end', async () => {
    at({ options: { ...(await replays.start('other', {})).options, autoCutover: 'always' } })
    const steps = [
      () => replays.phase(ID, 'ready'),
      () => replays.phase(ID, 'cutting-over'),
      () => {
        replays.phase(ID, 'cut-over')
        at({ state: 'done', cutover: { version: '20', before: '19' } })
      },
    ]
    const { out } = await cli('replay watch 1a2b', { clock: stepping(...steps), terminal: TTY })
    expect(out).toMatch(
      /✓ replay 1a2b3c4d of shop: cut-over.*\n[\s\S]*version 20 has its tables; before it stood version 19\n {2}next: kappalake replay rollback 1a2b3c4d\n$/,
    )
  })

  test('goes on when the server is started again, and says so when it stays away', async () => {
    at({})
    let isAway = false
    const away = async (...given: Parameters<typeof served>) => {
      if (isAway) throw new TypeError('fetch failed')
      return served(...given)
    }
    const back = [() => void (isAway = true), () => undefined, () => void (isAway = false), ...life]
    expect((await cli('replay watch 1a2b', { fetch: away as typeof fetch, clock: stepping(...back) })).code).toBe(0)
    at({ state: 'queued', progress: null })
    const gone = [() => void (isAway = true)]
    const ran = await cli('replay watch 1a2b', { fetch: away as typeof fetch, clock: stepping(...gone) })
    expect([ran.code, ran.err]).toEqual([3, expect.stringMatching(/not_ready: nothing answers/)])
  })

  test('an interrupt ends the looking, not the replay', async () => {
    replays.phase(ID, 'rebuilding')
    const ending = new AbortController()
    const clock = stepping(() => ending.abort())
    const ran = await cli('replay watch 1a2b', { clock, signal: ending.signal })
    expect([ran.code, ran.err]).toEqual([
      1,
      expect.stringMatching(/rebuilding, and goes on\n {2}next: Look again with "kappalake replay watch 1a2b3c4d"/),
    ])
    expect(replays.orders).toEqual([])
  })
})

describe('diff', () => {
  test('a screen that says what changed', async () => {
    replays.phase(ID, 'ready')
    at({ difference: DIFFERENT })
    const { out, code } = await cli('replay diff 1a2b')
    expect(out).toMatchInlineSnapshot(`
      "shop · replay 1a2b3c4d against version 12

      = orders       20,412 rows, equal
      ≠ revenue_1m   120 → 119 rows · 1 removed, 1 changed · in 2 of 60 windows
          + column average
          ~ column n: int → long
          2026-11-21T10:00:00Z: 4 → 3 rows
          - status=cancelled  window_start=2026-11-21T10:00:00Z
              n=7  revenue=120.50
          ~ status=paid  window_start=2026-11-21T10:01:00Z  (shop.orders/0@1234)
              revenue: 120.50 → 12.05
          not compared: _final and _corrections say when a row was written, not what it says
      + late_orders  17 rows, new
          + column orderId
          + column amount

      ≠ 2 of 3 tables differ · difference d1ff0000
        accept: kappalake replay cutover 1a2b3c4d --approve d1ff0000
        refuse: kappalake replay cancel 1a2b3c4d
      "
    `)
    expect(code).toBe(0)
    expect(
      (await cli('replay diff 1a2b', { terminal: { hasColor: true } })).out
        .split('\u001B')
        .map((part, i) => (i === 0 ? part : part.replace(/^\[\d+m/, '')))
        .join(''),
    ).toBe(out)
  })

  test('of equal tables is short', async () => {
    replays.phase(ID, 'ready')
    at({ difference: { id: 'e', isEqual: true } })
    const found = await replays.difference(ID)
    replays.differences.set(ID, { ...found, isEqual: true, tables: found.tables.slice(0, 1) })
    expect((await cli('replay diff 1a2b')).out).toMatchInlineSnapshot(`
      "shop · replay 1a2b3c4d against version 12

      = orders  20,412 rows, equal

      ✓ equal: every row, by number and hash
      "
    `)
  })

  test('for programs', async () => {
    replays.phase(ID, 'ready')
    at({ difference: DIFFERENT })
    expect(JSON.parse((await cli('replay diff 1a2b -o json')).out)).toMatchObject({ id: 'd1ff0000', equal: false })
    const lines = (await cli('replay diff 1a2b -o ndjson')).out.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).table)).toEqual(['orders', 'revenue_1m', 'late_orders'])
    expect((await cli('replay diff 1a2b -o csv')).out).toMatch(/revenue_1m,different,120,119,0,1,1/)
  })

  test('before there is one', async () => {
    replays.phase(ID, 'rebuilding')
    const ran = await cli('replay diff 1a2b')
    expect([ran.code, ran.err]).toEqual([
      1,
      expect.stringMatching(/✗ replay\.state: nothing was compared yet\n {2}next: /),
    ])
  })

  test('a value moves nobody’s cursor, and no line is endless', async () => {
    replays.phase(ID, 'ready')
    at({ difference: DIFFERENT })
    const found = await replays.difference(ID)
    const [, table] = found.tables
    const sample = {
      change: 'changed',
      key: { id: '\u001B[2J' },
      before: { a: 'x'.repeat(500) },
      after: { a: null },
      record: null,
    } as const
    replays.differences.set(ID, { ...found, tables: [{ ...table!, samples: [sample] }] })
    const { out } = await cli('replay diff 1a2b')
    expect(out).not.toContain('\u001B')
    expect(out).toMatch(/\\u001b\[2J[\s\S]*a: x{59}… → null/)
  })
})

describe('orders', () => {
  const becomes = (change: (order: ReplayOrder) => void) => (replays.onOrder = (_, order) => change(order))

  test.each(['pause', 'resume'] as const)('%s', async (verb) => {
    replays.phase(ID, 'rebuilding', { isPaused: verb === 'resume' })
    becomes(() => void replays.phase(ID, 'rebuilding', { isPaused: verb === 'pause' }))
    const { code, out } = await cli(`replay ${verb} 1a2b`)
    expect([code, out]).toEqual([0, expect.stringMatching(verb === 'pause' ? /rebuilding, paused/ : /: rebuilding,/)])
    expect(replays.orders).toEqual([{ id: ID, order: { kind: verb } }])
  })

  test('cancel and rollback ask first', async () => {
    replays.phase(ID, 'cut-over')
    at({ state: 'done', cutover: { version: '20', before: '19' } })
    becomes(({ kind }) => void (kind === 'rollback' ? replays.phase(ID, 'rolled-back') : at({ state: 'cancelled' })))
    const refused = await cli('replay rollback 1a2b')
    expect([refused.code, refused.err]).toEqual([
      1,
      '✗ request.invalid: the tables of version 19 become those of shop again\n  next: Add --yes to do it.\n',
    ])
    const no = await cli('replay rollback 1a2b', { ask: async () => 'n' })
    expect([no.code, no.err]).toEqual([1, expect.stringMatching(/nothing was done/)])
    expect(replays.orders).toEqual([])
    expect((await cli('replay rollback 1a2b', { ask: async () => 'yes' })).out).toMatch(/rolled-back/)
    replays.phase(ID, 'rebuilding')
    expect((await cli('replay cancel 1a2b')).code).toBe(1)
    expect((await cli('replay cancel 1a2b --yes')).out).toMatch(/cancelled/)
  })

  test('what does not apply says where it stands', async () => {
    replays.phase(ID, 'rebuilding')
    const ran = await cli('replay cutover 1a2b')
    expect([ran.code, ran.err]).toEqual([1, expect.stringMatching(/✗ replay\.state: .*rebuilding.*\n {2}next: /)])
  })

  test('an order that nobody takes is told of', async () => {
    replays.phase(ID, 'rebuilding')
    const ran = await cli('replay pause 1a2b')
    expect([ran.code, ran.err]).toEqual([
      3,
      expect.stringMatching(/pause is recorded, and not done yet[\s\S]*replay show 1a2b3c4d/),
    ])
  })
})

describe('cutover', () => {
  beforeEach(() => {
    replays.phase(ID, 'ready')
    replays.onOrder = () => {
      replays.phase(ID, 'cut-over')
      at({ state: 'done', cutover: { version: '20', before: '19' } })
    }
  })
  const approved = () => replays.orders.map(({ order }) => (order as { approve?: string | null }).approve)

  test('of equal tables needs no word', async () => {
    at({ difference: { id: 'e', isEqual: true } })
    const { code, out } = await cli('replay cutover 1a2b')
    expect([code, out]).toEqual([0, expect.stringMatching(/cut-over/)])
    expect(approved()).toEqual([null])
  })

  test('of different ones shows what differs, and asks', async () => {
    at({ difference: DIFFERENT })
    const no = await cli('replay cutover 1a2b', { ask: async () => '', terminal: TTY })
    expect(no.out).toMatch(/≠ revenue_1m/)
    expect([no.code, approved()]).toEqual([1, []])
    const yes = await cli('replay cutover 1a2b', { ask: async () => 'y', terminal: TTY })
    expect([yes.code, approved()]).toEqual([0, ['d1ff0000']])
  })

  test('without anybody to ask needs the id of the difference, or --yes', async () => {
    at({ difference: DIFFERENT })
    const refused = await cli('replay cutover 1a2b')
    expect([refused.code, refused.err]).toEqual([
      1,
      '✗ replay.diff_unapproved: the rebuilt tables differ from the live ones\n  next: Look with "kappalake replay diff 1a2b3c4d", then add --approve d1ff0000.\n',
    ])
    const other = await cli('replay cutover 1a2b --approve other')
    expect([other.code, other.err]).toEqual([1, expect.stringMatching(/replay\.diff_unapproved/)])
    expect(approved()).toEqual([])
    const little = await cli('replay cutover 1a2b --approve d1f')
    expect([little.code, approved()]).toEqual([1, []])
    expect((await cli('replay cutover 1a2b --approve d1ff')).code).toBe(0)
    replays.phase(ID, 'ready')
    at({ state: 'running', cutover: null })
    expect((await cli('replay cutover 1a2b --yes')).code).toBe(0)
    expect(approved()).toEqual(['d1ff0000', 'd1ff0000'])
  })
})

describe('verify', () => {
  const done = (difference: { id: string; isEqual: boolean }) =>
    stepping(
      () => replays.phase('1'.repeat(64), 'rebuilding'),
      () => at({ state: 'done', difference }, '1'.repeat(64)),
    )

  test('exit 0 when equal', async () => {
    const { code, out, err } = await cli('verify shop --tables orders', { clock: done({ id: 'e', isEqual: true }) })
    expect(code).toBe(0)
    expect(replays.started).toEqual([{ pipeline: 'shop', options: { mode: 'verify', tables: ['orders'] } }])
    expect(out).toMatch(/✓ equal/)
    expect(err).toBe('11111111 queued\n11111111 rebuilding\n11111111 done\n')
  })

  test('exit 1 when not, and the answer alone on standard output', async () => {
    const { code, out } = await cli('verify shop -o json', { clock: done(DIFFERENT) })
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ id: 'd1ff0000', equal: false })
  })
})
