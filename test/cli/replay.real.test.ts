import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { changedDefinition, demoDefinition } from '../../src/cli/demo-lake.ts'
import { systemClock } from '../../src/clock.ts'
import type { LakeDefinition } from '../../src/define.ts'
import { open, type Lake } from '../../src/index.ts'
import type { DifferenceJson, ReplayJson } from '../../src/server/replays-json.ts'
import type { Settings } from '../../src/settings.ts'
import { until } from '../support/processes.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { run, type Ran } from './support.ts'

// A life of a replay as a person leads it: commands against the API of a lake whose definition changed, while the one of
// the old definition goes on beside it over the same store and log.

const SHOP = boundedShop(600)
const LIMIT_MS = 180_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-replay-cli-'))
const opened: Lake[] = []
let [old, changed]: Lake[] = []

beforeAll(async () => {
  const store = { url: `file:${folder}/lake` }
  await trustStore(store)
  const start = async (definition: LakeDefinition, name: string): Promise<Lake> => {
    const settings: Settings = { ...shopSettings(store, SHOP, path.join(folder, name)), lanes: 1, writer: name }
    const lake = await open(definition, settings)
    opened.push(lake)
    return lake
  }
  old = await start(demoDefinition, 'old')
  await old.pipelines[0]!.flush()
  changed = await start(changedDefinition, 'changed')
  await isIn(changed, 'superseded')
}, LIMIT_MS)

afterAll(async () => {
  for (const lake of opened) await lake.close()
  rmSync(folder, { recursive: true, force: true })
}, LIMIT_MS)

const isIn = (lake: Lake, state: string) => until(state, () => lake.pipelines[0]!.status().state === state)

const cli = (args: string, lake: Lake): Promise<Ran> =>
  run(args.split(' '), {
    clock: systemClock,
    fetch: (async (url: string, init?: RequestInit) => lake.http().request(url, init)) as typeof fetch,
  })

const revenue = async (): Promise<string> => {
  const [row] = await old!.sql<{ text: string }>(
    `SELECT concat(count(*), ' ', sum(n), ' ', sum(revenue), ' ', count(revenue)) AS text FROM revenue_1m`,
  )
  return row!.text
}

/** What takes longer than a moment says so. */
const MAYBE_WAITING = expect.stringMatching(/^(\w+ is recorded; waiting for .*\n)?$/)

const last = (out: string) => JSON.parse(out.trimEnd().split('\n').at(-1)!) as ReplayJson

test('verify: live = replay, of the definition that made the tables', { timeout: LIMIT_MS }, async () => {
  const { code, out, err } = await cli('verify shop', old!)
  expect(err).toMatch(/rebuilding\n[\s\S]*done\n$/)
  expect(out).toMatch(/✓ equal/)
  expect(code).toBe(0)
})

test('the old definition has nothing to replay', { timeout: LIMIT_MS }, async () => {
  const { code, err } = await cli('replay start shop', old!)
  expect([code, err]).toEqual([1, expect.stringMatching(/^✗ replay\.nothing_changed: .*\n {2}next: /)])
})

test('start, look, cut over, roll back', { timeout: LIMIT_MS }, async () => {
  const before = await revenue()
  const started = await cli('replay start shop --watch', changed!)
  expect(started.err).toBe('')
  const replay = last(started.out)
  expect(replay).toMatchObject({
    state: 'running',
    rebuilt: ['revenue_1m'],
    progress: { phase: 'ready', percent: 100 },
    difference: { equal: false },
  })
  const id = replay.id.slice(0, 6)

  const again = await cli('replay start shop', changed!)
  expect([again.code, again.err]).toEqual([1, expect.stringMatching(/✗ replay\.running: .*\n {2}replay: /)])

  const screen = await cli(`replay diff ${id}`, changed!)
  expect(screen.out).toMatch(
    /≠ revenue_1m +\d+ rows · \d+ changed[\s\S]*\+ column average[\s\S]*revenue: [\d.]+ → null/,
  )
  const { tables } = JSON.parse((await cli(`replay diff ${id} -o json`, changed!)).out) as DifferenceJson
  expect(tables.find(({ table }) => table === 'revenue_1m')).toMatchObject({ added: '0', removed: '0' })

  const refused = await cli(`replay cutover ${id}`, changed!)
  expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(/replay\.diff_unapproved/)])
  expect(await revenue()).toBe(before)

  const difference = replay.difference!.id.slice(0, 8)
  const over = await cli(`replay cutover ${id} --approve ${difference}`, changed!)
  expect([over.code, over.err]).toEqual([0, MAYBE_WAITING])
  expect(over.out).toMatch(/cut-over[\s\S]*next: kappalake replay rollback/)
  await Promise.all([isIn(changed!, 'running'), isIn(old!, 'superseded')])
  expect(await revenue()).not.toBe(before)
  expect(await changed!.sql('SELECT count(*) AS n FROM revenue_1m WHERE average IS NULL')).toEqual([{ n: 0n }])

  const back = await cli(`replay rollback ${id} --yes`, changed!)
  expect([back.code, back.err]).toEqual([0, MAYBE_WAITING])
  expect(back.out).toMatch(/rolled-back/)
  await Promise.all([isIn(old!, 'running'), isIn(changed!, 'superseded')])
  expect(await revenue()).toBe(before)
  const late = await cli(`replay rollback ${id} --yes`, changed!)
  expect([late.code, late.err]).toEqual([1, expect.stringMatching(/✗ replay\.state: .*\n/)])
})

test('in a program: paused, gone on, cancelled, found again', { timeout: LIMIT_MS }, async () => {
  const replay = await changed!.replay('shop', { rateLimit: 100 })
  await replay.pause()
  await until('a pause', async () => (await replay.status()).progress?.isPaused === true)
  await replay.resume()
  const seen: number[] = []
  for await (const { percent } of replay.progress()) {
    seen.push(percent)
    if (seen.length > 1) break
  }
  expect(seen.toSorted((a, b) => a - b)).toEqual(seen)
  await (await changed!.findReplay(replay.id)).cancel()
  await until('the end', async () => (await replay.status()).state === 'cancelled')
  await expect(replay.cutOver()).rejects.toMatchObject({ code: 'replay.state' })
})
