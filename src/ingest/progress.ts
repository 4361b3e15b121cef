import type { Clock } from '../clock.ts'
import type { LakeEvent } from '../event.ts'
import type { PartitionStatus, PublishingStatus } from '../status.ts'
import type { Version } from '../version.ts'
import type { PartitionId, Positions, Source } from '../log.ts'

const WINDOW_MS = 10_000
const ENDS_EVERY_MS = 5_000
const ADVISE_EVERY_MS = 5_000
/** While there is nothing to ask for. */
const LOOK_EVERY_MS = 1_000

/** How far the log goes and how fast we follow, for people to look at. */
export class Progress {
  readonly #clock: Clock
  readonly #ends = new Map<PartitionId, bigint>()
  readonly #publishing = new Map<string, PublishingStatus>()
  #advisedMs = -Infinity
  #samples: { readonly atMs: number; readonly positions: Positions }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  saw(partition: PartitionId, end: bigint): void {
    this.#ends.set(partition, end)
  }

  /** The end of the log as its own question, so that lag is true also while nothing is read; until `signal` aborts. */
  async watchEnds(source: Source, ids: () => readonly PartitionId[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const all = ids()
      if (all.length > 0) {
        const bounds = await source.bounds(all).catch(() => undefined)
        for (const [id, { end }] of bounds ?? []) this.saw(id, end)
      }
      await this.#clock.sleep(all.length > 0 ? ENDS_EVERY_MS : LOOK_EVERY_MS, signal)
    }
  }

  /** Advice for lag tools, now and then; nothing is wrong without it. */
  advise(source: Source, group: string, positions: Positions): void {
    if (source.advise === undefined || this.#clock.monotonicMs() < this.#advisedMs + ADVISE_EVERY_MS) return
    this.#advisedMs = this.#clock.monotonicMs()
    void source.advise(group, positions).catch(() => undefined)
  }

  /** Of tables with topics, by what was told last. */
  get publishing(): readonly PublishingStatus[] {
    return [...this.#publishing.values()]
  }

  published({ table, topic, version, lagVersions, error }: Extract<LakeEvent, { kind: 'published' }>): void {
    this.#publishing.set(table, { table, topic, version, lagVersions, error })
  }

  committed(positions: Positions): void {
    const atMs = this.#clock.monotonicMs()
    // The newest sample older than the window stays: it is what the window is measured from.
    const old = this.#samples.findLastIndex((sample) => sample.atMs < atMs - WINDOW_MS)
    this.#samples = [...this.#samples.slice(Math.max(0, old)), { atMs, positions }]
  }

  end(partition: PartitionId): bigint | undefined {
    return this.#ends.get(partition)
  }

  /** Offsets committed a second, over the last ten seconds. */
  ratePerSecond(partition: PartitionId): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    const [from, until] = [first?.positions.get(partition), last?.positions.get(partition)]
    if (first === undefined || from === undefined || until === undefined) return 0
    const ms = Math.max(1_000, this.#clock.monotonicMs() - first.atMs)
    return (Number(until - from) * 1_000) / ms
  }

  /** Of the partitions that a version names. */
  statusOf(head: Version | undefined): readonly PartitionStatus[] {
    const clocks = Object.values(head?.clocksMs ?? {})
    return [...(head?.positions ?? [])].map(([partition, position]) => ({
      partition,
      position,
      end: this.end(partition),
      ratePerSecond: this.ratePerSecond(partition),
      clockMs: clocks.map((clock) => clock[partition]).find((ms) => ms !== undefined),
    }))
  }
}
