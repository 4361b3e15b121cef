import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  COMPACTION,
  compactionState,
  planCompaction,
  type CompactionCandidate,
  type CompactionPlan,
  type CompactionPolicy,
} from '../../src/lake/compact.ts'
import { Random } from '../simulation/random.ts'

const MiB = 2 ** 20

function file(key: string, given: Partial<CompactionCandidate> = {}): CompactionCandidate {
  return { key, rows: 1_000, bytes: MiB, dead: 0, partition: [], sequenceNumber: 1n, ...given }
}

const many = (count: number, given: Partial<CompactionCandidate> = {}) =>
  Array.from({ length: count }, (_, index) => file(`${given.partition?.[0] ?? ''}${index}`, given))

describe('planCompaction', () => {
  test('leaves alone what is well', () => {
    expect(planCompaction([])).toBeUndefined()
    expect(planCompaction(many(15))).toBeUndefined()
    expect(planCompaction(many(40, { bytes: 40 * MiB, rows: 1_000_000, dead: 150_000 }))).toBeUndefined()
  })

  test('concatenates a full tier in its order, with what lies below it', () => {
    const files = [file('large', { bytes: 100 * MiB, rows: 500_000 }), ...many(16), file('tiny', { rows: 3, bytes: 9 })]
    const plan = planCompaction(files)!
    expect(plan.inputs).toEqual([...many(16).map(({ key }) => key), 'tiny'])
    expect(plan.dropped).toEqual([])
    expect(plan.liveRows).toBe(16_003)
    expect(plan.liveBytes).toBeCloseTo(16 * MiB + 9)
  })

  test('never mixes partition tuples, nor values of different types', () => {
    const tuples = ['1', 1, 1n, true, 'true', null, 'null', new Uint8Array([1]), new Uint8Array([2])]
    const files = tuples.flatMap((value) => many(3, { partition: [value] }))
    expect(planCompaction(files)).toBeUndefined()
    const more = [...files, ...many(13, { partition: [1n] })]
    expect(planCompaction(more)!.inputs).toHaveLength(16)
  })

  test('writes a file again when too much of it is dead, and drops one that is dead', () => {
    const files = [
      file('a', { rows: 100, dead: 15, bytes: 64 * MiB }),
      file('b', { rows: 100, dead: 16, bytes: 64 * MiB }),
      file('c', { rows: 100, dead: 100 }),
      file('d', { rows: 100, dead: 100, partition: [7] }),
    ]
    expect(planCompaction(files)).toEqual({
      inputs: ['b'],
      dropped: ['c', 'd'],
      liveRows: 84,
      liveBytes: 64 * MiB * 0.84,
    })
    expect(planCompaction(files.slice(2))).toEqual({ inputs: [], dropped: ['c', 'd'], liveRows: 0, liveBytes: 0 })
  })

  test('takes the files with the most dead rows first, a step at a time, once too much of a partition is dead', () => {
    const dead = [10, 60, 20, 50, 55]
    const files = dead.map((percent, index) => file(`${index}`, { rows: 100_000, dead: 1_000 * percent }))
    expect(planCompaction(files)!.inputs).toEqual(['1', '4'])
    expect(planCompaction(files, { ...COMPACTION, steps: 1 })!.inputs).toEqual(['1', '3', '4'])
    const rest = many(20, { rows: 400_000, bytes: 64 * MiB })
    expect(planCompaction([...files, ...rest])).toBeUndefined()
    expect(planCompaction(files.map((each) => ({ ...each, dead: 15_000 })))).toBeUndefined()
  })

  test('where rows die, small files wait for that', () => {
    const dying = many(16, { dead: 100 })
    expect(planCompaction(dying)).toBeUndefined()
    expect(planCompaction(dying.map((each) => ({ ...each, dead: 70 })))!.inputs).toHaveLength(16)
    expect(planCompaction(many(64, { dead: 100 }))!.inputs).toHaveLength(64)
  })

  test('where rows die, files that are large beside a step of cleaning are left to it', () => {
    const files = many(40, { rows: 40_000 })
    expect(planCompaction(files)!.inputs).toHaveLength(40)
    expect(planCompaction(files.map((each) => ({ ...each, dead: 4_000 })))).toBeUndefined()
    const smaller = many(40, { rows: 20_000, dead: 2_000 })
    expect(planCompaction(smaller)!.inputs).toHaveLength(40)
  })

  test('an output has a size', () => {
    const big = planCompaction(many(40, { rows: 200_000, bytes: 20 * MiB }))!
    expect(big.inputs).toHaveLength(7)
    const narrow = planCompaction(many(40, { rows: 450_000, bytes: MiB }))!
    expect(narrow.liveRows).toBeLessThanOrEqual(COMPACTION.rowsMax)
    expect(planCompaction(many(900))!.inputs).toHaveLength(128)
    expect(planCompaction(many(900, { rows: 10, bytes: 10 }))!.inputs).toHaveLength(COMPACTION.inputsMax)
  })

  test('rows of few bytes make a file that is full before it is large', () => {
    expect(planCompaction(many(20, { rows: 2_000_000, bytes: 8 * MiB }))).toBeUndefined()
  })

  test('a tuple at rest becomes one file', () => {
    const day = many(4, { partition: ['old'] })
    expect(planCompaction([...day, file('new', { sequenceNumber: 1_001n, partition: ['new'] })])).toBeUndefined()
    const later = [...day, file('new', { sequenceNumber: 1_002n, partition: ['new'] })]
    expect(planCompaction(later)!.inputs).toHaveLength(4)
  })
})

