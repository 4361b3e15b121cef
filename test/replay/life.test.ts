import { describe, expect, it } from 'vitest'
import { record } from '../support/log.ts'
import { Bench, coded, isOver, isReady, pipeline } from './bench.ts'

const OLD = pipeline(coded('orders', 'orders', 'a'), coded('clicks', 'clicks', 'a'))
const NEW = pipeline(coded('orders', 'orders', 'b'), coded('clicks', 'clicks', 'a'))

function shop(): Bench {
  const bench = new Bench()
  bench.log.createTopic('orders', 2)
  bench.log.createTopic('clicks', 1)
  for (let i = 0; i < 60; i++) write(bench, i)
  return bench
}

function write({ log }: Bench, i: number): void {
  const value = `${['a', 'b', 'c', 'bad'][i % 4]}${i}`
  log.append('orders', i % 2, [record(value)])
  if (i % 3 === 0) log.append('clicks', 0, [record(value)])
  if (i % 7 === 0) log.appendHidden('orders', 0, 2)
}

/** What a pipeline that always had this code would hold. */
async function fresh(log: Bench['log'], definition = NEW): Promise<Record<string, readonly string[]>> {
  const bench = new Bench()
  Object.assign(bench, { log })
  bench.start('fresh', definition)
  await bench.drained()
  const content = await bench.content(definition, await bench.head())
  await bench.close()
  return content
}

describe('a replay', () => {
  it('lives from its start to its cut-over while the old code goes on', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
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
    await bench.close()
  })
})
