import { expect, test } from 'vitest'
import { systemClock } from '../src/clock.ts'
import { Cores } from '../src/cores.ts'

/** user, nice, system, idle, iowait, irq, softirq, steal, guest. */
const BEFORE = [100, 50, 30, 900, 20, 1, 2, 3, 7]

test.each([
  ['nobody', [0, 0, 0, 200, 0, 0, 0, 0, 0], false],
  ['programs', [150, 0, 9, 40, 0, 0, 1, 0, 0], true],
  ['nearly as much', [140, 0, 15, 45, 0, 0, 0, 0, 0], false],
  ['the kernel and its interrupts', [0, 0, 100, 20, 0, 40, 40, 0, 0], true],
  ['other machines on the same cores', [40, 0, 0, 30, 0, 0, 0, 130, 0], true],
  ['those who let others go first', [20, 170, 10, 0, 0, 0, 0, 0, 0], false],
  ['whoever waits for disks', [10, 0, 10, 0, 180, 0, 0, 0, 0], false],
])('cores that %s had', async (_who, more, areTaken) => {
  const looks = [BEFORE, BEFORE.map((ticks, i) => ticks + more[i]!)]
  expect(await after(looks.map((ticks) => `cpu  ${ticks.join(' ')}\ncpu0 9 9 9 9 9 9 9 9 9\nctxt 12\n`))).toBe(areTaken)
})

test('cores of which the system says nothing are taken, as they are at first', async () => {
  expect(new Cores().areTaken).toBe(true)
  expect(await after(['nothing', 'nothing'])).toBe(true)
  const idle = 'cpu  0 0 0 100 0 0 0 0 0\n'
  expect(await after([idle, idle.replace('100', '300')])).toBe(false)
  expect(await after([idle, idle.replace('100', '300'), ''])).toBe(true)
})

/** What is known after these looks. */
async function after(looks: readonly string[]): Promise<boolean> {
  const ending = new AbortController()
  const left = [...looks]
  const cores = new Cores(() => {
    const text = left.shift()!
    if (left.length === 0) ending.abort()
    return Promise.resolve(text)
  })
  await cores.watch({ ...systemClock, sleep: () => Promise.resolve() }, ending.signal)
  return cores.areTaken
}
