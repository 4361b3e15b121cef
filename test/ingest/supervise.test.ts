import { describe, expect, it } from 'vitest'
import { type PipelineDefinition } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { LakeError } from '../../src/error.ts'
import { Committer } from '../../src/ingest/committer.ts'
import type { Encoder } from '../../src/ingest/lane.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { openChain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { record } from '../support/log.ts'
import { rowEncoder, rowTable } from '../support/rows.ts'

const DEFINITION: PipelineDefinition = {
  name: 'shop',
  onDataLoss: 'stop',
  tables: [rowTable('orders', 'orders')],
  windows: [],
}
const OTHER = DEFINITION.tables.map((table) => ({ ...table, unknown: 'fail' as const }))
const TAKEOVER_MS = 5_000

class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  readonly storage = new MemoryStorage('bench')
  readonly log = new MemoryLog()
  /** Of a record that no lane can make anything of. */
  misfit: bigint | undefined

  constructor() {
    this.log.createTopic('orders', 1)
  }

  /** A process that supervises the pipeline; `cut` takes it off the network, as if it were dead. */
  start(writer: string, definition = DEFINITION): { supervisor: Supervisor; cut: () => void } {
    const { clock, storage } = this
    const source = new ContentSource(this.log, clock)
    let isCut = false
    const reach = new Proxy(storage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => (isCut ? new Promise(() => undefined) : Reflect.apply(value, target, args))
      },
    })
    const rows = rowEncoder(reach)
    const encoder: Encoder = {
      ...rows,
      encode: (plan, batches, ...rest) => {
        if (!batches.some(({ offsets }) => this.misfit !== undefined && offsets.includes(this.misfit)))
          return rows.encode(plan, batches, ...rest)
        const context = { partition: 'orders/0', offset: String(this.misfit) }
        return Promise.reject(new LakeError('schema.incompatible', 'it does not fit', { context }))
      },
    }
    const microBatch = { bytesMax: 1 << 20, recordsMax: 100, ageMsMax: 50 }
    const supervisor = new Supervisor({
      definition,
      source,
      storage: reach,
      chain: openChain(reach, 'shop', clock),
      policy: { writer, minIntervalMs: 100, heartbeatMs: 2_000 },
      takeoverAfterMs: TAKEOVER_MS,
      clock,
      observer: () => undefined,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, lanes: 1, microBatch, clock })),
    })
    void supervisor.run()
    return { supervisor, cut: () => (isCut = true) }
  }

  async pass(ms: number, isOver?: () => boolean): Promise<number> {
    const startMs = this.world.nowMs
    await this.world.run(startMs + ms, isOver)
    return this.world.nowMs - startMs
  }

  /** Resolves with what `promise` came to, letting time pass for it. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    let isDone = false
    const over = promise.finally(() => (isDone = true))
    over.catch(() => undefined)
    await this.pass(60_000, () => isDone)
    return over
  }

  write(value: string, partition = 0): void {
    this.log.append('orders', partition, [record(value)])
  }
}

const stateOf = ({ supervisor }: { supervisor: Supervisor }) => supervisor.status().state
const positionOf = ({ supervisor }: { supervisor: Supervisor }, id = 'orders/0' as const) =>
  supervisor.status().head?.positions.get(id)

describe('Supervisor', () => {
  it('stands by while another writes, and takes over when its head stands still with the log ahead', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    const b = bench.start('b')
    await bench.pass(4 * TAKEOVER_MS)
    expect([stateOf(a), stateOf(b)]).toEqual(['running', 'standby'])
    a.cut()
    await bench.pass(4 * TAKEOVER_MS)
    expect(stateOf(b)).toBe('standby') // a quiet topic is no reason
    bench.write('x')
    const tookMs = await bench.pass(60_000, () => positionOf(b) === 1n)
    expect(stateOf(b)).toBe('running')
    expect(tookMs).toBeLessThan(2 * TAKEOVER_MS)
  })

  it('takes over for a partition that the head does not know', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    const b = bench.start('b')
    await bench.pass(1_000)
    a.cut()
    bench.log.addPartitions('orders', 2)
    bench.write('x', 1)
    await bench.pass(60_000, () => b.supervisor.status().head?.positions.get('orders/1') === 1n)
    expect(stateOf(b)).toBe('running')
  })

  it('goes on at once from a head that was let go, and from one of its own name', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    a.supervisor.close()
    await bench.pass(5_000)
    expect(stateOf(a)).toBe('stopped')
    bench.write('x')
    const b = bench.start('b')
    expect(await bench.pass(60_000, () => positionOf(b) === 1n)).toBeLessThan(1_500)
    b.cut()
    bench.write('y')
    const again = bench.start('b')
    expect(await bench.pass(60_000, () => positionOf(again) === 2n)).toBeLessThan(1_500)
  })

  it('says nothing of a held partition once another writes, which may have gone on', async () => {
    const bench = new Bench()
    bench.misfit = 1n
    bench.write('x')
    bench.write('y')
    const a = bench.start('a')
    await bench.pass(3_000)
    expect(a.supervisor.status()).toMatchObject({ state: 'running', reason: { code: 'schema.incompatible' } })
    await expect(bench.wait(a.supervisor.waitUntil(new Map([['orders/0', 2n]])))).rejects.toMatchObject({
      code: 'pipeline.stopped',
    })
    const { storage, clock } = bench
    const chain = openChain(storage, 'shop', clock)
    const policy = { writer: 'b', minIntervalMs: 100, heartbeatMs: 2_000 }
    const other = { chain, storage, policy, clock, observer: () => undefined }
    const committer = await bench.wait(chain.at({ kind: 'head' }).then((head) => Committer.open(other, head)))
    expect(await bench.wait(committer.commit())).toMatchObject({ kind: 'committed' })
    await bench.pass(60_000, () => stateOf(a) === 'standby')
    expect(a.supervisor.status().reason).toBeUndefined()
    let isOver = false
    const wait = a.supervisor.waitUntil(new Map([['orders/0', 2n]])).finally(() => (isOver = true))
    await bench.pass(1_000)
    expect([stateOf(a), isOver]).toEqual(['standby', false])
    // It holds the partition itself when it writes again.
    await expect(bench.wait(wait)).rejects.toMatchObject({ code: 'pipeline.stopped' })
    expect(stateOf(a)).toBe('running')
  })

  it('of two under one name one writes and the other stands by', async () => {
    const bench = new Bench()
    const [a, b] = [bench.start('twin'), bench.start('twin')]
    for (let i = 0; i < 20; i++) {
      bench.write(`v${i}`)
      await bench.pass(500)
    }
    expect([stateOf(a), stateOf(b)].toSorted()).toEqual(['running', 'standby'])
    expect((await openChain(bench.storage, 'shop', bench.clock).head())!.positions.get('orders/0')).toBe(20n)
  })

  it('stands by once per fence: a later failure of its own is tried again at once', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    const b = bench.start('b')
    await bench.pass(1_000)
    a.cut()
    bench.write('x')
    await bench.pass(60_000, () => positionOf(b) === 1n)
    const put = bench.storage.put.bind(bench.storage)
    let failures = 1
    bench.storage.put = (key, bytes) => {
      if (key.includes('/data/') && failures-- > 0) return Promise.reject(new Error('once'))
      return put(key, bytes)
    }
    bench.write('y')
    expect(await bench.pass(60_000, () => positionOf(b) === 2n)).toBeLessThan(TAKEOVER_MS)
    expect(failures).toBeLessThan(1)
  })

  it('pauses and resumes as versions that every process honours', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    await bench.wait(a.supervisor.pause('inventory'))
    expect(a.supervisor.status()).toMatchObject({ state: 'paused', head: { paused: { reason: 'inventory' } } })
    bench.write('x')
    const b = bench.start('b')
    await bench.pass(4 * TAKEOVER_MS)
    expect([positionOf(a), positionOf(b)]).toEqual([0n, 0n])
    await bench.wait(a.supervisor.resume())
    await bench.pass(5_000, () => positionOf(a) === 1n)
    expect(positionOf(a)).toBe(1n)
  })

  it('whoever resumes a pipeline, somebody goes on at once', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    const b = bench.start('b')
    await bench.pass(1_000)
    await bench.wait(a.supervisor.pause('inventory'))
    bench.write('x')
    void b.supervisor.resume()
    const head = async () => (await openChain(bench.storage, 'shop', bench.clock).head())!.positions.get('orders/0')
    await bench.pass(TAKEOVER_MS / 2)
    expect(await head()).toBe(1n)
  })

  it('refuses to pause what another process writes', async () => {
    const bench = new Bench()
    bench.start('a')
    await bench.pass(1_000)
    const b = bench.start('b')
    await bench.pass(1_000)
    await expect(bench.wait(b.supervisor.pause('no'))).rejects.toMatchObject({ code: 'pipeline.not_owner' })
  })

  it('does not say that it paused when it was resumed, stopped or failed first', async () => {
    const refused = async (meanwhile: (bench: Bench, a: Supervisor) => void) => {
      const bench = new Bench()
      const { supervisor } = bench.start('a')
      await bench.pass(1_000)
      bench.storage.putIfAbsent = () => Promise.resolve({ kind: 'unknown', cause: undefined })
      const pause = bench.wait(supervisor.pause('inventory'))
      await bench.pass(50)
      meanwhile(bench, supervisor)
      await expect(pause).rejects.toMatchObject({ code: 'pipeline.stopped' })
      expect(supervisor.status().head!.paused).toBeUndefined()
    }
    await refused((_, a) => void a.resume())
    await refused((_, a) => a.close())
    const bench = new Bench()
    const { supervisor } = bench.start('a')
    await bench.pass(1_000)
    bench.log.recreate('orders')
    await bench.pass(50)
    await expect(bench.wait(supervisor.pause('inventory'))).rejects.toMatchObject({ code: 'pipeline.stopped' })
    await supervisor.restart()
    await bench.pass(5_000)
    expect(stateOf({ supervisor })).toBe('failed')
  })

  it('tries less and less often what fails again and again, also when each run begins well', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    const put = bench.storage.put.bind(bench.storage)
    let tries = 0
    bench.storage.put = (key, bytes) => {
      if (!key.includes('/data/')) return put(key, bytes)
      tries++
      return Promise.reject(new LakeError('store.denied', 'AccessDenied'))
    }
    bench.write('x')
    await bench.pass(600_000)
    expect(tries).toBeGreaterThan(10)
    expect(tries).toBeLessThan(100)
    bench.storage.put = put
    expect(await bench.pass(60_000, () => positionOf(a) === 1n)).toBeLessThan(31_000)
  })

  it('is at work while a run has something to commit, also when one of its topics is missing', async () => {
    const bench = new Bench()
    const { supervisor } = bench.start('a', { ...DEFINITION, tables: [...DEFINITION.tables, rowTable('late', 'late')] })
    expect(supervisor.isAtWork).toBe(false)
    await bench.pass(1_000)
    expect([supervisor.isAtWork, supervisor.status().state]).toEqual([true, 'waiting'])
    await bench.wait(supervisor.pause('inventory'))
    expect(supervisor.isAtWork).toBe(false)
    await bench.wait(supervisor.resume())
    await bench.pass(5_000)
    bench.log.recreate('orders')
    await bench.pass(5_000)
    expect([supervisor.isAtWork, supervisor.status().state]).toEqual([false, 'failed'])
  })

  it('flushes what the log holds', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.pass(1_000)
    bench.write('x')
    bench.log.appendHidden('orders', 0, 3)
    const version = await bench.wait(a.supervisor.flush())
    expect(version.positions.get('orders/0')).toBe(4n)
  })

  it('stops in a named state when the log is another one, and tries again when told', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    bench.write('x')
    await bench.pass(2_000)
    bench.log.recreate('orders')
    for (const value of ['a', 'b', 'c']) bench.write(value)
    await bench.pass(20_000)
    expect(a.supervisor.status()).toMatchObject({ state: 'failed', reason: { code: 'kafka.topic_replaced' } })
    await expect(bench.wait(a.supervisor.flush())).rejects.toMatchObject({ code: 'pipeline.stopped' })
    const before = a.supervisor.status().head!.number
    await a.supervisor.restart()
    await bench.pass(20_000)
    expect(a.supervisor.status()).toMatchObject({ state: 'failed', head: { number: before } })
  })

  it('does not ingest with other code than the head has', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    bench.write('w')
    await bench.pass(1_000)
    a.supervisor.close()
    await bench.pass(2_000)
    const b = bench.start('b', { ...DEFINITION, tables: OTHER })
    bench.write('x')
    await bench.pass(20_000)
    expect(b.supervisor.status()).toMatchObject({ state: 'superseded', reason: { code: 'code.changed' } })
    expect(positionOf(b)).toBe(1n)
  })

  it('takes other code as long as nothing was read, and what `latest` was before', async () => {
    const bench = new Bench()
    bench.write('w')
    const latest = DEFINITION.tables.map((table) => ({ ...table, startAt: 'latest' as const }))
    const a = bench.start('a', { ...DEFINITION, tables: latest })
    await bench.pass(1_000)
    expect(positionOf(a)).toBe(1n)
    a.supervisor.close()
    await bench.pass(2_000)
    bench.write('x')
    const other = OTHER.map((table) => ({ ...table, startAt: 'latest' as const }))
    const b = bench.start('b', { ...DEFINITION, tables: other })
    await bench.pass(20_000)
    expect(b.supervisor.status()).toMatchObject({ state: 'running' })
    const { positions, tails, tables } = b.supervisor.status().head!
    expect([...positions.values(), tails.size]).toEqual([2n, 1])
    expect(tables['orders']!.code).toBe(codeHash(other[0]!))
  })

  it('P7: a partition that came since begins at its beginning, other code or not', async () => {
    const bench = new Bench()
    const latest = DEFINITION.tables.map((table) => ({ ...table, startAt: 'latest' as const }))
    const a = bench.start('a', { ...DEFINITION, tables: latest })
    await bench.pass(1_000)
    a.supervisor.close()
    await bench.pass(2_000)
    bench.log.addPartitions('orders', 2)
    bench.write('x', 1)
    bench.start('b', { ...DEFINITION, tables: OTHER.map((table) => ({ ...table, startAt: 'latest' as const })) })
    await bench.pass(20_000)
    const versions = await openChain(bench.storage, 'shop', bench.clock).versions(100)
    const positions = versions.flatMap((version) => version.positions.get('orders/1') ?? [])
    expect(new Set(positions)).toEqual(new Set([0n, 1n]))
  })
})
