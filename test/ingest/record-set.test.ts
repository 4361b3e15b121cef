import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import type { LogRecord } from '../../src/ingest/memory-log.ts'
import { decodeRecordSet, scanRecordSet, type RecordSet } from '../../src/ingest/record-set.ts'
import { asText, record, records, recordsOf, type Seen } from '../support/log.ts'
import { encodeBatch, encodeMarker, sealBatch, type Compression } from '../support/record-batch.ts'

const CODECS: readonly Compression[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

function setOf(bytes: Buffer, options: Partial<RecordSet> = {}): RecordSet {
  const place = { topic: 't', partition: 3, topicId: 'id', position: 0n, leaderEpoch: -1, end: 1_000_000n }
  return { ...place, aborted: [], ...options, bytes }
}

/** All records, and where the last piece ended. Checks that pieces go on where the one before ended. */
function decodeAll(set: RecordSet): { seen: Seen[]; nextOffset: bigint; pieces: number } {
  const seen: Seen[] = []
  let nextOffset = set.position
  let pieces = 0
  for (const batch of decodeRecordSet(set)) {
    expect(batch.nextOffset).toBeGreaterThan(nextOffset)
    for (const offset of batch.offsets) expect(offset >= nextOffset && offset < batch.nextOffset).toBe(true)
    expect(batch).toMatchObject({ topic: 't', partition: 3, topicId: 'id', end: 1_000_000n })
    seen.push(...recordsOf(batch))
    nextOffset = batch.nextOffset
    pieces++
  }
  return { seen, nextOffset, pieces }
}

const anyBytes = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined })
const anyTime = fc.integer({ min: -1, max: 8_640_000_000_000_000 })
const anyRecord: fc.Arbitrary<LogRecord> = fc.record({
  timestampMs: anyTime,
  key: anyBytes,
  value: anyBytes,
  headers: fc.array(fc.record({ key: fc.string({ maxLength: 8 }), value: anyBytes }), { maxLength: 3 }),
})
const anyBatch = fc.record({
  written: fc.array(anyRecord, { minLength: 1, maxLength: 30 }),
  steps: fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 30, maxLength: 30 }),
  compression: fc.constantFrom(...CODECS),
  leaderEpoch: fc.integer({ min: 0, max: 9 }),
  isAborted: fc.boolean(),
  lost: fc.integer({ min: 0, max: 3 }),
})
/** Base offsets around the borders of 32 bits: offsets are written in two halves. */
const anyBase = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 62n }),
  fc.bigInt({ min: 2n ** 32n - 2000n, max: 2n ** 32n + 2000n }),
)

/** What was generated, as bytes and as the records that a reader must see. */
function write(base: bigint, batches: readonly (typeof anyBatch extends fc.Arbitrary<infer T> ? T : never)[]) {
  const parts: Buffer[] = []
  const expected: Seen[] = []
  const aborted: { producerId: bigint; firstOffset: bigint }[] = []
  let offset = base
  batches.forEach(({ written, steps, compression, leaderEpoch, isAborted, lost }, index) => {
    const deltas: number[] = []
    written.forEach((_, i) => deltas.push((deltas.at(-1) ?? -1) + steps[i]!))
    const lastOffsetDelta = deltas.at(-1)! + lost
    const producerId = BigInt(index)
    const place = { baseOffset: offset, leaderEpoch, producerId }
    parts.push(encodeBatch(written, { ...place, compression, deltas, lastOffsetDelta, isTransactional: isAborted }))
    if (isAborted) aborted.push({ producerId, firstOffset: offset })
    else
      written.forEach(({ timestampMs, key, value, headers = [] }, i) =>
        expected.push({
          offset: offset + BigInt(deltas[i]!),
          timestampMs,
          key: asText(key),
          value: asText(value),
          headers: headers.map(({ key, value }) => [key, asText(value)]),
        }),
      )
    offset += BigInt(lastOffsetDelta + 1)
    if (!isAborted) return
    parts.push(encodeMarker('abort', { baseOffset: offset, producerId, leaderEpoch }))
    offset++
  })
  return { bytes: Buffer.concat(parts), expected, aborted, nextOffset: offset, epoch: batches.at(-1)!.leaderEpoch }
}

