/** The values used last, loaded once each, up to a weight; a failed load is forgotten. */
export class Recent<Value> {
  readonly #max: number
  readonly #weigh: (value: Value) => number
  readonly #values = new Map<string, { readonly value: Promise<Value>; weight: number }>()
  #weight = 0

  /** Without `weigh` every value weighs 1. */
  constructor(max: number, weigh: (value: Value) => number = () => 1) {
    this.#max = max
    this.#weigh = weigh
  }

  get(key: string, load: () => Promise<Value>): Promise<Value> {
    const known = this.#values.get(key)
    if (known !== undefined) {
      this.#values.delete(key)
      this.#values.set(key, known)
      return known.value
    }
    const entry = { value: load(), weight: 0 }
    this.#values.set(key, entry)
    entry.value.then(
      (value) => {
        if (this.#values.get(key) !== entry) return
        entry.weight = this.#weigh(value)
        this.#weight += entry.weight
        this.#shrink()
      },
      () => {
        if (this.#values.get(key) === entry) this.#values.delete(key)
      },
    )
    return entry.value
  }

  #shrink(): void {
    for (const [key, { weight }] of this.#values) {
      if (this.#weight <= this.#max) return
      this.#values.delete(key)
      this.#weight -= weight
    }
  }
}
