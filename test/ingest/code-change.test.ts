import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type PipelineDefinition, type TableDefinition } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { Supervisor } from '../../src/ingest/supervise.ts'
import { openChain, type VersionContent } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { openTable } from '../../src/lake/table.ts'
import { LEFT_BEHIND, type Version } from '../../src/version.ts'
import { Random } from '../simulation/random.ts'
import { World } from '../simulation/world.ts'
import { record } from '../support/log.ts'
import { rowEncoder, rowsOf, rowTable } from '../support/rows.ts'

const TAKEOVER_MS = 5_000
const ID = '00000000-0000-4000-8000-00000000000a'
const orders = rowTable('orders', 'orders')
const shopOf = (...tables: readonly TableDefinition[]): PipelineDefinition => ({
  name: 'shop',
  onDataLoss: 'stop',
  tables,
  windows: [],
})
const OLD = shopOf(orders)
const NEW = shopOf({ ...orders, where: "v <> 'x'" })
const WIDER = shopOf({ ...orders, columns: [...orders.columns, { name: 'n', type: { kind: 'long' } }] })
const KEYED = shopOf({ ...orders, key: ['v'], columns: [{ name: 'v', type: { kind: 'string' }, required: true }] })

interface Started {
  readonly supervisor: Supervisor
  cut(): void
}

/** Processes of several codes over one store: each row says which code made it. */
class Bench {
  readonly world = new World()
  readonly clock = this.world.clock(new Random(1))
  readonly storage = new MemoryStorage('bench')
  readonly log = new MemoryLog()
  readonly chain = openChain(this.storage, 'shop', this.clock)
  #started = 0

  constructor(...topics: readonly string[]) {
    for (const topic of topics.length === 0 ? ['orders'] : topics) this.log.createTopic(topic, 1)
  }

  start(code: string, definition: PipelineDefinition, acceptCode = false): Started {
    const { clock, storage } = this
    const source = new ContentSource(this.log, clock)
    let isCut = false
    const stamped = (rows: Uint8Array): Uint8Array =>
      Buffer.from(JSON.stringify((JSON.parse(Buffer.from(rows).toString()) as string[]).map((row) => `${row}#${code}`)))
    const reach = new Proxy(storage, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          if (isCut) return new Promise(() => undefined)
          const [key, bytes] = args as [string, Uint8Array]
          const isRows = name === 'put' && key.includes('/data/')
          return Reflect.apply(value, target, isRows ? [key, stamped(bytes)] : args)
        }
      },
    })
    const encoder = rowEncoder(reach)
    const microBatch = { bytesMax: 1 << 20, recordsMax: 3, ageMsMax: 50 }
    const supervisor = new Supervisor({
      definition,
      source,
      storage: reach,
      chain: openChain(reach, 'shop', clock),
      policy: { writer: `${code}${this.#started++}`, minIntervalMs: 100, heartbeatMs: 2_000 },
      takeoverAfterMs: TAKEOVER_MS,
      clock,
      observer: () => undefined,
      acceptCode,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, lanes: 1, microBatch, clock })),
    })
    void supervisor.run()
    return { supervisor, cut: () => (isCut = true) }
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

  write(...values: readonly string[]): void {
    for (const value of values) this.log.append('orders', 0, [record(value)])
  }

  async head(): Promise<Version> {
    return (await this.wait(this.chain.head()))!
  }

  async rows(table = 'orders'): Promise<string[]> {
    return this.wait(rowsOf(this.storage, await this.head(), table))
  }
}

const stateOf = ({ supervisor }: Started) => supervisor.status().state
const reasonOf = ({ supervisor }: Started) => supervisor.status().reason
const positionOf = ({ supervisor }: Started) => supervisor.status().head?.positions.get('orders/0')

/** A pipeline that `OLD` has written to. */
async function begun(...topics: readonly string[]): Promise<{ bench: Bench; old: Started }> {
  const bench = new Bench(...topics)
  const old = bench.start('old', OLD)
  bench.write('a', 'b')
  await bench.pass(2_000)
  return { bench, old }
}