describe('whatever a log holds', () => {
  const anySet = fc.tuple(anyBase, fc.array(anyBatch, { minLength: 1, maxLength: 6 }))

  test('what was written is read, aborted records are not, and the position is behind all of it', () => {
    fc.assert(
      fc.property(anySet, ([base, batches]) => {
        const { bytes, expected, aborted, nextOffset, epoch } = write(base, batches)
        const decoded = decodeAll(setOf(bytes, { position: base, aborted: aborted.toReversed() }))
        expect(decoded.seen).toEqual(expected)
        expect(decoded.nextOffset).toBe(nextOffset)
        expect(scanRecordSet(bytes, base, -1)).toEqual({ nextOffset, leaderEpoch: epoch })
      }),
    )
  })

  test('from any position on, exactly the records from there on are read', () => {
    fc.assert(
      fc.property(anySet, fc.nat(), ([base, batches], skip) => {
        const { bytes, expected, aborted, nextOffset } = write(base, batches)
        const position = base + (BigInt(skip) % (nextOffset - base))
        const decoded = decodeAll(setOf(bytes, { position, aborted }))
        expect(decoded.seen).toEqual(expected.filter(({ offset }) => offset >= position))
        expect(decoded.nextOffset).toBe(nextOffset)
      }),
    )
  })

  test('an answer that is cut anywhere gives whole batches only', () => {
    fc.assert(
      fc.property(anySet, fc.double({ min: 0, max: 1, noNaN: true }), ([base, batches], share) => {
        const { bytes, expected, aborted } = write(base, batches)
        const cut = bytes.subarray(0, Math.floor(share * bytes.length))
        const decoded = decodeAll(setOf(cut, { position: base, aborted }))
        expect(decoded.seen).toEqual(expected.slice(0, decoded.seen.length))
        expect(scanRecordSet(cut, base, -1).nextOffset).toBe(decoded.nextOffset)
      }),
    )
  })

  test('a flipped bit is a corrupt log or changes nothing that is read; never a crash', () => {
    fc.assert(
      fc.property(anySet, fc.nat(), ([base, batches], where) => {
        const { bytes, aborted } = write(base, batches)
        const flipped = Buffer.from(bytes)
        flipped[(where >> 3) % bytes.length]! ^= 1 << (where & 7)
        const decoded = corruptOr(() => decodeAll(setOf(flipped, { position: 0n, aborted })))
        // The base offset is not under the checksum: offsets may be wrong, and what was aborted may show.
        const written = batches.flatMap(({ written }) => written.map(({ key, value }) => [asText(key), asText(value)]))
        for (const { key, value } of decoded?.seen ?? []) expect(written).toContainEqual([key, value])
      }),
      { numRuns: 500 },
    )
  })

  test('a flipped bit below a good checksum never crashes or hangs', () => {
    fc.assert(
      fc.property(anyBatch, fc.nat(), fc.nat(), (batch, where, other) => {
        const { bytes } = write(0n, [{ ...batch, isAborted: false }])
        for (const place of [where, other]) bytes[21 + ((place >> 3) % (bytes.length - 21))]! ^= 1 << (place & 7)
        corruptOr(() => decodeAll(setOf(sealBatch(bytes))))
      }),
      { numRuns: 2000 },
    )
  })
})

/** Runs what may only fail as a corrupt log. */
function corruptOr<T>(run: () => T): T | undefined {
  try {
    return run()
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'kafka.corrupt') throw error
    return undefined
  }
}

function tx(name: string, baseOffset: bigint, producerId: bigint): Buffer {
  return encodeBatch([record(name)], { baseOffset, producerId, isTransactional: true })
}

