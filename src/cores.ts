import { readFile } from 'node:fs/promises'
import type { Clock } from './clock.ts'

const LOOK_EVERY_MS = 1_000
/** Of all time of all cores. */
const TAKEN_SHARE = 0.8
/** Looks in a row that found less. */
const LOOKS_LEFT = 5

/** Whether programs that let nobody go first take the cores of this machine: this process and its lanes, or others. */
export class Cores {
  readonly #read: () => Promise<string>
  #looksLeft = 0

  /** `read` gives what Linux has in `/proc/stat`. */
  constructor(read: () => Promise<string> = () => readFile('/proc/stat', 'latin1')) {
    this.#read = read
  }

  /** True in the second after they were, and until for five they were not; also where the system does not say. */
  get areTaken(): boolean {
    return this.#looksLeft < LOOKS_LEFT
  }

  /** Looks every second, until `signal` aborts. */
  async watch(clock: Clock, signal: AbortSignal): Promise<void> {
    let before = await this.#ticks()
    while (before !== undefined && !signal.aborted) {
      await clock.sleep(LOOK_EVERY_MS, signal)
      const now = await this.#ticks()
      const isLeft = now !== undefined && now.taken - before.taken < TAKEN_SHARE * (now.all - before.all)
      this.#looksLeft = isLeft ? this.#looksLeft + 1 : 0
      before = now
    }
  }

  /** Since the system was started, of all cores together. */
  async #ticks(): Promise<{ readonly taken: number; readonly all: number } | undefined> {
    const line = /^cpu +(.*)$/m.exec(await this.#read().catch(() => ''))?.[1]
    if (line === undefined) return undefined
    const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
      .split(' ')
      .map(Number)
    const taken = user + system + irq + softirq + steal
    return { taken, all: taken + nice + idle + iowait }
  }
}
