import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { IcebergField } from '../../src/lake/table.ts'
import type { Canonical } from './value.ts'

/** Engines that we did not write, each a process that takes jobs on stdin, one a line, and answers one line each. */
export type Reader = 'pyiceberg' | 'duckdb' | 'java' | 'spark'

/** Those that are asked; Spark, which is large and slow to start, only by name: `npm run interop -- --spark`. */
export const READERS = (process.env['KAPPALAKE_READERS'] ?? 'pyiceberg,duckdb,java').split(',') as readonly Reader[]

export interface Predicate {
  readonly column: string
  readonly op: 'eq' | 'lt' | 'gteq' | 'isNull' | 'notNull' | 'isNaN'
  /** Canonical form. */
  readonly value: Canonical
}

export interface Job {
  readonly table: string
  /** URI of a metadata file, or a table's folder for a reader that follows the version hint. */
  readonly metadata: string
  readonly fields: readonly IcebergField[]
  /** A column that tells rows apart. */
  readonly key: string
  readonly predicates: readonly Predicate[]
  /** Snapshots of which the keys are wanted. */
  readonly snapshots: readonly string[]
  /** Whether the row ids are wanted, of a v3 table. */
  readonly lineage: boolean
  /** Whether only the current snapshot is kept: older ones in the metadata are not to be looked at. */
  readonly isHistoryGone?: boolean
}

export interface Answer {
  readonly table: string
  readonly rows: readonly Readonly<Record<string, Canonical>>[]
  /** Rows by the reader's own counting, which may look at manifests only. */
  readonly count: number
  readonly snapshots: Readonly<Record<string, readonly string[]>>
  /** Keys found by each predicate of the job; the text of an error is a key that nobody expects. */
  readonly predicates: readonly (readonly string[])[]
  /** By key: row id and sequence number. */
  readonly lineage?: Readonly<Record<string, readonly [string, string]>>
  /** What a reader that checks more than rows found wrong. */
  readonly problems: readonly string[]
  readonly error?: string
}

/** A reader at work: one process, jobs one after another. */
export class ReaderProcess {
  readonly reader: Reader
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #errors: Buffer[] = []
  #last: Promise<unknown> = Promise.resolve()

  constructor(reader: Reader) {
    this.reader = reader
    const [command, args] = commandOf(reader)
    this.#child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      // Not the caller's environment: proxies, credentials and time zones have no say in what a table holds.
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: process.env['HOME'] ?? '',
        TZ: 'Asia/Kolkata',
        PYTHONDONTWRITEBYTECODE: '1',
      },
    })
    this.#child.stderr.on('data', (chunk: Buffer) => this.#errors.push(chunk))
    // Both show as an answer that does not come.
    this.#child.on('error', (error) => this.#errors.push(Buffer.from(String(error))))
    this.#child.stdin.on('error', () => undefined)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** Throws when the process has ended; an answer may carry an error of its own. */
  ask(job: Job): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(job)}\n`)
    const answer = this.#last.then(async () => {
      const line = await this.#lines.next()
      if (line.done !== true) return JSON.parse(line.value) as Answer
      throw new Error(
        `${this.reader} ended before it answered about ${job.table}: ${Buffer.concat(this.#errors).toString().slice(-2_000)}`,
      )
    })
    this.#last = answer.catch(() => undefined)
    return answer
  }

  /** Resolves when the process has ended; throws when it did not end well. */
  async close(): Promise<void> {
    const { exitCode } = this.#child
    const ended = exitCode ?? new Promise<number | null>((resolve) => this.#child.on('close', resolve))
    this.#child.stdin.end()
    const code = await ended
    if (code !== 0)
      throw new Error(`${this.reader} ended with ${code}: ${Buffer.concat(this.#errors).toString().slice(-2_000)}`)
  }
}

/** Answers in the order of the jobs. Throws when the reader ends early; an answer may carry an error of its own. */
export async function read(reader: Reader, jobs: readonly Job[]): Promise<readonly Answer[]> {
  const child = new ReaderProcess(reader)
  const answers = await Promise.all(jobs.map((job) => child.ask(job)))
  await child.close()
  return answers
}

function commandOf(reader: Reader): [string, readonly string[]] {
  const here = import.meta.dirname
  const cache = path.resolve(here, '../..', process.env['KAPPALAKE_CACHE'] ?? '.cache')
  if (reader === 'java') {
    const folder = path.join(cache, 'java-reader')
    assertThere(path.join(folder, 'target/classes/ReadJava.class'))
    const quick = ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xmx512m']
    return ['java', [...quick, '-cp', `${folder}/target/classes:${folder}/lib/*`, 'ReadJava']]
  }
  const folder = path.join(cache, reader === 'spark' ? 'spark' : 'python')
  const python = path.join(folder, 'bin/python')
  assertThere(python)
  const script = path.join(here, 'python', `read_${reader}.py`)
  return [python, reader === 'spark' ? [script, path.join(folder, 'jars')] : [script]]
}

function assertThere(file: string): void {
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`npm run setup\``)
}
