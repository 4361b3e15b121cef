import { describe, expect, it } from 'vitest'
import type { LakeEvent } from '../../src/event.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Source } from '../../src/log.ts'
import { record } from '../support/log.ts'
import { coded, fresh, isOver, isReady, NEW, OLD, pipeline, shop, write } from './bench.ts'

describe('a replay', () => {
  it('lives from its start to its cut-over while the old code goes on', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const told: LakeEvent[] = []
    const young = bench.start('new', NEW, { observer: (event) => void told.push(event) })
    const ready = await bench.replay(young, {}, isReady)
    expect(ready).toMatchObject({
      state: 'running',
      writer: 'new',
      rebuilt: ['orders'],
      shared: ['clicks'],
      difference: { isEqual: false },
      progress: { percent: 100, lag: '0' },
    })
    expect(old.supervisor.status().state).toBe('running')
    for (let i = 60; i < 90; i++) write(bench, i)
    await bench.drained()
    const refused = young.replays.order(ready.id, { kind: 'cutover', approve: null })
    await expect(bench.settle(refused)).rejects.toMatchObject({ code: 'replay.diff_unapproved' })
    const before = await bench.head()
    await bench.settle(young.replays.order(ready.id, { kind: 'cutover', approve: ready.difference!.id }))
    const over = await bench.reaches(young.replays, ready.id, isOver)
    expect(over).toMatchObject({ state: 'done', progress: { phase: 'cut-over' } })
    expect(Number(over.cutover!.version)).toBeGreaterThanOrEqual(Number(before.number) + 1)
    for (let i = 90; i < 100; i++) write(bench, i)
    await bench.drained()
    expect(old.supervisor.status().state).toBe('superseded')
    expect(young.supervisor.status().state).toBe('running')
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    const of = { kind: 'replay', pipeline: 'shop', id: ready.id }
    expect(told).toContainEqual({ ...of, ratio: 1, lag: 0n })
    expect(told.at(-1), 'it is over').toEqual({ ...of, ratio: undefined, lag: undefined })
    await bench.close()
  })

  it.each([true, false])(
    'is not done again after a rollback (of it: %s), though an old write of its job lands late',
    async (isOfIt) => {
      const bench = shop()
      bench.start('old', OLD)
      await bench.drained()
      const young = bench.start('new', NEW)
      const ready = await bench.replay(young, {}, isReady)
      const jobs = openJobs(bench.storage, bench.clock)
      const early = await jobs.get(ready.id)
      await bench.settle(young.replays.order(ready.id, { kind: 'cutover', approve: ready.difference!.id }))
      const { cutover } = await bench.reaches(young.replays, ready.id, isOver)
      const { commitId } = await bench.head()
      if (isOfIt) await bench.settle(young.replays.order(ready.id, { kind: 'rollback' }))
      await bench.settle(young.supervisor.rollback(BigInt(cutover!.before), 'back'))
      const { jump } = await bench.head()
      // Until no head names the cut-over any more.
      for (let i = 60; (await bench.head()).recentCommits.includes(commitId); i++) {
        write(bench, i)
        await bench.drained()
      }
      const before = await young.replays.get(ready.id)
      expect(before).toMatchObject({ state: 'done', cutover })
      await jobs.update(early!)
      expect(await bench.reaches(young.replays, ready.id, isOver)).toEqual(before)
      await bench.pass(60_000)
      expect((await bench.head()).jump).toBe(jump)
      expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
      await bench.close()
    },
  )

  it('verifies the code that made the tables, and leaves nothing behind', async () => {
    const bench = shop()
    const live = bench.start('live', OLD)
    await bench.drained()
    const over = await bench.replay(live, { mode: 'verify' }, isOver)
    expect(over).toMatchObject({
      state: 'done',
      rebuilt: ['orders', 'clicks'],
      progress: { phase: 'verifying', percent: 100 },
      difference: { isEqual: true },
      cutover: null,
    })
    expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
    expect(await bench.keys('pipelines/shop/tags/')).toEqual([])
    expect((await bench.head()).kind).toBe('ingest')
    await bench.close()
  })

  it('cuts over by itself where its policy says so', async () => {
    const bench = shop()
    const live = bench.start('live', OLD)
    await bench.drained()
    const equal = await bench.replay(live, { tables: ['orders'], autoCutover: 'ifEqual' }, isOver)
    expect(equal).toMatchObject({ state: 'done', progress: { phase: 'cut-over' } })
    const young = bench.start('new', NEW)
    const waits = await bench.replay(young, { autoCutover: 'ifEqual' }, isReady)
    await bench.pass(10_000)
    expect(await young.replays.get(waits.id)).toMatchObject({ state: 'running', difference: { isEqual: false } })
    await bench.settle(young.replays.order(waits.id, { kind: 'cancel' }))
    await bench.reaches(young.replays, waits.id, isOver)
    const always = await bench.replay(young, { autoCutover: 'always' }, isOver)
    expect(always).toMatchObject({ state: 'done', progress: { phase: 'cut-over' } })
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    await bench.close()
  })

  it('brings new tables, and leaves those alone that are no more', async () => {
    const bench = shop()
    bench.start('old', OLD)
    await bench.drained()
    bench.log.createTopic('visits', 1)
    bench.log.append('visits', 0, [record('a1'), record('b2')])
    const later = pipeline(coded('orders', 'orders', 'a'), coded('visits', 'visits', 'a'))
    const young = bench.start('new', later)
    const over = await bench.replay(young, { autoCutover: 'always' }, isOver)
    expect(over).toMatchObject({ state: 'done', rebuilt: ['visits'], shared: ['orders'] })
    const before = await bench.content(OLD, await bench.head())
    for (let i = 60; i < 70; i++) write(bench, i)
    bench.log.append('visits', 0, [record('c3')])
    await bench.until(() => young.supervisor.status().head?.positions.get('visits/0') === 3n)
    await bench.until(async () => (await bench.head()).positions.get('orders/1') === bench.log.end('orders', 1))
    const after = await bench.content(pipeline(...OLD.tables, ...later.tables), await bench.head())
    expect(after.visits).toEqual(['0@1=b2a', '0@2=c3a'])
    expect(after.clicks).toEqual(before.clicks)
    expect(after.orders).toEqual((await fresh(bench.log, pipeline(OLD.tables[0]!))).orders)
    await bench.close()
  })

  it('begins where it is told to', async () => {
    const bench = shop()
    bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
    const from = { kind: 'offsets', offsets: { 'orders/0': '20', 'orders/1': '5' } } as const
    const over = await bench.replay(young, { from, autoCutover: 'always' }, isOver)
    expect(over.progress).toMatchObject({
      total: String(bench.log.end('orders', 0) + bench.log.end('orders', 1) - 25n),
    })
    const { orders } = await bench.content(NEW, await bench.head())
    const whole = (await fresh(bench.log)).orders!
    const isIn = (row: string) => {
      const [, partition, offset] = /^(\d)@(\d+)=/.exec(row)!
      return Number(offset) >= (partition === '0' ? 20 : 5)
    }
    expect(orders).toEqual(whole.filter(isIn))
    expect(orders!.length).toBeLessThan(whole.length)
    expect((await bench.head()).origins.get('orders/0')).toBe(20n)
    await bench.close()
  })
})

