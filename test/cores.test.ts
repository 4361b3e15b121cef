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
  expect(await after(looks(Array.from({ length: 5 }, () => more)))).toBe(areTaken)
})

test('cores are taken until they were not for five looks in a row', async () => {
  const [free, full] = [
    [10, 0, 0, 190],
    [190, 0, 0, 10],
  ]
  expect(await after(looks([free, free, free, free]))).toBe(true)
  expect(await after(looks([free, free, free, free, free]))).toBe(false)
  expect(await after(looks([free, free, full, free, free, free, free]))).toBe(true)
  expect(await after(looks([free, free, free, free, free, full]))).toBe(true)
  expect(await after(looks([full, free, free, free, free, free]))).toBe(false)
})

test('cores of which the system says nothing are taken, as they are at first', async () => {
  expect(new Cores().areTaken).toBe(true)
  expect(await after(['nothing', 'nothing'])).toBe(true)
  const free = looks(Array.from({ length: 5 }, () => [10, 0, 0, 190]))
  expect(await after(free)).toBe(false)
  expect(await after([...free, ''])).toBe(true)
})

/** What the system says again and again, when the cores do so much between. */
function looks(more: readonly (readonly number[])[]): string[] {
  let ticks = BEFORE
  const all = [ticks, ...more.map((each) => (ticks = ticks.map((count, i) => count + (each[i] ?? 0))))]
  return all.map((each) => `cpu  ${each.join(' ')}\ncpu0 9 9 9 9 9 9 9 9 9\nctxt 12\n`)
}

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
