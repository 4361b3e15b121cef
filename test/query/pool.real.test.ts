import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { Priority } from '../../src/priority.ts'
import { ProcessPool } from '../../src/query/pool.ts'
import { CHILD_PATH } from './support.ts'

const pools: ProcessPool[] = []
const never = new AbortController().signal

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()))
})

async function openPool(size: number, priority?: () => Priority): Promise<ProcessPool> {
  const pool = new ProcessPool({
    process: {
      childPath: CHILD_PATH,
      settings: { threads: 1, memoryBytesMax: 256 * 1024 * 1024 },
      cpuSecondsMax: 60,
    },
    size,
    queueMax: 4,
    clock: systemClock,
    priority,
  })
  pools.push(pool)
  await pool.open()
  return pool
}

test('one process is warm at first, and one more than there is work for, up to the size', async () => {
  const pool = await openPool(3)
  expect(pool.pids).toHaveLength(1)
  const first = await pool.acquire(never)
  expect(pool.pids).toHaveLength(2)
  const second = await pool.acquire(never)
  expect(pool.pids).toHaveLength(3)
  await pool.acquire(never)
  expect(pool.pids).toHaveLength(3)
  pool.release(second)
  expect(await pool.acquire(never)).toBe(second)
  expect(first.isGone).toBe(false)
}, 30_000)

test('whoever asks for a second process while the first works is served', async () => {
  const pool = await openPool(2)
  const [first, second] = await Promise.all([pool.acquire(never), pool.acquire(never)])
  expect(first).not.toBe(second)
}, 30_000)

test('a process whose priority is of before serves one query more, and is replaced', async () => {
  const niceness = os.getPriority() + 1
  let priority: Priority = niceness
  const pool = await openPool(1, () => priority)
  const before = await pool.acquire(never)
  expect(os.getPriority(before.pid)).toBe(niceness)
  expect(policyOf(before.pid!)).toBe(OTHERS)
  pool.release(before)
  priority = 'idle'
  expect(await pool.acquire(never)).toBe(before)
  const next = pool.acquire(never)
  pool.release(before)
  expect(os.getPriority((await next).pid)).toBe(19)
  const hasIdle = spawnSync('chrt', ['-i', '0', 'true']).status === 0
  expect(policyOf((await next).pid!)).toBe(hasIdle ? IDLE : OTHERS)
  expect(before.isGone).toBe(true)
  pool.release(await next)
  expect(await pool.acquire(never)).toBe(await next)
}, 30_000)

test('a process that would wait for others is replaced before it is given a query', async () => {
  let priority: Priority = 'idle'
  const pool = await openPool(1, () => priority)
  const before = await pool.acquire(never)
  pool.release(before)
  priority = os.getPriority()
  const next = await pool.acquire(never)
  expect(next).not.toBe(before)
  expect(before.isGone).toBe(true)
  expect(policyOf(next.pid!)).toBe(OTHERS)
}, 30_000)

test('a pool of one starts no other', async () => {
  const pool = await openPool(1)
  const only = await pool.acquire(never)
  const waiting = pool.acquire(never)
  expect(pool.pids).toHaveLength(1)
  pool.release(only)
  expect(await waiting).toBe(only)
}, 30_000)

/** Classes of Linux's scheduler. */
const [OTHERS, IDLE] = [0, 5]

function policyOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')[38])
}
