import fc from 'fast-check'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { LakeError } from '../../src/error.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { InstantClock } from '../support/instant-clock.ts'
import type { Version } from '../../src/version.ts'
import { encodeVersion } from '../../src/version-json.ts'
import { content, grow as growChain, P, ScriptedStorage } from '../support/scripted-chain.ts'

const HOUR_MS = 3_600_000

let storage: ScriptedStorage
let clock: InstantClock
let chain: Chain

beforeEach(() => {
  storage = new ScriptedStorage('chain')
  clock = new InstantClock()
  chain = openChain(storage, 'shop', clock)
})

const grow = (count: number) => growChain(chain, clock, count)

describe('head', () => {
  it('is undefined where nothing ever ran', async () => {
    expect(await chain.head()).toBeUndefined()
  })

  it.each([1, 7, 8, 9, 20])('walks on from a hint that is %i versions old', async (behind) => {
    await grow(2 + behind)
    await storage.put('pipelines/shop/head', Buffer.from('2'))
    expect((await openChain(storage, 'shop', clock).head())?.number).toBe(BigInt(2 + behind))
  })

  it.each(['', 'x', '99', '-1', '9'.repeat(40)])('does not mind the hint %j', async (hint) => {
    await grow(3)
    await storage.put('pipelines/shop/head', Buffer.from(hint))
    expect((await openChain(storage, 'shop', clock).head())?.number).toBe(3n)
  })

  it('finds what an old listing does not show', async () => {
    await grow(12)
    await storage.delete('pipelines/shop/head')
    storage.staleLists = 3
    expect((await openChain(storage, 'shop', clock).head())?.number).toBe(12n)
  })

  it('finds the head behind versions that were thinned out', async () => {
    await grow(30)
    for (let n = 5; n < 25; n++) await storage.delete(`pipelines/shop/v${String(n).padStart(16, '0')}.json`)
    await storage.put('pipelines/shop/head', Buffer.from('4'))
    clock.advance(25 * HOUR_MS)
    expect((await openChain(storage, 'shop', clock).head())?.number).toBe(30n)
  })
})

describe('at', () => {
  it('finds by number, time and offset what a walk over all versions finds', async () => {
    const head = await grow(17)
    for (const gone of [3n, 4n, 9n]) await storage.delete(`pipelines/shop/v${String(gone).padStart(16, '0')}.json`)
    const all = (await chain.versions(100)).toReversed()
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -5, max: 200 }),
        fc.integer({ min: -2_000, max: 20_000 }),
        async (offset, ms) => {
          const byOffset = all.find(({ positions }) => positions.get(P)! > BigInt(offset))
          const timeMs = Date.parse(all[0]!.time) + ms
          const byTime = all.findLast(({ time }) => Date.parse(time) <= timeMs)
          const found = async (selector: Parameters<Chain['at']>[0]) =>
            (await chain.at(selector).catch((error: LakeError) => ({ number: error.code }))).number
          expect(await found({ kind: 'offset', partition: P, offset: BigInt(offset) })).toBe(
            byOffset?.number ?? 'version.unknown',
          )
          expect(await found({ kind: 'time', timeMs })).toBe(byTime?.number ?? 'version.unknown')
        },
      ),
      { numRuns: 60 },
    )
    expect((await chain.at({ kind: 'head' })).number).toBe(head.number)
    expect((await chain.at({ kind: 'number', number: 8n })).number).toBe(8n)
    await expect(chain.at({ kind: 'number', number: 4n })).rejects.toMatchObject({ code: 'version.unknown' })
  })

  it('finds the newest version that has passed none of some positions, on this side of a jump', async () => {
    const ids = ['t/0', 't/1'] as const
    const steps = fc.array(
      fc.record({ by: fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 })), back: fc.boolean() }),
      { minLength: 1, maxLength: 14 },
    )
    const asked = fc.tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 30 }))
    await fc.assert(
      fc.asyncProperty(steps, asked, fc.array(fc.integer({ min: 2, max: 12 })), async (made, [a, b], gone) => {
        const [memory, ticking] = [new ScriptedStorage('chain'), new InstantClock()]
        const filled = openChain(memory, 'shop', ticking)
        let head: Version | undefined
        let at = [0, 0]
        for (const { by, back } of made) {
          const isBack = back && head !== undefined && by[0] === 0
          at = isBack ? at.map((each) => each >> 1) : at.map((each, p) => each + by[p]!)
          const positions = new Map(ids.map((id, p) => [id, BigInt(at[p]!)]))
          const next = content(0n, { positions, kind: isBack ? 'rollback' : 'ingest' })
          const result = await filled.append(head, { commitId: ticking.uuid(), build: () => Promise.resolve(next) })
          if (result.kind !== 'committed') throw new Error(result.kind)
          head = result.version
        }
        for (const number of gone)
          if (BigInt(number) < head!.number)
            await memory.delete(`pipelines/shop/v${String(number).padStart(16, '0')}.json`)
        const positions = new Map([
          [ids[0], BigInt(a)],
          [ids[1], BigInt(b)],
        ])
        const wanted = (await filled.versions(100)).find(
          (version) =>
            version.number >= (head!.jump ?? 1n) && ids.every((id) => version.positions.get(id)! <= positions.get(id)!),
        )
        const found = await filled.at({ kind: 'within', positions }).catch((error: LakeError) => error.code)
        expect(typeof found === 'string' ? found : found.number).toBe(wanted?.number ?? 'version.unknown')
      }),
      { numRuns: 150 },
    )
  })

  it('says that there is nothing yet', async () => {
    await expect(chain.at({ kind: 'head' })).rejects.toMatchObject({ code: 'version.unknown' })
  })
})

describe('a chain that was thinned out', () => {
  const NUMBERS = [1n, 2n, 5_000n, 5_001n, 90_000n, 900_000n]

  beforeEach(async () => {
    for (const number of NUMBERS) {
      const time = new Date(clock.nowMs() + Number(number)).toISOString()
      const place = {
        formatVersion: 1,
        number,
        commitId: `c${number}`,
        parent: '',
        time,
        recentCommits: [],
        jump: undefined,
      }
      const key = `pipelines/shop/v${String(number).padStart(16, '0')}.json`
      await storage.put(key, encodeVersion({ ...content(number), ...place }))
    }
  })

  it('is listed from any number, with few questions', async () => {
    const ask = vi.spyOn(storage, 'get')
    for (const before of [undefined, 2n ** 60n, 900_000n, 899_999n, 90_000n, 5_001n, 5_000n, 3n, 2n, 1n]) {
      const below = NUMBERS.filter((number) => before === undefined || number < before).toReversed()
      expect((await chain.versions(100, before)).map(({ number }) => number)).toEqual(below)
      expect((await chain.versions(2, before)).map(({ number }) => number)).toEqual(below.slice(0, 2))
    }
    expect(ask.mock.calls.length).toBeLessThan(20 * 3 * NUMBERS.length)
  })

  it('gives the last version that is not younger than a time', async () => {
    for (const number of NUMBERS)
      for (const [laterMs, expected] of [
        [0, number],
        [1, NUMBERS.includes(number + 1n) ? number + 1n : number],
      ] as const)
        expect((await chain.at({ kind: 'time', timeMs: clock.nowMs() + Number(number) + laterMs })).number).toBe(
          expected,
        )
  })
})
