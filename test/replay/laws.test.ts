import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { record } from '../support/log.ts'
import { Bench, coded, fresh, isOver, isReady, NEW, OLD, pipeline, shop, write } from './bench.ts'

const TOPICS = ['orders', 'clicks'] as const

const writes = fc.array(
  fc.record({
    topic: fc.constantFrom(...TOPICS),
    partition: fc.nat({ max: 1 }),
    value: fc.constantFrom('a1', 'b2', 'c3', 'bad4', 'hidden'),
  }),
  { maxLength: 60 },
)
/** Tables of one definition: each may be there, with one of three codes. */
const definitions = fc
  .record({
    orders: fc.constantFrom('a', 'b', 'c'),
    clicks: fc.option(fc.constantFrom('a', 'b', 'c')),
    again: fc.option(fc.constantFrom('a', 'b', 'c')),
  })
  .map(({ orders, clicks, again }) =>
    pipeline(
      coded('orders', 'orders', orders),
      ...(clicks === null ? [] : [coded('clicks', 'clicks', clicks)]),
      ...(again === null ? [] : [coded('again', 'orders', again)]),
    ),
  )

function append({ log }: Bench, list: readonly { topic: string; partition: number; value: string }[]): void {
  for (const { topic, partition, value } of list)
    if (value === 'hidden') log.appendHidden(topic, partition, 1)
    else log.append(topic, partition, [record(value)])
}

describe('what holds of every replay', () => {
  it('a fork that is cut over is a fresh run of its code, whatever was written meanwhile and however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(definitions, definitions),
        fc.tuple(writes, writes, writes),
        fc.integer({ min: 1, max: 20 }),
        async ([before, after], [first, meanwhile, later], recordsMax) => {
          const bench = new Bench()
          for (const topic of TOPICS) bench.log.createTopic(topic, 2)
          append(bench, first)
          bench.start('old', before)
          await bench.drained(before)
          const young = bench.start('new', after, { recordsMax })
          const started = await bench.settle(
            young.replays.start('shop', { autoCutover: 'always' }).catch(({ code }) => code as string),
          )
          append(bench, meanwhile)
          if (typeof started === 'string') expect(started).toBe('replay.nothing_changed')
          else {
            const over = await bench.reaches(young.replays, started.id, isOver)
            expect(over).toMatchObject({ state: 'done', progress: { phase: 'cut-over', percent: 100 } })
            append(bench, later)
            await bench.drained(after)
            expect(await bench.content(after, await bench.head())).toEqual(await fresh(bench.log, after))
          }
          await bench.close()
        },
      ),
      { numRuns: 6 },
    )
  })

  it('a cut-over that is rolled back is none', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW)
    const over = await bench.replay(young, { autoCutover: 'always' }, isOver)
    for (let i = 60; i < 70; i++) write(bench, i)
    await bench.drained()
    const { id } = over
    await expect(bench.settle(old.replays.order(id, { kind: 'pause' }))).rejects.toMatchObject({ code: 'replay.state' })
    // The job that goes back is the owner's: here the process itself is asked, as its job runner would.
    await bench.settle(young.supervisor.rollback(BigInt(over.cutover!.before), 'back'))
    for (let i = 70; i < 80; i++) write(bench, i)
    await bench.until(() => old.supervisor.status().state === 'running')
    await bench.drained()
    expect(await bench.content(OLD, await bench.head())).toEqual(await fresh(bench.log, OLD))
    expect(young.supervisor.status().state).toBe('superseded')
    // What was given up can be had again.
    const again = await bench.replay(young, { autoCutover: 'always' }, isOver)
    expect(again).toMatchObject({ state: 'done', progress: { phase: 'cut-over' } })
    await bench.drained()
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    await bench.close()
  })

  it('two processes that do one replay make one fork and one cut-over', async () => {
    const bench = shop()
    bench.start('old', OLD)
    await bench.drained()
    const processes = ['one', 'two', 'three'].map((name) => bench.start(name, NEW))
    const ready = await bench.replay(processes[0]!, {}, isReady)
    const forks = new Set((await bench.keys('pipelines/shop/forks/')).map((key) => key.split('/')[3]))
    expect(forks.size).toBe(1)
    const [doing] = processes.filter((_, index) => ['one', 'two', 'three'][index] === ready.writer)
    doing!.cut()
    for (let i = 60; i < 75; i++) write(bench, i)
    const [other] = processes.filter((each) => each !== doing)
    const taken = await bench.reaches(
      other!.replays,
      ready.id,
      (status) => isReady(status) && status.writer !== ready.writer,
    )
    expect(taken).toMatchObject({ version: ready.version, difference: ready.difference })
    await bench.settle(other!.replays.order(ready.id, { kind: 'cutover', approve: ready.difference!.id }))
    expect(await bench.reaches(other!.replays, ready.id, isOver)).toMatchObject({ state: 'done' })
    await bench.drained()
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    await bench.close()
  })
})
