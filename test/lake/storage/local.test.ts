import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { link, mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { linkOnce } from '../../../src/lake/storage/file.ts'
import { LocalStorage } from '../../../src/lake/storage/local.ts'
import { assertConditionalWrites } from '../../../src/lake/storage/race.ts'
import { keysOf, storageConformance } from '../../conformance/storage.ts'

const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-local-'))
afterAll(() => rm(folder, { recursive: true, force: true }))

storageConformance('LocalStorage', () => LocalStorage.open(path.join(folder, 'store')))

const one = new Uint8Array([1])

describe('LocalStorage', () => {
  it('keeps its promise when raced', async () => {
    const storage = await LocalStorage.open(path.join(folder, 'raced'))
    expect(await assertConditionalWrites(storage, systemClock)).toMatchObject({ rounds: 20 })
    await storage.close()
  })

  it('a store that is a file, or below one, is a wrong setting and no defect', async () => {
    const file = path.join(folder, 'a-file')
    await writeFile(file, '')
    for (const root of [file, path.join(file, 'lake'), path.join(folder, 'x'.repeat(300))])
      await expect(LocalStorage.open(root)).rejects.toMatchObject({
        code: 'config.invalid',
        message: expect.stringContaining(root),
        fix: expect.stringContaining('store.url'),
      })
  })

  it('leaves no unfinished file, and removes its scratch folder when closed', async () => {
    const root = path.join(folder, 'clean')
    const storage = await LocalStorage.open(root)
    await storage.put('a/1', one)
    await storage.putIfAbsent('a/1', one)
    await storage.putIfAbsent('a/2', one)
    expect(await readdir(storage.scratch)).toEqual([])
    await storage.close()
    expect(await readdir(path.join(root, '.scratch'))).toEqual([])
    expect((await readdir(path.join(root, 'a'))).toSorted()).toEqual(['1', '2'])
  })

  it('sweeps the scratch folders of dead processes, and only those', async () => {
    const root = path.join(folder, 'sweep')
    const living = await LocalStorage.open(root)
    await writeFile(path.join(living.scratch, 'mine.parquet'), 'x')
    const scratch = path.dirname(living.scratch)
    const parts = path.basename(living.scratch).split('~')
    const dead = execFileSync(process.execPath, ['-p', 'process.pid']).toString().trim()
    const names = {
      dead: `${parts[0]}~${parts[1]}~${dead}~123~abc`,
      sameIdOtherStart: `${parts[0]}~${parts[1]}~${process.pid}~1~abc`,
      otherMachine: 'kappalake~elsewhere~1~1~abc',
      otherMachineLongAgo: 'kappalake~elsewhere~1~1~def',
      notOurs: 'notes~a~b~c',
    }
    for (const name of Object.values(names)) await mkdir(path.join(scratch, name))
    await utimes(path.join(scratch, names.otherMachineLongAgo), 1_000_000, 1_000_000)
    const second = await LocalStorage.open(root)
    expect((await readdir(scratch)).toSorted()).toEqual(
      [path.basename(living.scratch), path.basename(second.scratch), names.otherMachine, names.notOurs].toSorted(),
    )
    expect(await readdir(living.scratch)).toEqual(['mine.parquet'])
    await Promise.all([living.close(), second.close()])
  })

  it('writes on when its scratch folder was swept, or a folder of the store removed', async () => {
    const root = path.join(folder, 'swept')
    const storage = await LocalStorage.open(root)
    await rm(storage.scratch, { recursive: true })
    expect(await storage.putIfAbsent('t/1', one)).toEqual({ kind: 'created' })
    await rm(path.join(root, 't'), { recursive: true })
    await storage.put('t/2', one)
    expect(await keysOf(storage, '')).toEqual(['t/2'])
    await storage.close()
  })

  it('does not take a root that has gone away for an empty store', async () => {
    const root = path.join(folder, 'unmounted')
    const storage = await LocalStorage.open(root)
    await storage.put('pipelines/p/v1', one)
    await rm(root, { recursive: true })
    await expect(storage.get('pipelines/p/v1')).rejects.toMatchObject({ code: 'store.unavailable', retryable: true })
    await expect(storage.head('pipelines/p/v1')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(keysOf(storage, 'pipelines/')).rejects.toMatchObject({ code: 'store.unavailable' })
    await expect(storage.put('a', one)).rejects.toMatchObject({ code: 'store.unavailable' })
    expect(await storage.putIfAbsent('a', one)).toMatchObject({ kind: 'unknown' })
    expect(existsSync(root)).toBe(false)
  })

  it('follows no symbolic link below the root', async () => {
    const root = path.join(folder, 'links')
    const outside = path.join(folder, 'outside')
    await mkdir(outside)
    await writeFile(path.join(outside, 'secret'), 'secret')
    const storage = await LocalStorage.open(root)
    await symlink(outside, path.join(root, 'out'))
    await symlink(path.join(outside, 'secret'), path.join(root, 'file'))
    for (const key of ['out/secret', 'out/new/1']) {
      await expect(storage.put(key, one), key).rejects.toMatchObject({ code: 'store.denied' })
      await expect(storage.putIfAbsent(key, one)).rejects.toMatchObject({ code: 'store.denied' })
    }
    await expect(storage.get('out/secret')).rejects.toMatchObject({ code: 'store.denied' })
    await expect(storage.head('out/secret')).rejects.toMatchObject({ code: 'store.denied' })
    await expect(storage.delete('out/secret')).rejects.toMatchObject({ code: 'store.denied' })
    await expect(keysOf(storage, 'out/')).rejects.toMatchObject({ code: 'store.denied' })
    await expect(storage.get('file')).rejects.toMatchObject({ code: 'store.denied' })
    expect(await storage.head('file')).toBeUndefined()
    expect(await storage.putIfAbsent('file', one)).toEqual({ kind: 'exists' })
    expect(await keysOf(storage, '')).toEqual([])
    expect(await readdir(outside)).toEqual(['secret'])
    expect(await readFile(path.join(outside, 'secret'), 'utf8')).toBe('secret')
    await storage.close()
  })

  it('takes a link that was made for its own, whatever the error said', async () => {
    // A network file system may make the link, lose its answer, and find the name taken when it asks again.
    const [temporary, target] = [path.join(folder, 'nfs.part'), path.join(folder, 'nfs')]
    await writeFile(temporary, 'x')
    await link(temporary, target)
    expect(await linkOnce(temporary, target)).toEqual({ kind: 'created' })
    await rm(temporary)
    await writeFile(temporary, 'y')
    expect(await linkOnce(temporary, target)).toEqual({ kind: 'exists' })
    // A backup that links every file of the store has caught the unfinished one.
    await link(temporary, path.join(folder, 'backup'))
    expect(await linkOnce(temporary, target)).toEqual({ kind: 'exists' })
  })

  it.skipIf(!existsSync('/dev/shm'))('moves a file in from another file system (needs /dev/shm)', async () => {
    const storage = await LocalStorage.open(path.join(folder, 'moved'))
    const elsewhere = await mkdtemp('/dev/shm/kappalake-')
    await writeFile(path.join(elsewhere, 'f'), 'from afar')
    await storage.putFile('a/f', path.join(elsewhere, 'f'))
    expect(Buffer.from((await storage.get('a/f'))!).toString()).toBe('from afar')
    expect(await readdir(elsewhere)).toEqual([])
    expect(await readdir(storage.scratch)).toEqual([])
    await rm(elsewhere, { recursive: true })
    await storage.close()
  })

  it('knows one root by one name, and refuses one that other engines would read differently', async () => {
    await mkdir(path.join(folder, 'real'))
    await symlink(path.join(folder, 'real'), path.join(folder, 'alias'))
    const storage = await LocalStorage.open(path.join(folder, 'alias/.'))
    expect(storage.url).toBe(`file://${path.join(folder, 'real')}`)
    await storage.close()
    for (const name of ['50%', 'a?b', 'a#b', 'a\nb']) {
      await expect(LocalStorage.open(path.join(folder, name))).rejects.toMatchObject({ code: 'config.invalid' })
    }
    await writeFile(path.join(folder, 'plain'), 'x')
    await expect(LocalStorage.open(path.join(folder, 'plain'))).rejects.toThrow()
  })
})