describe('a process of other code', () => {
  it('says what changed, ingests nothing, and answers from the head', async () => {
    const { bench, old } = await begun()
    const other = bench.start('new', shopOf(WIDER.tables[0]!, rowTable('clicks', 'orders')))
    await bench.pass(2_000)
    bench.write('c')
    await bench.pass(10_000)
    expect([stateOf(old), stateOf(other), positionOf(other)]).toEqual(['running', 'superseded', 3n])
    expect(reasonOf(other)).toMatchObject({
      code: 'code.changed',
      message:
        'the definition is not the one that made the tables of shop: orders column n (long) is new; clicks is new',
      context: { pipeline: 'shop', tables: ['orders', 'clicks'], added: ['clicks'] },
      fix: expect.stringMatching(/kappalake replay start shop.*--accept-code/),
    })
    expect(other.supervisor.status().tables).toEqual(['orders', 'orders__dlq'])
    await expect(bench.wait(other.supervisor.pause('no'))).rejects.toMatchObject({ code: 'pipeline.not_owner' })
    old.cut()
    await bench.pass(10 * TAKEOVER_MS)
    expect(stateOf(other)).toBe('superseded')
  })

  it('goes on by itself when a cut-over has made its code the head’s, and the old owner finds itself superseded', async () => {
    const { bench, old } = await begun()
    const waiting = bench.start('new', NEW)
    await bench.pass(2_000)
    const other = bench.start('new', NEW)
    await bench.pass(2_000)
    await bench.wait(other.supervisor.acceptCode())
    bench.write('c')
    await bench.pass(TAKEOVER_MS)
    expect([stateOf(old), stateOf(waiting), stateOf(other)]).toEqual(['superseded', 'standby', 'running'])
    expect(reasonOf(old)).toMatchObject({
      code: 'code.superseded',
      message: `other code has taken shop over: orders where: "v <> 'x'" → none`,
    })
    other.cut()
    bench.write('d')
    await bench.pass(4 * TAKEOVER_MS)
    expect([stateOf(old), stateOf(waiting)]).toEqual(['superseded', 'running'])
    expect(await bench.rows()).toEqual(['0@0=a#old', '0@1=b#old', '0@2=c#new', '0@3=d#new'])
  })

  it('of two codes on a pipeline of which nothing was read one gives way', async () => {
    const bench = new Bench()
    const old = bench.start('old', OLD)
    await bench.pass(1_000)
    old.supervisor.close()
    await bench.pass(2_000)
    const [a, b] = [bench.start('new', NEW), bench.start('old', OLD)]
    await bench.pass(10 * TAKEOVER_MS)
    const { number } = await bench.head()
    await bench.pass(10 * TAKEOVER_MS)
    expect((await bench.head()).number - number).toBeLessThan(40n)
    bench.write('c')
    await bench.pass(10 * TAKEOVER_MS)
    expect([stateOf(a), stateOf(b)].toSorted()).toEqual(['running', 'superseded'])
  })

  it('is reopened after a cut-over to the same code, and sees one that took a table away', async () => {
    const { bench, old } = await begun()
    const cutOver = async (change: (head: Version) => Partial<VersionContent>): Promise<void> => {
      const head = await bench.head()
      const build = () => Promise.resolve({ ...head, kind: 'cutover' as const, released: true, ...change(head) })
      const result = await bench.wait(bench.chain.append(head, { commitId: bench.clock.uuid(), build }))
      expect(result.kind).toBe('committed')
    }
    await cutOver(({ positions }) => ({ positions: new Map([...positions.keys()].map((id) => [id, 1n])) }))
    bench.write('c')
    await bench.pass(5_000)
    expect(stateOf(old)).toBe('running')
    expect(await bench.rows()).toEqual(['0@0=a#old', '0@1=b#old', '0@1=b#old', '0@2=c#old'])
    await cutOver(({ tables }) => ({ tables: { other: tables['orders']! } }))
    await bench.pass(5_000)
    expect(reasonOf(old)).toMatchObject({
      code: 'code.superseded',
      message: 'other code has taken shop over: orders is no longer there; other came since',
    })
  })
})

