/** Chance that a seed decides: SplitMix32. One stream per concern, so that a new draw in one shifts no other. */
export class Random {
  #state: number

  constructor(seed: number, stream = '') {
    let state = seed >>> 0
    for (const char of `${seed}/${stream}`) state = (Math.imul(state, 31) + char.charCodeAt(0)) >>> 0
    this.#state = state
  }

  /** Uniform in [0, 1). */
  next = (): number => {
    this.#state = (this.#state + 0x9e3779b9) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 4_294_967_296
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Uniform in [from, to). */
  between(from: number, to: number): number {
    return from + this.next() * (to - from)
  }

  /** Whole numbers 0 … below - 1. */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!
  }

  uuid(): string {
    const hex = () => this.int(0x1_0000).toString(16).padStart(4, '0')
    return `${hex()}${hex()}-${hex()}-4${hex().slice(1)}-8${hex().slice(1)}-${hex()}${hex()}${hex()}`
  }
}
