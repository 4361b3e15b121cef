import { backoffMs, type Clock } from '../clock.ts'
import { asLakeError, LakeError } from '../error.ts'
import { decodeVersion, encodeVersion } from '../version-json.ts'
import { FORMAT_VERSION, type Version, type VersionSelector } from '../version.ts'
import { forkPrefix } from './forks.ts'
import type { Storage } from './storage/storage.ts'
import { findVersion, lastBelow, numberOf, selectorText, type Versions } from './version-search.ts'

/** The versions of one pipeline, in order. The only mutable thing in a store is which of them is the last. */
export interface Chain {
  readonly pipeline: string
  /** The newest version; undefined when the pipeline has never run here. */
  head(): Promise<Version | undefined>
  /** Throws `version.unknown` when there is none, or when it is no longer kept. */
  at(when: VersionSelector): Promise<Version>
  /** Newest first, at most `limit`, all with numbers below `before` when given. */
  versions(limit: number, before?: bigint): Promise<readonly Version[]>
  /**
   * Adds one version after `base` (undefined: the first of the chain). An outcome that is not known is resolved by
   * the commit id before this returns, however long that takes; when `signal` aborts meanwhile it throws
   * `commit.unknown`, and whoever opens the chain next finds the truth.
   */
  append(base: Version | undefined, draft: Draft, signal?: AbortSignal): Promise<CommitResult>
}

/** What a commit says about the pipeline; the chain adds its place in the order. */
export type VersionContent = Omit<
  Version,
  'formatVersion' | 'number' | 'commitId' | 'parent' | 'time' | 'recentCommits' | 'jump'
>

export interface Draft {
  readonly commitId: string
  /**
   * Writes whatever the version refers to, under names of its own, and tells what to publish as version `number`.
   * Called again, on a newer head, when nothing but maintenance came in between.
   */
  build(head: Version | undefined, number: bigint): Promise<VersionContent>
  /** Tells readers by path of what was built last, once the version stands. Nothing depends on it. */
  hint?(): Promise<void>
}

export type CommitResult =
  | { readonly kind: 'committed'; readonly version: Version }
  | { readonly kind: 'stale'; readonly head: Version }
  | { readonly kind: 'superseded'; readonly head: Version }

/** Commit ids that a version remembers of those before it. */
const RECENT_COMMITS = 100
/** A base that was last seen at the head longer ago is not committed on: version files are sure to be kept for 24 h. */
const BASE_AGE_MS_MAX = 12 * 3_600_000
/** A slower acknowledgement is checked against a listing: the machine may have slept between check and write. */
const ACK_MS_MAX = 3_600_000
const WALK_MAX = 8

export function openChain(storage: Storage, pipeline: string, clock: Clock): Chain {
  return new StoredChain(storage, pipeline, `pipelines/${pipeline}/`, clock)
}

/** A chain beside the main one, which nobody reads who is not told of it. `id`: 64 hexadecimal digits. */
export function openFork(storage: Storage, pipeline: string, id: string, clock: Clock): Chain {
  return new StoredChain(storage, pipeline, forkPrefix(pipeline, id), clock)
}

class StoredChain implements Chain {
  readonly pipeline: string
  readonly #storage: Storage
  readonly #prefix: string
  readonly #clock: Clock
  /** The newest version known to this process: versions never change, so a walk may start here. */
  #known: { readonly version: Version; readonly seen: Instant } | undefined

  constructor(storage: Storage, pipeline: string, prefix: string, clock: Clock) {
    this.#storage = storage
    this.pipeline = pipeline
    this.#prefix = prefix
    this.#clock = clock
  }