describe('by hand', () => {
  test('a wrong checksum, a format of old and a count that cannot be are corrupt', () => {
    const good = encodeBatch(records('v', 3))
    const spoiled = (change: (batch: Buffer) => void): RecordSet => {
      const batch = Buffer.from(good)
      change(batch)
      return setOf(batch)
    }
    expect(() => decodeAll(spoiled((batch) => (batch[70]! ^= 1)))).toThrow(
      expect.objectContaining({ code: 'kafka.corrupt', message: expect.stringContaining('checksum') }),
    )
    expect(() => decodeAll(spoiled((batch) => (batch[16] = 1)))).toThrow(
      expect.objectContaining({
        code: 'kafka.corrupt',
        context: { magic: 1, offset: '0' },
        fix: expect.stringContaining('0.11'),
      }),
    )
    for (const count of [-1, 2, 4, 2 ** 31 - 1])
      expect(() => decodeAll(spoiled((batch) => sealBatch(batch).writeInt32BE(count, 57) && sealBatch(batch)))).toThrow(
        expect.objectContaining({ code: 'kafka.corrupt' }),
      )
  })

  test('two interleaved transactions and a plain producer: only what was committed', () => {
    const bytes = Buffer.concat([
      tx('a1', 0n, 1n),
      encodeBatch([record('p1')], { baseOffset: 1n }),
      encodeBatch(records('b', 2), { baseOffset: 2n, producerId: 2n, isTransactional: true }),
      tx('a2', 4n, 1n),
      encodeMarker('abort', { baseOffset: 5n, producerId: 2n }),
      encodeMarker('commit', { baseOffset: 6n, producerId: 1n }),
      tx('b3', 7n, 2n),
      encodeMarker('commit', { baseOffset: 8n, producerId: 2n }),
      tx('a3', 9n, 1n),
      encodeMarker('abort', { baseOffset: 10n, producerId: 1n }),
    ])
    const aborted = [
      { producerId: 1n, firstOffset: 9n },
      { producerId: 2n, firstOffset: 2n },
    ]
    const { seen, nextOffset } = decodeAll(setOf(bytes, { aborted }))
    expect(seen.map(({ value }) => value)).toEqual(['a1', 'p1', 'a2', 'b3'])
    expect(nextOffset).toBe(11n)
  })

  test('a tail that is aborted, or emptied by compaction, moves the position without records', () => {
    const hidden = Buffer.concat([
      encodeBatch(records('gone', 3), { baseOffset: 10n, producerId: 7n, isTransactional: true }),
      encodeMarker('abort', { baseOffset: 13n, producerId: 7n }),
      encodeMarker(undefined, { baseOffset: 14n, producerId: 7n }),
      encodeBatch([], { baseOffset: 15n, lastOffsetDelta: 4, leaderEpoch: 2 }),
    ])
    const set = setOf(hidden, { position: 10n, aborted: [{ producerId: 7n, firstOffset: 10n }] })
    const [batch, ...rest] = decodeRecordSet(set)
    expect(rest).toEqual([])
    expect(batch).toMatchObject({ count: 0, nextOffset: 20n, leaderEpoch: 2 })
  })

  test('the broker may stamp all records of a batch with one time', () => {
    const bytes = encodeBatch(records('v', 3), { logAppendTimeMs: 42 })
    expect(decodeAll(setOf(bytes)).seen.map(({ timestampMs }) => timestampMs)).toEqual([42, 42, 42])
  })

  test('a batch of both says which record has which time, from the middle on too', () => {
    const bytes = Buffer.concat([
      encodeBatch(records('a', 2)),
      encodeBatch(records('b', 3), { baseOffset: 2n, logAppendTimeMs: 42 }),
      encodeBatch(records('c', 1), { baseOffset: 5n }),
    ])
    const [whole] = decodeRecordSet(setOf(bytes))
    expect([...whole!.appendTimes!]).toEqual([0, 0, 1, 1, 1, 0])
    const [late] = decodeRecordSet(setOf(bytes, { position: 3n }))
    expect([...late!.appendTimes!]).toEqual([1, 1, 0])
    const [plain] = decodeRecordSet(setOf(encodeBatch(records('a', 2))))
    expect(plain!.appendTimes).toBeUndefined()
  })

  test('plain batches are one view of the answer; unpacked ones come in pieces of bounded size', () => {
    const value = 'x'.repeat(700_000)
    const batches = (compression: Compression) =>
      Buffer.concat([0, 1, 2, 3, 4].map((i) => encodeBatch([record(value)], { baseOffset: BigInt(i), compression })))
    const plain = batches('none')
    const [view] = decodeRecordSet(setOf(plain))
    expect(view).toMatchObject({ count: 5 })
    expect(view!.buffer.buffer).toBe(plain.buffer)
    expect(decodeAll(setOf(batches('lz4'))).pieces).toBe(2)
  })

  test('plain and packed batches in one answer keep their order', () => {
    const bytes = Buffer.concat(
      CODECS.flatMap((compression, i) => [
        encodeBatch(records(`${compression}-`, 2), { baseOffset: BigInt(4 * i), compression }),
        encodeBatch(records('plain-', 2), { baseOffset: BigInt(4 * i + 2) }),
      ]),
    )
    expect(decodeAll(setOf(bytes)).seen.map(({ offset }) => offset)).toEqual(
      Array.from({ length: 20 }, (_, i) => BigInt(i)),
    )
  })
})
