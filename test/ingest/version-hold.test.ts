import { expect, test } from 'vitest'
import { systemClock, type Clock } from '../../src/clock.ts'
import { VersionHold } from '../../src/ingest/version-hold.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { readTags } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'

// What was sent last stays there for as long as something behind it is to be sent.

const MINUTE_MS = 60_000
const at = (number: bigint, minute: number): Version =>
  ({ number, time: new Date(minute * MINUTE_MS).toISOString() }) as Version

test('a version is held once much is to be sent after it, anew from time to time, and let go in the end', async () => {
  const storage = new MemoryStorage('version-hold')
  let nowMs = 0
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, uuid: () => systemClock.uuid() }
  const hold = new VersionHold({ storage, chain: { pipeline: 'p' } as Chain, clock }, 'Some_table')
  const held = async () => (await readTags(storage, 'p')).map(({ version }) => version)

  await hold.look(at(7n, 0), at(900n, 19))
  expect(await held()).toEqual([])
  await hold.letGo()
  await hold.look(at(7n, 0), at(900n, 21))
  expect(await held()).toEqual([7n])
  const [first] = await readTags(storage, 'p')
  expect(first!.untilMs!).toBeGreaterThan(6 * 24 * 60 * MINUTE_MS)

  // Not with every attempt.
  await storage.delete(`pipelines/p/tags/${first!.name}.json`)
  nowMs += 9 * MINUTE_MS
  await hold.look(at(7n, 0), at(900n, 30))
  expect(await held()).toEqual([])
  nowMs += MINUTE_MS
  await hold.look(at(8n, 1), at(900n, 31))
  expect(await held()).toEqual([8n])
  await hold.letGo()
  expect(await held()).toEqual([])
  await storage.close()
})