  async head(): Promise<Version | undefined> {
    // The answers are as old as the question: a machine may sleep between the two.
    const seen = this.#instant()
    const known = this.#known
    let head = known?.version ?? (await this.#hinted())
    const ageMs =
      known !== undefined ? this.#ageMs(known.seen) : this.#clock.nowMs() - Date.parse(head?.time ?? '1970-01-01')
    // The hint is advice, and files in the middle of an old chain may have been thinned out: ask the listing.
    if (ageMs > ACK_MS_MAX) head = (await this.#listed(head?.number ?? 0n)) ?? head
    for (let steps = 0; ; steps++) {
      const next = await this.#get((head?.number ?? 0n) + 1n)
      if (next === undefined) break
      head = steps < WALK_MAX ? next : ((await this.#listed(next.number)) ?? next)
    }
    if (head !== undefined) this.#saw(head, seen)
    return head
  }

  async at(when: VersionSelector): Promise<Version> {
    const head = await this.head()
    if (head === undefined) throw new LakeError('version.unknown', `pipeline ${this.pipeline} has no version yet`)
    const found = await findVersion(this.#versions, head, when)
    if (found === undefined)
      throw new LakeError('version.unknown', `pipeline ${this.pipeline} keeps no version for ${selectorText(when)}`, {
        context: { head: String(head.number) },
      })
    return found
  }

  async versions(limit: number, before?: bigint): Promise<readonly Version[]> {
    const versions: Version[] = []
    let next = await this.head()
    if (next !== undefined && before !== undefined && before <= next.number) next = await this.#before(before)
    for (; next !== undefined && versions.length < limit; next = await this.#before(next.number)) versions.push(next)
    return versions
  }

  async append(base: Version | undefined, draft: Draft, signal?: AbortSignal): Promise<CommitResult> {
    let head = base
    for (;;) {
      const asked = this.#instant()
      const version = await this.#compose(head, draft)
      const there = await this.#publish(head, version, signal)
      if (there.commitId === draft.commitId) {
        this.#saw(there, asked)
        // Courtesies, to whoever opens the chain next and to readers of its tables; nothing is wrong without them.
        const own = this.#storage.put(this.#hintKey, Buffer.from(String(there.number)))
        await Promise.allSettled([own, draft.hint?.()])
        return { kind: 'committed', version: there }
      }
      // Another version stands where ours should: only maintenance may have come in between.
      const newest = (await this.head()) ?? there
      if (base === undefined) return { kind: 'stale', head: newest }
      if (!sameCode(base, newest)) return { kind: 'superseded', head: newest }
      for (let number = head!.number + 1n; number <= newest.number; number++)
        if ((await this.#get(number))?.kind !== 'maintenance') return { kind: 'stale', head: newest }
      head = newest
    }
  }

  async #compose(head: Version | undefined, draft: Draft): Promise<Version> {
    const number = (head?.number ?? 0n) + 1n
    const content = await draft.build(head, number)
    const timeMs = Math.max(this.#clock.nowMs(), head === undefined ? 0 : Date.parse(head.time))
    return {
      ...content,
      formatVersion: FORMAT_VERSION,
      number,
      commitId: draft.commitId,
      parent: head?.commitId ?? '',
      time: new Date(timeMs).toISOString(),
      recentCommits: [...(head?.recentCommits ?? []), ...(head === undefined ? [] : [head.commitId])].slice(
        -RECENT_COMMITS,
      ),
      jump: content.kind === 'ingest' || content.kind === 'maintenance' ? head?.jump : number,
    }
  }

  /** Creates the version if its number is free; returns the version that stands there in the end, ours or not. */
  async #publish(head: Version | undefined, version: Version, signal: AbortSignal | undefined): Promise<Version> {
    const key = this.#key(version.number)
    const bytes = encodeVersion(version)
    let isUncertain = false
    for (let attempt = 0; ; attempt++) {
      if (signal?.aborted === true && attempt > 0) throw this.#unknown(version)
      if (this.#isPassed(head)) {
        const there = await this.#get(version.number)
        // Ours may have landed there, after the one that stood there before was thinned out.
        if (there !== undefined) return (await this.#standing(version, true)) ?? there
        throw isUncertain ? this.#unknown(version) : tooOld(head)
      }
      const sent = this.#instant()
      const outcome = await this.#storage.putIfAbsent(key, bytes).catch((error) => {
        // A definite refusal settles its own attempt only. While an earlier one is open, go on asking.
        if (!isUncertain) throw error
        return { kind: 'unknown', cause: error } as const
      })
      const isLate = this.#ageMs(sent) > ACK_MS_MAX
      if (outcome.kind === 'created' && !isLate) return version
      if (outcome.kind === 'unknown' || outcome.kind === 'conflict') isUncertain = true
      // "exists" may be our own earlier attempt; the bytes that stand decide. "conflict" says nothing at all.
      if (outcome.kind !== 'conflict') {
        const there = await this.#standing(version, isLate).catch((error) => {
          // What stands there cannot be read by this code, now or later: perhaps a newer release wrote it.
          if (asLakeError(error).code === 'store.corrupt') throw error
          return undefined
        })
        if (there !== undefined) return there
      }
      await this.#clock.sleep(backoffMs(this.#clock, attempt), signal)
    }
  }

  #unknown(version: Version): LakeError {
    return new LakeError('commit.unknown', `version ${version.number} of ${this.pipeline} may have been committed`, {
      retryable: true,
    })
  }

  /** What stands at the number of `version`; when we are late, only if the versions after it know it too. */
  async #standing(version: Version, isLate: boolean): Promise<Version | undefined> {
    const there = await this.#get(version.number)
    if (!isLate) return there
    const next = await this.#atOrAfter(version.number + 1n)
    return next === undefined || next.recentCommits.includes(version.commitId) ? there : next
  }

  /**
   * Whether the version after `head` has come, or may have come so long ago that it was thinned out again: then its
   * number is free, and creating it would prove nothing.
   */
  #isPassed(head: Version | undefined): boolean {
    const known = this.#known
    if (known === undefined) return head !== undefined
    return known.version.number !== (head?.number ?? 0n) || this.#ageMs(known.seen) > BASE_AGE_MS_MAX
  }

  get #versions(): Versions {
    return {
      get: (number) => this.#get(number),
      atOrAfter: (number) => this.#atOrAfter(number),
      before: (number) => this.#before(number),
    }
  }

