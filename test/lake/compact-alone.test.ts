import { expect, test } from 'vitest'
import { COMPACTION, planCompaction } from '../../src/lake/compact.ts'

test('a file without a dead row is never written again as it is', () => {
  // Two small ones that hold more rows together than one output may.
  const files = ['a', 'b'].map((key) => {
    return { key, rows: 5_000_000, bytes: 2 ** 20, dead: 0, partition: [], sequenceNumber: 1n }
  })
  expect(COMPACTION.rowsMax).toBeLessThan(10_000_000)
  expect(planCompaction(files)).toBeUndefined()
  expect(planCompaction(files.map((file) => ({ ...file, dead: 2_000_000 })))?.inputs).toEqual(['a', 'b'])
})
