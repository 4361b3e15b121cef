import { type Chain, type CommitResult, type Draft } from '../../src/lake/chain.ts'
import type { Storage } from '../../src/lake/table.ts'
import type { PartitionId, Positions } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import type { SimProcess } from './process.ts'
import type { World } from './world.ts'

/** One call of `append` as its caller saw it. `headBefore` and `headAfter` are the true heads at its begin and end. */
export interface Append {
  readonly process: string
  readonly commitId: string
  readonly base: bigint
  readonly code: string
  readonly headBefore: bigint
  headAfter: bigint
  result: CommitResult['kind'] | 'thrown' | 'open'
  number: bigint | undefined
  wasUnknown: boolean
  readonly wasStormy: boolean
}

export interface WitnessOptions {
  readonly world: World
  /** The store as it is. */
  readonly memory: Storage
  readonly onCommit: (positions: Positions) => void
}

/** Sees what truly happens to the chain, and what those are told who write it. */
export class Witness {
  readonly history: Append[] = []
  /** Outcomes of creating version files, and of compactions. */
  readonly outcomes = new Map<string, number>()
  readonly resolutions = new Map<string, number>()
  /** What the newest version says, as it stands in the store. */
  committed: ReadonlyMap<PartitionId, bigint> = new Map()
  read: ReadonlySet<string> = new Set()
  readonly #options: WitnessOptions
  #head = 0n

  constructor(options: WitnessOptions) {
    this.#options = options
  }

  /** Looks at what is truly in the store, as nobody in the simulation can. */
  watchStore(): void {
    const { memory } = this.#options
    const inner = memory.putIfAbsent.bind(memory)
    memory.putIfAbsent = async (key, bytes) => {
      const outcome = await inner(key, bytes)
      if (outcome.kind === 'created' && /\/v\d{16}\.json$/.test(key)) this.#landed(key, bytes)
      return outcome
    }
  }

  #landed(key: string, bytes: Uint8Array): void {
    if (key.includes('/forks/')) return
    const number = BigInt(key.slice(-21, -5))
    const raw = JSON.parse(Buffer.from(bytes).toString()) as {
      readonly positions: Record<PartitionId, string>
      readonly tails: Record<PartitionId, unknown>
      readonly writer: string
      readonly kind: string
    }
    if (number > this.#head) {
      this.#head = number
      this.committed = new Map(Object.entries(raw.positions).map(([id, at]) => [id as PartitionId, BigInt(at)]))
      this.read = new Set(Object.keys(raw.tails))
      this.#options.onCommit(this.committed)
    }
    const positions = Object.entries(raw.positions).map(([id, at]) => `${id}=${at}`)
    this.#options.world.say(`version ${number} ${raw.kind} of ${raw.writer}: ${positions.join(' ')}`)
  }

  /** The chain as a process has it; `code` is that of the process. */
  chain(chain: Chain, process: SimProcess, code: string): Chain {
    const append = async (base: Version | undefined, draft: Draft, signal?: AbortSignal): Promise<CommitResult> => {
      let builds = 0
      const unknownBefore = this.outcomes.get('unknown') ?? 0
      const entry: Append = {
        process: process.name,
        commitId: draft.commitId,
        base: base?.number ?? 0n,
        code,
        headBefore: this.#head,
        headAfter: this.#head,
        result: 'open',
        number: undefined,
        wasUnknown: false,
        wasStormy: this.#options.world.isStormy,
      }
      this.history.push(entry)
      const counted: Draft = { ...draft, build: (head, number) => (builds++, draft.build(head, number)) }
      try {
        const result = await chain.append(base, counted, signal)
        entry.result = result.kind
        entry.number = result.kind === 'committed' ? result.version.number : result.head.number
        if (result.kind === 'committed' && process.lastCreate !== 'created') this.#resolved('A1')
        if (result.kind === 'superseded') this.#resolved('A2')
        if (result.kind === 'committed' && builds > 1) this.#resolved('A4')
        return result
      } catch (error) {
        entry.result = 'thrown'
        throw error
      } finally {
        entry.headAfter = this.#head
        entry.wasUnknown = (this.outcomes.get('unknown') ?? 0) > unknownBefore
      }
    }
    return {
      pipeline: chain.pipeline,
      head: () => chain.head(),
      at: (when) => chain.at(when),
      versions: (limit, before) => chain.versions(limit, before),
      append,
    }
  }

  count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
  }

  #resolved(name: string): void {
    this.resolutions.set(name, (this.resolutions.get(name) ?? 0) + 1)
  }
}