describe('compactionState', () => {
  test('gives half a core to a table with many dead rows', () => {
    expect(compactionState([file('a', { rows: 100, dead: 20 })]).cores).toBe(0.25)
    expect(compactionState([file('a', { rows: 100, dead: 21 })]).cores).toBe(0.5)
    expect(compactionState([])).toEqual({ smallFiles: 0, deadShare: 0, cores: 0.25, isOverLimit: false })
  })

  test('stops ingestion while there is too much to do, and never when nothing can be done', () => {
    expect(compactionState(many(1_999)).isOverLimit).toBe(false)
    expect(compactionState(many(2_000)).isOverLimit).toBe(true)
    const scattered = Array.from({ length: 3_000 }, (_, index) => file(`${index}`, { partition: [index] }))
    expect(compactionState(scattered)).toMatchObject({ smallFiles: 3_000, isOverLimit: false })
    expect(compactionState([file('a', { rows: 10, dead: 3 })]).isOverLimit).toBe(true)
  })
})

describe('a long stream', () => {
  const policy: CompactionPolicy = { ...COMPACTION, smallBytes: 32_000, targetBytes: 128_000, rowsMax: 8_000 }
  /** Smallest file that anything ever becomes is one row; so many tiers may a row rise through. */
  const TIERS = Math.ceil(Math.log(policy.rowsMax) / Math.log(policy.fanIn)) + 1

  test('write amplification, files and dead rows stay bounded, and every live row stays, in its order', () => {
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          rowsMax: fc.constantFrom(3, 40, 200),
          tuples: fc.constantFrom(1, 3),
          updates: fc.constantFrom(0, 0.3, 0.9, 1),
          steps: fc.integer({ min: 50, max: 300 }),
        }),
        ({ seed, rowsMax, tuples, updates, steps }) => {
          const model = new Model(new Random(seed))
          for (let step = 0; step < steps; step++) {
            model.write(rowsMax, tuples, updates)
            for (let plan; (plan = planCompaction(model.files, policy)) !== undefined;) model.compact(plan)
            const { deadShare, isOverLimit } = compactionState(model.files, policy)
            expect(deadShare).toBeLessThan(0.2)
            expect(isOverLimit).toBe(false)
            const full = Math.ceil(model.liveBytes / policy.smallBytes)
            expect(model.files.length).toBeLessThanOrEqual(tuples * TIERS * (policy.fanIn - 1) + 4 * full + 1)
          }
          // A row rises one tier each time that it is written for the sake of size; none is higher than all rows are.
          const rises = Math.min(TIERS, Math.log(model.written / ROW_BYTES) / Math.log(policy.fanIn))
          expect(model.rewritten).toBeLessThanOrEqual(model.written * rises + model.died / policy.deadShare)
        },
      ),
      { numRuns: 15 },
    )
  })
})

