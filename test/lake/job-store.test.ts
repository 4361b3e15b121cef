import { expect, test } from 'vitest'
import { commitIdOf, type Job, type JobRequest } from '../../src/jobs.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { REPLAY as OPTIONS } from '../../src/replay-status.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { ScriptedStorage } from '../support/scripted-chain.ts'

const REQUEST: JobRequest = { kind: 'rollback', pipeline: 'shop', to: '12' }
const REPLAY: JobRequest = { kind: 'replay', pipeline: 'shop', options: OPTIONS, codes: {} }
const DAY_MS = 24 * 3_600_000

test('a job is recorded once, whatever the store answers', async () => {
  for (const step of ['created', 'lost', 'landed', 'later', 'conflict', 'exists'] as const) {
    const [storage, clock] = [new ScriptedStorage('jobs'), new InstantClock()]
    storage.script = [step]
    const job = await openJobs(storage, clock).ask(REQUEST, 'key')
    expect(await openJobs(storage, clock).ask(REQUEST, 'key')).toEqual(job)
    await expect(openJobs(storage, clock).ask({ ...REQUEST, to: '13' }, 'key')).rejects.toMatchObject({
      code: 'idempotency.mismatch',
    })
    expect(await openJobs(storage, clock).list()).toEqual([job])
    expect(job.id).toBe('2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683')
    expect(commitIdOf(job)).toBe('2c70e12b-7a06-46f9-2279-f427c7b38e73')
  }
})

test('a job ends once, whatever the store answers and whoever did not know', async () => {
  for (const step of ['created', 'lost', 'landed', 'later', 'conflict', 'exists'] as const) {
    const [storage, clock] = [new ScriptedStorage('jobs'), new InstantClock()]
    const jobs = openJobs(storage, clock)
    const asked = await jobs.ask(REQUEST, 'key')
    const running: Job = { ...asked, state: 'running', startedMs: 1, writer: 'one' }
    await jobs.update(running)
    const done: Job = { ...running, state: 'done', writer: 'two', endedMs: clock.nowMs(), result: { version: '12' } }
    storage.script = [step]
    await openJobs(storage, clock).update(done)
    // Whoever was at it before lets go of it, or has failed.
    await jobs.update({ ...running, state: 'queued', writer: null })
    await jobs.update({ ...running, state: 'failed', endedMs: clock.nowMs() + 1 })
    for (const known of [jobs, openJobs(storage, clock)]) {
      expect(await known.get(asked.id)).toEqual(done)
      expect(await known.open('shop')).toEqual([])
      expect(await known.ask(REQUEST, 'key')).toEqual(done)
    }
    clock.advance(8 * DAY_MS)
    await jobs.list()
    const left: string[] = []
    for await (const { key } of storage.list('jobs/')) left.push(key)
    expect(left).toEqual([])
  }
})

test('a replay that is over stays so, whatever lands late, and says when it was rolled back; one that failed may go on', async () => {
  const [storage, clock] = [new ScriptedStorage('jobs'), new InstantClock()]
  const jobs = openJobs(storage, clock)
  const asked = await jobs.ask(REPLAY, 'key')
  const running: Job = { ...asked, state: 'running', startedMs: 1, writer: 'one' }
  const failed: Job = { ...running, state: 'failed', endedMs: clock.nowMs() }
  await jobs.update(failed)
  expect(await jobs.get(asked.id)).toEqual(failed)
  await jobs.update(running)
  expect(await jobs.open('shop')).toEqual([running])
  const done: Job = { ...running, state: 'done', endedMs: clock.nowMs() }
  await jobs.update(done)
  const landLate = async (): Promise<void> => {
    for (const late of [running, failed]) {
      await storage.put(`jobs/${asked.id}.json`, Buffer.from(JSON.stringify(late)))
      expect(await openJobs(storage, clock).open('shop')).toEqual([])
      expect(await jobs.get(asked.id)).toEqual(done)
    }
  }
  await landLate()
  const back: Job = { ...done, result: { version: '7' } }
  await jobs.update(back)
  expect(await openJobs(storage, clock).get(asked.id)).toEqual(back)
  await landLate()
  clock.advance(8 * DAY_MS)
  await jobs.list()
  const left: string[] = []
  for await (const { key } of storage.list('jobs/')) left.push(key)
  expect(left).toEqual([])
})

test('jobs stand in the order in which they were asked for, and go seven days after they ended', async () => {
  const [storage, clock] = [new ScriptedStorage('jobs'), new InstantClock()]
  const jobs = openJobs(storage, clock)
  const ids: string[] = []
  for (let i = 0; i < 20; i++) {
    clock.advance(1_000)
    ids.push((await jobs.ask(REQUEST)).id)
  }
  await jobs.ask({ ...REQUEST, pipeline: 'web' })
  expect((await jobs.open('shop')).map(({ id }) => id)).toEqual(ids)
  const [first] = await jobs.open('shop')
  await jobs.update({ ...first!, state: 'failed', endedMs: clock.nowMs() })
  clock.advance(7 * DAY_MS)
  expect(await openJobs(storage, clock).list()).toHaveLength(21)
  clock.advance(1)
  await jobs.list()
  expect(await jobs.list()).toHaveLength(20)
  expect(await jobs.get(first!.id)).toBeUndefined()
  expect((await jobs.open('shop')).map(({ id }) => id)).toEqual(ids.slice(1))
})

test('what is no job is not taken for one', async () => {
  const [storage, clock] = [new ScriptedStorage('jobs'), new InstantClock()]
  const jobs = openJobs(storage, clock)
  const { id } = await jobs.ask(REQUEST)
  await storage.put('jobs/notes.txt', Buffer.from('x'))
  expect(await jobs.list()).toHaveLength(1)
  for (const text of ['{', '{}', 'null', '{"id":"x","request":{"pipeline":"shop"}}']) {
    await storage.put(`jobs/${id}.json`, Buffer.from(text))
    await expect(jobs.get(id)).rejects.toMatchObject({ code: 'store.corrupt' })
    expect(await jobs.list()).toEqual([])
  }
  for (const wrong of ['', '../tables', 'A'.repeat(64), 'a'.repeat(65)]) expect(await jobs.get(wrong)).toBeUndefined()
})
