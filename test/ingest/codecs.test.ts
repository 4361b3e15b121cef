import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { CODEC, decompress } from '../../src/ingest/codecs.ts'
import { compress, compressXerial } from '../support/record-batch.ts'

const MAX = 1 << 20
const text = Buffer.from('the quick brown fox jumps over the lazy dog. '.repeat(4_000))

for (const name of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
  test(`${name}: what was packed is unpacked`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.integer({ min: 1, max: 200 }), (bytes, times) => {
        const data = Buffer.concat(Array.from({ length: times }, () => bytes))
        expect(Buffer.compare(decompress(CODEC[name], compress(name, data), MAX), data)).toBe(0)
      }),
      { numRuns: 50 },
    )
  })
}

test('Snappy in the frames of Java', () => {
  expect(Buffer.compare(decompress(CODEC.snappy, compressXerial(text), MAX), text)).toBe(0)
  expect(() => decompress(CODEC.snappy, compressXerial(text).subarray(0, -1), MAX)).toThrow()
})

test('a Snappy block that lies about a length is an error at once, whatever it promises', () => {
  // A literal of 2^32 bytes, which as a signed number is a step back.
  expect(() => decompress(CODEC.snappy, Buffer.from([4, 0xfc, 0xfb, 0xff, 0xff, 0xff, 1, 2, 3]), MAX)).toThrow()
  // A size of 200 MiB in front of some bytes: nothing is reserved for it.
  const before = process.memoryUsage().arrayBuffers
  const promising = Buffer.from([0x80, 0x80, 0x80, 0x64, 0, 1])
  expect(() => decompress(CODEC.snappy, promising, 256 << 20)).toThrow('promises more than it can hold')
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
  // The densest there is.
  const zeros = Buffer.alloc(100_000)
  expect(Buffer.compare(decompress(CODEC.snappy, compress('snappy', zeros), MAX), zeros)).toBe(0)
})

test('Zstandard with compressed blocks and a checksum, as the reference library streams it', () => {
  const packed = Buffer.from(
    'KLUv/QRYxAEAxAJ0aGUgcXVpY2sgYnJvd24gZm94IGp1bXBzIG92ZXIgdGhlIGxhenkgZG9nLgIAzP9QZcAQZhlNAAAIaAEAHD8dCAGNecB5',
    'base64',
  )
  expect(Buffer.compare(decompress(CODEC.zstd, packed, MAX), text)).toBe(0)
})

test('a Zstandard window of 2 GiB is not reserved for a small batch', () => {
  const packed = compress('zstd', text)
  packed[5] = 20 << 3
  const before = process.memoryUsage().arrayBuffers
  expect(Buffer.compare(decompress(CODEC.zstd, packed, MAX), text)).toBe(0)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20)
})

test('what unpacks to more than the limit is refused', () => {
  const zeros = Buffer.alloc(8 << 20)
  for (const name of ['gzip', 'snappy', 'lz4', 'zstd'] as const)
    expect(() => decompress(CODEC[name], compress(name, zeros), MAX), name).toThrow()
  expect(() => decompress(CODEC.snappy, compressXerial(zeros), MAX)).toThrow()
})

test('damaged input is an error, not a crash', () => {
  const packed = (['gzip', 'snappy', 'lz4', 'zstd'] as const).map(
    (name) => [CODEC[name], compress(name, text)] as const,
  )
  fc.assert(
    fc.property(fc.constantFrom(...packed), fc.nat(), fc.nat(), ([codec, good], where, cut) => {
      const bad = Buffer.from(good.subarray(0, good.length - (cut % good.length)))
      bad[where % bad.length]! ^= 1 + (where % 255)
      try {
        decompress(codec, bad, MAX)
      } catch (error) {
        expect(error).toBeInstanceOf(Error)
      }
    }),
    { numRuns: 1000 },
  )
})

test('an unknown codec is an error', () => {
  expect(() => decompress(5, text, MAX)).toThrow('codec 5')
})
