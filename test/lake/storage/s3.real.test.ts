import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { openStorage } from '../../../src/lake/storage/open.ts'
import { assertConditionalWrites } from '../../../src/lake/storage/race.ts'
import { storageProcesses } from '../../conformance/storage-processes.ts'
import { keysOf, storageConformance } from '../../conformance/storage.ts'
import { startS3, storeOn } from '../../support/s3-server.ts'

const server = await startS3()
afterAll(() => server.stop())

storageConformance('S3Storage', () => openStorage(storeOn(server, 'conformance/one'), systemClock))
storageProcesses('S3Storage', () => storeOn(server, 'processes'))

describe('S3Storage', () => {
  it('holds a file that goes in parts', async () => {
    const storage = await openStorage(storeOn(server, 'large'), systemClock)
    const size = 70 * 1024 * 1024 + 13
    const body = Buffer.alloc(size)
    for (let i = 0; i < size - 4; i += 4_096) body.writeUInt32LE(i, i)
    const file = path.join(storage.scratch, 'large.parquet')
    await writeFile(file, body)
    await storage.putFile('data/large.parquet', file)
    expect(existsSync(file)).toBe(false)
    expect(await storage.head('data/large.parquet')).toMatchObject({ sizeBytes: size })
    expect(Buffer.compare((await storage.get('data/large.parquet'))!, body)).toBe(0)
    await storage.close()
  }, 60_000)

  it('keeps its promise when raced', async () => {
    const storage = await openStorage(storeOn(server, 'raced'), systemClock)
    expect(await assertConditionalWrites(storage, systemClock)).toMatchObject({ rounds: 20, racers: 16 })
    expect(await keysOf(storage, '')).toEqual(['kappalake-store.json'])
    await storage.close()
  })

  it('uses a whole bucket, sees only its prefix, and names objects by it', async () => {
    const whole = await openStorage(server.settings, systemClock)
    const part = await openStorage({ ...server.settings, url: `${server.url}/part/` }, systemClock)
    await part.put('a', new Uint8Array([1]))
    expect(part.url).toBe('s3://lake/part')
    expect(whole.url).toBe('s3://lake')
    expect(await whole.get('part/a')).toEqual(Buffer.from([1]))
    expect(await keysOf(part, '')).toEqual(['a'])
    await Promise.all([whole.close(), part.close()])
  })

  it('refuses URLs and settings that name no store', async () => {
    for (const url of [
      's3://',
      's3://ab',
      's3://UPPER/x',
      's3://bucket/../up',
      's3://bucket/a//b',
      's3:bucket/a',
      's3a://bucket',
    ]) {
      await expect(openStorage({ ...server.settings, url }, systemClock), url).rejects.toMatchObject({
        code: 'config.invalid',
        fix: expect.stringContaining('s3://bucket/prefix'),
      })
    }
    const gone = await openStorage({ ...server.settings, url: 's3://no-such-bucket/x' }, systemClock)
    await expect(gone.get('a')).rejects.toMatchObject({
      code: 'config.invalid',
      fix: expect.stringContaining('bucket'),
    })
    await expect(gone.putIfAbsent('a', new Uint8Array(1))).rejects.toMatchObject({ code: 'config.invalid' })
    await expect(keysOf(gone, '')).rejects.toMatchObject({ code: 'config.invalid' })
    await gone.close()
  })
})
