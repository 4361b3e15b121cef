import { fork, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fromErrorMessage, LakeError } from '../error.ts'
import { AS_IDLE, lower, type Priority } from '../priority.ts'
import type { FromProcess, ProcessSettings, ToProcess } from './messages.ts'

export interface QueryProcessOptions {
  /** The bundled query process. */
  readonly childPath: string
  readonly settings: ProcessSettings
  /** Processor time after which the system ends the process, however it hangs. */
  readonly cpuSecondsMax: number
  /** Default: that of this process. */
  readonly priority?: Priority | undefined
}

const SHELL = '/bin/sh'
/**
 * Limits that the system holds, whatever DuckDB does: KiB of memory and of addresses, seconds of processor time, files,
 * no byte to any file, no core. One that this process may not set is tighter already.
 */
const LIMITED = `{ ulimit -c 0; ulimit -f 0; ulimit -d "$1"; ulimit -v "$2"; ulimit -t "$3"; ulimit -n "$4"; } 2>/dev/null
shift 4`
/** V8 reserves far more addresses than it ever uses. */
const RESERVED_KIB = 32 * 1024 * 1024
/** From Node 24 on V8 maps the place of its code in such a way that the system counts it as memory, used or not. */
const CODE_KIB = Number(process.versions.node.split('.')[0]) >= 24 ? 512 * 1024 : 0
/** More than a query of ten thousand files opens. */
const FILES_MAX = 32_768
/** V8's own heap: results on their way and the syntax tree. */
const HEAP_MIB_MAX = 256
const STDERR_CHARS_MAX = 2_000

/**
 * One child process with DuckDB in it, without the environment of this one. Messages are pulled with `receive`, which
 * throws once the process is gone: with the reason given to `kill`, or `sql.crashed`.
 */
export class QueryProcess {
  readonly exited: Promise<void>
  /** Whether it may be given the next query. */
  isIdle = true
  queries = 0
  cpuMs = 0
  readonly priority: Priority | undefined
  readonly #child: ChildProcess
  #inbox: FromProcess[] = []
  #waiting: { resolve(message: FromProcess): void; reject(error: LakeError): void } | undefined
  #gone: LakeError | undefined
  #stderr = ''

  constructor(options: QueryProcessOptions) {
    this.#child = start(options)
    this.priority = options.priority
    lower(this.#child, options.priority)
    this.#child.on('message', (message: FromProcess) => this.#deliver(message))
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.#stderr = (this.#stderr + text.toString('utf8')).slice(-STDERR_CHARS_MAX)
    })
    this.exited = new Promise((resolve) => {
      const end = (cause?: Error) => {
        this.#end(new LakeError('sql.crashed', 'the query ended its process', { cause: cause ?? this.#said }))
        resolve()
      }
      this.#child.once('exit', () => end())
      this.#child.on('error', end) // could not be started, or not be spoken to
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get isGone(): boolean {
    return this.#gone !== undefined
  }

  send(message: ToProcess): void {
    if (message.kind === 'run') this.isIdle = false
    if (message.kind === 'drop') this.isIdle = true
    if (this.#child.connected) this.#child.send(message, () => undefined)
  }

  /** The next message but `error`, which is thrown. One caller at a time. */
  async receive(): Promise<Exclude<FromProcess, { kind: 'error' }>> {
    const message = await this.#next()
    if (message.kind === 'done' || message.kind === 'error') {
      this.queries++
      this.cpuMs += message.cpuMs
      this.isIdle = message.kind === 'done' || !message.isTainted
    }
    if (message.kind === 'error') throw fromErrorMessage(message.error)
    return message
  }

  /** Ends the process now; whoever waits for a message gets the reason at once. */
  kill(reason: LakeError): void {
    this.#end(reason)
    this.#inbox = []
    this.#child.kill('SIGKILL')
  }

  #next(): Promise<FromProcess> {
    const message = this.#inbox.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#gone !== undefined) return Promise.reject(this.#gone)
    return new Promise((resolve, reject) => (this.#waiting = { resolve, reject }))
  }

  get #said(): Error | undefined {
    return this.#stderr === '' ? undefined : new Error(this.#stderr)
  }

  #deliver(message: FromProcess): void {
    if (this.#gone !== undefined) return
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting === undefined) this.#inbox.push(message)
    else waiting.resolve(message)
  }

  #end(reason: LakeError): void {
    this.#gone ??= reason
    this.#waiting?.reject(this.#gone)
    this.#waiting = undefined
  }
}

function start({ childPath, settings, cpuSecondsMax, priority }: QueryProcessOptions): ChildProcess {
  const nodeFlags = [`--max-old-space-size=${HEAP_MIB_MAX}`, '--enable-source-maps']
  const memoryKib = Math.floor(settings.memoryBytesMax / 1024)
  const limits = [memoryKib + CODE_KIB, memoryKib + RESERVED_KIB, Math.ceil(cpuSecondsMax), FILES_MAX].map(String)
  const script = [LIMITED, ...(priority === 'idle' ? [AS_IDLE] : []), 'exec "$@"'].join('\n')
  return fork(childPath, [], {
    // Where there is no shell, the deadline and its SIGKILL remain.
    ...(existsSync(SHELL)
      ? { execPath: SHELL, execArgv: ['-c', script, 'sh', ...limits, process.execPath, ...nodeFlags] }
      : { execArgv: nodeFlags }),
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    cwd: path.parse(childPath).root,
    env: { TZ: 'UTC', KAPPALAKE_QUERY: JSON.stringify(settings) },
  })
}
