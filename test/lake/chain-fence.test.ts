import { beforeEach, describe, expect, it } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { openChain, type Chain, type Draft, type VersionContent } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { PutOutcome } from '../../src/lake/storage/storage.ts'
import type { Version, VersionKind } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

const HOUR_MS = 3_600_000
const SECOND = 'pipelines/shop/v0000000000000002.json'

/** A store whose next create is in the hands of a test, and whose reads may fail. */
class SlowStorage extends MemoryStorage {
  onCreate: ((land: () => Promise<PutOutcome>) => Promise<PutOutcome>) | undefined
  getsFail = 0
  lists = 0

  override putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    const step = this.onCreate
    this.onCreate = undefined
    return step === undefined ? super.putIfAbsent(key, bytes) : step(() => super.putIfAbsent(key, bytes))
  }

  override async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    // A turn of the event loop, so that whoever asks for ever can be told to stop.
    await new Promise(setImmediate)
    if (this.getsFail-- > 0) throw new LakeError('store.unavailable', 'no answer', { retryable: true })
    return super.get(key, signal)
  }

  override list(prefix: string, options?: { readonly startAfter?: string }) {
    this.lists++
    return super.list(prefix, options)
  }
}

let storage: SlowStorage
let clock: InstantClock
let chain: Chain
let other: Chain

beforeEach(() => {
  storage = new SlowStorage('fence')
  clock = new InstantClock()
  chain = openChain(storage, 'shop', clock)
  other = openChain(storage, 'shop', clock)
})

function draft(commitId: string, kind: VersionKind = 'ingest'): Draft {
  const content: VersionContent = {
    kind,
    writer: 'w',
    tables: { orders: { metadata: 'm', snapshot: undefined, code: 'a' } },
    positions: new Map([['orders/0', 10n]]),
    ...NOTHING_ELSE,
  }
  return { commitId, build: () => Promise.resolve(content) }
}

async function commit(on: Chain, base: Version | undefined, made: Draft): Promise<Version> {
  const result = await on.append(base, made)
  if (result.kind !== 'committed') throw new Error(`expected a commit, got ${result.kind}`)
  return result.version
}

describe('a writer that slept in the middle of its commit', () => {
  it('is stale when another wrote and then maintained', async () => {
    const head = await commit(chain, undefined, draft('first'))
    storage.onCreate = async (land) => {
      const theirs = await commit(other, await other.head(), draft('theirs'))
      await commit(other, theirs, draft('compaction', 'maintenance'))
      clock.suspend(2 * HOUR_MS)
      return land()
    }
    expect(await chain.append(head, draft('mine'))).toMatchObject({ kind: 'stale', head: { number: 3n } })
  })

  it('is stale when it landed under a number that was thinned out, also if it did not hear of it at first', async () => {
    const head = await commit(chain, undefined, draft('first'))
    storage.onCreate = async (land) => {
      let theirs = await other.head()
      for (const id of ['a', 'b', 'c']) theirs = await commit(other, theirs, draft(id))
      await storage.delete(SECOND)
      clock.suspend(30 * HOUR_MS)
      await land()
      storage.getsFail = 1
      return { kind: 'unknown', cause: undefined }
    }
    expect(await chain.append(head, draft('mine'))).toMatchObject({ kind: 'stale', head: { number: 4n } })
  })
})

it('a stop is heard while what stands in the way cannot be read', async () => {
  const head = await commit(chain, undefined, draft('first'))
  await commit(other, await other.head(), draft('theirs'))
  const stop = new AbortController()
  storage.getsFail = Number.POSITIVE_INFINITY
  const result = chain.append(head, draft('mine'), stop.signal)
  stop.abort()
  await expect(result).rejects.toMatchObject({ code: 'commit.unknown' })
})

describe('head', () => {
  it('lists a chain that stands still once, not at every look', async () => {
    await commit(chain, undefined, draft('first'))
    clock.advance(2 * HOUR_MS)
    for (let i = 0; i < 10; i++) {
      await chain.head()
      clock.advance(1_000)
    }
    expect(storage.lists).toBe(1)
  })

  it('lists again after it looked away for so long that versions behind the known one may be gone', async () => {
    let head = await commit(other, undefined, draft('first'))
    expect((await chain.head())!.number).toBe(1n)
    // The wall clock of the writer is ahead: the age of a version says nothing.
    clock.advance(48 * HOUR_MS)
    for (const id of ['a', 'b', 'c']) head = await commit(other, await other.head(), draft(id))
    await storage.delete(SECOND)
    expect((await chain.head())!.number).toBe(head.number)
  })
})
