import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { DataFile } from '../../src/lake/table.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { FileCache } from '../../src/query/file-cache.ts'

const SIGNAL = new AbortController().signal

let folder: string
let storage: CountingStorage
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-cache-'))
  storage = new CountingStorage('cache')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

class CountingStorage extends MemoryStorage {
  gets = 0
  override get(key: string): Promise<Uint8Array | undefined> {
    this.gets++
    return super.get(key)
  }
}

const open = (bytesMax = 1_000) => new FileCache({ storage, folder, bytesMax, clock: systemClock })

async function store(key: string, sizeBytes: number): Promise<DataFile> {
  await storage.put(key, Buffer.alloc(sizeBytes, key))
  return { key, fileSizeBytes: sizeBytes, recordCount: 1, partition: [], metrics: new Map() }
}

describe('the cache of files', () => {
  test('an object is fetched once, however many ask for it at once', async () => {
    const cache = open()
    const file = await store('a', 10)
    const leases = await Promise.all([1, 2, 3].map(() => cache.lease([file, file], SIGNAL)))
    expect(storage.gets).toBe(1)
    expect(new Set(leases.flatMap(({ paths }) => paths)).size).toBe(1)
    const [local] = leases[0]!.paths
    expect(await readFile(local!)).toEqual(Buffer.alloc(10, 'a'))
    expect((await stat(local!)).mode & 0o777).toBe(0o444)
    expect(cache.bytes).toBe(10)
  })

  test('what cannot be written leaves nothing behind', async () => {
    const file = await store('a', 10)
    const name = `${createHash('sha256').update(`${storage.url}/a`).digest('hex')}.parquet`
    await mkdir(path.join(folder, name))
    const cache = open()
    await expect(cache.lease([file], SIGNAL)).rejects.toThrow()
    expect(await readdir(folder)).toEqual([name])
    expect(cache.bytes).toBe(0)
  })

  test('what was not used for longest makes room, but never what is being read', async () => {
    const cache = open(30)
    const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((key) => store(key, 10)))
    const reading = await cache.lease([a!], SIGNAL)
    ;(await cache.lease([b!], SIGNAL)).release()
    ;(await cache.lease([c!], SIGNAL)).release()
    ;(await cache.lease([b!], SIGNAL)).release()
    ;(await cache.lease([d!], SIGNAL)).release()
    expect(cache.bytes).toBe(30)
    expect((await stat(reading.paths[0]!)).size).toBe(10)
    const before = storage.gets
    ;(await cache.lease([b!], SIGNAL)).release()
    expect(storage.gets).toBe(before)
    ;(await cache.lease([c!], SIGNAL)).release()
    expect(storage.gets).toBe(before + 1)
  })

  test('its bytes are bounded, also when many come at once', async () => {
    const cache = open(35)
    const files = await Promise.all(Array.from({ length: 6 }, (_, n) => store(`f${n}`, 10)))
    await expect(cache.lease(files, SIGNAL)).rejects.toMatchObject({ code: 'store.disk_full' })
    expect(cache.bytes).toBeLessThanOrEqual(35)
    const lease = await cache.lease(files.slice(3), SIGNAL)
    expect(lease.paths.length).toBe(3)
    expect((await readdir(folder)).length).toBeLessThanOrEqual(3)
  })

  test('an object that is gone, or is not what it should be', async () => {
    const cache = open()
    const gone = await store('gone', 10)
    await storage.delete('gone')
    await expect(cache.lease([gone], SIGNAL)).rejects.toMatchObject({ code: 'snapshot.expired' })
    const torn = await store('torn', 10)
    await storage.put('torn', Buffer.alloc(9))
    await expect(cache.lease([torn], SIGNAL)).rejects.toMatchObject({ code: 'store.corrupt' })
    expect(cache.bytes).toBe(0)
    await storage.put('torn', Buffer.alloc(10))
    expect((await cache.lease([torn], SIGNAL)).paths.length).toBe(1)
  })

  test('a restart finds what is there, and clears away what was not finished', async () => {
    const file = await store('a', 10)
    const [local] = (await open().lease([file], SIGNAL)).paths
    const unfinished = `${local}.0b8c2a52`
    await writeFile(unfinished, 'x')
    const cache = open()
    expect((await cache.lease([file], SIGNAL)).paths).toEqual([local])
    expect([storage.gets, cache.bytes]).toEqual([1, 10])
    expect(await readdir(folder)).toContain(path.basename(unfinished)) // it may be somebody's who lives
  })

  test('a file that somebody removed or cut is fetched again', async () => {
    const cache = open()
    const file = await store('a', 10)
    const [local] = (await cache.lease([file], SIGNAL)).paths
    await rm(local!)
    expect((await cache.lease([file], SIGNAL)).paths).toEqual([local])
    await chmod(local!, 0o644)
    await writeFile(local!, 'cut')
    await cache.lease([file], SIGNAL)
    expect((await stat(local!)).size).toBe(10)
    expect([storage.gets, cache.bytes]).toEqual([3, 10])
  })

  test('whoever is gone waits for nothing', async () => {
    const file = await store('a', 10)
    await expect(open().lease([file], AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone')
  })
})
