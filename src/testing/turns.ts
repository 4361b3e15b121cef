import { LakeError } from '../error.ts'

/**
 * The work that takes real time: DuckDB and files. It is done one piece after the other, in the order in which it was
 * asked for, so that a seed decides what comes when; and it is known when nothing is under way, which is when virtual
 * time may move.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()
  #open = 0

  do<T>(work: () => Promise<T>): Promise<T> {
    this.#open++
    const now = this.#last.then(work).finally(() => this.#open--)
    this.#last = now.catch(() => undefined)
    return now
  }

  /** Resolves when all that follows without time passing has happened. */
  async quiet(): Promise<void> {
    for (let rounds = 0; rounds < QUIET_ROUNDS;) {
      await this.#last
      await new Promise<void>((resolve) => setImmediate(resolve))
      rounds = this.#open === 0 ? rounds + 1 : 0
    }
  }

  /** The same, each of whose calls waits for its turn. All of its methods give promises. `isOpen`: they are refused later. */
  each<T extends object>(inner: T, isOpen: () => boolean = () => true): T {
    return new Proxy(inner, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== 'function') return member
        return (...args: unknown[]) =>
          this.do(() => {
            if (!isOpen()) throw new LakeError('internal', 'it was closed')
            return Reflect.apply(member, target, args) as Promise<unknown>
          })
      },
    })
  }
}

/** What one await makes possible, the next one may wait for. */
const QUIET_ROUNDS = 2
