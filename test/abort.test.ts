import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { anyOf } from '../src/abort.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void
const never = new AbortController().signal

/** Whether it fires although everything is collected that nobody holds. */
async function fires(signal: AbortSignal): Promise<boolean> {
  const heard = new Promise<boolean>((resolve) => signal.addEventListener('abort', () => resolve(true)))
  // What was made just now is still on the stack.
  await sleep(20)
  for (let round = 0; round < 5; round++) collectGarbage()
  return Promise.race([heard, sleep(1_000, false)])
}

test.each([
  ['a timeout that nobody else holds', () => anyOf(never, AbortSignal.timeout(200))],
  ['one that is a part of a part', () => anyOf(never, anyOf(AbortSignal.timeout(200), never))],
])('aborts with %s', async (_, made) => {
  expect(await fires(made())).toBe(true)
})

test('has aborted when one has, with its reason', () => {
  expect(anyOf(never, AbortSignal.abort('why')).reason).toBe('why')
  expect(anyOf(never).aborted).toBe(false)
})
