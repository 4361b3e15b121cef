import { expect, test } from 'vitest'
import { COMPACTION, planCompaction } from '../../src/lake/compact.ts'

test('a file without a dead row is never written again as it is', () => {
  const policy = { ...COMPACTION, rowsMax: 10, smallBytes: 2 ** 30, targetBytes: 2 ** 30, fanIn: 2 }
  // Two small ones that hold more rows together than one output may.
  const files = ['a', 'b'].map((key) => ({ key, rows: 6, bytes: 2 ** 20, dead: 0, partition: [], sequenceNumber: 1n }))
  expect(planCompaction(files, policy)).toBeUndefined()
  expect(
    planCompaction(
      files.map((file) => ({ ...file, dead: 2 })),
      policy,
    )?.inputs,
  ).toEqual(['a', 'b'])
})
