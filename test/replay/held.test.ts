import { describe, expect, it } from 'vitest'
import { LakeError } from '../../src/error.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import { valueOf } from '../../src/ingest/record-batch.ts'
import { partitionId, type PartitionId } from '../../src/log.ts'
import { record } from '../support/log.ts'
import { type Bench, coded, fresh, isOver, isReady, NEW, OLD, pipeline, shop, write } from './bench.ts'

/** Code for which the records of `of` are misfits. */
function refusing(of: string): { encoder: (encoder: Encoder) => Encoder } {
  return {
    encoder: (encoder) => ({
      ...encoder,
      encode: (plan, batches, ...rest) => {
        for (const batch of batches)
          for (let i = 0; i < batch.count; i++)
            if (Buffer.from(valueOf(batch, i)!).toString() === of && plan.table === 'orders')
              throw new LakeError('schema.incompatible', 'orders: schema 7: amount: text for a number', {
                context: {
                  table: 'orders',
                  schemaId: 7,
                  partition: partitionId(batch.topic, batch.partition),
                  offset: String(batch.offsets[i]),
                },
                fix: 'Mend it.',
              })
        return encoder.encode(plan, batches, ...rest)
      },
    }),
  }
}

const heldAt = (bench: Bench, partition: PartitionId, offset: bigint) =>
  bench.until(async () => (await bench.head().catch(() => undefined))?.positions.get(partition) === offset)

/** Sixty records, a misfit in orders/1, and ten more. */
function withMisfit(): { readonly bench: Bench; readonly at: bigint } {
  const bench = shop()
  const at = bench.log.end('orders', 1)
  bench.log.append('orders', 1, [record('misfit')])
  for (let i = 60; i < 70; i++) write(bench, i)
  return { bench, at }
}

describe('a replay of a pipeline that waits at a record', () => {
  it('comes to the same record, says so, and takes the place of the live tables', async () => {
    const { bench, at } = withMisfit()
    bench.start('old', OLD, refusing('misfit'))
    await heldAt(bench, 'orders/1', at)
    const young = bench.start('new', NEW, refusing('misfit'))
    const ready = await bench.replay(young, {}, isReady)
    const held = await bench.reaches(young.replays, ready.id, ({ error }) => error !== null)
    expect(held).toMatchObject({
      state: 'running',
      error: { code: 'schema.incompatible', fix: 'Mend it.' },
    })
    expect(held.error!.message).toBe(`orders/1 waits at offset ${at}: orders: schema 7: amount: text for a number`)
    const { id } = ready.difference!
    await bench.settle(young.replays.order(ready.id, { kind: 'cutover', approve: id }))
    expect(await bench.reaches(young.replays, ready.id, isOver)).toMatchObject({ state: 'done', error: null })
    await bench.until(() => young.supervisor.status().reason?.code === 'schema.incompatible')
    const head = await bench.head()
    expect(head.positions.get('orders/1')).toBe(at)
    expect(head.positions.get('orders/0')).toBe(bench.log.end('orders', 0))
    // The rest comes with code that takes the record.
    young.close()
    bench.start('new', NEW)
    await bench.drained()
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    await bench.close()
  })

  it('goes beyond it with code that takes the record', async () => {
    const { bench, at } = withMisfit()
    bench.start('old', OLD, refusing('misfit'))
    await heldAt(bench, 'orders/1', at)
    const young = bench.start('new', NEW)
    expect(await bench.replay(young, { autoCutover: 'always' }, isOver)).toMatchObject({ state: 'done', error: null })
    await bench.drained()
    expect(await bench.content(NEW, await bench.head())).toEqual(await fresh(bench.log))
    await bench.close()
  })

  it('waits behind the live tables where its code alone refuses a record, and is dropped without a trace', async () => {
    const bench = shop()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW, refusing('misfit'))
    const { id } = await bench.replay(young, {}, isReady)
    const at = bench.log.end('orders', 1)
    bench.log.append('orders', 1, [record('misfit')])
    await bench.drained()
    const held = await bench.reaches(
      young.replays,
      id,
      ({ error, progress }) => error !== null && progress?.phase === 'catching-up',
    )
    expect(held.error!.message).toContain(`orders/1 waits at offset ${at}`)
    await bench.pass(20_000)
    expect(await young.replays.get(id)).toMatchObject({ state: 'running', progress: { phase: 'catching-up' } })
    await bench.settle(young.replays.order(id, { kind: 'cancel' }))
    await bench.reaches(young.replays, id, isOver)
    expect(old.supervisor.status()).toMatchObject({ state: 'running' })
    expect(await bench.keys('pipelines/shop/forks/')).toEqual([])
    await bench.close()
  })
})

describe('a replay that meets such a record while it builds tables', () => {
  it('fails with place and fix, is tried again, and gives way to one of code that takes it', async () => {
    const { bench, at } = withMisfit()
    const old = bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW, refusing('misfit'))
    const failed = await bench.replay(young, {}, isOver)
    const error = {
      code: 'schema.incompatible',
      message: `orders/1 at offset ${at}: orders: schema 7: amount: text for a number`,
      fix: expect.stringContaining('onIncompatible: dead-letter'),
    }
    expect(failed).toMatchObject({ state: 'failed', progress: { phase: 'rebuilding' }, error })
    for (let i = 70; i < 80; i++) write(bench, i)
    await bench.drained()
    expect(old.supervisor.status(), 'the live tables know nothing of it').toMatchObject({ state: 'running' })
    await bench.settle(young.replays.order(failed.id, { kind: 'resume' }))
    expect(await bench.reaches(young.replays, failed.id, isOver)).toMatchObject({ state: 'failed', error })
    young.close()

    // The same code on another machine, where the record is read: the failed one goes on.
    const mended = bench.start('mended', NEW)
    await bench.settle(mended.replays.order(failed.id, { kind: 'resume' }))
    const ready = await bench.reaches(mended.replays, failed.id, isReady)
    expect(ready.error).toBeNull()
    await bench.settle(mended.replays.order(failed.id, { kind: 'cancel' }))
    await bench.reaches(mended.replays, failed.id, isOver)
    await bench.close()
  })

  it('leaves nothing behind once another one begins', async () => {
    const { bench } = withMisfit()
    bench.start('old', OLD)
    await bench.drained()
    const young = bench.start('new', NEW, refusing('misfit'))
    const failed = await bench.replay(young, {}, isOver)
    young.close()
    const other = pipeline(coded('orders', 'orders', 'c'), coded('clicks', 'clicks', 'a'))
    const mended = bench.start('mended', other)
    const over = await bench.replay(mended, { autoCutover: 'always' }, isOver)
    expect(over).toMatchObject({ state: 'done' })
    expect((await bench.keys('pipelines/shop/forks/')).filter((key) => key.includes(failed.id))).toEqual([])
    await bench.drained()
    expect(await bench.content(other, await bench.head())).toEqual(await fresh(bench.log, other))
    await bench.close()
  })
})
