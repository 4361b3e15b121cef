import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { ArrivingBatches, arrivedKeys, sentBatch, sentKeys } from '../../src/ingest/key-files.ts'
import type { StagedKeys } from '../../src/ingest/keys.ts'
import type { Staged, StagedTable } from '../../src/ingest/lane.ts'
import { removePartials } from '../../src/ingest/window/partial-files.ts'

let folder: string
beforeAll(async () => (folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-keys-'))))
afterAll(() => rm(folder, { recursive: true, force: true }))

function keysOf(count: number, seed: number, isVersioned: boolean): StagedKeys {
  const word = (k: number) => Math.imul(k + seed, 0x9e3779b1)
  const longs = (by: bigint) => BigInt64Array.from({ length: count }, (_, k) => BigInt(word(k)) * by)
  return {
    count,
    hashes: Uint32Array.from({ length: 4 * count }, (_, k) => word(k)),
    files: Int32Array.from({ length: count }, (_, k) => (k % 5) - 2),
    rows: Uint32Array.from({ length: count }, (_, k) => word(k) >>> 3),
    offsets: longs(7n),
    runs: [{ partition: seed, count }],
    versions: isVersioned ? longs(-(2n ** 33n)) : undefined,
    bare: Uint32Array.of(seed),
    holes: undefined,
  }
}

function batchOf(keys: readonly (StagedKeys | undefined)[]): Staged {
  const tables = keys.map((each, k): StagedTable => {
    const table = { table: `t${k}`, files: [], deadLetterFiles: [], counts: new Map() }
    return each === undefined ? table : { ...table, keys: each }
  })
  return { lane: 0, ranges: [], tables, records: 1, bytes: 2, encodeMs: 3 } as unknown as Staged
}

test('keys of a batch arrive as they were sent, one batch after the other, and leave no file', async () => {
  const arriving = new ArrivingBatches()
  const sizes = fc.array(fc.option(fc.tuple(fc.nat(6_000), fc.boolean()), { nil: undefined }), { maxLength: 4 })
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(99), async (tables, seed) => {
      const all = tables.map((each, k) => each && keysOf(each[0], seed + k, each[1]))
      const sent = await sentBatch(batchOf(all), folder, systemClock)
      const large = all.filter((keys) => keys !== undefined && keys.count >= 4_096).length
      expect((await readdir(folder)).length).toBe(large)
      // What a message makes of it.
      expect(isDeepStrictEqual(await arriving.take(structuredClone(sent)), batchOf(all))).toBe(true)
      expect(await readdir(folder)).toEqual([])
    }),
    { numRuns: 12 },
  )
})

test.each([false, true])('keys of stored rows arrive as they were read (with versions: %s)', async (isVersioned) => {
  for (const count of [0, 5, 4_096, 9_000]) {
    const { hashes: cells, versions, runs } = keysOf(count, 3, isVersioned)
    const keys = { runs: [runs], ends: Uint32Array.of(0, count >> 1, count), cells, versions }
    const arrived = await arrivedKeys(structuredClone(await sentKeys(keys, folder, systemClock)))
    expect(isDeepStrictEqual(arrived, keys)).toBe(true)
    expect(await readdir(folder)).toEqual([])
  }
})

test('what is missing or cut is a lane that failed', async () => {
  for (const damage of [rm, (file: string) => truncate(file, 100), (file: string) => writeFile(file, '')]) {
    const sent = await sentBatch(batchOf([keysOf(5_000, 1, false), keysOf(6_000, 2, true)]), folder, systemClock)
    await damage(sent.tables[1]!.keys!.keyFile!)
    await expect(new ArrivingBatches().take(sent)).rejects.toMatchObject({ code: 'lane.failed', retryable: true })
    expect(await readdir(folder)).toEqual([])
  }
})

test('without room for a file they go along with the message, and a batch that nobody takes leaves none', async () => {
  const staged = batchOf([keysOf(5_000, 1, false)])
  expect(await sentBatch(staged, path.join(folder, 'absent'), systemClock)).toEqual(staged)
  await removePartials(await sentBatch(staged, folder, systemClock))
  expect(await readdir(folder)).toEqual([])
})