describe('accepting code from here on', () => {
  it('keeps the rows, and adds what is new where the pipeline stands', async () => {
    const { bench } = await begun('orders', 'clicks')
    bench.log.append('clicks', 0, [record('before')])
    const clicks = rowTable('clicks', 'clicks')
    const next = shopOf(WIDER.tables[0]!, rowTable('again', 'orders'), clicks)
    const other = bench.start('new', next)
    await bench.pass(2_000)
    const before = await bench.head()
    const version = await bench.wait(other.supervisor.acceptCode())
    expect(version).toMatchObject({ kind: 'cutover', fork: undefined, paused: undefined })
    expect([...version.positions]).toEqual([...before.positions, ['clicks/0', 0n]])
    expect([...version.origins]).toEqual([...before.origins, ['clicks/0', 0n]])
    expect(version.tails).toEqual(before.tails)
    expect(version.tables['orders']!.snapshot).toBe(before.tables['orders']!.snapshot)
    expect(version.tables['orders__dlq']!.metadata).toBe(before.tables['orders__dlq']!.metadata)
    const stored = await bench.wait(openTable(bench.storage, version.tables['orders']!.metadata))
    expect(stored.schema.fields.map(({ name }) => name).slice(0, 2)).toEqual(['v', 'n'])
    const hint = Buffer.from((await bench.storage.get('tables/orders/metadata/version-hint.text'))!).toString()
    expect(stored.metadata).toContain(hint)
    bench.write('c')
    await bench.pass(5_000)
    expect(await bench.rows()).toEqual(['0@0=a#old', '0@1=b#old', '0@2=c#new'])
    expect(await bench.rows('again')).toEqual(['0@2=c#new'])
    expect(await bench.rows('clicks')).toEqual(['0@0=before#new'])
    expect(await bench.wait(other.supervisor.acceptCode())).toEqual(await bench.head())
  })

  it('at the start once: what takes the pipeline over later is not undone', async () => {
    const { bench, old } = await begun()
    const other = bench.start('new', NEW, true)
    await bench.pass(5_000)
    expect([stateOf(old), stateOf(other)]).toEqual(['superseded', 'running'])
    bench.start('wider', WIDER, true)
    await bench.pass(5_000)
    expect([stateOf(old), stateOf(other)]).toEqual(['superseded', 'superseded'])
  })

  it('is refused by name where the rows that are there do not fit, and changes nothing', async () => {
    const { bench, old } = await begun()
    const before = await bench.head()
    const other = bench.start('keyed', KEYED, true)
    await bench.pass(1_000)
    expect(stateOf(other)).toBe('superseded')
    expect(reasonOf(other)).toMatchObject({
      code: 'code.not_continuable',
      message: expect.stringContaining('orders: key changed: rows of the other key are there'),
      fix: expect.stringContaining('kappalake replay start shop'),
    })
    await expect(bench.wait(other.supervisor.acceptCode())).rejects.toMatchObject({ code: 'code.not_continuable' })
    expect([stateOf(old), (await bench.head()).tables]).toEqual(['running', before.tables])
    // Of a pipeline that it does not write, a process with the head's code has nothing to accept.
    const standby = bench.start('old', OLD)
    await bench.pass(2_000)
    expect((await bench.wait(standby.supervisor.acceptCode())).tables).toEqual(before.tables)
  })

  it('of a paused pipeline, it stays paused', async () => {
    const { bench, old } = await begun()
    await bench.wait(old.supervisor.pause('inventory'))
    const other = bench.start('new', NEW, true)
    bench.write('c')
    await bench.pass(5_000)
    expect([stateOf(other), reasonOf(other)!.message]).toEqual(['paused', 'inventory'])
    await bench.wait(other.supervisor.resume())
    await bench.pass(5_000)
    expect((await bench.rows()).at(-1)).toBe('0@2=c#new')
  })

  it('whatever is written and accepted when: each record once, by the code of its time', async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), records: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ kind: fc.constant('accept' as const), code: fc.integer({ min: 0, max: 2 }) }),
      fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 700 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        const bench = new Bench()
        const codes = [OLD, NEW, WIDER].map((definition, k) => [`c${k}`, definition] as const)
        let running = bench.start(...codes[0]!)
        bench.write('first')
        await bench.pass(1_000)
        let written = 1
        for (const each of steps)
          if (each.kind === 'write') for (let k = 0; k < each.records; k++) bench.write(`v${written++}`)
          else if (each.kind === 'wait') await bench.pass(each.ms)
          else {
            const before = running
            running = bench.start(...codes[each.code]!, true)
            await bench.pass(300)
            if (stateOf(before) === 'superseded') before.supervisor.close()
          }
        await bench.pass(6 * TAKEOVER_MS)
        const versions = (await bench.wait(bench.chain.versions(1_000))).toReversed()
        const codeAt = (offset: bigint): string => {
          const version = versions.find(({ positions }) => positions.get('orders/0')! > offset)!
          const { code } = version.tables['orders']!
          return codes[[OLD, NEW, WIDER].findIndex((each) => codeOf(each) === code)]![0]
        }
        const wanted = Array.from(
          { length: written },
          (_, k) => `0@${k}=${k === 0 ? 'first' : `v${k}`}#${codeAt(BigInt(k))}`,
        )
        expect(await bench.rows()).toEqual(wanted.toSorted())
      }),
      { numRuns: 10 },
    )
  })
})

