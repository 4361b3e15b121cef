import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { LakeError } from '../../src/error.ts'
import { openChain, type Chain, type Draft } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { decodeVersion, encodeVersion } from '../../src/version-json.ts'
import type { Version } from '../../src/version.ts'
import { InstantClock } from '../support/instant-clock.ts'
import { committed, content, draft, grow as growChain, ScriptedStorage, type Step } from '../support/scripted-chain.ts'

const HOUR_MS = 3_600_000

let storage: ScriptedStorage
let clock: InstantClock
let chain: Chain
let other: Chain

beforeEach(() => {
  storage = new ScriptedStorage('chain')
  clock = new InstantClock()
  chain = openChain(storage, 'shop', clock)
  other = openChain(storage, 'shop', clock)
})

const grow = (count: number) => growChain(chain, clock, count)

async function standing(number: bigint): Promise<Version | undefined> {
  const bytes = await MemoryStorage.prototype.get.call(
    storage,
    `pipelines/shop/v${String(number).padStart(16, '0')}.json`,
  )
  return bytes === undefined ? undefined : decodeVersion(bytes)
}

describe('append', () => {
  it('keeps what was published, of versions from before there was such a thing too', async () => {
    const published = { w: 12n, constructor: 9_007_199_254_740_993n }
    const one = await committed(chain, undefined, draft('c1', 1n, { published }))
    expect(decodeVersion(encodeVersion(one)).published).toEqual(published)
    const { published: text, ...old } = JSON.parse(Buffer.from(encodeVersion(one)).toString()) as Record<
      string,
      unknown
    >
    expect(text).toEqual({ w: '12', constructor: '9007199254740993' })
    expect(decodeVersion(Buffer.from(JSON.stringify(old))).published).toEqual({})
  })

  it('makes dense versions with one chain of parents', async () => {
    await grow(3)
    const all = (await chain.versions(10)).toReversed()
    expect(all.map(({ number }) => number)).toEqual([1n, 2n, 3n])
    expect(all.map(({ parent }) => parent)).toEqual(['', 'c1', 'c2'])
    expect(all[2]!.recentCommits).toEqual(['c1', 'c2'])
  })

  it('remembers a hundred commits', async () => {
    const head = await grow(105)
    expect(head.recentCommits).toHaveLength(100)
    expect(head.recentCommits.at(-1)).toBe('c104')
  })

  it('never lets the time of a version go back', async () => {
    await grow(1)
    clock.advance(-60_000)
    const head = await grow(1)
    expect(Date.parse(head.time)).toBeGreaterThanOrEqual(
      Date.parse((await chain.at({ kind: 'number', number: 1n })).time),
    )
  })

  describe.each<{ name: string; script: Step[]; attempts: number }>([
    { name: 'A1: it landed, the answer was lost', script: ['landed'], attempts: 1 },
    { name: 'A1: answered "exists" for its own object', script: ['exists'], attempts: 1 },
    { name: 'A6: conflicts say nothing', script: ['conflict', 'conflict'], attempts: 3 },
    { name: 'A7: nothing landed, sent again', script: ['lost', 'lost'], attempts: 3 },
    { name: 'A7: lands late, then meets itself', script: ['later', 'created'], attempts: 2 },
    { name: 'A7, then A6, then A1', script: ['later', 'conflict', 'lost'], attempts: 3 },
    { name: 'A8 after A7 settles its own attempt only', script: ['later', 'denied'], attempts: 2 },
  ])('$name', ({ script, attempts }) => {
    it('is committed once', async () => {
      const head = await grow(1)
      storage.script = script
      storage.attempts = 0
      const result = await chain.append(head, draft('mine', 20n))
      expect(result).toMatchObject({ kind: 'committed', version: { number: 2n, commitId: 'mine' } })
      expect((await standing(2n))?.commitId).toBe('mine')
      expect(await standing(3n)).toBeUndefined()
      expect(storage.attempts).toBe(attempts)
    })
  })

  it('keeps probing while reads fail after an unknown outcome', async () => {
    const head = await grow(1)
    storage.script = ['landed', 'lost', 'lost']
    storage.getsFail = 2
    expect(await chain.append(head, draft('mine', 20n))).toMatchObject({ kind: 'committed', version: { number: 2n } })
  })

  it('A2: other code at the head supersedes, also where the positions are equal', async () => {
    const head = await grow(1)
    const tables = { orders: { metadata: 'm', snapshot: undefined, code: 'b' } }
    await committed(other, await other.head(), draft('cutover', 10n, { kind: 'cutover', tables }))
    expect(await chain.append(head, draft('mine', 10n))).toMatchObject({ kind: 'superseded', head: { number: 2n } })
  })

  it('A1 comes before A2: an own commit under a cut-over is committed', async () => {
    const head = await grow(1)
    const tables = { orders: { metadata: 'm', snapshot: undefined, code: 'b' } }
    storage.script = [
      async (storage) => {
        const number = 2n
        const mine = { ...content(20n), formatVersion: 1, number, commitId: 'mine', parent: 'c1' }
        const bytes = encodeVersion({ ...mine, time: head.time, recentCommits: ['c1'], jump: undefined })
        await MemoryStorage.prototype.putIfAbsent.call(storage, 'pipelines/shop/v0000000000000002.json', bytes)
        await committed(other, await other.head(), draft('cutover', 20n, { kind: 'cutover', tables }))
        return { kind: 'unknown', cause: undefined }
      },
    ]
    expect(await chain.append(head, draft('mine', 20n))).toMatchObject({ kind: 'committed', version: { number: 2n } })
  })

  it('A4: is built again on top of maintenance, and only of that', async () => {
    const head = await grow(1)
    await committed(other, await other.head(), draft('m2', 10n, { kind: 'maintenance' }))
    await committed(other, await other.head(), draft('m3', 10n, { kind: 'maintenance' }))
    const mine = draft('mine', 20n)
    expect(await chain.append(head, mine)).toMatchObject({ kind: 'committed', version: { number: 4n, parent: 'm3' } })
    expect(mine.builds).toEqual([2n, 4n])
  })

  it('A5: another commit in between makes it stale, wherever it stands among maintenance', async () => {
    const head = await grow(1)
    await committed(other, await other.head(), draft('m2', 10n, { kind: 'maintenance' }))
    await committed(other, await other.head(), draft('theirs', 15n))
    await committed(other, await other.head(), draft('m4', 15n, { kind: 'maintenance' }))
    expect(await chain.append(head, draft('mine', 20n))).toMatchObject({ kind: 'stale', head: { number: 4n } })
    expect(await standing(5n)).toBeUndefined()
  })

  it('A5 after A7: theirs landed, ours never did', async () => {
    const head = await grow(1)
    storage.script = [
      'lost',
      async () => {
        await committed(other, await other.head(), draft('theirs', 15n))
      },
    ]
    expect(await chain.append(head, draft('mine', 20n))).toMatchObject({ kind: 'stale', head: { commitId: 'theirs' } })
  })

  it('A8: a refusal without anything open is thrown', async () => {
    const head = await grow(1)
    storage.script = ['denied']
    await expect(chain.append(head, draft('mine', 20n))).rejects.toMatchObject({ code: 'store.denied' })
    expect(await standing(2n)).toBeUndefined()
  })

  it('a late landing of an abandoned commit fences whoever went on, and is found by the next', async () => {
    const head = await grow(1)
    const stop = new AbortController()
    storage.script = [
      async () => {
        stop.abort()
        return { kind: 'unknown', cause: undefined }
      },
    ]
    await expect(chain.append(head, draft('mine', 20n), stop.signal)).rejects.toMatchObject({ code: 'commit.unknown' })
    // It lands now, as it was sent.
    await committed(openChain(storage, 'shop', clock), head, draft('mine', 20n)).catch(() => undefined)
    const late = openChain(storage, 'shop', clock)
    await late.head()
    await committed(late, (await late.head())!.number === 1n ? head : await late.head(), draft('after', 30n))
    expect(await other.append(head, draft('zombie', 20n)).catch((error: LakeError) => error.code)).not.toMatchObject({
      kind: 'committed',
    })
  })

  it('a stop does not spin on conflicts', async () => {
    const head = await grow(1)
    const stop = new AbortController()
    stop.abort()
    storage.script = Array.from({ length: 1_000 }, () => 'conflict' as const)
    storage.attempts = 0
    await expect(chain.append(head, draft('mine', 20n), stop.signal)).rejects.toMatchObject({ code: 'commit.unknown' })
    expect(storage.attempts).toBe(1)
  })

  it('the first version is created by one of two', async () => {
    await chain.head()
    await other.head()
    expect(await chain.append(undefined, draft('a', 0n))).toMatchObject({ kind: 'committed' })
    expect(await other.append(undefined, draft('b', 0n))).toMatchObject({ kind: 'stale', head: { commitId: 'a' } })
  })

  it('tells of a version that only a newer release can read', async () => {
    const head = await grow(1)
    const newer = Buffer.from(JSON.stringify({ formatVersion: 99, number: '2', commitId: 'new' }))
    await storage.put('pipelines/shop/v0000000000000002.json', newer)
    await expect(chain.append(head, draft('mine', 20n))).rejects.toMatchObject({ code: 'store.corrupt' })
  })

  it('refuses a base that was seen too long ago, however the machine spent the time', async () => {
    for (const pass of ['advance', 'suspend'] as const) {
      const head = (await chain.head()) ?? (await grow(1))
      clock[pass](13 * HOUR_MS)
      await expect(chain.append(head, draft('mine', 20n))).rejects.toMatchObject({
        code: 'commit.stale',
        retryable: true,
      })
    }
  })

  it('refuses it also when the time went by while it was built', async () => {
    const head = await grow(1)
    const slow: Draft = {
      commitId: 'mine',
      build: () => {
        clock.suspend(13 * HOUR_MS)
        return Promise.resolve(content(20n))
      },
    }
    await expect(chain.append(head, slow)).rejects.toMatchObject({ code: 'commit.stale' })
  })

  it('does not create a number again that was thinned out', async () => {
    const head = await grow(1)
    let theirs = await other.head()
    for (let i = 0; i < 3; i++) theirs = await committed(other, theirs, draft(`t${i}`, 50n))
    await storage.delete('pipelines/shop/v0000000000000002.json')
    await chain.head().then(() => chain.versions(1))
    // This process has seen the newest version, and still holds the old one.
    const stale = openChain(storage, 'shop', clock)
    await stale.at({ kind: 'number', number: 4n })
    await expect(stale.append(head, draft('mine', 20n))).rejects.toMatchObject({ code: 'commit.stale' })
    expect(await standing(2n)).toBeUndefined()
  })

  it('believes an answer that took more than an hour only if the chain knows the commit', async () => {
    const head = await grow(1)
    storage.script = [
      async (storage) => {
        // While this request slept, others committed, and the first of them was thinned out.
        let theirs = await other.head()
        for (let i = 0; i < 3; i++) theirs = await committed(other, theirs, draft(`t${i}`, 50n))
        await storage.delete('pipelines/shop/v0000000000000002.json')
        clock.suspend(2 * HOUR_MS)
      },
    ]
    expect(await chain.append(head, draft('mine', 20n))).toMatchObject({ kind: 'stale', head: { number: 4n } })
  })
})

