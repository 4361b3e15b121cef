import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { lateTable, type WindowKind } from '../../src/define-window.ts'
import { seedingOf } from '../../src/ingest/pipeline.ts'
import type { Positions } from '../../src/log.ts'
import type { Clocks, Version } from '../../src/version.ts'
import { beginFork, reachBase, type ForkParts } from '../support/fork.ts'
import { runOnce } from '../support/fork-lake.ts'
import { windowOf } from '../support/window-cases.ts'
import { Lakes, type Lake } from '../support/window-lake.ts'

// Rule R2: a replay from the middle of the log judges by the clocks that stand there, and leaves out windows that may lack
// input, for ever.

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

const HOW = { lanes: 1, recordsMax: 2, offsetsMax: 3 } as const

function pipelineOf(window: WindowKind, allowedLatenessMs: number): PipelineDefinition {
  const source = table('t', {
    from: { topic: 'c' },
    columns: { at: 'long', g: 'string' },
    eventTime: { column: 'at', unit: 'ms', outOfOrderness: '5ms', idleAfter: '1h', maxFutureSkew: '1000h' },
  })
  const select = windowOf(window).select.filter(({ name }) => name === 'n')
  const windows = [{ ...windowOf(window), select, groupBy: [], allowedLatenessMs }]
  return { name: 'p', tables: [source], windows, onDataLoss: 'stop' }
}

function append(lake: Lake, partition: number, ...events: readonly number[]): void {
  const records = events.map((at) => ({ timestampMs: 0, key: undefined, value: Buffer.from(JSON.stringify({ at })) }))
  lake.log.append('c', partition, records)
}

interface Replayed {
  readonly base: Version
  readonly seededMs: Clocks
  /** Where the fork reached its base. */
  readonly built: Version
  readonly head: Version
}

/** The window made anew from the middle on; `more` is appended once its fork has reached its base. */
async function replay(lake: Lake, from: Positions, more: () => void = () => undefined): Promise<Replayed> {
  const { storage, log, definition } = lake
  const base = await runOnce({ storage, log, chain: lake.chain, definition, ...HOW })
  const parts: ForkParts = { storage, definition, rebuilt: new Set(['w']), base, before: definition }
  const seeding = await beginFork({ ...parts, until: from })
  const { definition: sources, unwritten } = seedingOf(seeding.part)
  const run = { unwritten, watermarksMsMin: {} }
  const seeded = await runOnce({
    storage,
    log,
    chain: seeding.chain,
    definition: sources,
    fork: run,
    until: from,
    ...HOW,
  })
  const { clocksMs: seededMs } = seeded
  const fork = await beginFork({ ...parts, from, seededMs })
  const of = { storage, log, chain: fork.chain, fork: fork.run, ...HOW }
  const built = await runOnce({ ...of, definition: fork.part.definition, until: fork.until })
  await reachBase(fork, { ...parts, from })
  more()
  return { base, seededMs, built, head: await runOnce({ ...of, definition }) }
}

const ROWS = 'epoch_ms(window_start)::INTEGER, epoch_ms(window_end)::INTEGER, n::INTEGER'
const LATE = `_kafka_partition, _offset::INTEGER, [epoch_ms(w.start)::INTEGER FOR w IN _late_windows]::VARCHAR`
const rowsOf = async (lake: Lake, version: Version, name = 'w', columns = ROWS): Promise<string[]> =>
  (await lake.rows(version, name, columns)).map((row) => row.join(' ')).toSorted()