function codeOf({ tables: [table] }: PipelineDefinition): string {
  return codeHash(table!)
}

describe('a table that leaves the definition', () => {
  const both = shopOf(orders, rowTable('again', 'orders'))

  it('stays as it is, and has a hole when its topic goes on without it', async () => {
    const bench = new Bench()
    const first = bench.start('old', both)
    bench.write('a')
    await bench.pass(2_000)
    first.supervisor.close()
    await bench.pass(2_000)
    const alone = bench.start('old', OLD)
    await bench.pass(2_000)
    expect((await bench.head()).tables['again']!.code).not.toBe(LEFT_BEHIND)
    bench.write('b')
    await bench.pass(5_000)
    const { tables } = await bench.head()
    expect([tables['again']!.code, tables['again__dlq']!.code]).toEqual([LEFT_BEHIND, LEFT_BEHIND])
    expect(tables['orders']!.code).not.toBe(LEFT_BEHIND)
    expect(await bench.rows('again')).toEqual(['0@0=a#old'])
    expect(alone.supervisor.status().tables).toEqual(['orders', 'orders__dlq', 'again', 'again__dlq'])
    alone.supervisor.close()
    await bench.pass(2_000)
    const back = bench.start('new', both, true)
    await bench.pass(5_000)
    expect(reasonOf(back)).toMatchObject({
      code: 'code.not_continuable',
      message: expect.stringContaining('again: lacks records'),
    })
  })

  it('put back before its topic went on, it goes on as if nothing had been', async () => {
    const bench = new Bench('orders', 'clicks')
    const two = shopOf(orders, rowTable('clicks', 'clicks'))
    const first = bench.start('old', two)
    bench.write('a')
    bench.log.append('clicks', 0, [record('x')])
    await bench.pass(2_000)
    first.supervisor.close()
    await bench.pass(2_000)
    const alone = bench.start('old', OLD)
    bench.write('b')
    bench.log.append('clicks', 0, [record('y')])
    const flushed = await bench.wait(alone.supervisor.flush())
    expect(Object.fromEntries(flushed.positions)).toEqual({ 'orders/0': 2n, 'clicks/0': 1n })
    expect(alone.supervisor.status().partitions.map(({ partition }) => partition)).toEqual(['orders/0'])
    alone.supervisor.close()
    await bench.pass(2_000)
    bench.start('back', two)
    await bench.pass(5_000)
    expect(await bench.rows('clicks')).toEqual(['0@0=x#old', '0@1=y#back'])
    expect(await bench.rows('orders')).toEqual(['0@0=a#old', '0@1=b#old'])
  })

  it('a table that other code added fences the old, which does not take over when the new one dies', async () => {
    const { bench, old } = await begun()
    const other = bench.start('new', both, true)
    await bench.pass(5_000)
    expect([stateOf(old), stateOf(other)]).toEqual(['superseded', 'running'])
    other.cut()
    bench.write('c')
    await bench.pass(10 * TAKEOVER_MS)
    expect(stateOf(old)).toBe('superseded')
    expect(reasonOf(old)).toMatchObject({ message: expect.stringContaining('again, again__dlq came since') })
  })
})

