/** Who wants to know of what happens, by the kind of it. Nothing that a listener does reaches whoever tells. */
export class Listeners<Events extends object> {
  readonly #byKind = new Map<keyof Events, Set<(event: never) => unknown>>()
  readonly #onFailure: (error: unknown) => void
  #hasFailed = false

  /** `onFailure` hears of the first failure of a listener. It must not throw. */
  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure
  }

  /** Returns what takes the listener out again. */
  on<Kind extends keyof Events>(kind: Kind, listener: (event: Events[Kind]) => unknown): () => void {
    const listeners = this.#byKind.get(kind) ?? new Set()
    this.#byKind.set(kind, listeners)
    // The same function twice is two listeners.
    const own = (event: never) => listener(event)
    listeners.add(own)
    return () => void listeners.delete(own)
  }

  tell<Kind extends keyof Events>(kind: Kind, event: Events[Kind]): void {
    for (const listener of this.#byKind.get(kind) ?? []) {
      try {
        const answer = listener(event as never)
        if (answer instanceof Promise) answer.catch((error: unknown) => this.#failed(error))
      } catch (error) {
        this.#failed(error)
      }
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#onFailure(error)
  }
}
