import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { TableDefinition } from '../../../src/define.ts'
import type { WindowDefinition, WindowKind } from '../../../src/define-window.ts'
import { isSliced } from '../../../src/define-window.ts'
import type { RecordBatch } from '../../../src/log.ts'
import { batchOf, definition, type TestRecord } from '../../support/lake-table.ts'
import { windowDefinition } from './arbitrary.ts'
import { RowsHarness } from './rows-harness.ts'
import {
  B,
  Cells,
  FRAGILE,
  isSeen,
  judge,
  lateOf,
  listed,
  PLAIN,
  POSITIONS,
  recounted,
  Reference,
  sorted,
  VALUES,
  type Event,
  type Placed,
  type Variant,
} from './rows-model.ts'

// Windows over the rows of a keyed table, from records to results, against the rules in plain TypeScript.

function source({ isVersioned, keeps }: Variant): TableDefinition {
  return definition({
    name: 'items',
    columns: [
      { name: 'note', type: { kind: 'string' } },
      { name: 'g', type: { kind: 'string' } },
      { name: 'v', type: { kind: 'long' } },
      { name: 'at', type: { kind: 'long' } },
      { name: 'id', type: { kind: 'string' }, required: true },
      { name: 'rev', type: { kind: 'long' } },
    ],
    eventTime: { column: 'at', unit: 'ms', outOfOrdernessMs: B, idleAfterMs: 0, maxFutureSkewMs: 1e15 },
    key: ['id'],
    recordKey: 'string',
    version: isVersioned ? 'rev' : undefined,
    missing: keeps ? 'keep' : 'null',
  })
}

const event: fc.Arbitrary<Event> = fc.record({
  key: fc.nat(5),
  isTombstone: fc.nat(5).map((n) => n === 0),
  rev: fc.nat(6),
  g: fc.constantFrom('x', 'y', null, undefined),
  v: fc.option(fc.oneof(fc.nat(6), fc.constant(undefined)), { nil: null }),
  at: fc.oneof({ weight: 12, arbitrary: fc.integer({ min: -10, max: 60 }) }, fc.constant(null), fc.constant(undefined)),
  note: fc.constantFrom('a', 'b'),
})

const kind: fc.Arbitrary<WindowKind> = fc.constantFrom<WindowKind>(
  { kind: 'tumbling', sizeMs: 10, offsetMs: 3 },
  { kind: 'hopping', sizeMs: 15, slideMs: 10, offsetMs: 0 },
  { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 },
  { kind: 'cumulate', stepMs: 5, maxMs: 15, offsetMs: 0 },
  { kind: 'session', gapMs: 4 },
)

const window: fc.Arbitrary<WindowDefinition> = fc
  .record({
    kind,
    allowedLatenessMs: fc.constantFrom(0, 7),
    nullGroup: fc.constantFrom('late' as const, 'keep' as const),
    select: fc.constantFrom(PLAIN, VALUES, POSITIONS),
    where: fc.constantFrom(undefined, 'v > 2', FRAGILE),
  })
  .map(({ kind, ...parts }) => windowDefinition(kind, { source: 'items', input: 'rows', groupBy: ['g'], ...parts }))

/** Sizes of commits, each a list of sizes of micro-batches; the last one takes the rest. */
const cuts = fc.array(fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }), { maxLength: 6 })

function recordOf({ key, isTombstone, g, v, at, note, rev }: Event): TestRecord {
  const value = JSON.stringify({ id: String(key), note, g, v, at, rev })
  return { key: String(key), value: isTombstone ? null : value }
}

function batchesOf(events: readonly Placed[]): RecordBatch[] {
  return [0, 1].flatMap((partition) => {
    const mine = events.filter((each) => each.partition === partition)
    if (mine.length === 0) return []
    return [batchOf(mine.map(recordOf), { partition, first: BigInt(mine[0]!.offset) })]
  })
}

const variants: readonly (readonly [string, Variant])[] = [
  ['by offset', { isVersioned: false, keeps: false }],
  ['by version', { isVersioned: true, keeps: false }],
  ['by offset, with values that records keep', { isVersioned: false, keeps: true }],
  ['by version, with values that records keep', { isVersioned: true, keeps: true }],
]

test.each(variants)(
  'windows are what stands, %s: any chunking, any restart',
  { timeout: 120_000 },
  async (_, variant) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { minLength: 1, maxLength: 40 }),
        cuts,
        window,
        fc.infiniteStream(fc.boolean()),
        async (events, cuts, window, restarts) => {
          const reference = new Reference(variant)
          const offsets = [0, 0]
          const harness = await RowsHarness.open(source(variant), window)
          try {
            let at = 0
            for (const commit of [...cuts, [events.length]]) {
              const micro: RecordBatch[][] = []
              for (const size of commit) {
                const placed: Placed[] = []
                for (const each of events.slice(at, at + size)) {
                  // Both partitions side by side: the order between them does not matter.
                  if (reference.lacksBase(each)) continue
                  const partition = each.key % 2
                  placed.push({ ...each, partition, offset: offsets[partition]!++ })
                  reference.apply(placed.at(-1)!)
                }
                at += size
                if (placed.length > 0) micro.push(batchesOf(placed))
              }
              if (micro.length === 0) continue
              const isLast = at >= events.length
              // Sliced windows have rows when they are final; what is settled stays as it is (rules C2 to C4).
              const { clockMsMin } = reference
              const watermarkMs = clockMsMin === undefined ? undefined : clockMsMin - B - 1
              const untilMs = isLast && isSliced(window) ? 10_000 : watermarkMs
              const { retractOfUnknown } = await harness.commit(micro, untilMs, clockMsMin)
              expect(retractOfUnknown).toBe(0)
              if (!isSliced(window) || isLast) {
                const names = ['g', 'window_start', 'window_end', ...window.select.map(({ name }) => name)]
                const results = sorted(harness.results.map((row) => names.map((name) => row[name])))
                const cells = new Cells(window)
                for (const half of reference.halves)
                  if (isSeen(window, half.row)) cells.add(half.row, judge(window, half).counted, half.weight)
                expect(results).toEqual(sorted(cells.results()))
                expect(results).toEqual(sorted(recounted(window, await harness.sourceRows(), harness.late)))
              }
              expect(listed(harness.late)).toEqual(lateOf(window, reference.halves))
              if (isLast) break
              if (restarts.next().value === true) await harness.restart()
            }
          } finally {
            await harness.close()
          }
        },
      ),
      { numRuns: 12 },
    )
  },
)
