import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { expireSnapshots } from '../../src/lake/expire.ts'
import { newMetadata, withSnapshot, type TableMetadata } from '../../src/lake/metadata.ts'

const HOUR_MS = 3_600_000
const START_MS = Date.UTC(2026, 0, 31, 22, 30)

function empty(): TableMetadata {
  return newMetadata({
    uuid: 'u',
    location: 'memory://t',
    formatVersion: 2,
    schema: { type: 'struct', 'schema-id': 0, fields: [] },
    lastColumnId: 0,
    spec: { 'spec-id': 0, fields: [] },
    nowMs: START_MS,
    properties: {},
  })
}

function append(metadata: TableMetadata, id: bigint, atMs: number): TableMetadata {
  const parent = metadata['current-snapshot-id']
  const snapshot = {
    'snapshot-id': id,
    ...(parent === undefined ? {} : { 'parent-snapshot-id': parent }),
    'sequence-number': id,
    'timestamp-ms': atMs,
    'manifest-list': `memory://t/${id}.avro`,
    summary: { operation: 'append' },
    'schema-id': 0,
  }
  return expireSnapshots(withSnapshot(metadata, snapshot, 'memory://t/metadata.json'))
}

const idsOf = (metadata: TableMetadata) => metadata.snapshots.map((snapshot) => snapshot['snapshot-id'])

test('the newest stay, refs and log name what is there, and there is a bound, whatever the times', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 40 * HOUR_MS }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 101, max: 400 }),
      (steps, count) => {
        let [metadata, atMs] = [empty(), START_MS]
        for (let id = 1; id <= count; id++) {
          atMs += steps[id % steps.length]!
          metadata = append(metadata, BigInt(id), atMs)
        }
        const ids = idsOf(metadata)
        const kept = new Set(ids)
        expect(ids.slice(-100)).toEqual(Array.from({ length: 100 }, (_, index) => BigInt(count - 99 + index)))
        expect(metadata['current-snapshot-id']).toBe(BigInt(count))
        expect(metadata.refs['main']).toEqual({ 'snapshot-id': BigInt(count), type: 'branch' })
        for (const ref of Object.values(metadata.refs)) expect(kept.has(ref['snapshot-id'])).toBe(true)
        for (const entry of metadata['snapshot-log']) expect(kept.has(entry['snapshot-id'])).toBe(true)
        expect(metadata['snapshot-log'].at(-1)?.['snapshot-id']).toBe(BigInt(count))
        // Every old snapshot that stays has a tag, at most one an hour of a day and one a day of a month.
        expect(Object.keys(metadata.refs).length - 1).toBe(ids.length - 100)
        expect(ids.length).toBeLessThanOrEqual(100 + 25 + 31)
        for (const snapshot of metadata.snapshots)
          expect(snapshot['parent-snapshot-id'] ?? 0n).toBe(snapshot['snapshot-id'] - 1n)
      },
    ),
    { numRuns: 60 },
  )
})

test('of an older day its last snapshot stays, and after a month nothing', () => {
  let metadata = empty()
  for (let id = 1; id <= 60; id++) metadata = append(metadata, BigInt(id), START_MS + id * HOUR_MS)
  const later = START_MS + 10 * 24 * HOUR_MS
  for (let id = 61; id <= 160; id++) metadata = append(metadata, BigInt(id), later + id)
  // 22:30 and the hours after it: the first day ends with snapshot 1, the second with 25, the third with 49.
  expect(Object.keys(metadata.refs).filter((name) => name !== 'main')).toEqual([
    'day-2026-01-31',
    'day-2026-02-01',
    'day-2026-02-02',
    'day-2026-02-03',
  ])
  expect(idsOf(metadata).slice(0, 4)).toEqual([1n, 25n, 49n, 60n])
  metadata = append(metadata, 161n, START_MS + 60 * 24 * HOUR_MS)
  expect(idsOf(metadata)[0]).toBe(62n)
})

test('what somebody else named stays', () => {
  let metadata = append(empty(), 1n, START_MS + 1)
  metadata = { ...metadata, refs: { ...metadata.refs, audit: { 'snapshot-id': 1n, type: 'tag' } } }
  for (let id = 2; id <= 300; id++) metadata = append(metadata, BigInt(id), START_MS + id)
  metadata = append(metadata, 301n, START_MS + 60 * 24 * HOUR_MS)
  expect(idsOf(metadata)[0]).toBe(1n)
  expect(metadata.refs['audit']).toEqual({ 'snapshot-id': 1n, type: 'tag' })
})