describe('a replay is refused', () => {
  it('when nothing changed, one is under way, or what it is about is not there', async () => {
    const bench = shop()
    const live = bench.start('live', OLD)
    await expect(bench.settle(live.replays.start('shop', {}))).rejects.toMatchObject({ code: 'replay.nothing_changed' })
    await bench.drained()
    const refused = (pipelineName: string, options: object, key?: string) =>
      bench.settle(live.replays.start(pipelineName, options, key)).catch(({ code, context }) => ({ code, context }))
    expect(await refused('shop', {})).toMatchObject({ code: 'replay.nothing_changed' })
    expect(await refused('other', {})).toMatchObject({ code: 'pipeline.unknown' })
    expect(await refused('shop', { tables: ['nothing'] })).toMatchObject({ code: 'table.unknown' })
    const first = await bench.settle(live.replays.start('shop', { tables: ['orders'] }, 'key-of-mine'))
    expect(await refused('shop', { tables: ['orders'] })).toMatchObject({
      code: 'replay.running',
      context: { replay: first.id },
    })
    expect(await refused('shop', { tables: ['orders'] }, 'key-of-mine')).toMatchObject({ id: first.id })
    expect(await refused('shop', { tables: ['clicks'] }, 'key-of-mine')).toMatchObject({ code: 'idempotency.mismatch' })
    expect(await bench.settle(live.replays.get('x').catch(({ code }) => code))).toBe('replay.unknown')
    await bench.close()
  })

  it('when the log no longer reaches back, naming what is left; another start may begin there', async () => {
    const bench = shop()
    const live = bench.start('live', OLD)
    await bench.drained()
    bench.log.deleteRecordsBefore('orders', 1, 9n)
    const failed = await bench.replay(live, { mode: 'verify' }, isOver)
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'replay.offsets_expired' } })
    expect(failed.error!.message).toContain('orders/1 begins at 9, and 0 is needed')
    expect(await bench.keys('pipelines/shop/tags/')).toEqual([])
    const from = { kind: 'offsets', offsets: { 'orders/1': '9' } } as const
    expect(await bench.replay(live, { mode: 'verify', from }, isOver)).toMatchObject({ state: 'done' })
    await bench.close()
  })

  it('when a compacted log lacks what its tables count, unless that is accepted', async () => {
    const bench = shop()
    const source = (of: Source) => Object.assign(of, { compacted: () => Promise.resolve(new Set(['clicks'])) })
    const live = bench.start('live', OLD, { source })
    await bench.drained()
    expect(await bench.replay(live, { mode: 'verify' }, isOver)).toMatchObject({ error: { code: 'replay.compacted' } })
    expect(await bench.replay(live, { mode: 'verify', tables: ['orders'] }, isOver)).toMatchObject({ state: 'done' })
    const accepted = await bench.replay(live, { mode: 'verify', acceptCompacted: true }, isOver)
    expect(accepted).toMatchObject({ state: 'done', difference: { isEqual: true } })
    await bench.close()
  })

  it('at its cut-over when the pipeline went back behind where it began', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
    const ready = await bench.replay(young, {}, isReady)
    await bench.settle(old.supervisor.rollback(1n, 'back'))
    const failed = await bench.reaches(young.replays, ready.id, isOver)
    expect(failed).toMatchObject({ state: 'failed', error: { code: 'replay.base_moved' } })
    // It is kept for whoever wants to look, until it is cancelled.
    expect((await bench.keys('pipelines/shop/forks/')).length).toBeGreaterThan(0)
    await bench.settle(young.replays.order(ready.id, { kind: 'cancel' }))
    expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
    expect(await bench.keys('pipelines/shop/tags/')).toEqual([])
    await bench.close()
  })
})