describe('R2', () => {
  test('the example of section 16: p0 = 3, 12, 25, 8, replayed from o1', { timeout: 120_000 }, async () => {
    const lake = await lakes.create(pipelineOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 0), 1)
    append(lake, 0, 3, 12, 25, 8)
    const { base, seededMs, head } = await replay(lake, new Map([['c/0', 1n]]))
    expect(await rowsOf(lake, base)).toEqual(['0 10 1', '10 20 1', '20 30 1'])
    expect(await rowsOf(lake, base, lateTable('w'), LATE)).toEqual(['0 3 [0]'])
    expect(seededMs).toEqual({ t: { 'c/0': 3 } })
    // [0, 10) starts at or before 3, so that o0 may be missing in it: it is left out, and o3 is late for no window.
    expect(await rowsOf(lake, head)).toEqual(['10 20 1', '20 30 1'])
    expect(await rowsOf(lake, head, lateTable('w'), LATE)).toEqual([])
  })

  test('its clocks are those of its base, whose record may lie before the start', { timeout: 120_000 }, async () => {
    const lake = await lakes.create(pipelineOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 0), 2)
    append(lake, 0, 40, 31, 52)
    append(lake, 1, 12, 63, 61, 70, 21)
    const from: Positions = new Map([
      ['c/0', 3n],
      ['c/1', 2n],
    ])
    const { base, seededMs, built, head } = await replay(lake, from)
    expect(seededMs).toEqual({ t: { 'c/0': 52, 'c/1': 63 } })
    expect(built.clocksMs).toEqual(base.clocksMs)
    expect(built.watermarksMs).toEqual(base.watermarksMs)
    expect(await rowsOf(lake, head)).toEqual(['70 80 1'])
  })

  test('what is left out stays out, also when a run begins again', { timeout: 120_000 }, async () => {
    const lake = await lakes.create(pipelineOf({ kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, 1_000), 1)
    append(lake, 0, 3, 12, 25)
    // In time for [0, 10), by L, and for [10, 20).
    const { head } = await replay(lake, new Map([['c/0', 1n]]), () => append(lake, 0, 5, 15))
    expect(await rowsOf(lake, head)).toEqual(['10 20 2', '20 30 1'])
    expect(await rowsOf(lake, head, lateTable('w'), LATE)).toEqual([])
  })

  test('what is not left out is what it was', { timeout: 300_000 }, async () => {
    const given = fc.record({
      window: fc.constantFrom<WindowKind>(
        { kind: 'tumbling', sizeMs: 10, offsetMs: 0 },
        { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
        { kind: 'cumulate', stepMs: 5, maxMs: 15, offsetMs: 0 },
      ),
      events: fc.array(fc.tuple(fc.nat(1), fc.integer({ min: 0, max: 12 })), { minLength: 4, maxLength: 20 }),
      share: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
      allowedLatenessMs: fc.constantFrom(0, 6),
    })
    await fc.assert(
      fc.asyncProperty(given, async ({ window, events, share, allowedLatenessMs }) => {
        const lake = await lakes.create(pipelineOf(window, allowedLatenessMs), 2)
        for (const [k, [partition, lag]] of events.entries()) append(lake, partition, 4 * k - 2 * lag)
        const ends = [0, 1].map((p) => Math.floor(share[p]! * Number(lake.log.end('c', p))))
        const from: Positions = new Map([
          ['c/0', BigInt(ends[0]!)],
          ['c/1', BigInt(ends[1]!)],
        ])
        const { base, seededMs, head } = await replay(lake, from)
        const fromMs = Math.max(-Infinity, ...Object.values(seededMs['t'] ?? {})) + 1
        const isThere = (row: string): boolean => Number(row.split(' ')[0]) >= fromMs
        expect(await rowsOf(lake, head)).toEqual((await rowsOf(lake, base)).filter(isThere))
        const late = (await rowsOf(lake, base, lateTable('w'), LATE)).flatMap((row) => {
          const [partition, offset, list] = row.split(/ (?=\d+ \[)| (?=\[)/) as [string, string, string]
          const starts = (JSON.parse(list) as number[]).filter((start) => start >= fromMs)
          return starts.length === 0 ? [] : [`${partition} ${offset} [${starts.join(', ')}]`]
        })
        expect(await rowsOf(lake, head, lateTable('w'), LATE)).toEqual(late)
      }),
      { numRuns: 5 },
    )
  })
})
