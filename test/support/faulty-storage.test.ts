import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { keysOf, storageConformance } from '../conformance/storage.ts'
import { drawFaultRates, faultKinds, FaultyStorage, type FaultRates } from './faulty-storage.ts'

/** Time that moves when the test says so. */
class HandClock implements Clock {
  #nowMs = 1_000_000
  #sleepers: { readonly untilMs: number; readonly wake: () => void }[] = []
  nowMs = () => this.#nowMs
  monotonicMs = () => this.#nowMs
  random = () => 0.5
  uuid = () => 'u'
  sleep = (ms: number) =>
    new Promise<void>((wake) => {
      this.#sleepers.push({ untilMs: this.#nowMs + ms, wake })
    })
  async advance(ms: number): Promise<void> {
    this.#nowMs += ms
    const due = this.#sleepers.filter((sleeper) => sleeper.untilMs <= this.#nowMs)
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.untilMs > this.#nowMs)
    for (const { wake } of due) wake()
    for (let i = 0; i < 10; i++) await Promise.resolve()
  }
}

/** mulberry32 */
function seeded(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

function setup(rates: FaultRates, random: () => number = () => 0.5) {
  const clock = new HandClock()
  const world = new MemoryStorage('world', clock)
  return { clock, world, storage: new FaultyStorage(world, clock, random, rates) }
}

/** A fixed load under all faults. */
async function run(seed: number) {
  const random = seeded(seed)
  const { storage, clock } = setup(Object.fromEntries(faultKinds.map((kind) => [kind, 0.2])), random)
  const trace: string[] = []
  for (let i = 0; i < 60; i++) {
    const step = Promise.allSettled([storage.putIfAbsent(`k${i % 20}`, one), storage.get('k1'), keysOf(storage, '')])
    for (let n = 0; n < 3; n++) await clock.advance(20_000)
    trace.push((await step).map((r) => (r.status === 'fulfilled' ? JSON.stringify(r.value) : 'x')).join(' '))
  }
  return { trace, counts: storage.counts }
}

const one = new Uint8Array([1])
const two = new Uint8Array([2])

const shared = new FaultyStorage(new MemoryStorage('c', { nowMs: () => Date.now() }), new HandClock(), Math.random, {})
storageConformance('FaultyStorage without faults', async () => shared)

describe('FaultyStorage', () => {
  it('fails before it applies', async () => {
    const { storage, world } = setup({ failBeforeApply: 1 })
    expect(await storage.putIfAbsent('a', one)).toMatchObject({ kind: 'unknown' })
    await expect(storage.put('b', one)).rejects.toMatchObject({ code: 'store.unavailable', retryable: true })
    expect(await keysOf(world, '')).toEqual([])
    expect(storage.counts.failBeforeApply).toBe(2)
  })

  it('applies and loses the answer, and keeps the file it was given', async () => {
    const { storage, world } = setup({ loseAnswer: 1 })
    expect(await storage.putIfAbsent('a', one)).toMatchObject({ kind: 'unknown' })
    expect(await storage.putIfAbsent('a', two)).toMatchObject({ kind: 'unknown' })
    expect(await world.get('a')).toEqual(one)
    const file = path.join(storage.scratch, 'f')
    await writeFile(file, 'x')
    await expect(storage.putFile('f', file)).rejects.toMatchObject({ code: 'store.unavailable' })
    storage.heal()
    await storage.putFile('f', file)
    expect(await world.get('f')).toHaveLength(1)
    expect(storage.counts.loseAnswer).toBe(3)
    await storage.close()
  })

  it('applies late, by then perhaps in vain', async () => {
    const { storage, world, clock } = setup({ applyLate: 1 }) // draws 0.5: 60 s late
    const mine = new Uint8Array([1])
    expect(await storage.putIfAbsent('a', mine)).toMatchObject({ kind: 'unknown' })
    mine.fill(9)
    expect(await storage.putIfAbsent('b', one)).toMatchObject({ kind: 'unknown' })
    expect(storage.lateWrites).toBe(2)
    await clock.advance(59_999)
    expect(await keysOf(world, '')).toEqual([])
    await world.putIfAbsent('b', two)
    await clock.advance(1)
    expect(await world.get('a')).toEqual(one)
    expect(await world.get('b')).toEqual(two)
    expect(storage.lateWrites).toBe(0)
    expect(storage.counts.applyLate).toBe(2)
  })

  it('answers conflict, and nothing has happened', async () => {
    const { storage, world } = setup({ conflict: 1 })
    expect(await storage.putIfAbsent('a', one)).toEqual({ kind: 'conflict' })
    expect(await world.get('a')).toBeUndefined()
    expect(storage.counts.conflict).toBe(1)
  })

  it('refuses everything during a burst, which ends', async () => {
    const draws = [0, 0.5] // begin a burst, of 1 + 14.5 s; then none
    const { storage, world, clock } = setup({ burst: 0.1 }, () => draws.shift() ?? 0.9)
    expect(await storage.putIfAbsent('a', one)).toMatchObject({ kind: 'unknown' })
    await expect(storage.get('a')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(storage.head('a')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(storage.delete('a')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(keysOf(storage, '')).rejects.toMatchObject({ code: 'store.unavailable' })
    expect(await keysOf(world, '')).toEqual([])
    await clock.advance(15_499)
    await expect(storage.get('a')).rejects.toMatchObject({ code: 'store.unavailable' })
    await clock.advance(1)
    expect(await storage.putIfAbsent('a', one)).toEqual({ kind: 'created' })
    expect(storage.counts.burst).toBe(1)
  })

  it('is slow', async () => {
    const { storage, clock } = setup({ slow: 1 }) // draws 0.5: 5.5 s
    let isDone = false
    const put = storage.put('a', one).then(() => (isDone = true))
    await clock.advance(5_499)
    expect(isDone).toBe(false)
    await clock.advance(1)
    await put
    expect(storage.counts.slow).toBe(1)
  })

  it('lists without what is young, and cuts reads off', async () => {
    const { storage, world, clock } = setup({ staleList: 1 }) // draws 0.5: 2.5 s
    await world.put('old', one)
    await clock.advance(2_500)
    await world.put('young', one)
    expect(await keysOf(storage, '')).toEqual(['old'])
    expect(await storage.get('young')).toEqual(one)
    await clock.advance(2_500)
    expect(await keysOf(storage, '')).toEqual(['old', 'young'])
    expect(storage.counts.staleList).toBe(2)

    const cut = setup({ failedRead: 1 }).storage
    await expect(cut.get('a')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(keysOf(cut, '')).rejects.toMatchObject({ code: 'store.unavailable' })
    expect(await cut.putIfAbsent('a', one)).toEqual({ kind: 'created' })
    expect(cut.counts.failedRead).toBe(2)
  })

  it('does the same for the same seed, and all kinds come up', async () => {
    expect(await run(7)).toEqual(await run(7))
    expect((await run(7)).trace).not.toEqual((await run(8)).trace)
    for (const kind of faultKinds) expect((await run(7)).counts[kind], kind).toBeGreaterThan(0)
  })

  it('draws runs without faults, runs with all, and lost answers in every other', () => {
    const random = seeded(1)
    const runs = Array.from({ length: 2_000 }, () => drawFaultRates(random))
    const quiet = runs.filter((rates) => Object.keys(rates).length === 0).length
    const full = runs.filter((rates) => Object.keys(rates).length === faultKinds.length).length
    expect(quiet).toBeGreaterThan(60)
    expect(quiet).toBeLessThan(140)
    expect(full).toBeGreaterThan(60)
    expect(full).toBeLessThan(200)
    for (const rates of runs) {
      if (Object.keys(rates).length === 0) continue
      const unknown = Math.max(rates.failBeforeApply ?? 0, rates.loseAnswer ?? 0, rates.applyLate ?? 0)
      expect(unknown).toBeGreaterThanOrEqual(0.05)
    }
  })
})
