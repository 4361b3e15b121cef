import { backoffMs, type Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { Storage } from './storage.ts'

/** Where the verdict stands; directly below the root, so that it goes with the store. */
export const verdictKey = 'kappalake-store.json'

/** Stores known to keep the promise, for whoever has one that does not. */
export const conditionalFix =
  'Use a store with atomic create-if-absent: AWS S3, MinIO (its last release), versitygw, ministack for tests, or a local disk with hard links.'

/** One race proves nothing: of servers that race, some give one clean winner in more than half of all rounds. */
const rounds = 20
const racers = 16
const bodyBytes = 20_000
const triesMax = 30

/** `kappalake-store.json`: that creates were raced on this store, and kept their promise. UTF-8 JSON. */
export interface Verdict {
  /** 1. A file with another number is not believed, and the store is raced again. */
  readonly formatVersion: 1
  /** URL of the store that was raced; a copy of its objects elsewhere is raced anew. */
  readonly store: string
  /** How many races there were, and how many creates in each. */
  readonly rounds: number
  readonly racers: number
  /** RFC 3339, UTC. Information only. */
  readonly checkedAt: string
}

/** What a check found: `detail` is one line for people, whether it passed or not. */
export interface ConditionalWriteReport {
  readonly ok: boolean
  /** Races that were run; 0 when only the sequential checks were. */
  readonly rounds: number
  readonly detail: string
}

/**
 * To be called before a store is written to. Races the creates of a store that has no verdict of its own, and writes
 * the verdict; else repeats only the sequential checks, which take four requests. Throws `store.no_conditional_write`
 * when the store does not keep its promise; then nothing of the check remains in it.
 */
export async function assertConditionalWrites(storage: Storage, clock: Clock): Promise<Verdict> {
  const known = await readVerdict(storage)
  const report = await (known === undefined ? raceConditionalWrites : checkSequentially)(storage, clock)
  if (!report.ok) {
    throw new LakeError('store.no_conditional_write', `${storage.url} is not safe to commit to: ${report.detail}`, {
      context: { store: storage.url, rounds: report.rounds },
      fix: conditionalFix,
    })
  }
  if (known !== undefined) return known
  const checkedAt = new Date(clock.nowMs()).toISOString()
  const verdict: Verdict = { formatVersion: 1, store: storage.url, rounds, racers, checkedAt }
  await storage.put(verdictKey, new TextEncoder().encode(`${JSON.stringify(verdict)}\n`))
  return verdict
}

/** The whole check, for a doctor: all races, then the sequential checks. Leaves nothing behind, writes no verdict. */
export async function raceConditionalWrites(storage: Storage, clock: Clock): Promise<ConditionalWriteReport> {
  return withKeys(storage, clock, async (keyOf) => {
    for (let round = 0; round < rounds; round++) {
      const fault = await race(storage, clock, keyOf(`race-${round}`))
      if (fault !== undefined)
        return { ok: false, rounds: round + 1, detail: `race ${round + 1} of ${rounds}: ${fault}` }
    }
    const fault = await createTwice(storage, clock, keyOf('twice'))
    if (fault !== undefined) return { ok: false, rounds, detail: fault }
    return { ok: true, rounds, detail: `${rounds} races of ${racers}, 1 winner each; a second create is refused` }
  })
}

/** Only what needs no luck to be seen: a store that ignores the condition, or overwrites and says it did not. */
export async function checkSequentially(storage: Storage, clock: Clock): Promise<ConditionalWriteReport> {
  return withKeys(storage, clock, async (keyOf) => {
    const fault = await createTwice(storage, clock, keyOf('twice'))
    return { ok: fault === undefined, rounds: 0, detail: fault ?? 'a second create is refused' }
  })
}

/** Undefined, or what was wrong: every racer sends bytes of its own, and the winner's must stand, whole. */
async function race(storage: Storage, clock: Clock, key: string): Promise<string | undefined> {
  const bodies = Array.from({ length: racers }, (_, i) => bodyOf(i))
  const results = await Promise.all(bodies.map((body) => create(storage, clock, key, body)))
  const winners = bodies.filter((_, i) => results[i] === 'won')
  const [winner] = winners
  if (winner === undefined || winners.length > 1) return `${winners.length} of ${racers} creates of one key won`
  return isEqual(await storage.get(key), winner) ? undefined : 'the bytes of the winner do not stand'
}

async function createTwice(storage: Storage, clock: Clock, key: string): Promise<string | undefined> {
  const [first, second] = [bodyOf(1), bodyOf(2)]
  if ((await create(storage, clock, key, first)) === 'lost') return 'the create of a new key was refused'
  if (!isEqual(await storage.get(key), first)) return 'the bytes of a create do not come back whole'
  if ((await create(storage, clock, key, second)) === 'won') return 'the create of an existing key was accepted'
  if (!isEqual(await storage.get(key), first))
    return 'the create of an existing key was refused, and replaced its bytes'
  return undefined
}

/** A create whose every outcome is settled as a commit does it: by the bytes that stand, when there was no answer. */
async function create(storage: Storage, clock: Clock, key: string, bytes: Uint8Array): Promise<'won' | 'lost'> {
  let isUnsure = false
  let cause: unknown
  for (let tries = 0; tries < triesMax; tries++) {
    const outcome = await storage.putIfAbsent(key, bytes)
    switch (outcome.kind) {
      case 'created':
        return 'won'
      case 'exists':
        return isUnsure && isEqual(await storage.get(key), bytes) ? 'won' : 'lost'
      case 'unknown':
        isUnsure = true
        cause = outcome.cause
        break
      case 'conflict':
    }
    await clock.sleep(backoffMs(clock, tries))
  }
  throw new LakeError('store.unavailable', `the store gave no answer to ${triesMax} creates of ${key}`, {
    retryable: true,
    cause,
    fix: 'Check that the store can be reached from here.',
  })
}

/** Runs a check under names of its own, directly below the root, and removes what it made. */
async function withKeys<T>(
  storage: Storage,
  clock: Clock,
  check: (keyOf: (name: string) => string) => Promise<T>,
): Promise<T> {
  const made = new Set<string>()
  const prefix = `kappalake-check-${clock.uuid()}`
  try {
    return await check((name) => {
      const key = `${prefix}-${name}`
      made.add(key)
      return key
    })
  } finally {
    // Cleaning up is a courtesy: its failure must not hide the verdict, or the error that ended the check.
    await Promise.allSettled([...made].map((key) => storage.delete(key)))
  }
}

async function readVerdict(storage: Storage): Promise<Verdict | undefined> {
  const bytes = await storage.get(verdictKey)
  if (bytes === undefined) return undefined
  try {
    const verdict = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Verdict> | null
    const isOurs = verdict?.formatVersion === 1 && verdict.store === storage.url
    const isEnough = (verdict?.rounds ?? 0) >= rounds && (verdict?.racers ?? 0) >= racers
    return isOurs && isEnough ? (verdict as Verdict) : undefined
  } catch {
    return undefined // not JSON: raced again, and replaced
  }
}

function bodyOf(racer: number): Uint8Array {
  return new Uint8Array(bodyBytes).fill(racer + 1)
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}
