/**
 * Messages from several senders to one taker, in order. Unlike a race of promises it leaves nothing behind on the ones
 * that lose, so it may be waited on for ever.
 */
export class Mailbox<T> {
  readonly #messages: T[] = []
  #wake: (() => void) | undefined

  post(message: T): void {
    this.#messages.push(message)
    this.#wake?.()
  }

  async take(): Promise<T> {
    while (this.#messages.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve))
    this.#wake = undefined
    return this.#messages.shift()!
  }
}