  #instant(): Instant {
    return { wallMs: this.#clock.nowMs(), monotonicMs: this.#clock.monotonicMs() }
  }

  /** By the clock that saw more: one stands still while a machine sleeps, the other may be set back. */
  #ageMs({ wallMs, monotonicMs }: Instant): number {
    return Math.max(this.#clock.nowMs() - wallMs, this.#clock.monotonicMs() - monotonicMs)
  }

  async #atOrAfter(number: bigint): Promise<Version | undefined> {
    const there = await this.#get(number)
    if (there !== undefined) return there
    for await (const next of this.#numbers(number)) return this.#get(next)
    return undefined
  }

  async #before(number: bigint): Promise<Version | undefined> {
    const there = number > 1n ? await this.#get(number - 1n) : undefined
    const last = there === undefined ? await lastBelow(number, (after) => this.#numbers(after)) : undefined
    return last === undefined ? there : this.#get(last)
  }

  async *#numbers(after: bigint): AsyncGenerator<bigint, void, undefined> {
    for await (const { key } of this.#storage.list(`${this.#prefix}v`, { startAfter: this.#key(after) }))
      yield numberOf(key)
  }

  async #hinted(): Promise<Version | undefined> {
    const bytes = await this.#storage.get(this.#hintKey)
    const text = bytes === undefined ? '' : Buffer.from(bytes).toString('latin1')
    return /^\d{1,16}$/.test(text) ? this.#get(BigInt(text)) : undefined
  }

  async #listed(after: bigint): Promise<Version | undefined> {
    let last: bigint | undefined
    for await (const number of this.#numbers(after)) last = number
    return last === undefined ? undefined : this.#get(last)
  }

  async #get(number: bigint): Promise<Version | undefined> {
    if (this.#known?.version.number === number) return this.#known.version
    const bytes = await this.#storage.get(this.#key(number))
    return bytes === undefined ? undefined : decodeVersion(bytes, this.#key(number), number)
  }

  #saw(version: Version, seen: Instant): void {
    if (this.#known !== undefined && this.#known.version.number > version.number) return
    this.#known = { version, seen }
  }

  #key(number: bigint): string {
    return `${this.#prefix}v${String(number).padStart(16, '0')}.json`
  }

  get #hintKey(): string {
    return `${this.#prefix}head`
  }
}

function tooOld(head: Version | undefined): LakeError {
  return new LakeError('commit.stale', `version ${head?.number ?? 0n} was at the head too long ago to commit on it`, {
    retryable: true,
  })
}

interface Instant {
  readonly wallMs: number
  readonly monotonicMs: number
}

/** Whether the tables of `base` are still made by the same code in `head`. */
function sameCode(base: Version, head: Version): boolean {
  return Object.entries(base.tables).every(([name, table]) => head.tables[name]?.code === table.code)
}
