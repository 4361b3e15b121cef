import { describe, expect, it } from 'vitest'
import type { PipelineDefinition } from '../../src/define.ts'
import { runJobs } from '../../src/ingest/job-runner.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import type { Job } from '../../src/jobs.ts'
import { openChain } from '../../src/lake/chain.ts'
import { collectOrphans } from '../../src/lake/collect.ts'
import { expireVersions } from '../../src/lake/expire-versions.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
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
const HOUR_MS = 3_600_000
const ID = '00000000-0000-4000-8000-00000000000a'

class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  /** The store's clock runs ahead of ours by this, and decides what is old. */
  aheadMs = 0
  readonly storage = new MemoryStorage('bench', { nowMs: () => this.clock.nowMs() + this.aheadMs })
  readonly log = new MemoryLog()
  readonly chain = openChain(this.storage, 'shop', this.clock)
  readonly jobs = openJobs(this.storage, this.clock)

  constructor() {
    this.log.createTopic('orders', 1)
  }

  start(writer: string): Supervisor {
    const { clock, storage } = this
    const source = new ContentSource(this.log, clock)
    const microBatch = { bytesMax: 1 << 20, recordsMax: 100, ageMsMax: 50 }
    const supervisor = new Supervisor({
      definition: DEFINITION,
      source,
      storage,
      chain: openChain(storage, 'shop', clock),
      policy: { writer, minIntervalMs: 100, heartbeatMs: 600_000 },
      takeoverAfterMs: 5_000,
      clock,
      observer: () => undefined,
      upkeep: {
        expire: async (table) => {
          const versions = await expireVersions(storage, 'shop', clock, 100)
          const { deleted, bytes } = await collectOrphans(storage, 'shop', clock, {
            graceMs: HOUR_MS,
            deletesMax: 100,
            table,
          })
          return { versions, files: deleted, bytes }
        },
      },
      startLanes: () =>
        Promise.resolve(inlineLanes({ source, encoder: rowEncoder(storage), lanes: 1, microBatch, clock })),
    })
    void supervisor.run()
    return supervisor
  }

  async pass(ms: number, isOver?: () => boolean): Promise<void> {
    await this.world.run(this.world.nowMs + ms, isOver)
  }

  async wait<T>(promise: Promise<T>): Promise<T> {
    let isDone = false
    const over = promise.finally(() => (isDone = true))
    over.catch(() => undefined)
    await this.pass(60_000, () => isDone)
    return over
  }

  /** Writes a record and waits until it is in a version. */
  async write(supervisor: Supervisor, value: string): Promise<Version> {
    this.log.append('orders', 0, [record(value)])
    return this.wait(supervisor.flush())
  }

  async head(): Promise<Version> {
    return (await this.wait(this.chain.head()))!
  }

  async rows(version: Version): Promise<bigint> {
    return (await this.wait(openTable(this.storage, version.tables['orders']!.metadata))).totalRecords
  }

  job(id: string): Promise<Job> {
    return this.wait(this.jobs.get(id)).then((job) => job!)
  }
}

describe('rollback', () => {
  it('makes an older version the head, paused, and reads on from there when resumed', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    const old = await bench.write(a, 'x')
    for (const value of ['y', 'z']) await bench.write(a, value)
    const back = await bench.wait(a.rollback(old.number, ID))
    expect(back).toMatchObject({
      kind: 'rollback',
      commitId: ID,
      tables: old.tables,
      positions: old.positions,
      tails: old.tails,
      paused: { reason: `rolled back to version ${old.number}` },
    })
    const hint = Buffer.from((await bench.storage.get('tables/orders/metadata/version-hint.text'))!).toString()
    expect(old.tables['orders']!.metadata).toContain(`/v${hint}.metadata.json`)
    await bench.pass(30_000)
    expect((await bench.head()).number).toBe(back.number)
    expect(a.status()).toMatchObject({ state: 'paused', reason: { message: back.paused!.reason } })

    await bench.wait(a.resume())
    await bench.pass(5_000)
    const head = await bench.head()
    expect(head.positions.get('orders/0')).toBe(3n)
    expect(await bench.rows(head)).toBe(3n)
    // Asked again, as a job is whose answer was lost, it is the same commit.
    expect((await bench.wait(a.rollback(old.number, ID))).number).toBe(back.number)
    expect((await bench.head()).number).toBe(head.number)
  })

  it('is refused for what is no older version, or not kept any more, and changes nothing', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    const old = await bench.write(a, 'x')
    const next = await bench.write(a, 'y')
    await bench.write(a, 'z')
    const code = (to: bigint) =>
      bench.wait(a.rollback(to, ID)).then(
        () => 'done',
        (error) => error.code as string,
      )
    const { number } = await bench.head()
    expect(await code(number)).toBe('request.invalid')
    expect(await code(0n)).toBe('version.unknown')
    bench.aheadMs = 2 * HOUR_MS
    // Of a minute only the last version is kept for a day.
    expect(await code(old.number)).toBe('rollback.not_kept')
    await bench.storage.delete(next.tables['orders']!.metadata)
    expect(await code(next.number)).toBe('rollback.not_kept')
    expect((await bench.head()).paused).toBeUndefined()
    expect(a.status().state).toBe('running')
  })

  it('is refused when the log no longer reaches back', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    const old = await bench.write(a, 'x')
    for (const value of ['y', 'z']) await bench.write(a, value)
    bench.log.deleteRecordsBefore('orders', 0, 2n)
    await expect(bench.wait(a.rollback(old.number, ID))).rejects.toMatchObject({
      code: 'rollback.offsets_expired',
      context: { partition: 'orders/0', position: '1', first: '2' },
    })
    expect(a.status().state).toBe('running')
  })

  it('is the way out of a log that was replaced', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.write(a, 'x')
    const old = await bench.write(a, 'y')
    await bench.write(a, 'z')
    bench.log.truncate('orders', 0, 2n)
    bench.log.append('orders', 0, [record('Z')])
    await bench.pass(5_000)
    await bench.wait(a.restart())
    await bench.pass(30_000)
    expect(a.status()).toMatchObject({ state: 'failed', reason: { code: 'kafka.log_truncated' } })
    await bench.wait(a.rollback(old.number, ID))
    await bench.pass(5_000)
    expect(a.status().state).toBe('paused')
    await bench.wait(a.resume())
    await bench.pass(5_000)
    expect((await bench.head()).positions.get('orders/0')).toBe(3n)
    expect(await bench.rows(await bench.head())).toBe(3n)
  })

  it('is left to the process that writes the pipeline', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    const old = await bench.write(a, 'x')
    await bench.write(a, 'y')
    const b = bench.start('b')
    await bench.pass(2_000)
    await expect(bench.wait(b.rollback(old.number, ID))).rejects.toMatchObject({ code: 'pipeline.not_owner' })
  })
})

