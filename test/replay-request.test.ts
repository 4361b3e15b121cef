import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  durationText,
  fromReplayOptions,
  replayRequestSchema,
  toReplayOptions,
  type ReplayRequest,
} from '../src/replay-request.ts'
import { parseDuration } from '../src/define-fields.ts'
import { REPLAY } from '../src/replay-status.ts'

const partition = fc.tuple(fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/), fc.nat(999)).map(([t, p]) => `${t}/${p}`)
const offsets = fc
  .dictionary(partition, fc.bigInt(0n, 2n ** 63n - 1n).map(String), { maxKeys: 4, noNullPrototype: true })
  .map((of) => ({ offsets: of }))
const timestamp = fc.nat(4_102_444_800_000).map((ms) => ({ timestamp: new Date(ms).toISOString() }))
const request = fc
  .record({
    mode: fc.constantFrom('reprocess', 'verify', 'range'),
    tables: fc.option(fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9_]{0,10}$/), { minLength: 1, maxLength: 4 })),
    from: fc.oneof(fc.constant('earliest'), timestamp, offsets),
    to: fc.option(fc.oneof(timestamp, offsets)),
    rateLimit: fc.option(fc.integer({ min: 1, max: 1e9 })),
    autoCutover: fc.constantFrom('never', 'ifEqual', 'always'),
    acceptCompacted: fc.boolean(),
    keepOld: fc.nat(1e10).map(durationText),
  })
  .filter(
    ({ mode, to, autoCutover }) => (to === null || mode === 'range') && (mode !== 'verify' || autoCutover === 'never'),
  )

test('what is asked for is what is told of later', () => {
  fc.assert(
    fc.property(request, (asked) => {
      const given = Object.fromEntries(
        Object.entries({ pipeline: 'p', ...asked }).filter(([, value]) => value !== null),
      )
      const told = fromReplayOptions({ ...REPLAY, ...toReplayOptions(replayRequestSchema.parse(given)) })
      expect(told).toEqual(asked)
    }),
  )
})

test('a duration is told in the largest unit that fits', () => {
  fc.assert(fc.property(fc.nat(1e12), (ms) => void expect(parseDuration(durationText(ms))).toBe(ms)))
  expect([604_800_000, 90_000, 3_600_000, 1_500, 0].map(durationText)).toEqual(['7d', '90s', '1h', '1500ms', '0ms'])
})

test('what is left out is left out: the defaults are those of a replay', () => {
  expect(toReplayOptions(replayRequestSchema.parse({ pipeline: 'p' }))).toEqual({})
})

describe('refused', () => {
  test.each<[object, RegExp]>([
    [{}, /pipeline/],
    [{ pipeline: 'p', mode: 'redo' }, /reprocess/],
    [{ pipeline: 'p', from: 'latest' }, /must be "earliest"/],
    [{ pipeline: 'p', from: { timestamp: '2026-11-21' } }, /must be a time with its zone/],
    [{ pipeline: 'p', from: { offsets: { orders: '1' } } }, /must be "earliest"/],
    [{ pipeline: 'p', to: 'earliest' }, /must be \{"timestamp"/],
    [{ pipeline: 'p', tables: [] }, /tables/],
    [{ pipeline: 'p', tables: ['Orders'] }, /name of a table/],
    [{ pipeline: 'p', rateLimit: 0 }, /rateLimit/],
    [{ pipeline: 'p', keepOld: '7 days' }, /duration/],
    [{ pipeline: 'p', dryRun: true }, /dryRun/],
  ])('%j', (given, text) => {
    const { error } = replayRequestSchema.safeParse(given)
    expect(JSON.stringify(error?.issues)).toMatch(new RegExp(text.source.replaceAll('"', '\\\\"')))
  })

  const asked = (given: Partial<ReplayRequest>) => () => toReplayOptions({ ...given })
  test('an end of what has none', () => {
    expect(asked({ to: { offsets: {} } })).toThrow(/belongs to a range/)
    expect(asked({ mode: 'verify', to: { offsets: {} } })).toThrow(/belongs to a range/)
  })
  test('a range that begins nowhere', () => expect(asked({ mode: 'range' })).toThrow(/needs "from"/))
  test('a verification that would change something', () =>
    expect(asked({ mode: 'verify', autoCutover: 'ifEqual' })).toThrow(/changes nothing/))
})
