import type { FileHandle } from 'node:fs/promises'
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { LocalStorage } from '../../../src/lake/storage/local.ts'

/** The next flush of a file (or of a folder) fails with this code. */
const next: { file: string | undefined; folder: string | undefined } = { file: undefined, folder: undefined }

const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-faults-'))
const handles = await handlePrototype()
const { sync } = handles
handles.sync = async function (this: FileHandle) {
  const kind = (await this.stat()).isDirectory() ? 'folder' : 'file'
  const code = next[kind]
  next[kind] = undefined
  if (code !== undefined) throw Object.assign(new Error(`${code}: fsync`), { code })
  await sync.call(this)
}
afterAll(() => void (handles.sync = sync))

async function handlePrototype(): Promise<FileHandle> {
  const handle = await open(folder)
  await handle.close()
  return Object.getPrototypeOf(handle) as FileHandle
}

const storage = await LocalStorage.open(folder)
await storage.put('k/first', new Uint8Array(1)) // the folder is there: the flushes below are of the file and of its name
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => Object.assign(next, { file: undefined, folder: undefined }))
const bytes = new Uint8Array([1, 2, 3])

describe('a disk that fails to flush', () => {
  it('before the name: nothing has landed, and a new file is written for the next try', async () => {
    next.file = 'EIO'
    expect(await storage.putIfAbsent('k/a', bytes)).toMatchObject({
      kind: 'unknown',
      cause: { code: 'store.unavailable' },
    })
    expect(await storage.get('k/a')).toBeUndefined()
    expect(await readdir(storage.scratch)).toEqual([])
    expect(await storage.putIfAbsent('k/a', bytes)).toEqual({ kind: 'created' })
  })

  it('before the name, because it is full: a definite refusal', async () => {
    next.file = 'ENOSPC'
    await expect(storage.putIfAbsent('k/b', bytes)).rejects.toMatchObject({ code: 'store.disk_full', retryable: true })
    expect(await storage.get('k/b')).toBeUndefined()
    expect(await readdir(storage.scratch)).toEqual([])
  })

  it.each(['EIO', 'ENOSPC', 'EACCES'])(
    'after the name, with %s: the bytes stand, so nothing is definite',
    async (code) => {
      next.folder = code
      expect(await storage.putIfAbsent(`k/c-${code}`, bytes)).toMatchObject({ kind: 'unknown' })
      expect(await storage.get(`k/c-${code}`)).toEqual(Buffer.from(bytes))
      expect(await storage.putIfAbsent(`k/c-${code}`, bytes)).toEqual({ kind: 'exists' })
    },
  )

  it('under a plain write: it throws, and leaves no unfinished file', async () => {
    next.file = 'EIO'
    await expect(storage.put('k/d', bytes)).rejects.toMatchObject({ code: 'store.unavailable', retryable: true })
    expect(await storage.get('k/d')).toBeUndefined()
    const file = path.join(storage.scratch, 'data.parquet')
    await writeFile(file, bytes)
    next.file = 'ENOSPC'
    await expect(storage.putFile('k/e', file)).rejects.toMatchObject({ code: 'store.disk_full' })
    expect(await storage.get('k/e')).toBeUndefined()
    expect(await readdir(storage.scratch)).toEqual(['data.parquet'])
  })
})
