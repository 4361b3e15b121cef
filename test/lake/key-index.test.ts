import fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeyIndex, Moves, SHARDS } from '../../src/lake/key-index.ts'

/** Hash words of a few hundred keys, some of which share their first slot. */
function hashesOf(keys: number): Uint32Array {
  const words = new Uint32Array(keys * 4)
  for (let key = 0; key < keys; key++)
    words.set([Math.imul(key % 7, 0x9e3779b1), key, Math.imul(key, 31), Math.imul(key % 3, 0x5bd1e995)], key * 4)
  return words
}

const KEYS = 300
const HASHES = hashesOf(KEYS)
const operation = fc.record({
  key: fc.nat(KEYS - 1),
  what: fc.constantFrom('put', 'put', 'put', 'remove', 'find'),
  file: fc.nat(5),
  row: fc.nat(1_000_000),
})

test.each([false, true])('is a map, whatever is put and removed (with versions: %s)', (isVersioned) => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 2_000 }), fc.nat(100_000), (operations, reserved) => {
      const index = new KeyIndex(isVersioned)
      index.reserve(reserved)
      const model = new Map<number, readonly [number, number, bigint]>()
      for (const { key, what, file, row } of operations) {
        const before = model.get(key)
        const version = isVersioned ? BigInt(row) - 500_000n : 0n
        index.touch(HASHES, 4 * key, HASHES.length)
        const was = what === 'put' ? index.put(HASHES, 4 * key, file, row, version) : index[what](HASHES, 4 * key)
        expect(was).toBe(before !== undefined)
        if (before !== undefined) expect([index.file, index.row, isVersioned ? index.version : 0n]).toEqual(before)
        if (what === 'put') model.set(key, [file, row, version])
        if (what === 'remove') model.delete(key)
      }
      expect(index.size).toBe(model.size)
      for (let key = 0; key < KEYS; key++) expect(index.find(HASHES, 4 * key)).toBe(model.has(key))
    }),
    { numRuns: 60 },
  )
})

test('follows rows that moved, and nothing else', () => {
  const index = new KeyIndex(false)
  for (let key = 0; key < KEYS; key++) index.put(HASHES, 4 * key, key % 3, key)
  const moved = new Moves([[1, { file: 9, rowOf: (row) => row + 1_000 }]])
  for (let shard = 0; shard < SHARDS; shard++) index.relocate(shard, moved)
  for (let key = 0; key < KEYS; key++) {
    index.find(HASHES, 4 * key)
    expect([index.file, index.row]).toEqual(key % 3 === 1 ? [9, key + 1_000] : [key % 3, key])
  }
})

test('takes 33 bytes a key at most, and grows a shard at a time', () => {
  const index = new KeyIndex(false)
  const words = new Uint32Array(4)
  let state = 1
  const next = () => (state = (Math.imul(state, 0x0019660d) + 0x3c6ef35f) >>> 0)
  let grown = 0
  let bytes = index.bytes
  for (let key = 1; key <= 200_000; key++) {
    for (let k = 0; k < 4; k++) {
      const word = next()
      words[k] = word ^ (word >>> 13)
    }
    index.put(words, 0, 1, key)
    if (key % 1_000 !== 0) continue
    const now = index.bytes
    if (key > 100_000) grown = Math.max(grown, (now - bytes) / now)
    bytes = now
  }
  expect(index.size).toBe(200_000)
  expect(index.bytes / index.size).toBeLessThanOrEqual(33)
  expect(grown).toBeLessThan(0.05)
})

test('room that is made at once is the room that is needed', () => {
  const keys = 200_000
  const index = new KeyIndex(false)
  index.reserve(keys)
  const reserved = index.bytes
  expect(reserved / keys).toBeGreaterThan(24)
  expect(reserved / keys).toBeLessThanOrEqual(33)
  const hashes = Uint32Array.from({ length: 4 * keys }, (_, k) => Math.imul(k + 1, 0x9e3779b1) ^ Math.imul(k, k))
  for (let key = 0; key < keys; key++) index.put(hashes, 4 * key, 0, key)
  expect(index.size).toBe(keys)
  expect(index.bytes / keys).toBeLessThanOrEqual(33)
})

test('moves are found by the number of their file, also of files that share a place', () => {
  // Far apart, beside each other, and with the same last bits.
  const numbers = [0, 1, 2, 4_096, 4_097, 8_192, 12_288, 1_000_000_000, 4_294_967_294]
  fc.assert(
    fc.property(fc.shuffledSubarray(numbers), (gone) => {
      const moves = new Map(gone.map((number, k) => [number, { file: k, rowOf: (row: number) => row }]))
      const found = new Moves(moves)
      expect(numbers.map((number) => found.of(number))).toEqual(numbers.map((number) => moves.get(number)))
    }),
  )
})
