import { mkdtemp, realpath, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/clock.ts'
import { openStorage } from '../../../src/lake/storage/open.ts'
import { keyOf, uriOf } from '../../../src/lake/storage/storage.ts'

const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), 'kappalake-open-')))
const relative = path.relative(process.cwd(), folder)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('openStorage', () => {
  it.each([
    [`file://${folder}/a`, `file://${folder}/a`],
    [`file:${folder}/a/`, `file://${folder}/a`],
    [`${folder}/b c`, `file://${folder}/b c`],
    [`file:./${relative}/d`, `file://${folder}/d`],
    [`${relative}/d`, `file://${folder}/d`],
    ['memory://lake', 'memory://lake'],
    ['FILE:' + folder, `file://${folder}`],
  ])('opens %s', async (url, expected) => {
    const storage = await openStorage({ url }, systemClock)
    expect(storage.url).toBe(expected)
    expect(storage.isLocal).toBe(expected.startsWith('file:'))
    await storage.close()
  })

  it.each([
    '',
    ' ',
    'file:',
    'file://host/share',
    'memory:',
    'memory://',
    'memory://a/b',
    'gs://bucket',
    'http://x',
    'S3A://b/c',
  ])('refuses %j and says what there is', async (url) => {
    await expect(openStorage({ url }, systemClock)).rejects.toMatchObject({
      code: 'config.invalid',
      message: expect.stringContaining('store.url'),
      fix: expect.stringContaining('s3://bucket/prefix'),
    })
  })

  it('opens the same memory by the same name, closed or not', async () => {
    const first = await openStorage({ url: 'memory://same' }, systemClock)
    await first.put('a', new Uint8Array([7]))
    await first.close()
    expect(await (await openStorage({ url: 'memory://same' }, systemClock)).get('a')).toEqual(new Uint8Array([7]))
    expect(await (await openStorage({ url: 'memory://other' }, systemClock)).get('a')).toBeUndefined()
  })

  it('gives URIs that lead back to the keys', async () => {
    const storage = await openStorage({ url: `${folder}/uri` }, systemClock)
    expect(keyOf(storage, uriOf(storage, 'tables/t/data/1.parquet'))).toBe('tables/t/data/1.parquet')
    expect(() => keyOf(storage, `file://${folder}/uri-2/x`)).toThrow('is not in the store')
    for (const above of ['../x', 'tables/../../x', '', 'a//b', 'a\u0000b'])
      expect(() => keyOf(storage, `${storage.url}/${above}`), above).toThrow('is not in the store')
    await storage.close()
  })
})