describe('runJobs', () => {
  it('does what was asked for anywhere, in the process that writes the pipeline', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    const old = await bench.write(a, 'x')
    await bench.write(a, 'y')
    const b = bench.start('b')
    const stop = new AbortController()
    void runJobs(bench.jobs, b, 'b', bench.clock, stop.signal)
    const { id } = await bench.wait(bench.jobs.ask({ kind: 'rollback', pipeline: 'shop', to: String(old.number) }))
    await bench.pass(20_000)
    expect(await bench.job(id)).toMatchObject({ state: 'queued' })
    void runJobs(openJobs(bench.storage, bench.clock), a, 'a', bench.clock, stop.signal)
    await bench.pass(20_000)
    const head = await bench.head()
    expect(await bench.job(id)).toMatchObject({
      state: 'done',
      writer: 'a',
      result: { version: String(head.number) },
      error: null,
    })
    expect(head).toMatchObject({ kind: 'rollback', positions: old.positions })
    stop.abort()
  })

  it('leaves alone what it could not do now: another process may be at it', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.write(a, 'x')
    await bench.wait(a.pause('for the test'))
    const request = { kind: 'compact', pipeline: 'shop', table: 'orders' } as const
    const job = await bench.wait(bench.jobs.ask(request, 'k'))
    const theirs = { ...job, state: 'running', startedMs: 1, writer: 'b' } as const
    await bench.wait(bench.jobs.update(theirs))
    const stop = new AbortController()
    void runJobs(bench.jobs, a, 'a', bench.clock, stop.signal)
    await bench.pass(20_000)
    expect(await bench.job(job.id)).toEqual(theirs)
    // One that nobody is at would wait for somebody to resume.
    const refused = await bench.wait(bench.jobs.ask(request, 'l'))
    await bench.pass(20_000)
    expect(await bench.job(refused.id)).toMatchObject({ state: 'failed', error: { code: 'pipeline.paused' } })
    stop.abort()
  })

  it('does again what was under way, and tells why a job failed', async () => {
    const bench = new Bench()
    const a = bench.start('a')
    await bench.write(a, 'x')
    const request = { kind: 'expire', pipeline: 'shop', table: 'orders' } as const
    const job = await bench.wait(bench.jobs.ask(request, 'k'))
    await bench.wait(bench.jobs.update({ ...job, state: 'running', startedMs: 1, writer: 'dead' }))
    const wrong = await bench.wait(bench.jobs.ask({ kind: 'rollback', pipeline: 'shop', to: '99' }))
    const other = await bench.wait(bench.jobs.ask({ kind: 'expire', pipeline: 'web', table: 'views' }))
    await bench.storage.put('tables/orders/data/staged.parquet', Buffer.from('four'))
    bench.aheadMs = HOUR_MS + 1
    const stop = new AbortController()
    void runJobs(bench.jobs, a, 'a', bench.clock, stop.signal)
    await bench.pass(10_000)
    expect(await bench.job(job.id)).toMatchObject({ state: 'done', result: { versions: 0, files: 1, bytes: 4 } })
    expect(await bench.job(wrong.id)).toMatchObject({ state: 'failed', error: { code: 'request.invalid' } })
    expect(await bench.job(other.id)).toMatchObject({ state: 'queued' })
    stop.abort()
  })
})
