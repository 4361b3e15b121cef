import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { IcebergField } from '../../src/lake/table.ts'
import type { Canonical } from './value.ts'

/** Engines that we did not write, each a process that takes jobs on stdin, one a line, and answers one line each. */
export const READERS = ['pyiceberg', 'duckdb', 'java'] as const
export type Reader = (typeof READERS)[number]

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

/** Answers in the order of the jobs. Throws when the reader ends early; an answer may carry an error of its own. */
export async function read(reader: Reader, jobs: readonly Job[]): Promise<readonly Answer[]> {
  const [command, args] = commandOf(reader)
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Not the caller's environment: proxies, credentials and time zones have no say in what a table holds.
    env: {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      TZ: 'Asia/Kolkata',
      PYTHONDONTWRITEBYTECODE: '1',
    },
  })
  const [out, errors]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
  child.stdin.on('error', () => undefined)
  child.stdin.end(jobs.map((job) => `${JSON.stringify(job)}\n`).join(''))
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const lines = Buffer.concat(out).toString('utf8').split('\n').filter(Boolean)
  if (code !== 0 || lines.length !== jobs.length)
    throw new Error(
      `${reader} ended with ${code} after ${lines.length} of ${jobs.length} tables: ${Buffer.concat(errors).toString().slice(-2_000)}`,
    )
  return lines.map((line) => JSON.parse(line) as Answer)
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
  const python = path.join(cache, 'python/bin/python')
  assertThere(python)
  return [python, [path.join(here, 'python', `read_${reader}.py`)]]
}

function assertThere(file: string): void {
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`npm run setup\``)
}
