import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { toErrorMessage, LakeError } from '../../src/error.ts'
import { LaneJobs } from '../../src/ingest/lane-jobs.ts'
import type { ToLane } from '../../src/ingest/lane-messages.ts'
import { DeletedRows, type DataFile } from '../../src/lake/table.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { definition, tablePlan } from '../support/lake-table.ts'

const PLAN = tablePlan(definition({ columns: [{ name: 'id', type: { kind: 'int' } }] }))
const FILE: DataFile = { key: 'k', recordCount: 33, fileSizeBytes: 1, partition: [], metrics: new Map() }
const fileOf = (k: number): DataFile => ({ ...FILE, key: `${k}` })

type Work = Extract<ToLane, { kind: 'work' }>

/** Jobs over lanes that are a list of what they were told. */
function newJobs(lanes: number, encoding: readonly number[] = []) {
  const clock = new InstantClock()
  const sent: { readonly lane: number; readonly work: Work }[] = []
  const jobs = new LaneJobs({
    lanes,
    clock,
    send: (lane, message) => void sent.push({ lane, work: message as Work }),
    isEncoding: (lane) => encoding.includes(lane),
  })
  return { jobs, clock, sent, answer: (k: number, result: unknown) => answer(k, result) }

  function answer(k: number, result: unknown): void {
    const { lane, work } = sent[k]!
    jobs.heard(lane, { kind: 'worked', job: work.job, result })
  }
}