it('two writers: each acknowledged commit stands once, nobody passes over another', async () => {
  const step = fc.constantFrom<Step>('created', 'created', 'lost', 'landed', 'later', 'conflict', 'exists')
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.array(fc.boolean(), { minLength: 5, maxLength: 20 }),
      async (script, turns) => {
        storage = new ScriptedStorage('two')
        storage.script = script
        const chains = [openChain(storage, 'shop', clock), openChain(storage, 'shop', clock)] as const
        const bases: (Version | undefined)[] = [await chains[0].head(), await chains[1].head()]
        const acknowledged: string[] = []
        const turn = async (who: 0 | 1, id: string) => {
          const result = await chains[who].append(bases[who], draft(id, 1n))
          if (result.kind === 'committed') acknowledged.push(id)
          bases[who] = result.kind === 'committed' ? result.version : result.head
        }
        for (const [index, isTogether] of turns.entries()) {
          const who = index % 2 === 0 ? 0 : 1
          if (isTogether) await Promise.all([turn(0, `a${index}`), turn(1, `b${index}`)])
          else await turn(who, `s${index}`)
        }
        const ids = (await openChain(storage, 'shop', clock).versions(100)).map(({ commitId }) => commitId)
        expect(new Set(ids).size).toBe(ids.length)
        expect(ids.toSorted()).toEqual(acknowledged.toSorted())
      },
    ),
    { numRuns: 150 },
  )
})
