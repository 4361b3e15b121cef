import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { keyOf, uriOf, type PutOutcome, type Storage } from '../../src/lake/storage/storage.ts'

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes)

export async function keysOf(storage: Storage, prefix: string, startAfter?: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of storage.list(prefix, startAfter === undefined ? {} : { startAfter })) keys.push(key)
  return keys
}

/** Names that a store must hold, list in byte order and find again. */
const unusualKeys = [
  'n/A',
  'n/a b+c&d,e;f@g:h$i.parquet',
  'n/a',
  'n/dt=2026-01-01/hour=07/0.parquet',
  'n/city=Zürich/ß ä.parquet',
  'n/nfc/\u00e9',
  'n/nfd/e\u0301',
  'n/percent/%2F%20',
  'n/quotes/q\'"<>[]{}|^`~!()*.x',
  'n/hash#mark?q=1',
  'n/.hidden',
  'n/trail.',
  'n/日本語/\uff5e.avro',
  'n/日本語/🚀.avro', // above U+FFFF: after ～ (U+FF5E) by bytes, before it by UTF-16 units
  `n/${'k'.repeat(255)}`,
]

/**
 * What every store promises, whatever it is made of. `open` gives a store that nobody else writes to; called again, it
 * opens the same store for a second writer.
 */
