import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { readWindows, type Piece } from '../../../src/ingest/archive/windows.ts'

interface Row {
  readonly partition: number
  readonly offset: bigint
}

/** Rows of some partitions, with gaps, in files that are written as they come and then put together here and there. */
const archive = fc
  .record({
    batches: fc.array(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 5 })), {
        minLength: 1,
        maxLength: 8,
      }),
      { minLength: 1, maxLength: 12 },
    ),
    merges: fc.array(fc.uniqueArray(fc.nat({ max: 11 }), { minLength: 2, maxLength: 5 }), { maxLength: 3 }),
  })
  .map(({ batches, merges }) => {
    const next = [0n, 0n, 0n, 0n]
    let files: Row[][] = batches.map((steps) =>
      steps.map(([partition, step]) => {
        const offset = next[partition]! + BigInt(step) - 1n
        next[partition] = offset + 1n
        return { partition, offset }
      }),
    )
    for (const merge of merges) {
      const chosen = new Set(merge.filter((k) => k < files.length))
      const merged = files.filter((_, k) => chosen.has(k)).flat()
      files = [...files.filter((_, k) => !chosen.has(k)), ...(merged.length > 0 ? [merged] : [])]
    }
    return { files, next }
  })

function piecesOf(files: readonly (readonly Row[])[]): Piece[] {
  return files.flatMap((rows, file) =>
    [...new Set(rows.map(({ partition }) => partition))].map((partition) => {
      const offsets = rows.filter((row) => row.partition === partition).map(({ offset }) => offset)
      const [first, last] = [offsets.reduce((a, b) => (b < a ? b : a)), offsets.reduce((a, b) => (b > a ? b : a))]
      return { file, partition, first, last, rows: offsets.length }
    }),
  )
}

test('windows hold each row of the ranges once, in order, whatever lies in which file', () => {
  fc.assert(
    fc.property(archive, fc.integer({ min: 1, max: 12 }), fc.nat({ max: 6 }), ({ files, next }, rowsMax, skipped) => {
      const ranges = new Map(next.map((until, p) => [p, { from: until < skipped ? until : BigInt(skipped), until }]))
      const seen: Row[] = []
      const at = new Map([...ranges].map(([p, { from }]) => [p, from]))
      for (const window of readWindows(piecesOf(files), ranges, rowsMax)) {
        for (const [partition, { from, until }] of window.ranges) {
          expect(from).toBe(at.get(partition))
          expect(until).toBeGreaterThan(from)
          at.set(partition, until)
        }
        const rows = window.files.flatMap((file) => files[file]!)
        const inside = rows.filter(({ partition, offset }) => {
          const range = window.ranges.get(partition)
          return range !== undefined && offset >= range.from && offset < range.until
        })
        seen.push(...inside.toSorted((a, b) => a.partition - b.partition || Number(a.offset - b.offset)))
      }
      expect(at).toEqual(new Map([...ranges].map(([p, { until }]) => [p, until])))
      for (const [p, { from, until }] of ranges) {
        const all = files.flat().filter((row) => row.partition === p && row.offset >= from && row.offset < until)
        expect(seen.filter(({ partition }) => partition === p)).toEqual(
          all.toSorted((a, b) => Number(a.offset - b.offset)),
        )
      }
    }),
  )
})

test('files that were written one after the other are read once each, whatever partitions they hold', () => {
  const files = Array.from({ length: 40 }, (_, k) =>
    [0, 1, 2].flatMap((partition) => [0, 1].map((i) => ({ partition, offset: BigInt(2 * k + i) }))),
  )
  const ranges = new Map([0, 1, 2].map((p) => [p, { from: 0n, until: 80n }]))
  const reads = [...readWindows(piecesOf(files), ranges, 30)].map((window) => window.files)
  expect(reads.flat().toSorted((a, b) => a - b)).toEqual([...files.keys()])
  expect(reads.length).toBe(8)
})

test('a file of very many rows is read in windows of about the wanted size', () => {
  const piece = { file: 0, partition: 0, first: 0n, last: 999_999n, rows: 1_000_000 }
  const windows = [...readWindows([piece], new Map([[0, { from: 0n, until: 1_000_000n }]]), 100_000)]
  const sizes = windows.map(({ ranges }) => Number(ranges.get(0)!.until - ranges.get(0)!.from))
  expect(sizes.reduce((a, b) => a + b)).toBe(1_000_000)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(200_000)
  expect(windows.length).toBeLessThanOrEqual(12)
})

test('what lies before a range or behind it is not read', () => {
  const pieces = Array.from({ length: 10 }, (_, file) => ({
    file,
    partition: 0,
    first: BigInt(10 * file),
    last: BigInt(10 * file + 9),
    rows: 10,
  }))
  const windows = [...readWindows(pieces, new Map([[0, { from: 35n, until: 51n }]]), 1_000)]
  expect(windows).toEqual([{ files: [3, 4, 5], ranges: new Map([[0, { from: 35n, until: 51n }]]) }])
})