describe('LaneJobs', () => {
  it('gives each lane one job at a time, first those that encode nothing, and keeps the order', async () => {
    const { jobs, sent, answer } = newJobs(3, [0])
    const work = jobs.open('one', [])
    const other = jobs.open('two', [])
    const results = [0, 1, 2, 3].map((k) => (k % 2 === 0 ? work : other).fill(PLAN.data, fileOf(k), []))
    expect(sent).toEqual([])
    for (const lane of [0, 1, 2]) jobs.restarted(lane)
    expect(sent.map(({ lane }) => lane)).toEqual([0, 1, 2])
    answer(1, ['b'])
    expect(sent.map(({ lane, work: { call } }) => [lane, call])).toEqual(
      [0, 1, 2, 1].map((lane, k) => [
        lane,
        { method: 'fill', plan: PLAN.data, file: fileOf(k), fillings: [], from: undefined },
      ]),
    )
    expect(sent[0]!.work.run).toBe(sent[2]!.work.run)
    expect(sent[0]!.work.run).not.toBe(sent[1]!.work.run)
    answer(3, ['d'])
    answer(0, ['a'])
    answer(2, ['c'])
    expect(await Promise.all(results)).toEqual([['a'], ['b'], ['c'], ['d']])
    const next = work.fill(PLAN.data, fileOf(4), [])
    expect(sent[4]!.lane).toBe(1)
    answer(4, ['e'])
    expect(await next).toEqual(['e'])
  })

  it('does again elsewhere what a lane died of, three times at most', async () => {
    const { jobs, sent, answer } = newJobs(2)
    for (const lane of [0, 1]) jobs.restarted(lane)
    const work = jobs.open('one', [])
    const results = Promise.allSettled([work.fill(PLAN.data, fileOf(1), []), work.fill(PLAN.data, fileOf(2), [])])
    jobs.died(0)
    answer(1, ['second'])
    // Its turn comes before anything that was asked for later.
    expect(sent[2]).toMatchObject({ lane: 1, work: { job: sent[0]!.work.job } })
    answer(0, ['from the dead'])
    jobs.died(1)
    jobs.restarted(0)
    jobs.died(0)
    const [first, second] = await results
    expect(sent).toHaveLength(4)
    expect(first).toMatchObject({ reason: { code: 'lane.failed', retryable: true, context: { deaths: 3 } } })
    expect(second).toMatchObject({ value: ['second'] })
    expect([jobs.isWorking(0), jobs.isWorking(1)]).toEqual([false, false])
  })

  it('counts the time since the last step of long work, of the job that the lane is at', async () => {
    const { jobs, clock, sent, answer } = newJobs(1)
    jobs.restarted(0)
    const result = jobs.open('one', []).fill(PLAN.data, fileOf(1), [])
    await clock.sleep(500)
    expect(jobs.workingMs(0)).toBeGreaterThanOrEqual(500)
    jobs.heard(0, { kind: 'working', job: sent[0]!.work.job + 1 })
    expect(jobs.workingMs(0)).toBeGreaterThanOrEqual(500)
    jobs.heard(0, { kind: 'working', job: sent[0]!.work.job })
    expect(jobs.workingMs(0)).toBeLessThan(500)
    expect(jobs.isWorking(0)).toBe(true)
    answer(0, ['done'])
    expect(await result).toEqual(['done'])
  })

  it('hands over what went wrong, and is free again', async () => {
    const { jobs, sent } = newJobs(1)
    jobs.restarted(0)
    const result = jobs.open('one', []).fill(PLAN.data, FILE, [])
    const error = new LakeError('store.corrupt', 'gone', { context: { key: 'k' } })
    jobs.heard(0, { kind: 'work-failed', job: sent[0]!.work.job, error: toErrorMessage(error) })
    await expect(result).rejects.toMatchObject({ code: 'store.corrupt', context: { key: 'k' } })
    expect(jobs.isWorking(0)).toBe(false)
  })

  it('rejects what is open when it is closed, and what comes after; a lane at it is not free before its end', async () => {
    const { jobs, sent, answer } = newJobs(1)
    jobs.restarted(0)
    const work = jobs.open('one', [])
    const other = jobs.open('two', [])
    const mine = Promise.allSettled([work.fill(PLAN.data, fileOf(1), []), work.fill(PLAN.data, fileOf(2), [])])
    const theirs = other.fill(PLAN.data, fileOf(3), [])
    work.close()
    const failed = { reason: { code: 'lane.failed', retryable: true } }
    expect(await mine).toMatchObject([failed, failed])
    await expect(work.fill(PLAN.data, fileOf(4), [])).rejects.toMatchObject({ code: 'lane.failed' })
    expect(sent).toHaveLength(1)
    answer(0, [])
    expect(sent[1]!.work.call).toMatchObject({ file: fileOf(3) })
    answer(1, ['theirs'])
    expect(await theirs).toEqual(['theirs'])
  })

  it('removes the file of an answer that nobody waits for any more', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-jobs-'))
    const { jobs, answer } = newJobs(1)
    jobs.restarted(0)
    const work = jobs.open('one', [])
    const request = { before: [], after: [], key: undefined, where: undefined }
    const result = Promise.allSettled([work.changes(PLAN.data, request)])
    work.close()
    await result
    const file = path.join(folder, 'changes.ndjson')
    writeFileSync(file, '["k",null]\n')
    answer(0, { path: file, count: 1 })
    await vi.waitFor(() => expect(existsSync(file)).toBe(false))
    rmSync(folder, { recursive: true })
  })

  it('knows how long a lane has been at its job, and takes bitmaps as they were', async () => {
    const { jobs, clock, sent, answer } = newJobs(1)
    const deleted = new DeletedRows(33)
    deleted.add(32)
    const input = { file: FILE, firstRowId: undefined, sequenceNumber: 1n, deleted }
    const result = jobs.open('one', []).concatenate(PLAN.data, [input])
    deleted.add(1)
    clock.advance(1_000)
    expect(jobs.workingMs(0)).toBe(0)
    jobs.restarted(0)
    clock.advance(700)
    expect(jobs.workingMs(0)).toBe(700)
    expect(sent[0]!.work.call).toMatchObject({ inputs: [{ deletedWords: Uint32Array.of(0, 1) }] })
    answer(0, FILE)
    expect(await result).toEqual(FILE)
    expect(jobs.workingMs(0)).toBe(0)
  })
})
