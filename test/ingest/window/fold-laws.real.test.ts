import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { WindowDefinition } from '../../../src/define-window.ts'
import { aggregate, FoldHarness, windowOf } from './fold-harness.ts'
import { FoldModel, type Event } from './fold-model.ts'

const PARTITIONS = 3

const select = [
  aggregate('n', 'count'),
  aggregate('total', 'sum', 'v'),
  aggregate('low', 'min', 'v'),
  aggregate('different', 'count_distinct', 'v'),
  aggregate('sum', 'sum', 'x'),
]

const kinds: readonly (readonly [string, Partial<WindowDefinition>])[] = [
  ['tumbling', { window: { kind: 'tumbling', sizeMs: 10, offsetMs: 3 } }],
  ['tumbling, close', { window: { kind: 'tumbling', sizeMs: 10, offsetMs: 0 }, allowedLatenessMs: 7, emit: 'close' }],
  ['hopping', { window: { kind: 'hopping', sizeMs: 12, slideMs: 5, offsetMs: 0 } }],
  ['cumulate', { window: { kind: 'cumulate', stepMs: 5, maxMs: 15, offsetMs: 0 }, allowedLatenessMs: 2 }],
  ['slices', { window: { kind: 'hopping', sizeMs: 20, slideMs: 5, offsetMs: 1 } }],
  ['slices, no divisor', { window: { kind: 'hopping', sizeMs: 26, slideMs: 6, offsetMs: 0 }, allowedLatenessMs: 4 }],
  ['session', { window: { kind: 'session', gapMs: 4 } }],
  ['session, lateness', { window: { kind: 'session', gapMs: 6 }, allowedLatenessMs: 5 }],
  ['session, close', { window: { kind: 'session', gapMs: 4 }, emit: 'close' }],
  ['one row per window', { window: { kind: 'tumbling', sizeMs: 7, offsetMs: 0 }, groupBy: [] }],
  ['one session', { window: { kind: 'session', gapMs: 2 }, groupBy: [] }],
]

/** A micro-batch: offsets from where its partition is, so that some are late and some far ahead. */
const event = fc.record({
  partition: fc.nat(PARTITIONS - 1),
  g: fc.constantFrom('a', 'a', 'b', null),
  v: fc.integer({ min: -3, max: 3 }),
  ahead: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: -12, max: 6 }) }, fc.integer({ min: -30, max: 40 })),
})

const step = fc.record({
  batches: fc.array(fc.array(event, { maxLength: 12 }), { maxLength: 2 }),
  idle: fc.uniqueArray(fc.nat(PARTITIONS - 1), { maxLength: 2 }),
  after: fc.constantFrom('nothing', 'nothing', 'nothing', 'restart', 'compact results', 'compact state'),
})

/** So few that results come in many parts, or in one. */
const rowsMax = fc.constantFrom(undefined, 1, 4, 15)

describe('what a fold writes is what a recomputation of everything gives', () => {
  test.each(kinds)('%s', { timeout: 300_000 }, async (_, parts) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), rowsMax, async (steps, rowsMax) => {
        const definition = windowOf({ select, ...parts })
        const model = new FoldModel(definition, PARTITIONS)
        const harness = await FoldHarness.open({ select, ...parts }, undefined, rowsMax)
        const isGrouped = definition.groupBy.length > 0
        const at = Array.from({ length: PARTITIONS }, () => 0)
        try {
          for (const { batches, idle, after } of steps) {
            const judged = batches.map((batch) =>
              model.judge(
                batch.map(({ partition, g, v, ahead }): Event => {
                  const ts = at[partition]! + ahead
                  at[partition] = Math.max(at[partition]!, ts) + 1
                  return { partition, g: isGrouped ? g : null, v, ts }
                }),
              ),
            )
            model.commit(new Set(idle))
            const { watermarkMs, clockMsMin } = model
            const folded = await harness.fold({
              batches: judged,
              ...(watermarkMs === undefined ? {} : { watermarkMs }),
              ...(clockMsMin === undefined ? {} : { clockMsMin }),
            })
            expect(results(harness)).toEqual(expectedResults(model))
            expect(state(harness)).toEqual(expectedState(model))
            expect(folded.openRows).toBe(model.cells.length)
            expect(harness.late).toEqual([])
            if (after === 'restart') await harness.restart()
            else if (after === 'compact results') await harness.compact('results')
            else if (after === 'compact state') await harness.compact('state')
          }
        } finally {
          await harness.close()
        }
      }),
      { numRuns: 6 },
    )
  })
})

function results(harness: FoldHarness): string[] {
  return harness.results.rows
    .map((row) =>
      JSON.stringify([
        row['g'] ?? null,
        row['window_start'],
        row['window_end'],
        row['n'],
        row['total'],
        row['low'],
        row['different'],
        row['sum'],
        row['last_event_time'],
        row['_final'],
        row['_corrections'],
      ]),
    )
    .toSorted()
}

function expectedResults(model: FoldModel): string[] {
  return model.table
    .map(({ g, start, end, n, total, low, different, sum, last, final, corrections }) =>
      JSON.stringify([g, start, end, n, total, low, different, sum, last, final, corrections]),
    )
    .toSorted()
}

/** Cells, each with its distinct values and their weights. Sums of doubles are looked at in the results. */
function state(harness: FoldHarness): string[] {
  const { rows } = harness.state
  const identity = (row: Record<string, unknown>): string =>
    JSON.stringify([row['g'], row['__start'], row['__min_end'], isSession(harness) ? 0 : row['__end']])
  return rows
    .filter((row) => row['__part'] === 0)
    .map((row) => {
      const values = rows
        .filter((value) => value['__part'] === 4 && identity(value) === identity(row))
        .toSorted((a, b) => Number(a['different__value']) - Number(b['different__value']))
        .map((value) => `${String(value['different__value'])}:${String(value['different__weight'])}`)
      return JSON.stringify([
        row['g'] ?? null,
        row['__start'],
        row['__end'],
        row['__min_end'] ?? null,
        row['__rows'],
        row['total__sum'],
        row['__last_event'],
        values.join(' '),
      ])
    })
    .toSorted()
}

function isSession({ definition }: FoldHarness): boolean {
  return definition.window.kind === 'session'
}

function expectedState(model: FoldModel): string[] {
  return model.cells
    .map(({ g, start, end, minEnd, n, total, last, weights }) =>
      JSON.stringify([g, start, end, minEnd, n, total, last, weights]),
    )
    .toSorted()
}
