import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import type { Staged } from '../../src/ingest/lane.ts'
import { PoisonGuard } from '../../src/ingest/poison.ts'

/** A micro-batch of one partition. */
function staged(records: number, failed: number, partition = 0, table = 't'): Staged {
  const counts = { rows: records - failed, deadLetters: failed, tombstones: 0, skipped: 0, clockMs: undefined }
  return {
    lane: 0,
    ranges: [],
    tables: [{ table, files: [], deadLetterFiles: [], counts: new Map([[`c/${partition}` as const, counts]]) }],
    records,
    bytes: 0,
    encodeMs: 0,
  }
}

function stops(guard: PoisonGuard, ...batches: readonly Staged[]): boolean {
  try {
    for (const batch of batches) guard.check(batch)
    return false
  } catch (error) {
    expect((error as LakeError).code).toBe('decode.too_many_dead_letters')
    return true
  }
}

test('half of the last thousand may fail, one more may not', () => {
  expect(stops(new PoisonGuard(), staged(1_000, 500))).toBe(false)
  expect(stops(new PoisonGuard(), staged(1_000, 501))).toBe(true)
  expect(stops(new PoisonGuard(), staged(999, 999))).toBe(false)
  expect(stops(new PoisonGuard(), staged(999, 999), staged(1, 0))).toBe(true)
})

test('a good past excuses nothing', () => {
  const good = Array.from({ length: 50 }, () => staged(20, 0))
  const bad = Array.from({ length: 26 }, () => staged(20, 20))
  expect(stops(new PoisonGuard(), ...good, ...bad.slice(1))).toBe(false)
  expect(stops(new PoisonGuard(), ...good, ...bad)).toBe(true)
  expect(stops(new PoisonGuard(), staged(999, 0), staged(1_000, 1_000))).toBe(true)
})

test('partitions and tables are judged one by one', () => {
  expect(stops(new PoisonGuard(), staged(900, 900, 0), staged(900, 900, 1), staged(900, 900, 0, 'u'))).toBe(false)
  expect(stops(new PoisonGuard(), staged(900, 900, 0), staged(5_000, 0, 1), staged(100, 0, 0))).toBe(true)
})

test('the limits are settings', () => {
  const guard = () => new PoisonGuard({ shareMax: 0.1, records: 10 })
  expect(stops(guard(), staged(10, 1))).toBe(false)
  expect(stops(guard(), staged(10, 2))).toBe(true)
  expect(stops(new PoisonGuard({ shareMax: 1, records: 1 }), staged(5_000, 5_000))).toBe(false)
})

test('it stops exactly when the micro-batches behind the last records say so', () => {
  const batch = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.nat(12)).map(([n, bad]) => [n, Math.min(n, bad)] as const)
  fc.assert(
    fc.property(fc.array(batch, { maxLength: 40 }), fc.integer({ min: 1, max: 30 }), (batches, records) => {
      const isOver = batches.some((_, last) => {
        let [total, failed] = [0, 0]
        for (let k = last; k >= 0 && total < records; k--) {
          total += batches[k]![0]
          failed += batches[k]![1]
        }
        return total >= records && failed > total / 2
      })
      expect(stops(new PoisonGuard({ shareMax: 0.5, records }), ...batches.map(([n, bad]) => staged(n, bad)))).toBe(
        isOver,
      )
    }),
  )
})
