import { fork, type ChildProcess } from 'node:child_process'
import type { Clock } from '../../clock.ts'
import type { WindowDefinition } from '../../define-window.ts'
import type { TableDefinition } from '../../define.ts'
import { fromErrorMessage, LakeError } from '../../error.ts'
import { lower } from '../../priority.ts'
import { remoteFold, type FoldSettings, type FromFold, type ToFold } from './fold-messages.ts'
import type { WindowFold } from './window.ts'

export interface FoldProcessOptions {
  readonly windows: readonly WindowDefinition[]
  /** With the sources of all windows. */
  readonly tables: readonly TableDefinition[]
  /** The bundled fold process. */
  readonly childPath: string
  readonly settings: FoldSettings
  readonly clock: Clock
  /** Niceness of the process, as the operating system has it. Default: that of this one. */
  readonly priority?: number | undefined
  /** Receives what the process prints, which is never data. */
  readonly onOutput?: (text: string) => void
}

/** A process that works on one call for so long is hung. */
const CALL_MS_MAX = 600_000
/** The operating system ends a killed process soon; nobody waits for it longer. */
const EXIT_MS_MAX = 2_000

/**
 * The open windows of a pipeline in a process of their own. When it dies, the call under way and all later ones throw
 * `window.fold_failed`: whoever called begins again from the head, with another.
 */
export async function startFold(
  options: FoldProcessOptions,
): Promise<WindowFold & { readonly pid: number | undefined }> {
  const child = new FoldProcess(options)
  const { windows, tables } = options
  try {
    await child.ask({ kind: 'open', windows, tables })
  } catch (error) {
    await child.close()
    throw error
  }
  const fold = remoteFold(
    (call) => child.ask({ kind: 'call', call }),
    () => child.close(),
  )
  return { ...fold, pid: child.pid }
}

interface Pending {
  resolve(result: unknown): void
  reject(error: LakeError): void
}

class FoldProcess {
  readonly #child: ChildProcess
  readonly #clock: Clock
  readonly #exit: Promise<void>
  #before: Promise<unknown> = Promise.resolve()
  #pending: Pending | undefined
  #death: LakeError | undefined

  constructor({ childPath, settings, clock, onOutput, priority }: FoldProcessOptions) {
    this.#clock = clock
    this.#child = fork(childPath, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: ['--enable-source-maps'],
      env: { ...process.env, KAPPALAKE_FOLD: JSON.stringify(settings) },
    })
    const child = this.#child
    lower(child, priority)
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (bytes: Buffer) => onOutput?.(bytes.toString('utf8')))
    child.on('message', (message: FromFold) => this.#heard(message))
    this.#exit = new Promise((resolve) => {
      const gone = (reason: string): void => {
        this.#died(reason)
        resolve()
      }
      child.on('exit', (code, signal) => gone(signal ?? `code ${code}`))
      // A child that could not be started does not exit; one that could not be spoken to is of no use.
      child.on('error', (error) => (child.pid === undefined ? gone(error.message) : child.kill('SIGKILL')))
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Calls wait for the one before them. */
  ask(message: ToFold): Promise<unknown> {
    const now = this.#before.then(() => this.#ask(message))
    this.#before = now.catch(() => undefined)
    return now
  }

  /** Kills the process: nothing in it is worth an orderly end. */
  async close(): Promise<void> {
    this.#died('it was closed')
    this.#child.kill('SIGKILL')
    const timer = new AbortController()
    await Promise.race([this.#exit, this.#clock.sleep(EXIT_MS_MAX, timer.signal)])
    timer.abort()
  }

  async #ask(message: ToFold): Promise<unknown> {
    if (this.#death !== undefined) throw this.#death
    const timer = new AbortController()
    void this.#clock.sleep(CALL_MS_MAX, timer.signal).then(() => {
      if (!timer.signal.aborted) this.#child.kill('SIGKILL')
    })
    try {
      return await new Promise((resolve, reject) => {
        this.#pending = { resolve, reject }
        // What cannot be sent is found by the exit of the child.
        this.#child.send(message, () => undefined)
      })
    } finally {
      this.#pending = undefined
      timer.abort()
    }
  }

  #heard(message: FromFold): void {
    if (message.kind === 'done') this.#pending?.resolve(message.result)
    else this.#pending?.reject(fromErrorMessage(message.error))
  }

  #died(reason: string): void {
    this.#death ??= new LakeError('window.fold_failed', `the process that holds the open windows ended: ${reason}`, {
      retryable: true,
      context: { reason },
      fix: 'Nothing: the run begins again from the head. If it comes again, look for memory and free disk space.',
    })
    this.#pending?.reject(this.#death)
  }
}
