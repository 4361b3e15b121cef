import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { MemoryStorage } from '../../../src/lake/storage/memory.ts'
import { storageConformance } from '../../conformance/storage.ts'

const storage = new MemoryStorage('conformance', systemClock)
storageConformance('MemoryStorage', async () => storage)

describe('MemoryStorage', () => {
  it('dates objects by the clock it is given', async () => {
    const dated = new MemoryStorage('dated', { nowMs: () => 77 })
    await dated.put('a', new Uint8Array(1))
    expect(await dated.head('a')).toEqual({ key: 'a', sizeBytes: 1, modifiedMs: 77 })
  })

  it('sees in a listing what came before each step, and survives deletes while listing', async () => {
    const store = new MemoryStorage('x')
    for (const key of ['a', 'b', 'c']) await store.put(key, new Uint8Array(1))
    const seen: string[] = []
    for await (const { key } of store.list('')) {
      seen.push(key)
      await store.delete('b')
    }
    expect(seen).toEqual(['a', 'c'])
  })
})