describe('orders', () => {
  it('pause it where it is, let it go on, and end it', async () => {
    const bench = shop()
    for (let i = 60; i < 600; i++) write(bench, i)
    bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW, { recordsMax: 3 })
    const { id } = await bench.settle(young.replays.start('shop', { rateLimit: 20 }))
    const order = (kind: 'pause' | 'resume' | 'cancel') => bench.settle(young.replays.order(id, { kind }))
    await bench.reaches(young.replays, id, ({ progress }) => (progress?.percent ?? 0) > 10)
    await order('pause')
    const paused = await bench.reaches(young.replays, id, ({ progress }) => progress!.isPaused)
    await expect(order('pause')).rejects.toMatchObject({ code: 'replay.state' })
    await bench.pass(20_000)
    const later = await young.replays.get(id)
    expect(later.progress!.done).toBe(paused.progress!.done)
    await order('resume')
    await bench.reaches(
      young.replays,
      id,
      ({ progress }) => Number(progress!.done) > Number(paused.progress!.done) + 50,
    )
    const { progress } = await young.replays.get(id)
    expect(progress!.ratePerSecond).toBeLessThan(60)
    expect(progress!.etaSeconds).toBeGreaterThan(0)
    await order('cancel')
    expect(await bench.reaches(young.replays, id, isOver)).toMatchObject({ state: 'cancelled' })
    expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
    await expect(order('resume')).rejects.toMatchObject({ code: 'replay.state' })
    await bench.close()
  })

  it('are given in any process', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
    const ready = await bench.replay(young, {}, isReady)
    const approve = ready.difference!.id
    await bench.settle(old.replays.order(ready.id, { kind: 'cutover', approve }))
    expect(await bench.reaches(old.replays, ready.id, isOver)).toMatchObject({ state: 'done' })
    await bench.close()
  })

  it('cancel what no process can do any more', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
    const ready = await bench.replay(young, {}, isReady)
    young.cut()
    await bench.settle(old.replays.order(ready.id, { kind: 'cancel' }))
    expect(await bench.reaches(old.replays, ready.id, isOver)).toMatchObject({ state: 'cancelled' })
    expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
    await bench.close()
  })
})
