import * as fc from 'fast-check'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkKey, compareKeys } from '../../../src/lake/storage/key.ts'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import { byBytes, keysOf } from '../../conformance/storage.ts'

/** Few characters, so that keys share prefixes; on both sides of `/`, of U+FFFF and of the surrogates. */
const name = fc.string({
  unit: fc.constantFrom('a', 'b', '-', '0', '.a', ' ', 'é', '\uff5e', '😀'),
  minLength: 1,
  maxLength: 3,
})
const key = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'))

describe('keys', () => {
  it('compare as their UTF-8 bytes do', () => {
    const text = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(fc.oneof(key, text), fc.oneof(key, text), (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(byBytes(a, b))
      }),
      {
        numRuns: 1_000,
        examples: [
          ['\uff5e', '😀'],
          ['\ue000', '\u{10000}'],
          ['a', 'a\u0000'],
        ],
      },
    )
  })

  it('never lead out of the root', () => {
    const wild = fc.array(fc.constantFrom('..', '.', '/', 'a', '\\', '%2e', '\0', '~', '...'), { maxLength: 8 })
    fc.assert(
      fc.property(wild, (parts) => {
        const text = parts.join('')
        try {
          checkKey(text)
        } catch {
          return
        }
        const resolved = path.resolve('/root', text)
        expect(resolved).toBe(`/root/${text}`)
      }),
      { numRuns: 1_000 },
    )
  })

  it('are listed alike on a disk and in memory, for any prefix and any start', async () => {
    const root = await mkdtemp(path.join(os.tmpdir(), 'kappalake-keys-'))
    let runs = 0
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 12 }),
        name,
        fc.option(key),
        fc.nat(6),
        async (keys, x, after, cut) => {
          const memory = new MemoryStorage('keys')
          const local = await LocalStorage.open(path.join(root, String(runs++)))
          // A disk cannot hold both a and a/b.
          const usable = keys.filter((key) => !keys.some((other) => key !== other && other.startsWith(`${key}/`)))
          for (const key of usable)
            await Promise.all([memory.put(key, new Uint8Array()), local.put(key, new Uint8Array())])
          const prefixes = ['', x, ...usable.map((key) => [...key].slice(0, cut).join(''))]
          for (const prefix of prefixes.filter((prefix) => !/(^|\/)\.\.?$/.test(prefix))) {
            const listed = await keysOf(local, prefix, after ?? undefined)
            expect(listed).toEqual(await keysOf(memory, prefix, after ?? undefined))
            const expected = usable.filter(
              (key) => key.startsWith(prefix) && (after === null || byBytes(key, after) > 0),
            )
            expect(listed).toEqual(expected.toSorted(byBytes))
          }
          await local.close()
        },
      ),
      { numRuns: 60 },
    )
    await rm(root, { recursive: true })
  })
})
