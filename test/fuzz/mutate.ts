import type { Random } from '../simulation/random.ts'

/** Numbers at the borders of what programs count with, as little and big endian, and as numbers of 7 bits a byte. */
const BORDERS: readonly Uint8Array[] = [
  0n,
  1n,
  127n,
  128n,
  255n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 60n,
  2n ** 63n,
  2n ** 64n - 1n,
].flatMap((value) => {
  const eight = Buffer.alloc(8)
  eight.writeBigUInt64LE(value)
  const seven: number[] = []
  for (let rest = value; ; rest >>= 7n) {
    seven.push(Number(rest & 127n) | (rest > 127n ? 128 : 0))
    if (rest <= 127n) break
  }
  return [eight, Buffer.from(eight).reverse(), eight.subarray(0, 4), Uint8Array.from(seven)]
})
const CHANGES_MAX = 4
const BYTES_MAX = 4_096

/** A seed with some of its bytes changed: what breaks readers is close to what they read. */
export function mutated(seeds: readonly Uint8Array[], words: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes: Uint8Array = random.pick(seeds)
  for (let changes = 1 + random.int(CHANGES_MAX); changes > 0; changes--) bytes = changed(bytes, seeds, words, random)
  return bytes.length > BYTES_MAX ? bytes.subarray(0, BYTES_MAX) : bytes
}

function changed(
  bytes: Uint8Array,
  seeds: readonly Uint8Array[],
  words: readonly Uint8Array[],
  random: Random,
): Uint8Array {
  const at = random.int(bytes.length + 1)
  const length = random.chance(0.7) ? 1 + random.int(4) : random.int(bytes.length + 1)
  switch (random.int(9)) {
    case 0:
    case 1: {
      if (bytes.length === 0) return bytes
      const flipped = Uint8Array.from(bytes)
      flipped[Math.min(at, bytes.length - 1)]! ^= 1 << random.int(8)
      return flipped
    }
    case 2:
      return spliced(bytes, at, at + length, new Uint8Array(0))
    case 3:
      return spliced(
        bytes,
        at,
        at,
        Uint8Array.from({ length }, () => random.int(256)),
      )
    case 4:
      return spliced(
        bytes,
        at,
        at + length,
        Uint8Array.from({ length: 1 + random.int(8) }, () => random.int(256)),
      )
    case 5:
      return spliced(bytes, at, at, bytes.subarray(at, at + length))
    case 6:
      return bytes.subarray(0, at)
    case 7:
      return spliced(
        bytes,
        at,
        at + (random.chance(0.5) ? 0 : length),
        random.pick(words.length === 0 || random.chance(0.5) ? BORDERS : words),
      )
    default: {
      const other = random.pick(seeds)
      const from = random.int(other.length + 1)
      return spliced(bytes, at, at + length, other.subarray(from, from + 1 + random.int(64)))
    }
  }
}

function spliced(bytes: Uint8Array, from: number, until: number, middle: Uint8Array): Uint8Array {
  return Buffer.concat([bytes.subarray(0, from), middle, bytes.subarray(Math.min(until, bytes.length))])
}

/** The same fault with fewer bytes: pieces are left out as long as it stays. */
export async function minimised(
  bytes: Uint8Array,
  fails: (bytes: Uint8Array) => Promise<boolean>,
  triesMax = 400,
): Promise<Uint8Array> {
  let smallest = bytes
  let tries = 0
  for (let piece = Math.ceil(bytes.length / 2); piece >= 1; piece = Math.floor(piece / 2))
    for (let at = 0; at < smallest.length && tries < triesMax;) {
      const less = spliced(smallest, at, at + piece, new Uint8Array(0))
      tries++
      if (less.length < smallest.length && (await fails(less))) smallest = less
      else at += piece
    }
  return smallest
}