describe('a table by another name', () => {
  const sales = shopOf({ ...orders, name: 'sales', renamedFrom: 'orders' })

  it('keeps its rows and its folder, and needs to be told once', async () => {
    const { bench, old } = await begun()
    old.supervisor.close()
    await bench.pass(2_000)
    const renamed = bench.start('new', sales)
    bench.write('c')
    await bench.pass(5_000)
    expect(stateOf(renamed)).toBe('running')
    const { tables } = await bench.head()
    expect(Object.keys(tables)).toEqual(['sales', 'sales__dlq'])
    expect(tables['sales']!.metadata).toMatch(/^tables\/orders\/metadata\/v\d/)
    expect(await bench.rows('sales')).toEqual(['0@0=a#old', '0@1=b#old', '0@2=c#new'])
    const hint = Buffer.from((await bench.storage.get('tables/orders/metadata/version-hint.text'))!).toString()
    expect(tables['sales']!.metadata).toContain(hint)
    const back = bench.start('old', OLD)
    await bench.pass(2_000)
    expect(reasonOf(back)).toMatchObject({ code: 'code.changed', message: expect.stringContaining('orders is new') })
    renamed.supervisor.close()
    await bench.pass(2_000)
    const later = bench.start('later', shopOf({ ...orders, name: 'sales' }))
    bench.write('d')
    await bench.pass(5_000)
    expect([stateOf(later), (await bench.rows('sales')).at(-1)]).toEqual(['running', '0@3=d#later'])
  })

  it('stands by while another process writes it by the old name', async () => {
    const { bench, old } = await begun()
    const renamed = bench.start('new', sales)
    await bench.pass(4 * TAKEOVER_MS)
    expect([stateOf(old), stateOf(renamed)]).toEqual(['running', 'standby'])
    old.cut()
    bench.write('c')
    await bench.pass(4 * TAKEOVER_MS)
    expect([stateOf(renamed), (await bench.rows('sales')).at(-1)]).toEqual(['running', '0@2=c#new'])
  })

  it('is not renamed and changed at once, and nobody else gets the old name', async () => {
    const { bench, old } = await begun()
    old.supervisor.close()
    await bench.pass(2_000)
    const both = bench.start('new', shopOf({ ...sales.tables[0]!, where: 'true' }), true)
    await bench.pass(2_000)
    expect(reasonOf(both)).toMatchObject({
      code: 'code.not_continuable',
      message: expect.stringContaining('sales: is orders by another name, and changed as well'),
    })
    const renamed = bench.start('new', sales)
    await bench.pass(2_000)
    renamed.supervisor.close()
    await bench.pass(2_000)
    const second = bench.start('new', shopOf({ ...orders, name: 'sales' }, orders), true)
    await bench.pass(2_000)
    expect(reasonOf(second)).toMatchObject({ code: 'table.claimed', context: { owner: 'sales' } })
  })
})

describe('rolling back', () => {
  it('to other code lets the pipeline go: that code goes on by itself, and ours finds itself superseded', async () => {
    const { bench, old } = await begun()
    const before = await bench.head()
    const other = bench.start('new', NEW, true)
    await bench.pass(2_000)
    bench.write('c')
    await bench.pass(5_000)
    expect((await bench.rows()).at(-1)).toBe('0@2=c#new')
    const back = await bench.wait(other.supervisor.rollback(before.number, ID))
    expect(back).toMatchObject({ kind: 'rollback', paused: undefined, released: true, tables: before.tables })
    await bench.pass(5_000)
    expect([stateOf(old), stateOf(other)]).toEqual(['running', 'superseded'])
    expect(reasonOf(other)!.code).toBe('code.superseded')
    expect(await bench.rows()).toEqual(['0@0=a#old', '0@1=b#old', '0@2=c#old'])
  })

  it('a process whose code was taken over can take it back', async () => {
    const { bench, old } = await begun()
    const before = await bench.head()
    const other = bench.start('new', NEW, true)
    await bench.pass(5_000)
    other.cut()
    await bench.wait(old.supervisor.rollback(before.number, ID))
    bench.write('c')
    await bench.pass(5_000)
    expect(stateOf(old)).toBe('running')
    expect((await bench.rows()).at(-1)).toBe('0@2=c#old')
  })

  it('what a person had paused stays paused', async () => {
    const { bench } = await begun()
    const before = await bench.head()
    const other = bench.start('new', NEW, true)
    await bench.pass(5_000)
    await bench.wait(other.supervisor.pause('inventory'))
    const back = await bench.wait(other.supervisor.rollback(before.number, ID))
    expect(back.paused).toEqual({ reason: 'inventory' })
  })
})
