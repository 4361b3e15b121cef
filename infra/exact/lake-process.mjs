// A `kappalake start` as a whole process tree that can be killed, and its lanes one by one.
import { spawn } from 'node:child_process'
import { openSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const main = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../dist/main.js')

export class LakeProcess {
  #child
  #options

  /**
   * @param {{ config: string, port: number, log: string, env?: Record<string, string>, key?: string }} options `key`:
   *   of the API, where it asks for one
   */
  constructor(options) {
    this.#options = options
  }

  get url() {
    return `http://127.0.0.1:${this.#options.port}`
  }

  get pid() {
    return this.#child?.pid
  }

  /** Headers that every request carries. */
  get headers() {
    const { key } = this.#options
    return key === undefined ? {} : { authorization: `Bearer ${key}` }
  }

  get isRunning() {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  start() {
    const { config, log, env } = this.#options
    const output = openSync(log, 'a')
    // A group of its own, so that one signal reaches the whole tree.
    this.#child = spawn(process.execPath, [main, 'start', '--config', config], {
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
    })
  }

  /** A signal to every process of the tree; resolves when the root is gone. */
  async signalTree(signal) {
    const child = this.#child
    const isGone = new Promise((resolve) => child.once('exit', resolve))
    try {
      process.kill(-child.pid, signal)
    } catch {
      // gone by itself
    }
    if (['SIGKILL', 'SIGTERM'].includes(signal) && this.isRunning) await isGone
  }

  /** SIGKILL to one lane; false when none was there. */
  killLane(random) {
    return this.killChild(random, 'lane-child')
  }

  /** SIGKILL to one child whose command line contains `name`; false when none was there. */
  killChild(random, name = '-child') {
    const children = childrenOf(this.#child.pid).filter((pid) => commandOf(pid).includes(name))
    if (children.length === 0) return false
    try {
      process.kill(children[Math.floor(random() * children.length)], 'SIGKILL')
      return true
    } catch {
      return false
    }
  }

  /** JSON of a path of its API, or undefined while it does not answer. */
  async ask(pathname, init) {
    try {
      const answer = await fetch(`${this.url}${pathname}`, {
        ...init,
        headers: { ...this.headers, ...init?.headers },
        signal: AbortSignal.timeout(20_000),
      })
      return answer.ok ? await answer.json() : undefined
    } catch {
      return undefined
    }
  }
}

export function childrenOf(parent) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => statOf(pid)?.parent === parent)
}

function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(fields[1]) }
  } catch {
    return undefined
  }
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}
