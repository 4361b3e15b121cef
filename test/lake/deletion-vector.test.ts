import { crc32 } from '@node-rs/crc32'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DeletedRows } from '../../src/lake/deleted-rows.ts'
import { decodeDeletionVector, encodeDeletionVector } from '../../src/lake/deletion-vector.ts'

// Blobs of Apache Iceberg's own tests: core/src/test/resources/org/apache/iceberg/deletes.
const EMPTY = '0000000cd1d339640000000000000000bf18480c'
const ALTERNATING =
  '0000002ad1d339640100000000000000000000003a30000001000000000004001000000001000300050007000900b3fb20be'
const ALL_KINDS =
  '00000056d1d339640200000000000000000000003b30020006000001000100e6030200fdff0500070001000100e60301000100fdff010000003b30020006000001000100e9010200fdff0a00140001000a00e90101000100fdffc89be397'

const bytes = (hex: string) => Buffer.from(hex, 'hex')
const decoded = (blob: Uint8Array, rows: number) => decodeDeletionVector('f.puffin', blob, rows)

function deletedOf(rows: number, positions: Iterable<number>): DeletedRows {
  const deleted = new DeletedRows(rows)
  for (const position of positions) deleted.add(position)
  return deleted
}

function* range(first: number, last: number) {
  for (let value = first; value <= last; value++) yield value
}

/** A blob around the bytes of one 32-bit bitmap. */
function blobOf(bitmap: Uint8Array, key = 0, count = 1): Buffer {
  const vector = Buffer.concat([Buffer.alloc(16), bitmap])
  vector.writeUInt32LE(0x6439_d3d1, 0)
  vector.writeBigUInt64LE(BigInt(count), 4)
  vector.writeUInt32LE(key, 12)
  return Buffer.concat([u32(vector.length), vector, u32(crc32(vector))])
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4)
  buffer.writeUInt32BE(value)
  return buffer
}

describe('a deletion vector', () => {
  test.each([
    ['none', EMPTY, 10, []],
    ['a few', ALTERNATING, 10, [1, 3, 5, 7, 9]],
  ])('of %s has the bytes that Java writes', (_, hex, rows, positions) => {
    expect(encodeDeletionVector(deletedOf(rows, positions)).toString('hex')).toBe(hex)
    expect([...decoded(bytes(hex), rows).positions()]).toEqual(positions)
  })

  test('may have runs', () => {
    const all = bytes(ALL_KINDS)
    expect(() => decoded(all, 1 << 18)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
    // Its two bitmaps, each as that of a file of its own.
    const second = all.indexOf(bytes('010000003b30'))
    for (const [bitmap, array, run] of [
      [all.subarray(20, second), [5, 7], [1, 999]],
      [all.subarray(second + 4, -4), [10, 20], [10, 499]],
    ] as const) {
      const rows = 3 * 65_536
      const want = [...array, ...range(65_536 + run[0], 65_536 + run[1]), ...range(2 * 65_536 + 1, 2 * 65_536 + 65_534)]
      const found = decoded(blobOf(bitmap), rows)
      expect([...found.positions()]).toEqual(want)
      expect(found.count).toBe(want.length)
      expect(decoded(encodeDeletionVector(found), rows)).toEqual(found)
    }
  })

  test('has offsets beside its runs from four containers on', () => {
    const heads = [0, 1, 2, 3].map((key) => Buffer.from(Uint16Array.of(key, 1).buffer))
    const offsets = Buffer.from(Uint32Array.of(37, 43, 49, 55).buffer)
    const runs = [0, 1, 2, 3].map(() => Buffer.from(Uint16Array.of(1, 7, 1).buffer))
    const cookie = Buffer.from(Uint32Array.of(12_347 | (3 << 16)).buffer)
    const bitmap = Buffer.concat([cookie, Buffer.of(0b1111), ...heads, offsets, ...runs])
    expect([...decoded(blobOf(bitmap), 4 * 65_536).positions()]).toEqual(
      [0, 1, 2, 3].flatMap((key) => [key * 65_536 + 7, key * 65_536 + 8]),
    )
  })

  test.each([4_096, 4_097, 65_536])('of %i rows in one container comes back', (count) => {
    const deleted = deletedOf(200_000, range(65_536, 65_535 + count))
    const blob = encodeDeletionVector(deleted)
    expect(blob.length).toBe(16 + 4 + 8 + 8 + (count <= 4_096 ? 2 * count : 8_192) + 4)
    expect(decoded(blob, 200_000)).toEqual(deleted)
  })

  test('comes back whatever it deletes', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300_000 }),
        fc.array(fc.tuple(fc.nat(299_999), fc.nat(9_000)), { maxLength: 8 }),
        (rows, runs) => {
          const deleted = new DeletedRows(rows)
          for (const [first, more] of runs)
            for (const row of range(first, first + more)) if (row < rows) deleted.add(row)
          expect(decoded(encodeDeletionVector(deleted), rows)).toEqual(deleted)
        },
      ),
      { numRuns: 60 },
    )
  })

  test('of a whole file comes back, and no row more', () => {
    const deleted = new DeletedRows(100_001)
    deleted.addAll()
    const blob = encodeDeletionVector(deleted)
    expect(decoded(blob, 100_001).count).toBe(100_001)
    for (const rows of [100_000, 99_999, 65_536, 1])
      expect(() => decoded(blob, rows)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
  })

  test('that is cut or changed anywhere is corrupt', () => {
    const blob = encodeDeletionVector(deletedOf(70_000, [...range(10, 20), 69_999]))
    for (let at = 0; at < blob.length; at++) {
      const changed = Buffer.from(blob)
      changed[at]! ^= 1
      for (const wrong of [changed, blob.subarray(0, at)])
        expect(() => decoded(wrong, 70_000)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
    }
  })

  test('with values that stand twice, or containers out of order, is corrupt', () => {
    const bitmap = (values: readonly number[], keys = [0]) =>
      Buffer.concat([
        Buffer.from(Uint32Array.of(12_346, keys.length).buffer),
        ...keys.map((key) => Buffer.from(Uint16Array.of(key, values.length - 1).buffer)),
        Buffer.alloc(4 * keys.length),
        ...keys.map(() => Buffer.from(Uint16Array.from(values).buffer)),
      ])
    expect(decoded(blobOf(bitmap([1, 2], [0, 1])), 70_000).count).toBe(4)
    for (const wrong of [blobOf(bitmap([1, 1])), blobOf(bitmap([1, 2], [1, 0])), blobOf(bitmap([1]), 1)])
      expect(() => decoded(wrong, 70_000)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
  })
})
