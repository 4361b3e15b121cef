import type { Clock } from '../clock.ts'
import type { PartitionId, Positions } from '../log.ts'
import type { ReplayPhase, ReplayProgress } from '../replay-status.ts'
import type { Fork } from '../version.ts'

const RATE_OVER_MS = 30_000
/** While anything is left to be rebuilt. */
const PERCENT_MAX = 99.9

/** Of a replay that was not begun. */
export const NOTHING_YET: ReplayProgress = {
  phase: 'rebuilding',
  isPaused: false,
  done: '0',
  total: '0',
  percent: 0,
  ratePerSecond: null,
  etaSeconds: null,
  lag: null,
  partitions: [],
}

/** How a replay gets on, from what its runs say. */
export class Progress {
  readonly #clock: Clock
  readonly #from: Positions
  readonly #until: Positions
  readonly #total: bigint
  readonly #positions: Map<PartitionId, bigint>
  readonly #ends = new Map<PartitionId, bigint>()
  #samples: { readonly atMs: number; readonly passed: bigint }[] = []
  /** Since which sample the rate is taken: what another phase passed does not count. */
  #phase: ReplayPhase | undefined
  #percent: number

  /** `percent`: what was told before, by whichever process. */
  constructor(clock: Clock, { from, until }: Pick<NonNullable<Fork['building']>, 'from' | 'until'>, percent = 0) {
    this.#clock = clock
    this.#from = from
    this.#until = until
    this.#total = sum([...until].map(([id, end]) => end - (from.get(id) ?? end)))
    this.#positions = new Map(from)
    this.#percent = percent
  }

  get from(): Positions {
    return this.#from
  }

  get until(): Positions {
    return this.#until
  }

  /** A batch was folded. */
  saw(partition: PartitionId, position: bigint, end: bigint): void {
    this.#positions.set(partition, position)
    this.#ends.set(partition, end)
  }

  /** A version stands there. */
  stands(positions: Positions): void {
    for (const [id, position] of positions) this.#positions.set(id, position)
  }

  /** The ends of the log, asked for by themselves. */
  ends(ends: Positions): void {
    for (const [id, end] of ends) this.#ends.set(id, end)
  }

  at(phase: ReplayPhase, isPaused: boolean): ReplayProgress {
    const isBuilding = phase === 'seeding' || phase === 'rebuilding'
    const passed = sum([...this.#positions.values()])
    const rate = this.#rate(phase, passed, isPaused)
    const done = isBuilding ? sum([...this.#until].map(([id]) => this.#done(id))) : this.#total
    const share = this.#total === 0n ? 100 : Math.floor(Number((done * 1_000n) / this.#total)) / 10
    this.#percent = isBuilding ? Math.min(PERCENT_MAX, Math.max(this.#percent, share)) : 100
    const isRating = phase === 'rebuilding' && rate !== null && rate > 0
    return {
      phase,
      isPaused,
      done: String(done),
      total: String(this.#total),
      percent: this.#percent,
      ratePerSecond: rate === null ? null : Math.round(rate),
      etaSeconds: isRating ? Math.ceil(Number(this.#total - done) / rate) : null,
      lag: isBuilding || phase === 'verifying' ? null : String(this.#lag()),
      partitions: [...this.#until].map(([partition, until]) => ({
        partition,
        from: String(this.#from.get(partition) ?? until),
        until: String(until),
        position: String(this.#positions.get(partition) ?? until),
      })),
    }
  }

  #done(id: PartitionId): bigint {
    const [from, until] = [this.#from.get(id) ?? 0n, this.#until.get(id)!]
    const position = this.#positions.get(id) ?? from
    return position <= from ? 0n : (position < until ? position : until) - from
  }

  #lag(): bigint {
    return sum(
      [...this.#ends].map(([id, end]) => {
        const position = this.#positions.get(id) ?? end
        return end > position ? end - position : 0n
      }),
    )
  }

  #rate(phase: ReplayPhase, passed: bigint, isPaused: boolean): number | null {
    const atMs = this.#clock.monotonicMs()
    if (phase !== this.#phase || isPaused) this.#samples = []
    this.#phase = phase
    this.#samples = [...this.#samples.filter((sample) => atMs - sample.atMs <= RATE_OVER_MS), { atMs, passed }]
    const first = this.#samples[0]!
    // What was read and not committed is read again by the next run: positions may fall.
    return atMs - first.atMs < 1_000 || passed < first.passed
      ? null
      : Number(passed - first.passed) / ((atMs - first.atMs) / 1_000)
  }
}

function sum(values: readonly bigint[]): bigint {
  return values.reduce((total, value) => total + value, 0n)
}
