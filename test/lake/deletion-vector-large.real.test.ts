import { expect, test } from 'vitest'
import { DeletedRows } from '../../src/lake/deleted-rows.ts'
import { decodeDeletionVector, encodeDeletionVector } from '../../src/lake/deletion-vector.ts'

// A blob of Apache Iceberg's own tests: core/src/test/resources/org/apache/iceberg/deletes. Its bitmap takes 256 MiB here.
const LARGE =
  '00000030d1d339640100000000000000000000003a300000020000000000010000800100180000001c000000640065006300640015eb1c7c'

test('a deletion vector of positions of 2^31 and more has the bytes that Java writes', () => {
  const [rows, positions] = [2_147_483_749, [100, 101, 2_147_483_747, 2_147_483_748]]
  const deleted = new DeletedRows(rows)
  for (const position of positions) deleted.add(position)
  const blob = encodeDeletionVector(deleted)
  expect(blob.toString('hex')).toBe(LARGE)
  expect([...decodeDeletionVector('f.puffin', Buffer.from(LARGE, 'hex'), rows).positions()]).toEqual(positions)
})