export function storageConformance(name: string, open: () => Promise<Storage>): void {
  describe(`${name} is a store`, () => {
    let storage: Storage
    beforeAll(async () => {
      storage = await open()
    })
    afterAll(() => storage.close())

    it('gives back what was put, and nothing for what was not', async () => {
      await storage.put('a/b/c', bytesOf('one'))
      expect(textOf(await storage.get('a/b/c'))).toBe('one')
      expect(await storage.get('a/b/d')).toBeUndefined()
      expect(await storage.get('a/b')).toBeUndefined()
      expect(await storage.get('a/x/y/z')).toBeUndefined()
      expect(await storage.head('a/b')).toBeUndefined()
      expect(await storage.head('nowhere')).toBeUndefined()
    })

    it('replaces with put, and holds empty objects', async () => {
      await storage.put('r/1', bytesOf('a longer first text'))
      await storage.put('r/1', bytesOf('two'))
      expect(textOf(await storage.get('r/1'))).toBe('two')
      await storage.put('r/empty', new Uint8Array())
      expect(await storage.get('r/empty')).toHaveLength(0)
      expect((await storage.head('r/empty'))?.sizeBytes).toBe(0)
    })

    it('keeps its own copy of the bytes', async () => {
      const bytes = bytesOf('mine')
      await storage.put('copy', bytes)
      bytes.fill(0)
      const read = await storage.get('copy')
      read?.fill(1)
      expect(textOf(await storage.get('copy'))).toBe('mine')
    })

    it('knows size and age without reading', async () => {
      await storage.put('h/1', new Uint8Array(12_345))
      const info = await storage.head('h/1')
      expect(info).toMatchObject({ key: 'h/1', sizeBytes: 12_345 })
      expect(Math.abs((info?.modifiedMs ?? 0) - Date.now())).toBeLessThan(3_600_000)
      const listed = storage.list('h/')[Symbol.asyncIterator]()
      expect((await listed.next()).value).toMatchObject({ key: 'h/1', sizeBytes: 12_345 })
    })

    it('creates once', async () => {
      expect(await storage.putIfAbsent('c/1', bytesOf('first'))).toEqual({ kind: 'created' })
      expect(await storage.putIfAbsent('c/1', bytesOf('second'))).toEqual({ kind: 'exists' })
      expect(textOf(await storage.get('c/1'))).toBe('first')
      await storage.delete('c/1')
      expect(await storage.putIfAbsent('c/1', bytesOf('third'))).toEqual({ kind: 'created' })
      await storage.put('c/2', bytesOf('put'))
      expect(await storage.putIfAbsent('c/2', bytesOf('created'))).toEqual({ kind: 'exists' })
    })

    it('gives each of many racing creates exactly one winner, whose bytes stand', async () => {
      const second = await open()
      for (let round = 0; round < 10; round++) {
        const bodies = Array.from({ length: 16 }, (_, i) => new Uint8Array(20_000).fill(i))
        const outcomes = await Promise.all(
          bodies.map((body, i) => settle(i % 2 === 0 ? storage : second, `race/${round}`, body)),
        )
        const winners = outcomes.flatMap((outcome, i) => (outcome.kind === 'created' ? [i] : []))
        expect(winners).toHaveLength(1)
        expect(outcomes.filter((outcome) => outcome.kind === 'exists')).toHaveLength(15)
        expect(Buffer.compare((await storage.get(`race/${round}`))!, bodies[winners[0]!]!)).toBe(0)
      }
      if (second !== storage) await second.close()
    })

    it('moves a file in', async () => {
      const file = path.join(storage.scratch, 'staged.parquet')
      await writeFile(file, 'a data file')
      await storage.putFile('f/deep/er/1.parquet', file)
      expect(textOf(await storage.get('f/deep/er/1.parquet'))).toBe('a data file')
      expect(existsSync(file)).toBe(false)
      expect((await storage.head('f/deep/er/1.parquet'))?.sizeBytes).toBe(11)
      if (storage.isLocal) {
        expect(existsSync(uriOf(storage, 'f/deep/er/1.parquet').slice('file://'.length))).toBe(true)
      }
    })

    it('deletes, also what is not there', async () => {
      await storage.put('d/1', bytesOf('x'))
      await storage.delete('d/1')
      await storage.delete('d/1')
      await storage.delete('never/was')
      expect(await storage.get('d/1')).toBeUndefined()
      expect(await keysOf(storage, 'd/')).toEqual([])
    })

    it('lists by a plain string prefix in byte order, after a key', async () => {
      const keys = ['l/a-b', 'l/a.b/1', 'l/a/1', 'l/a/2/3', 'l/a0', 'l/b', 'l2/a']
      for (const key of keys.toReversed()) await storage.put(key, bytesOf(key))
      expect(await keysOf(storage, 'l/')).toEqual(['l/a-b', 'l/a.b/1', 'l/a/1', 'l/a/2/3', 'l/a0', 'l/b'])
      expect(await keysOf(storage, 'l')).toEqual(['l/a-b', 'l/a.b/1', 'l/a/1', 'l/a/2/3', 'l/a0', 'l/b', 'l2/a'])
      expect(await keysOf(storage, 'l/a/')).toEqual(['l/a/1', 'l/a/2/3'])
      expect(await keysOf(storage, 'l/a/2')).toEqual(['l/a/2/3'])
      expect(await keysOf(storage, 'l/c')).toEqual([])
      expect(await keysOf(storage, 'l/none/')).toEqual([])
      expect(await keysOf(storage, 'l/', 'l/a/1')).toEqual(['l/a/2/3', 'l/a0', 'l/b'])
      expect(await keysOf(storage, 'l/', 'l/a/')).toEqual(['l/a/1', 'l/a/2/3', 'l/a0', 'l/b'])
      expect(await keysOf(storage, 'l/', 'l/a')).toEqual(['l/a-b', 'l/a.b/1', 'l/a/1', 'l/a/2/3', 'l/a0', 'l/b'])
      expect(await keysOf(storage, 'l/', 'l/b')).toEqual([])
      expect(await keysOf(storage, 'l/', 'a')).toHaveLength(6)
      expect(await keysOf(storage, '')).toEqual((await keysOf(storage, '')).toSorted(byBytes))
    })

    it('holds unusual names, in byte order', async () => {
      for (const key of unusualKeys) expect(await storage.putIfAbsent(key, bytesOf(key))).toEqual({ kind: 'created' })
      for (const key of unusualKeys) {
        expect(textOf(await storage.get(key))).toBe(key)
        expect(await keysOf(storage, key)).toContain(key)
        expect(keyOf(storage, uriOf(storage, key))).toBe(key)
      }
      expect(await keysOf(storage, 'n/')).toEqual(unusualKeys.toSorted(byBytes))
      expect(await keysOf(storage, 'n/日本語/', 'n/日本語/～.avro')).toEqual(['n/日本語/🚀.avro'])
    })

    it('lists more than a page', async () => {
      const keys = Array.from({ length: 1_100 }, (_, i) => `pages/${String(i).padStart(4, '0')}`)
      for (let i = 0; i < keys.length; i += 50) {
        await Promise.all(keys.slice(i, i + 50).map((key) => storage.put(key, bytesOf('x'))))
      }
      expect(await keysOf(storage, 'pages/')).toEqual(keys)
      expect(await keysOf(storage, 'pages/', 'pages/1089')).toHaveLength(10)
    }, 60_000)

    it('refuses keys that could leave the root or cannot be listed', async () => {
      const long = Array.from({ length: 10 }, () => 'x'.repeat(100)).join('/')
      for (const key of [
        '',
        '/',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        '../a',
        'a/../b',
        'a/..',
        'a/./b',
        'a\0b',
        'a\nb',
        '\ud800',
        '.scratch/x',
        'x'.repeat(256),
        long,
      ]) {
        await expect(storage.put(key, bytesOf('x')), JSON.stringify(key)).rejects.toMatchObject({ code: 'internal' })
        await expect(storage.putIfAbsent(key, bytesOf('x'))).rejects.toMatchObject({ code: 'internal' })
        await expect(storage.get(key)).rejects.toMatchObject({ code: 'internal' })
        await expect(storage.head(key)).rejects.toMatchObject({ code: 'internal' })
        await expect(storage.delete(key)).rejects.toMatchObject({ code: 'internal' })
      }
      for (const prefix of ['..', '../', '/', 'a/../']) {
        await expect(keysOf(storage, prefix), prefix).rejects.toMatchObject({ code: 'internal' })
      }
    })

    it('stops reading when asked to', async () => {
      await storage.put('abort', new Uint8Array(100_000))
      const read = storage.get('abort', AbortSignal.abort(new Error('enough')))
      await expect(read).rejects.toMatchObject({ code: 'store.unavailable' })
    })

    it('has a scratch folder, and none of it is listed', async () => {
      await writeFile(path.join(storage.scratch, 'half.parquet'), 'x')
      expect((await keysOf(storage, '')).filter((key) => key.includes('half'))).toEqual([])
      expect((await keysOf(storage, '')).filter((key) => key.startsWith('.'))).toEqual([])
    })
  })
}

/** A create as its caller does it: a conflict says nothing, so the same bytes are sent again. */
async function settle(storage: Storage, key: string, bytes: Uint8Array): Promise<PutOutcome> {
  for (;;) {
    const outcome = await storage.putIfAbsent(key, bytes)
    if (outcome.kind !== 'conflict') return outcome
  }
}

export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}
