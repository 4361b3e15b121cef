import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { World } from '../../src/testing/world.ts'

const settled = () => new Promise((resolve) => setImmediate(resolve))

describe('virtual time', () => {
  test('stands still unless it is moved, and wakes whose time has come', async () => {
    const clock = new VirtualClock(1_000, 1)
    const woken: string[] = []
    void clock.sleep(100).then(() => woken.push('100'))
    void clock.sleep(200).then(() => woken.push('200'))
    const stop = new AbortController()
    void clock.sleep(10_000, stop.signal).then(() => woken.push('aborted'))
    await settled()
    expect([woken, clock.nowMs(), clock.monotonicMs()]).toEqual([[], 1_000, 0])
    clock.moveTo(1_150)
    await settled()
    expect([woken, clock.nowMs(), clock.monotonicMs()]).toEqual([['100'], 1_150, 150])
    stop.abort()
    clock.wakeAll()
    await settled()
    expect(woken).toEqual(['100', 'aborted', '200'])
    clock.moveTo(0)
    expect(clock.nowMs()).toBe(1_150)
    await clock.sleep(1, stop.signal)
  })

  test('chance and ids follow from the seed', () => {
    const drawn = (seed: number) => {
      const clock = new VirtualClock(0, seed)
      return [clock.random(), clock.uuid(), clock.uuid()]
    }
    expect(drawn(1)).toEqual(drawn(1))
    expect(drawn(1)).not.toEqual(drawn(2))
    expect(drawn(1)[1]).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  })
})

describe('a world', () => {
  test('passes a year in as many steps as a minute, and ends at its end', async () => {
    for (const ms of [60_000, 365 * 86_400_000]) {
      const world = new World(0, 1)
      let looks = 0
      void (async () => {
        for (;;) {
          await world.clock.sleep(50)
          looks++
        }
      })()
      await world.pass(ms)
      expect(world.clock.nowMs()).toBe(ms)
      expect(looks).toBeLessThan(2_000)
      expect(looks).toBeGreaterThan(200)
    }
  })

  test('does real work one piece after the other, in the order in which it was asked for', async () => {
    const { turns } = new World(0, 1)
    const said: string[] = []
    const work = (name: string, rounds: number) =>
      turns.do(async () => {
        said.push(`${name} begins`)
        for (let k = 0; k < rounds; k++) await settled()
        said.push(`${name} ends`)
        if (name === 'b') throw new Error('b fails')
      })
    const all = [work('a', 5), work('b', 1).catch(() => undefined), work('c', 0)]
    await turns.quiet()
    expect(said).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    await Promise.all(all)
  })

  test('wakes who waits until work is over, and names what no longer gets on', async () => {
    const world = new World(0, 1)
    const work = async () => {
      for (let k = 0; k < 5; k++) await world.clock.sleep(1_000)
      return world.clock.nowMs()
    }
    expect(await world.finish(work())).toBe(0)
    await expect(world.finish(Promise.reject(new Error('no')))).rejects.toThrow('no')
    await expect(
      world.until(
        () => false,
        () => 0,
      ),
    ).rejects.toThrow('no longer gets on')
  })
})
