import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { offsetRanges } from '../../../src/dead-letters.ts'
import type { Stands } from '../../../src/ingest/fillings.ts'
import { DELETE, TRUNCATE, type StagedKeys } from '../../../src/ingest/keys.ts'
import { AskedKeys } from '../../../src/ingest/letters/asked-keys.ts'
import { questionsOf } from '../../../src/ingest/letters/judge.ts'

// Where a record that is read again stands among those of its key, against a plain fold of the whole log.

interface Operation {
  readonly key: number
  /** `bare`: a null value, which has no version. */
  readonly what: 'upsert' | 'delete' | 'bare'
  readonly version: number
  readonly isDead: boolean
}

interface Placed extends Operation {
  readonly offset: number
}

const PARTITION = 3

function keysOf(operations: readonly Placed[], isVersioned: boolean): StagedKeys {
  const bare = new Uint32Array((operations.length + 31) >>> 5)
  for (const [k, { what }] of operations.entries()) if (what === 'bare' && isVersioned) bare[k >>> 5]! |= 1 << (k & 31)
  return {
    count: operations.length,
    hashes: Uint32Array.from(operations.flatMap(({ key }) => [key, 7, 8, 9])),
    files: Int32Array.from(operations, ({ what }) => (what === 'upsert' ? 0 : DELETE)),
    rows: Uint32Array.from(operations.keys()),
    offsets: BigInt64Array.from(operations, ({ offset }) => BigInt(offset)),
    runs: operations.length === 0 ? [] : [{ partition: PARTITION, count: operations.length }],
    versions: isVersioned
      ? BigInt64Array.from(operations, ({ what, version }) => (what === 'bare' ? 0n : BigInt(version)))
      : undefined,
    bare: isVersioned ? bare : undefined,
    holes: undefined,
  }
}

interface State {
  /** Undefined: it was removed. */
  readonly row: number | undefined
  readonly version: number
}

/** Rules U1, U2, U4 and U5, one record after the other. */
function fold(state: Map<number, State>, { key, what, version, offset }: Placed, isVersioned: boolean): void {
  const stands = state.get(key)
  if (!isVersioned) {
    if (what === 'upsert') state.set(key, { row: offset, version: 0 })
    else state.delete(key)
  } else if (what === 'bare') {
    if (stands?.row !== undefined) state.set(key, { row: undefined, version: stands.version })
  } else if (stands === undefined || stands.version <= version)
    state.set(key, { row: what === 'upsert' ? offset : undefined, version })
}

function rowsOf(state: ReadonlyMap<number, State>): unknown {
  return [...state].flatMap(([key, { row }]) => (row === undefined ? [] : [[key, row]])).toSorted()
}

const operation: fc.Arbitrary<Operation> = fc.record({
  key: fc.nat(3),
  what: fc.constantFrom('upsert', 'upsert', 'delete', 'bare'),
  version: fc.nat(4),
  isDead: fc.boolean(),
})

test.each([false, true])('versions %s: read again, the log is what it would have been', (isVersioned) => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 25 }), (list) => {
      const log = list
        .map((each, offset): Placed => ({ ...each, offset }))
        // A null value says nothing of versions: what it would have removed, had that been there, is not made up for.
        .filter(({ what }) => !isVersioned || what !== 'bare')
      const state = new Map<number, State>()
      for (const each of log) if (!each.isDead) fold(state, each, isVersioned)
      const again = log.filter(({ isDead }) => isDead)
      const keys = keysOf(again, isVersioned)
      const standing = (k: number): Stands | undefined => {
        const stands = state.get(again[k]!.key)
        if (stands === undefined) return undefined
        const row = stands.row === undefined ? undefined : { key: 'file', row: stands.row }
        return { row, version: BigInt(stands.version), partition: PARTITION }
      }
      const hasTombstones = !isVersioned
      const asked = questionsOf(keys, { isVersioned, hasTombstones, hasDeletes: true }, standing)
      const later = new AskedKeys({
        isBareOnly: isVersioned,
        hashes: Uint32Array.from(asked.log.flatMap((k) => [again[k]!.key, 7, 8, 9])),
        partitions: Int32Array.from(asked.log, () => PARTITION),
        offsets: BigInt64Array.from(asked.log, (k) => BigInt(again[k]!.offset)),
      })
      later.saw(keysOf(log, isVersioned))
      const stale = new Set([
        ...asked.stale,
        ...asked.rows.filter(({ operation: k, row }) => row > again[k]!.offset).map(({ operation: k }) => k),
        ...asked.log.filter((_, n) => later.isLater[n] === 1),
      ])
      for (const [k, each] of again.entries()) if (!stale.has(k)) fold(state, each, isVersioned)
      const whole = new Map<number, State>()
      for (const each of log) fold(whole, each, isVersioned)
      // A delete that ties with the version of another record of its key is told from it by nothing but the log.
      const isTied = log.some(({ key, version, what }, k) =>
        log.some((each, j) => j !== k && each.key === key && each.version === version && what === 'delete'),
      )
      if (!isVersioned || !isTied) expect(rowsOf(state)).toEqual(rowsOf(whole))
    }),
    { numRuns: 500 },
  )
})

test('a key of two partitions is left to a person', () => {
  const keys = keysOf([{ key: 1, what: 'upsert', version: 0, isDead: true, offset: 4 }], false)
  const rules = { isVersioned: false, hasTombstones: true, hasDeletes: true }
  const elsewhere: Stands = { row: { key: 'f', row: 0 }, version: 0n, partition: PARTITION + 1 }
  expect(questionsOf(keys, rules, () => elsewhere)).toMatchObject({ undecided: [0], rows: [], log: [] })
  const two = {
    ...keysOf(
      [1, 2].map((offset) => ({ key: 1, what: 'upsert' as const, version: 0, isDead: true, offset })),
      false,
    ),
  }
  const runs = [
    { partition: 1, count: 1 },
    { partition: 2, count: 1 },
  ]
  expect(questionsOf({ ...two, runs }, rules, () => undefined)).toMatchObject({ undecided: [1], log: [0] })
})

test('where nothing can be removed, nothing is asked of the log', () => {
  const keys = keysOf([{ key: 1, what: 'upsert', version: 0, isDead: true, offset: 4 }], false)
  const rules = { isVersioned: false, hasTombstones: false, hasDeletes: false }
  expect(questionsOf(keys, rules, () => undefined)).toEqual({ stale: [], undecided: [], rows: [], log: [] })
})

test('a truncation removes every key of its partition that came before it', () => {
  const asked = new AskedKeys({
    isBareOnly: false,
    hashes: Uint32Array.from([1, 7, 8, 9, 2, 7, 8, 9]),
    partitions: Int32Array.from([PARTITION, PARTITION]),
    offsets: BigInt64Array.from([3n, 9n]),
  })
  const keys = keysOf([{ key: 5, what: 'delete', version: 0, isDead: false, offset: 6 }], false)
  asked.saw({ ...keys, files: Int32Array.from([TRUNCATE]) })
  expect([...asked.isLater]).toEqual([1, 0])
})

test('offsets as text', () => {
  expect(offsetRanges([])).toEqual([])
  expect(offsetRanges([1n, 2n, 3n, 7n, 9n, 10n])).toEqual(['1-3', '7', '9-10'])
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(40)), (list) => {
      const sorted = list.toSorted((a, b) => a - b)
      const back = offsetRanges(sorted.map(BigInt)).flatMap((text) => {
        const [from, to = from] = text.split('-').map(Number)
        return Array.from({ length: to! - from! + 1 }, (_, k) => from! + k)
      })
      expect(back).toEqual(sorted)
    }),
  )
})
