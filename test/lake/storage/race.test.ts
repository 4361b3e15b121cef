import { describe, expect, it } from 'vitest'
import { systemClock, type Clock } from '../../../src/clock.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import { assertConditionalWrites, raceConditionalWrites, verdictKey } from '../../../src/lake/storage/race.ts'
import type { PutOutcome } from '../../../src/lake/storage/storage.ts'
import { keysOf } from '../../conformance/storage.ts'

/** No waiting: time stands still, and chance is a sequence. */
const clock: Clock = { ...systemClock, nowMs: () => 1_700_000_000_000, sleep: async () => undefined }

/** Counts the creates that reach it. */
class Counting extends MemoryStorage {
  creates = 0
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    this.creates += 1
    return super.putIfAbsent(key, bytes)
  }
}

/** As a server that has never heard of conditions. */
class Ignoring extends MemoryStorage {
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    await this.put(key, bytes)
    return { kind: 'created' }
  }
}

/** Looks, then writes: clean when nobody races, and now and then when somebody does. */
class CheckThenAct extends MemoryStorage {
  races = 0
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    if ((await this.head(key)) !== undefined) return { kind: 'exists' }
    const isRacy = key.endsWith('-race-13') // the rounds before are lucky
    if (isRacy) await new Promise((resolve) => setImmediate(resolve))
    else return super.putIfAbsent(key, bytes)
    this.races += 1
    await this.put(key, bytes)
    return { kind: 'created' }
  }
}

/** Says that the key exists, and replaces it all the same. */
class Replacing extends MemoryStorage {
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    const outcome = await super.putIfAbsent(key, bytes)
    if (outcome.kind === 'exists' && key.endsWith('twice')) await this.put(key, bytes)
    return outcome
  }
}

/** Cuts what it stores to a page. */
class Cutting extends MemoryStorage {
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    return super.putIfAbsent(key, bytes.subarray(0, 4_096))
  }
}

/** Lands, and loses the answer, every second time; every third time nothing is known. */
class Forgetful extends MemoryStorage {
  #calls = 0
  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    this.#calls += 1
    if (this.#calls % 3 === 0) return { kind: 'conflict' }
    const outcome = await super.putIfAbsent(key, bytes)
    return this.#calls % 2 === 0 ? { kind: 'unknown', cause: new Error('reset') } : outcome
  }
}

describe('assertConditionalWrites', () => {
  it('races a store once, keeps the verdict, and later only checks in sequence', async () => {
    const storage = new Counting('first')
    const verdict = await assertConditionalWrites(storage, clock)
    expect(verdict).toEqual({
      formatVersion: 1,
      store: 'memory://first',
      rounds: 20,
      racers: 16,
      checkedAt: '2023-11-14T22:13:20.000Z',
    })
    expect(storage.creates).toBe(20 * 16 + 2)
    expect(await keysOf(storage, '')).toEqual([verdictKey])
    expect(JSON.parse(new TextDecoder().decode(await storage.get(verdictKey)))).toEqual(verdict)

    storage.creates = 0
    expect(await assertConditionalWrites(storage, clock)).toEqual(verdict)
    expect(storage.creates).toBe(2)
    expect(await keysOf(storage, '')).toEqual([verdictKey])
  })

  it('does not believe the verdict of another store, another format or half a file', async () => {
    const other = new MemoryStorage('other')
    await assertConditionalWrites(other, clock)
    const copied = await other.get(verdictKey)
    const later = new TextEncoder().encode('{"formatVersion":2,"store":"memory://x","rounds":20,"racers":16}')
    for (const bytes of [copied!, later, copied!.subarray(0, 20), new TextEncoder().encode('null')]) {
      const storage = new Counting('x')
      await storage.put(verdictKey, bytes)
      await assertConditionalWrites(storage, clock)
      expect(storage.creates).toBe(20 * 16 + 2)
      await assertConditionalWrites(storage, clock)
      expect(storage.creates).toBe(20 * 16 + 4)
    }
  })

  it.each([
    ['ignores the condition', new Ignoring('a'), '16 of 16 creates of one key won'],
    ['races in one round of twenty', new CheckThenAct('b'), 'race 14 of 20'],
    ['replaces what it refuses to', new Replacing('c'), 'replaced its bytes'],
    ['cuts what it stores', new Cutting('d'), 'the bytes of the winner do not stand'],
  ])('refuses a store that %s, and leaves nothing in it', async (_, storage, detail) => {
    await expect(assertConditionalWrites(storage, clock)).rejects.toMatchObject({
      code: 'store.no_conditional_write',
      message: expect.stringContaining(detail),
      fix: expect.stringContaining('versitygw'),
    })
    expect(await keysOf(storage, '')).toEqual([])
  })

  it('refuses a store that has a verdict and stopped keeping its promise', async () => {
    const storage = new MemoryStorage('turned')
    await assertConditionalWrites(storage, clock)
    const turned = new Ignoring('turned')
    await turned.put(verdictKey, (await storage.get(verdictKey))!)
    await expect(assertConditionalWrites(turned, clock)).rejects.toMatchObject({ code: 'store.no_conditional_write' })
  })

  it('is not misled by lost answers and conflicts', async () => {
    expect((await raceConditionalWrites(new Forgetful('f'), clock)).ok).toBe(true)
  })

  it('gives up on a store that never answers, and says so', async () => {
    const mute = new MemoryStorage('mute')
    mute.putIfAbsent = async () => ({ kind: 'unknown', cause: new Error('no answer') })
    await expect(assertConditionalWrites(mute, clock)).rejects.toMatchObject({
      code: 'store.unavailable',
      retryable: true,
    })
  })

  it('reports to a doctor without writing a verdict', async () => {
    const storage = new MemoryStorage('doctor')
    expect(await raceConditionalWrites(storage, clock)).toEqual({
      ok: true,
      rounds: 20,
      detail: '20 races of 16, 1 winner each; a second create is refused',
    })
    expect(await keysOf(storage, '')).toEqual([])
    const report = await raceConditionalWrites(new Ignoring('doctor'), clock)
    expect(report).toEqual({ ok: false, rounds: 1, detail: 'race 1 of 20: 16 of 16 creates of one key won' })
  })
})
