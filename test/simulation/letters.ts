import type { SettleRequest } from '../../src/dead-letters.ts'
import type { Jobs } from '../../src/jobs.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Storage } from '../../src/lake/table.ts'
import { PIPELINE } from './definition.ts'
import type { LettersPlan, Plan } from './plan.ts'
import { Random } from './random.ts'
import type { World } from './world.ts'

/** What a job may have been refused for. */
const REFUSALS: ReadonlySet<string | undefined> = new Set(['pipeline.paused'])

/**
 * What the code of a later release makes of a poison record, `{"v":17`: every second one it can read. Undefined: nor can
 * it.
 */
export function mended(text: string): string | undefined {
  const v = /^\{"v":(\d+)$/.exec(text)?.[1]
  return v === undefined || Number(v) % 2 === 1 ? undefined : v
}

/** People who ask that dead letters be read again, or let go, and wait until it is done. */
export class LetterStory {
  readonly violations: string[] = []
  readonly #world: World
  readonly #plan: LettersPlan
  readonly #random: Random
  readonly #jobs: Jobs
  readonly #known = new Set<string>()
  #open = 0

  constructor(plan: Plan, world: World, memory: Storage) {
    this.#world = world
    this.#plan = plan.letters!
    this.#random = new Random(plan.seed, 'letters')
    this.#jobs = openJobs(memory, world.clock(this.#random))
  }

  start(): void {
    this.#ask()
    this.#look()
  }

  get isOver(): boolean {
    return this.#open === 0
  }

  describe(): string {
    return this.isOver ? '' : `${this.#open} jobs on dead letters are open`
  }

  #ask(): void {
    const { everyMs, tables } = this.#plan
    this.#world.after(this.#random.between(0.3, 1.7) * everyMs, 'letters', () => {
      if (!this.#world.isStormy) return
      const request: SettleRequest = {
        kind: this.#random.chance(0.6) ? 'retry' : 'discard',
        pipeline: PIPELINE,
        where: { table: this.#random.pick(tables) },
        ...(this.#random.chance(0.5) ? { limit: 1 + this.#random.int(4) } : {}),
      }
      this.#world.fault('X2', request.kind)
      // Until it is looked at, it counts as open.
      this.#open++
      void this.#jobs.ask(request, this.#random.uuid())
      this.#ask()
    })
  }

  #look(): void {
    this.#world.after(1_000, 'jobs', () => {
      void this.#jobs.list().then((jobs) => {
        this.#open = jobs.filter(({ endedMs }) => endedMs === null).length
        for (const { id, request, state, error } of jobs) {
          if (this.#known.has(id) || state !== 'failed') continue
          this.#known.add(id)
          if (!REFUSALS.has(error?.code))
            this.violations.push(`X2 a ${request.kind} failed: ${error?.code} ${error?.message}`)
        }
      })
      this.#look()
    })
  }
}
