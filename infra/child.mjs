// A process that is ended with this one.
import { spawn } from 'node:child_process'

export class Child {
  #process
  #signal

  /** As `spawn`; `signal` ends it for certain. */
  constructor(program, args, options, signal = 'SIGKILL') {
    const started = spawn(program, args, options)
    this.#process = started
    this.#signal = signal
    const endWithParent = () => started.kill(signal)
    process.once('exit', endWithParent)
    started.once('exit', () => {
      process.off('exit', endWithParent)
      this.#process = undefined
    })
  }

  /** While it runs. */
  get pid() {
    return this.#process?.pid
  }

  get isRunning() {
    return this.#process !== undefined
  }

  /** Resolves when it has ended, also when it had before. */
  async end(signal = this.#signal) {
    const ending = this.#process
    if (ending === undefined) return
    const exited = new Promise((resolve) => ending.once('exit', resolve))
    ending.kill(signal)
    await exited
  }
}
