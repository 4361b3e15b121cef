import { readdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addTo,
  ALL_GROUPS,
  GroupSums,
  hexOf,
  subtractFrom,
  type GroupPart,
  type SideNumber,
} from '../../src/ingest/table-work/group-sums.ts'
import { CanonicalBytes, finishStates, mixBytes, seedOf } from '../../src/ingest/table-work/row-hash.ts'
import { match, RECORD_WORDS, RowRecords, shardsOf } from '../../src/ingest/table-work/row-records.ts'
import { perform, remoteWork } from '../../src/ingest/work-messages.ts'
import type { CompareRequest, Comparison } from '../../src/ingest/keys.ts'
import { DeletedRows, typeName } from '../../src/lake/table.ts'
import { writePlan } from '../support/lake-table.ts'

// The pure parts of a comparison, against plain numbers and maps. With DuckDB and files: compare.real.test.ts.

const TWO_128 = 2n ** 128n
const hashes = fc.bigInt({ min: 0n, max: TWO_128 - 1n })

const wordsOf = (hash: bigint): Int32Array =>
  Int32Array.from([96n, 64n, 32n, 0n], (by) => Number((hash >> by) & 0xffff_ffffn))
const hex = (sum: bigint): string => (((sum % TWO_128) + TWO_128) % TWO_128).toString(16).padStart(32, '0')

describe('sums', () => {
  test('are those of numbers modulo 2^128, in any order', () => {
    const steps = fc.array(fc.tuple(hashes, fc.boolean()), { maxLength: 40 })
    fc.assert(
      fc.property(steps, (steps) => {
        const sums = new Uint32Array(8)
        let wanted = 0n
        for (const [hash, isAdded] of steps) {
          ;(isAdded ? addTo : subtractFrom)(sums, 4, Int32Array.of(0, ...wordsOf(hash)), 1)
          wanted += isAdded ? hash : -hash
        }
        expect(hexOf(sums.subarray(4))).toBe(hex(wanted))
        expect(hexOf(sums.subarray(0, 4))).toBe(hex(0n))
      }),
    )
  })

  test('carry over every word', () => {
    const sums = new Uint32Array(4)
    addTo(sums, 0, wordsOf(TWO_128 - 1n), 0)
    expect(hexOf(sums)).toBe('f'.repeat(32))
    addTo(sums, 0, wordsOf(1n), 0)
    expect(hexOf(sums)).toBe('0'.repeat(32))
    subtractFrom(sums, 0, wordsOf(1n), 0)
    expect(hexOf(sums)).toBe('f'.repeat(32))
  })
})

describe('groups', () => {
  const sides = fc.constantFrom<SideNumber>(0, 1)
  const rows = fc.array(fc.record({ side: sides, group: fc.nat(60), hash: fc.oneof(hashes, fc.constant(0n)) }), {
    maxLength: 120,
  })
  // The first word decides which turn a group has, the last one its place.
  const hashOfGroup = (group: number): Int32Array => Int32Array.of(Math.imul(group, 0x9e37_79b1), 7, 7, group % 3)

  test.each([1, 2, 5, 1_000])('of at most %i at once differ where their sums or their rows do', (groupsMax) => {
    fc.assert(
      fc.property(rows, (rows) => {
        const wanted = new Map<number, { sum: bigint; rows: [number, number]; place: number }>()
        rows.forEach(({ side, group, hash }, place) => {
          const known = wanted.get(group) ?? { sum: 0n, rows: [0, 0], place }
          known.rows[side]++
          known.sum = (known.sum + (side === 0 ? hash : TWO_128 - hash)) % TWO_128
          wanted.set(group, known)
        })
        const found = new Map<string, unknown>()
        const parts: GroupPart[] = [ALL_GROUPS]
        while (parts.length > 0) {
          const sums = new GroupSums(parts.pop()!, groupsMax, (rest) => parts.push(rest))
          rows.forEach(({ side, group, hash }, place) => sums.add(side, hashOfGroup(group), 0, wordsOf(hash), 0, place))
          expect(sums.size).toBeLessThanOrEqual(groupsMax)
          for (const group of wanted.keys()) {
            const number = sums.find(hashOfGroup(group), 0)
            if (number < 0) continue
            // Each group has one turn.
            expect(found.has(String(group))).toBe(false)
            found.set(String(group), {
              rows: [sums.rows(number, 0), sums.rows(number, 1)],
              place: sums.place(number),
              isDifferent: sums.isDifferent(number),
            })
          }
        }
        expect(found).toEqual(
          new Map(
            [...wanted].map(([group, { sum, rows, place }]) => [
              String(group),
              { rows, place, isDifferent: sum !== 0n || rows[0] !== rows[1] },
            ]),
          ),
        )
      }),
      { numRuns: 50 },
    )
  })

  test('many of them grow', () => {
    const sums = new GroupSums(ALL_GROUPS, Infinity, () => undefined)
    const at = (group: number): Int32Array => Int32Array.of(group, group, group, group)
    for (let group = 0; group < 5_000; group++)
      for (const side of [0, 1] as const) sums.add(side, at(group), 0, at(group % 7 === side ? 1 : 2), 0, group)
    expect(sums.size).toBe(5_000)
    for (let group = 0; group < 5_000; group++)
      expect(sums.isDifferent(sums.find(at(group), 0))).toBe(group % 7 === 0 || group % 7 === 1)
    expect(sums.find(at(5_000), 0)).toBe(-1)
  })
})

