import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LakeError } from '../../src/error.ts'
import type { Storage } from '../../src/lake/table.ts'
import { fresh, isOver, NEW, OLD, shop, write, type Bench } from './bench.ts'

/** What happens at one request to the store: nothing is ever answered again; it fails, before or after it was done. */
type Fate = 'dies' | 'lost' | 'unheard'

/** By name and arguments. */
type Request = (name: string, args: readonly unknown[]) => boolean

/** A store whose request number `at`, or each of a kind, meets its fate, counted from when `arm` was called. */
function fateful(
  fate: Fate,
  at: number | Request,
): { through: (storage: Storage) => Storage; arm: () => void; seen: () => number } {
  let [isArmed, seen, isDead] = [false, 0, false]
  const away = () => new LakeError('store.unavailable', 'no answer', { retryable: true })
  const through = (storage: Storage) =>
    new Proxy(storage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (
          typeof value !== 'function' ||
          !['get', 'head', 'put', 'putIfAbsent', 'delete', 'list'].includes(String(name))
        )
          return typeof value === 'function' ? value.bind(target) : value
        return (...args: unknown[]) => {
          const isNow = isArmed && (++seen, typeof at === 'number' ? seen === at : at(String(name), args))
          const call = () => Reflect.apply(value, target, args)
          // What is meant by its kind is done, and nobody hears of it.
          if (isNow && fate === 'dies' && typeof at !== 'number') void call()
          if (isNow && fate === 'dies') isDead = true
          if (name === 'list') return isDead ? hangs() : isNow ? throws(away()) : call()
          if (isDead) return new Promise(() => undefined)
          if (!isNow) return call()
          const fails = name === 'putIfAbsent' ? { kind: 'unknown', cause: away() } : Promise.reject(away())
          return fate === 'lost' ? fails : Promise.resolve(call()).then(() => fails)
        }
      },
    })
  return { through, arm: () => (isArmed = true), seen: () => seen }
}

async function* hangs(): AsyncGenerator<never> {
  yield await new Promise<never>(() => undefined)
}

async function* throws(error: unknown): AsyncGenerator<never> {
  yield await Promise.reject<never>(error)
}

/** A replay that cuts over by itself, of which one request meets its fate. */
async function replayed(fate: Fate, at: Parameters<typeof fateful>[1]): Promise<{ bench: Bench; seen: number }> {
  const bench = shop()
  const old = bench.start('old', OLD)
  await bench.drained()
  const { through, arm, seen } = fateful(fate, at)
  const door = bench.start('door', NEW, { isLive: false, isWorking: false })
  arm()
  bench.start('new', NEW, { through, isLive: false })
  const { id } = await bench.settle(door.replays.start('shop', { autoCutover: 'always' }))
  await bench.pass(1_500)
  for (let i = 60; i < 75; i++) write(bench, i)
  await bench.pass(6_000)
  if (fate === 'dies') bench.start('next', NEW)
  const status = await bench.reaches(old.replays, id, isOver, 300_000)
  expect(status).toMatchObject({ state: 'done', progress: { phase: 'cut-over' } })
  if (fate !== 'dies') bench.start('live', NEW)
  await bench.drained()
  expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
  expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
  const cutovers = []
  for (let n = 1n; n <= (await bench.head()).number; n++) {
    const bytes = (await bench.storage.get(`pipelines/shop/v${String(n).padStart(16, '0')}.json`))!
    if ((JSON.parse(Buffer.from(bytes).toString()) as { kind: string }).kind === 'cutover') cutovers.push(n)
  }
  expect(cutovers).toEqual([BigInt(status.cutover!.version)])
  await bench.close()
  return { bench, seen: seen() }
}

describe('a replay whose process dies, or whose store fails', () => {
  it('makes some hundred requests of the store', async () => {
    const { seen } = await replayed('lost', 1_000_000)
    expect(seen).toBeGreaterThan(150)
  })

  it('is cut over once, also when nobody hears of it', async () => {
    const isVersion: Request = (name, [key]) => name === 'putIfAbsent' && String(key).startsWith('pipelines/shop/v')
    for (const fate of ['dies', 'unheard'] as const) await replayed(fate, isVersion)
  })

  it.each(['dies', 'lost', 'unheard'] as const)('is over once, also when that could not be told: %s', async (fate) => {
    let told = 0
    const isEnd: Request = (name, [key, bytes]) =>
      name === 'put' &&
      String(key).startsWith('jobs/') &&
      /"state":\s*"done"/.test(Buffer.from(bytes as Uint8Array).toString()) &&
      ++told === 1
    await replayed(fate, isEnd)
    expect(told).toBeGreaterThan(0)
  })

  it.each(['dies', 'lost', 'unheard'] as const)('goes on where its fork stands: %s', async (fate) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 220 }), async (at) => {
        await replayed(fate, at)
      }),
      { numRuns: 4 },
    )
  })
})
