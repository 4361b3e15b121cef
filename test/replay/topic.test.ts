import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import type { ChangeRecord, ChangeSink } from '../../src/ingest/change-sink.ts'
import type { ChangedRows, ChangesRequest, TableWork } from '../../src/ingest/keys.ts'
import { openChain } from '../../src/lake/chain.ts'
import type { Version } from '../../src/version.ts'
import { coded, isOver, isReady, pipeline, shop, write, type Bench } from './bench.ts'

// What stands in the topic of a table when a replay takes its place: all that was committed before, all that comes after.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-replay-topic-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const published = (code: string) => ({ ...coded('orders', 'orders', code), to: { topic: 'out', where: undefined } })
const OLD = pipeline(published('a'), coded('clicks', 'clicks', 'a'))
const NEW = pipeline(published('b'), coded('clicks', 'clicks', 'a'))

const placeOf = (row: string) => /^(\d+)@(\d+)=/.exec(row)!.slice(1).map(Number) as [number, number]

/** As a lane does it, over files of `partition@offset=value`. */
function workOver({ storage }: Bench): TableWork {
  let files = 0
  const rowsOf = async (sides: readonly ChangedRows[]): Promise<string[]> => {
    const all = sides.map(async ({ file }) => JSON.parse(Buffer.from((await storage.get(file.key))!).toString()))
    return (await Promise.all(all)).flat() as string[]
  }
  const changes = async (_: unknown, { before, after, since = [] }: ChangesRequest) => {
    const known = new Set((await rowsOf(before)).map((row) => String(placeOf(row))))
    const isBeyond = ([p, o]: [number, number]) => o >= (since.find(({ partition }) => partition === p)?.offset ?? 0n)
    const rows = (await rowsOf(after))
      .filter((row) => !known.has(String(placeOf(row))) && isBeyond(placeOf(row)))
      .toSorted((a, b) => placeOf(a)[0] - placeOf(b)[0] || placeOf(a)[1] - placeOf(b)[1])
    if (rows.length === 0) return { path: undefined, count: 0 }
    const file = path.join(folder, `${files++}.ndjson`)
    writeFileSync(file, rows.map((row) => `${JSON.stringify([placeOf(row)[0], row])}\n`).join(''))
    return { path: file, count: rows.length }
  }
  return { changes } as unknown as TableWork
}

test('what the old process had not sent comes before what the new one sends, and nothing is left out', async () => {
  const bench = shop()
  const log: ChangeRecord[] = []
  let isAway = false
  const sink: ChangeSink = {
    send: async (_, records) => {
      if (isAway) throw new LakeError('kafka.unavailable', 'no broker answers', { retryable: true })
      log.push(...records)
    },
    close: async () => undefined,
  }
  const publishing = { sink, work: workOver(bench) }
  bench.start('old', OLD, { publishing })
  await bench.drained()
  const isSent = ({ number, published }: Version) => (published['orders'] ?? 0n) >= number - 1n
  // The first version says of none that it was sent, and need not.
  await bench.until(async () => log.length > 0 && isSent(await bench.head()))

  // Nothing of what comes now is sent by the old process.
  isAway = true
  for (let i = 60; i < 80; i++) write(bench, i)
  await bench.drained()
  const young = bench.start('new', NEW, { publishing })
  const ready = await bench.replay(young, {}, isReady)
  for (let i = 80; i < 90; i++) write(bench, i)
  await bench.settle(young.replays.order(ready.id, { kind: 'cutover', approve: ready.difference!.id }))
  const over = await bench.reaches(young.replays, ready.id, isOver)
  const cutover = BigInt(over.cutover!.version)
  const before = (await bench.content(OLD, await at(bench, cutover - 1n)))['orders']!
  const positions = (await at(bench, cutover - 1n)).positions
  for (let i = 90; i < 100; i++) write(bench, i)
  await bench.drained()
  isAway = false
  await bench.until(async () => isSent(await bench.head()) && (await bench.head()).published['orders']! > cutover)

  const sent = new Set(log.map(({ value }) => value!))
  const isOld = (row: string) => BigInt(placeOf(row)[1]) < (positions.get(`orders/${placeOf(row)[0]}`) ?? 0n)
  const after = (await bench.content(NEW, await bench.head()))['orders']!.filter((row) => !isOld(row))
  expect([...before, ...after].filter((row) => !sent.has(row))).toEqual([])
  expect(after.length).toBeGreaterThan(0)
  // Of what the new code makes of history nothing is sent.
  expect([...sent].filter((row) => row.endsWith('b') && isOld(row))).toEqual([])
  const told = log.filter(({ headers }) => headers['kappalake.discontinuity'] !== undefined)
  expect(told.map(({ headers }) => headers['kappalake.discontinuity'])).toContain(String(cutover))
  await bench.close()
})

function at({ storage, clock }: Bench, number: bigint): Promise<Version> {
  return openChain(storage, 'shop', clock).at({ kind: 'number', number })
}
