import { beforeEach, describe, expect, it } from 'vitest'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { partOf } from '../../src/ingest/pipeline.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { PartitionId, Positions } from '../../src/log.ts'
import { withKnownClocks, type Span } from '../../src/replay/span.ts'
import type { Clocks } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { committed, content } from '../support/scripted-chain.ts'
import { windowOf } from '../support/window-cases.ts'

// Rule R2: clocks at the start of a replay come from the newest kept version before it, and from what is between.

const columns = { at: 'long', g: 'string required', v: 'long' } as const
const source = table('t', { from: { topic: 'c' }, columns, eventTime: { column: 'at', unit: 'ms' } })
const definition: PipelineDefinition = {
  name: 'shop',
  onDataLoss: 'stop',
  tables: [source],
  windows: [windowOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 })],
}
const part = partOf(definition, new Set(['w']))

let chain: Chain

beforeEach(() => {
  chain = openChain(new MemoryStorage('clocks'), 'shop', new InstantClock())
})

async function stands(offsets: readonly number[], clocks: readonly number[], code = codeHash(source)): Promise<void> {
  const clocksMs: Clocks = { t: Object.fromEntries(clocks.map((ms, p) => [`c/${p}`, ms])) }
  const tables = { t: { metadata: 'm', snapshot: undefined, code } }
  const made = content(0n, { positions: at(...offsets), clocksMs, tables })
  const head = await chain.head()
  const commitId = `c${(head?.number ?? 0n) + 1n}`
  await committed(chain, head, { commitId, build: () => Promise.resolve(made) })
}

function at(...offsets: readonly number[]): Positions {
  return new Map(offsets.map((offset, p) => [`c/${p}` as PartitionId, BigInt(offset)]))
}

function span(from: Positions, seedFrom: Positions | undefined): Span {
  return { from, until: at(100, 100), seedFrom, clocksMs: {}, topicIds: {} }
}

describe('the clocks of a replay from the middle', () => {
  it('are those of the newest version that has passed nothing of it', async () => {
    await stands([3, 3], [30, 31])
    await stands([5, 6], [50, 61])
    await stands([9, 6], [90, 61])
    const found = await withKnownClocks(span(at(8, 7), at(0, 0)), part, chain)
    expect(found).toMatchObject({ seedFrom: at(5, 6), clocksMs: { t: { 'c/0': 50, 'c/1': 61 } } })
    expect((await withKnownClocks(span(at(8, 5), at(0, 0)), part, chain)).seedFrom).toEqual(at(3, 3))
  })

  it('begin at the first position where no version stands before it', async () => {
    const whole = span(at(8, 2), at(1, 0))
    expect(await withKnownClocks(whole, part, chain)).toBe(whole)
    await stands([3, 3], [30, 31])
    expect(await withKnownClocks(whole, part, chain)).toBe(whole)
  })

  it('begin at the first position where other code judged event times', async () => {
    await stands([3, 3], [30, 31], 'another')
    const whole = span(at(8, 7), at(0, 0))
    expect(await withKnownClocks(whole, part, chain)).toBe(whole)
  })

  it('are none of partitions that came later, and of others that the replay does not read', async () => {
    await stands([3, 4], [30, 40])
    const later: PartitionId = 'c/2'
    const from = new Map([...at(8), [later, 5n]])
    const seedFrom = new Map([...at(0), [later, 2n]])
    const found = await withKnownClocks(span(from, seedFrom), part, chain)
    expect(found.seedFrom).toEqual(new Map([...at(3), [later, 2n]]))
    expect(found.clocksMs).toEqual({ t: { 'c/0': 30 } })
  })

  it('are not asked for where rows begin with the log', async () => {
    await stands([3, 3], [30, 31])
    const whole = span(at(0, 0), undefined)
    expect(await withKnownClocks(whole, part, chain)).toBe(whole)
  })
})
