import { LakeError } from '../../src/error.ts'
import type { Chain, Draft, VersionContent } from '../../src/lake/chain.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { PutOutcome } from '../../src/lake/storage/storage.ts'
import type { PartitionId } from '../../src/log.ts'
import type { Version, VersionKind } from '../../src/version.ts'
import type { InstantClock } from './instant-clock.ts'
import { NOTHING_ELSE } from './version-content.ts'

export const P: PartitionId = 'orders/0'

/** What happens to one attempt to create a version; once used up, everything works. */
export type Step =
  | 'created'
  | 'lost' // unknown, and nothing landed
  | 'landed' // unknown, and it landed
  | 'later' // unknown, lands before the next attempt
  | 'conflict'
  | 'exists' // landed, answered as if something had stood there
  | 'denied'
  | ((storage: MemoryStorage) => Promise<PutOutcome | void>)

export class ScriptedStorage extends MemoryStorage {
  script: Step[] = []
  attempts = 0
  getsFail = 0
  staleLists = 0
  #late: (() => Promise<unknown>)[] = []

  override async putIfAbsent(key: string, bytes: Uint8Array): Promise<PutOutcome> {
    this.attempts++
    for (const land of this.#late.splice(0)) await land()
    const step = this.script.shift() ?? 'created'
    const unknown = { kind: 'unknown', cause: new Error('reset') } as const
    if (typeof step === 'function') return (await step(this)) ?? super.putIfAbsent(key, bytes)
    switch (step) {
      case 'created':
        return super.putIfAbsent(key, bytes)
      case 'lost':
        return unknown
      case 'landed':
        await super.putIfAbsent(key, bytes)
        return unknown
      case 'later':
        this.#late.push(() => super.putIfAbsent(key, bytes))
        return unknown
      case 'conflict':
        return { kind: 'conflict' }
      case 'exists':
        await super.putIfAbsent(key, bytes)
        return { kind: 'exists' }
      case 'denied':
        throw new LakeError('store.denied', 'AccessDenied')
    }
  }

  override async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (this.getsFail > 0) {
      this.getsFail--
      throw new LakeError('store.unavailable', 'no answer', { retryable: true })
    }
    return super.get(key, signal)
  }

  override async *list(prefix: string, options?: { readonly startAfter?: string }) {
    const all = []
    for await (const info of super.list(prefix, options)) all.push(info)
    yield* this.staleLists-- > 0 ? all.slice(0, -1) : all
  }
}

export function content(position: bigint, change: Partial<VersionContent> = {}): VersionContent {
  return {
    kind: 'ingest',
    writer: 'w',
    tables: { orders: { metadata: 'm', snapshot: undefined, code: 'a' } },
    positions: new Map([[P, position]]),
    ...NOTHING_ELSE,
    ...change,
  }
}

export function draft(
  commitId: string,
  position: bigint,
  change: Partial<VersionContent> = {},
): Draft & { builds: bigint[] } {
  const builds: bigint[] = []
  const build = (_: Version | undefined, number: bigint) => {
    builds.push(number)
    return Promise.resolve(content(position, change))
  }
  return { commitId, build, builds }
}

export async function committed(on: Chain, base: Version | undefined, made: Draft): Promise<Version> {
  const result = await on.append(base, made)
  if (result.kind !== 'committed') throw new Error(`expected a commit, got ${result.kind}`)
  return result.version
}

/** A chain of `count` versions more, a second apart, standing at 10, 20, … */
export async function grow(
  chain: Chain,
  clock: InstantClock,
  count: number,
  kind: VersionKind = 'ingest',
): Promise<Version> {
  let head = await chain.head()
  for (let i = 0; i < count; i++) {
    clock.advance(1_000)
    const number = (head?.number ?? 0n) + 1n
    head = await committed(chain, head, draft(`c${number}`, number * 10n, { kind }))
  }
  return head!
}