describe('rows by key', () => {
  const records = fc.array(fc.tuple(fc.nat(6), fc.nat(3)), { maxLength: 30 })
  const wordsOfRecords = (rows: readonly (readonly [number, number])[]): Uint32Array =>
    Uint32Array.from(rows.flatMap(([key, row], place) => [key, 0, row, key % 2, 9, place]))

  test('are paired as bags are', () => {
    fc.assert(
      fc.property(records, records, (before, after) => {
        const left = [...before.keys()]
        const came = [...after.keys()].filter((k) => {
          const same = left.findIndex((b) => before[b]!.join() === after[k]!.join())
          if (same >= 0) left.splice(same, 1)
          return same < 0
        })
        const keys = [...new Set([...before, ...after].map(([key]) => key))]
        const counts = keys.map((key) => [
          left.filter((b) => before[b]![0] === key).length,
          came.filter((a) => after[a]![0] === key).length,
        ])
        const changed = counts.reduce((sum, [b, a]) => sum + Math.min(b!, a!), 0)
        const [marksBefore, marksAfter]: [number[], number[]] = [[], []]
        const found = match(
          wordsOfRecords(before),
          wordsOfRecords(after),
          (file, place) => marksBefore.push(file === 9 ? place : -1),
          (file, place) => marksAfter.push(file === 9 ? place : -1),
        )
        expect(found).toEqual({ added: came.length - changed, removed: left.length - changed, changed })
        const values = (rows: readonly (readonly [number, number])[], marks: readonly number[]): string[] =>
          marks.map((mark) => rows[mark]!.join()).toSorted()
        expect(values(before, marksBefore)).toEqual(values(before, left))
        expect(values(after, marksAfter)).toEqual(values(after, came))
        expect(new Set(marksBefore).size).toBe(left.length)
      }),
    )
  })

  test('of one key, however many, take no longer than others', () => {
    const many = Array.from({ length: 60_000 }, (_, k) => [3, k] as const)
    const found = match(
      wordsOfRecords(many),
      wordsOfRecords(many.map(([key, row]) => [key, row + 30_000])),
      () => undefined,
      () => undefined,
    )
    expect(found).toEqual({ added: 0, removed: 0, changed: 30_000 })
  })

  test('are in the shard of their key, in memory or in files', async () => {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-records-'))
    try {
      for (const shards of [1, 3]) {
        const kept = new RowRecords(shards, path.join(folder, 'r'))
        for (let k = 0; k < 4_500; k++) {
          const key = Int32Array.of(1, 2, k % 50, 0)
          kept.add(key, 0, Int32Array.of(k, -k, 0, 0), 0, 5, k)
          if (k % 2_048 === 0) await kept.flush()
        }
        const places: number[] = []
        for (let shard = 0; shard < shards; shard++) {
          const words = await kept.take(shard)
          for (let at = 0; at < words.length; at += RECORD_WORDS) {
            const [k1, k2, r1, r2, file, place] = words.subarray(at, at + RECORD_WORDS)
            expect([k1, k2, r1! | 0, r2! | 0, file]).toEqual([1, 2, place, place === 0 ? 0 : -place!, 5])
            expect((place! % 50) % shards).toBe(shard)
            places.push(place!)
          }
        }
        expect(places.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 4_500 }, (_, k) => k))
        await kept.discard()
      }
      expect(readdirSync(folder)).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('have as many shards as they need', () => {
    expect([0, 10, 11, 100].map((rows) => shardsOf(rows, 10))).toEqual([1, 1, 2, 10])
  })
})

describe('hashes', () => {
  const hashOf = (bytes: Uint8Array, start = 0): string => {
    const states = Int32Array.from(seedOf([]))
    mixBytes(states, 0, new DataView(bytes.buffer, bytes.byteOffset), start, bytes.length - start)
    finishStates(states, 1)
    return [...states].join()
  }

  test('depend on every byte and on the length, wherever the value lies', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(), fc.integer({ min: 1, max: 255 }), (bytes, k, by) => {
        const moved = new Uint8Array(bytes.length + 3)
        moved.set(bytes, 3)
        expect(hashOf(moved, 3)).toBe(hashOf(bytes))
        expect(hashOf(Uint8Array.from([...bytes, 0]))).not.toBe(hashOf(bytes))
        if (bytes.length === 0) return
        const other = bytes.slice()
        other[k % bytes.length]! ^= by
        expect(hashOf(other)).not.toBe(hashOf(bytes))
      }),
    )
  })

  test('begin with the names and types of the columns', () => {
    const seeds = [
      [{ name: 'a', type: 'int' }],
      [{ name: 'a', type: 'long' }],
      [{ name: 'b', type: 'int' }],
      [
        { name: 'a', type: 'int' },
        { name: 'b', type: 'int' },
      ],
      [],
    ].map((columns) => [...seedOf(columns)].join())
    expect(new Set(seeds).size).toBe(seeds.length)
  })

  test('types are the same whatever the ids, what is required and the order of fields', () => {
    const field = (name: string, id: number) => ({ id, name, required: id === 1, type: 'decimal(4, 2)' })
    const [one, other] = [
      [field('a', 1), field('b', 2)],
      [field('b', 7), field('a', 9)],
    ].map((fields) =>
      typeName({ type: 'list', 'element-id': 3, 'element-required': false, element: { type: 'struct', fields } }),
    )
    expect(one).toBe('list<struct<"a":decimal(4,2),"b":decimal(4,2)>>')
    expect(other).toBe(one)
  })

  test('parts of values are written with their length', () => {
    const bytes = new CanonicalBytes()
    const outer = bytes.open()
    bytes.null()
    const inner = bytes.open()
    bytes.copy(new Uint8Array(3_000).fill(7), 0, 3_000)
    bytes.byte(1)
    bytes.close(inner)
    bytes.close(outer)
    const written = Buffer.from(bytes.bytes.buffer, 0, bytes.end)
    expect(written.subarray(0, 12).toString('hex')).toBe('00000bc1' + 'ffffffff' + '00000bb9')
    expect(written).toHaveLength(12 + 3_001)
  })
})

test('a request and its deleted rows pass through a lane', async () => {
  const plan = writePlan('t', [{ name: 'a', type: { kind: 'int' } }])
  const file = { key: 'k', recordCount: 70, fileSizeBytes: 1, partition: [], metrics: new Map() }
  const deleted = new DeletedRows(70)
  deleted.add(69)
  const side = { plan, rows: [{ file, deleted }] }
  const request: CompareRequest = {
    before: side,
    after: { plan, rows: [] },
    columns: ['a'],
    key: ['a'],
    group: [],
    within: [{ column: 'a', fromUs: 1n }],
    samplesMax: 1,
    groupsMax: 1,
  }
  const comparison = { rowsBefore: 1n } as Comparison
  const asked: CompareRequest[] = []
  const work = { compare: (request: CompareRequest) => Promise.resolve(comparison).finally(() => asked.push(request)) }
  const remote = remoteWork((call) => {
    expect(call).toMatchObject({ plan: { table: 't' } })
    return perform(work as never, structuredClone(call))
  })
  expect(await remote.compare(request)).toEqual(comparison)
  expect(asked[0]).toEqual(request)
  expect(asked[0]!.before.rows[0]!.deleted.has(69)).toBe(true)
})
