import { expect, test } from 'vitest'
import { inspect, rowsAt, type TopicRecord } from '../../infra/windows/topic.mjs'

// The proof itself: that what judges a topic of changes sees what is wrong with one.

const record = (version: number, position: number, key: string, n: number | null, more = {}): TopicRecord => ({
  partition: 0,
  key: JSON.stringify({ g: key }),
  value: n === null ? null : JSON.stringify({ g: key, n: String(n) }),
  headers: { 'kappalake.table': 'w', 'kappalake.version': String(version), 'kappalake.position': String(position) },
  ...more,
})
const SOUND = [record(9, 0, 'a', 1), record(9, 1, 'b', 1), record(10, 0, 'a', 2), record(11, 0, 'b', null)]
const [A9, B9, A10, B11] = SOUND as [TopicRecord, TopicRecord, TopicRecord, TopicRecord]
const NONE = { foreign: 0, keys: 0, skipped: 0, unlike: 0, disordered: 0, holes: 0 }

test('a topic that keeps what is promised, sent again from somewhere on', () => {
  expect(inspect(SOUND, 'w')).toEqual({ changes: 4, repeats: 0, versions: 3, wrong: NONE })
  for (let from = 0; from < SOUND.length; from++) {
    const records = [...SOUND.slice(0, 3), ...SOUND.slice(from)]
    expect(inspect(records, 'w').wrong).toEqual(NONE)
    expect(rowsAt(records, 11)).toEqual([A10.value])
  }
})

test('a reader has the table at every version, and takes no repeat for news', () => {
  const records = [...SOUND.slice(0, 3), A9, B9, A10, B11]
  expect(rowsAt(records, 8)).toEqual([])
  expect(rowsAt(records, 9)).toEqual([A9.value, B9.value])
  expect(rowsAt(records, 10)).toEqual([A10.value, B9.value])
})

test.each<[keyof typeof NONE, readonly TopicRecord[]]>([
  ['foreign', [{ ...A9, headers: { ...A9.headers, 'kappalake.table': 'other' } }, B9]],
  ['keys', [{ ...A9, key: B9.key }, B9]],
  ['skipped', [A9, { ...B9, headers: { ...B9.headers, 'kappalake.since': '3' } }]],
  ['unlike', [A9, B9, A10, { ...A9, value: A10.value }]],
  ['disordered', [A9, A10, B9]],
  ['disordered', [B9, A9]],
  ['disordered', [A9, B9, { ...A10, partition: 1 }]],
  ['holes', [B9, A10]],
])('%s', (what, records) => {
  expect(inspect(records, 'w').wrong).toEqual({ ...NONE, [what]: 1 })
})