const ROW_BYTES = 16

interface Contents {
  readonly rows: readonly number[]
  readonly partition: number
  readonly number: bigint
}

/** A keyed table whose rows are their ids; bytes are exact. */
class Model {
  readonly #random: Random
  readonly #contents = new Map<string, Contents>()
  readonly #dead = new Set<number>()
  readonly #deadOf = new Map<string, number>()
  /** File of each row. */
  readonly #keys: string[] = []
  readonly #live: number[] = []
  #next = 0
  #commits = 0n
  #compactions = 0
  written = 0
  rewritten = 0
  died = 0

  constructor(random: Random) {
    this.#random = random
  }

  get files(): CompactionCandidate[] {
    return [...this.#contents].map(([key, { rows, partition, number }]) => ({
      key,
      rows: rows.length,
      bytes: rows.length * ROW_BYTES,
      dead: this.#deadOf.get(key) ?? 0,
      partition: [partition],
      sequenceNumber: number,
    }))
  }

  get liveBytes(): number {
    return (this.#next - this.#dead.size) * ROW_BYTES
  }

  write(rowsMax: number, tuples: number, updates: number): void {
    const count = 1 + this.#random.int(rowsMax)
    const rows = Array.from({ length: count }, () => this.#next++)
    for (const row of rows) {
      if (this.#live.length > 300 && this.#random.int(100) < updates * 100) {
        const [victim] = this.#live.splice(this.#random.int(this.#live.length), 1)
        const key = this.#keys[victim!] ?? `w${this.#commits}`
        this.#dead.add(victim!)
        this.#deadOf.set(key, (this.#deadOf.get(key) ?? 0) + 1)
        this.died += ROW_BYTES
      }
      this.#live.push(row)
    }
    this.#place(`w${this.#commits}`, { rows, partition: this.#random.int(tuples), number: ++this.#commits })
    this.written += count * ROW_BYTES
  }

  compact({ inputs, dropped, liveRows, liveBytes }: CompactionPlan): void {
    const taken = inputs.map((key) => this.#contents.get(key)!)
    expect(new Set(taken.map(({ partition }) => partition)).size).toBeLessThanOrEqual(1)
    expect(new Set([...inputs, ...dropped]).size).toBe(inputs.length + dropped.length)
    const wanted = new Set(inputs)
    expect(inputs).toEqual([...this.#contents.keys()].filter((key) => wanted.has(key)))
    for (const key of dropped) expect(this.#contents.get(key)!.rows.every((row) => this.#dead.has(row))).toBe(true)
    const rows = taken.flatMap((each) => each.rows).filter((row) => !this.#dead.has(row))
    expect(rows).toHaveLength(liveRows)
    expect(liveBytes).toBeCloseTo(rows.length * ROW_BYTES)
    for (const key of [...inputs, ...dropped]) this.#contents.delete(key)
    if (rows.length === 0) return
    const number = taken.reduce((most, each) => (each.number > most ? each.number : most), 0n)
    this.#place(`c${++this.#compactions}`, { rows, partition: taken[0]!.partition, number })
    this.rewritten += rows.length * ROW_BYTES
  }

  #place(key: string, contents: Contents): void {
    this.#contents.set(key, contents)
    for (const row of contents.rows) this.#keys[row] = key
  }
}
