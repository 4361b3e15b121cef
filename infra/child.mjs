// Processes that this one starts.
import { spawn } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')

/** Ended with this one. */
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

/** Runs a program to its end; resolves with the JSON lines that it printed. */
export function jsonLines(program, args) {
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (bytes) => (text += bytes))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    // Not `exit`: what it printed last may come after that.
    child.on('close', (code) => {
      if (code !== 0)
        return reject(
          new Error(`${path.basename(args.find((arg) => !arg.startsWith('-')) ?? program)} ended with ${code}`),
        )
      resolve(
        text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      )
    })
  })
}
