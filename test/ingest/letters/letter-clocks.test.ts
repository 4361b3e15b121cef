import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { LetterClocks } from '../../../src/ingest/decode/letter-clocks.ts'
import type { Slab, SlabColumn } from '../../../src/ingest/decode/slab.ts'

// Each dead letter gets what the clock of its partition was before it, whatever slab it came in.

/** Topic, partition, offset, clock: the columns that count, of eight rows at most. */
function slabOf(letters: readonly { readonly partition: number; readonly offset: number }[]): Slab {
  const buffer = new ArrayBuffer(8 * 8 * 3 + 8)
  const column = (dataAt: number, width: number, validAt = -1): SlabColumn => ({
    layout: 'fixed',
    width,
    rows: letters.length,
    dataAt,
    validAt,
    children: [],
  })
  new Int32Array(buffer, 0, letters.length).set(letters.map(({ partition }) => partition))
  new BigInt64Array(buffer, 64, letters.length).set(letters.map(({ offset }) => BigInt(offset)))
  return { rows: letters.length, buffer, columns: [column(0, 16), column(0, 4), column(64, 8), column(128, 8, 192)] }
}

function clocksOf({ buffer, rows }: Slab): (number | undefined)[] {
  const clocks = new BigInt64Array(buffer, 128, rows)
  const valid = new Uint8Array(buffer, 192)
  return Array.from(clocks, (us, row) => (((valid[0]! >> row) & 1) === 1 ? Number(us / 1000n) : undefined))
}

test('the clock of a dead letter is the largest event time before it in its partition', () => {
  const record = fc.record({ partition: fc.nat(1), clockMs: fc.nat(100), isDead: fc.boolean(), isLate: fc.boolean() })
  fc.assert(
    fc.property(fc.array(record, { maxLength: 16 }), (list) => {
      const log = list.map((each, offset) => ({ ...each, offset }))
      const before = (partition: number, offset: number): number | undefined => {
        const seen = log.filter((each) => each.partition === partition && each.offset < offset && !each.isDead)
        return seen.length === 0 ? undefined : Math.max(...seen.map(({ clockMs }) => clockMs))
      }
      const dead = log.filter(({ isDead }) => isDead).slice(0, 8)
      // Those of a transform come behind those of decoding.
      const parts = [dead.filter(({ isLate }) => !isLate), dead.filter(({ isLate }) => isLate)]
      const slabs = parts.filter((part) => part.length > 0).map(slabOf)
      const waiting = new LetterClocks(slabs)
      for (const partition of [0, 1])
        for (const each of log)
          if (each.partition === partition && !each.isDead && waiting.isBelow(partition, BigInt(each.offset)))
            waiting.passed(partition, BigInt(each.offset), before(partition, each.offset))
      waiting.set((id) => before(Number(id.at(-1)), Infinity), 'c')
      const expected = parts.filter((part) => part.length > 0)
      expect(slabs.map(clocksOf)).toEqual(
        expected.map((part) => part.map(({ partition, offset }) => before(partition, offset))),
      )
    }),
  )
})
