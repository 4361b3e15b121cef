import { expect, test } from 'vitest'
import { NOTHING_SETTLED, type SettleRequest } from '../../../src/dead-letters.ts'
import { LakeError } from '../../../src/error.ts'
import type { PipelineState } from '../../../src/event.ts'
import { runJobs } from '../../../src/ingest/job-runner.ts'
import type { Job, Jobs } from '../../../src/jobs.ts'
import { openJobs } from '../../../src/lake/job-store.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import type { PipelineControl } from '../../../src/status.ts'
import { InstantClock } from '../../support/instant-clock.ts'

/** A pipeline that settles what it is asked for. */
function control(state: PipelineState, asked: unknown[]): PipelineControl {
  return {
    name: 'shop',
    status: () => ({ state }),
    settle: (job: string, request: SettleRequest) => {
      asked.push([job, request])
      return Promise.resolve({ ...NOTHING_SETTLED, resolved: 3, stale: 1, discarded: 7 })
    },
  } as unknown as PipelineControl
}

async function over(jobs: Jobs, id: string, clock: InstantClock): Promise<Job> {
  for (let looks = 0; looks < 1_000; looks++) {
    const job = (await jobs.get(id))!
    if (job.endedMs !== null) return job
    await clock.sleep(1_000)
  }
  throw new Error('the job was not done')
}

test.each([
  ['retry', { resolved: 3, stale: 1, failed: 0, undecided: 0, dryRun: false }],
  ['discard', { discarded: 7, dryRun: false }],
] as const)('%s is done by the pipeline, once no replay is open', async (kind, result) => {
  const clock = new InstantClock()
  const jobs = openJobs(new MemoryStorage('jobs'), clock)
  const asked: unknown[] = []
  const ending = new AbortController()
  const replay = await jobs.ask({ kind: 'replay', pipeline: 'shop', options: {} as never, codes: {} })
  const request = { kind, pipeline: 'shop', where: { code: 'decode.type' } } as const
  const refused = await jobs.ask(request)
  void runJobs(jobs, control('running', asked), 'w', clock, ending.signal)
  expect(await over(jobs, refused.id, clock)).toMatchObject({ state: 'failed', error: { code: 'replay.running' } })
  await jobs.update({ ...replay, state: 'cancelled', endedMs: clock.nowMs() })
  const job = await jobs.ask(request)
  expect(await over(jobs, job.id, clock)).toMatchObject({ state: 'done', writer: 'w', result })
  expect(asked).toEqual([[job.id, request]])
  ending.abort()
})

test('one that is to be gone on with holds back those behind it', async () => {
  const clock = new InstantClock()
  const jobs = openJobs(new MemoryStorage('jobs'), clock)
  const asked: string[] = []
  const ending = new AbortController()
  const ask = async (kind: 'retry' | 'discard') => {
    clock.advance(1_000)
    return (await jobs.ask({ kind, pipeline: 'shop', where: {} })).id
  }
  const [first, second] = [await ask('retry'), await ask('discard')]
  const failing = {
    ...control('running', []),
    settle: (job: string) => {
      asked.push(job)
      if (asked.length < 3) return Promise.reject(new LakeError('lane.failed', 'a lane died', { retryable: true }))
      return Promise.resolve(NOTHING_SETTLED)
    },
  }
  void runJobs(jobs, failing, 'w', clock, ending.signal)
  await over(jobs, second, clock)
  expect(asked).toEqual([first, first, first, second])
  ending.abort()
})

test('one under which other code takes the pipeline over is left to whoever writes it now', async () => {
  const clock = new InstantClock()
  const jobs = openJobs(new MemoryStorage('jobs'), clock)
  const ending = new AbortController()
  let state: PipelineState = 'running'
  const old = {
    ...control('running', []),
    status: () => ({ state }),
    settle: () => {
      state = 'superseded'
      return Promise.reject(new LakeError('pipeline.stopped', 'pipeline shop is superseded'))
    },
  } as unknown as PipelineControl
  const { id } = await jobs.ask({ kind: 'retry', pipeline: 'shop', where: {} })
  void runJobs(jobs, old, 'old', clock, ending.signal)
  while (state === 'running') await clock.sleep(1_000)
  await clock.sleep(20_000)
  const left = await jobs.get(id)
  void runJobs(jobs, control('running', []), 'new', clock, ending.signal)
  const done = await over(jobs, id, clock)
  // A clock that never waits would let what is not ended run for ever.
  ending.abort()
  expect(left).toMatchObject({ state: 'queued', writer: null, error: null })
  expect(done).toMatchObject({ state: 'done', writer: 'new' })
})
