import type { Clock } from '../clock.ts'
import { asLakeError, type LakeError } from '../error.ts'
import { redacted } from '../redact.ts'
import { wrapped } from './layout.ts'

/** What a command may touch of the world; tests give their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly folder: string
  readonly clock: Clock
  readonly out: Terminal
  readonly err: Terminal
  /** Asks the person at the terminal; undefined where nobody is. */
  readonly ask?: ((question: string) => Promise<string>) | undefined
  readonly fetch: typeof fetch
  /** Aborts when the process is asked to end. */
  readonly signal: AbortSignal
}

export interface Terminal {
  write(text: string): void
  readonly isTty: boolean
  /** Characters in a line of a terminal. */
  readonly columns: number
  readonly hasColor: boolean
}

/** 0 done · 1 failed · 2 wrong usage · 3 not ready: something that is needed cannot be reached. */
export const EXIT = { ok: 0, failed: 1, usage: 2, notReady: 3 } as const

const NOT_READY: ReadonlySet<string> = new Set(['not_ready', 'kafka.unavailable', 'store.unavailable'])

export function exitCodeOf(error: LakeError): number {
  return NOT_READY.has(error.code) ? EXIT.notReady : EXIT.failed
}

/** Code, cause and next step; never a stack. */
export function errorText(error: unknown, { hasColor, ...screen }: Looks): string {
  const { code, message, cause, fix, context } = asLakeError(error)
  const more = Array.isArray(context.issues) ? (context.issues as string[]).slice(1) : []
  const names = ['replay', 'difference'].filter((name) => typeof context[name] === 'string')
  const reason = cause instanceof Error ? cause.message : undefined
  const lines = [
    `${paint('✗', 'red', hasColor)} ${code}: ${message}`,
    ...more.map((issue) => `  also: ${issue}`),
    ...(reason !== undefined && reason !== '' && !message.includes(reason) ? [`  cause: ${reason}`] : []),
    ...names.map((name) => `  ${name}: ${String(context[name]).slice(0, 8)}`),
    `  next: ${fix ?? NEXT[code] ?? 'Run "kappalake doctor" to see what is missing.'}`,
    '',
  ]
  return wrapped(redacted(lines.join('\n')), screen)
}

/** What is known of the place where text goes to. */
export type Looks = Pick<Terminal, 'isTty' | 'columns' | 'hasColor'>

/** What to do about an error, where nothing else will be told. */
export function fixOf({ code, fix }: LakeError): string {
  return fix ?? NEXT[code] ?? `Look ${code} up in docs/errors.md: it says what to do.`
}

const NEXT: Readonly<Record<string, string>> = {
  internal: 'This is a defect of kappalake: please report it with the command that you ran.',
  'config.invalid': 'Correct it: docs/config.md and docs/windows.md say what may stand there.',
  'kafka.unavailable': 'Start Kafka, or correct kafka.brokers.',
  'store.unavailable': 'Start the store, or correct store.url and store.endpoint.',
  'request.invalid': 'Correct the request.',
  'auth.missing': 'Put the key of this server into KAPPALAKE_TOKEN.',
  'auth.invalid': 'Put a key of this server into KAPPALAKE_TOKEN.',
  'table.unknown': 'List the tables with "kappalake tables".',
  'version.unknown': 'List those that are kept with "kappalake versions" and the name of the pipeline.',
  'pipeline.unknown': 'List the pipelines with "kappalake pipelines".',
  'replay.unknown': 'List the replays with "kappalake replay list".',
  'replay.running': 'Look at it with "kappalake replay list"; wait for it, or cancel it.',
  'replay.state': 'Look at it with "kappalake replay list".',
  'replay.diff_unapproved': 'Look at it with "kappalake replay diff", then add --approve and the id of the difference.',
  'replay.nothing_changed': 'Name tables with --tables, or compare them with "kappalake verify".',
  'replay.range_keyed': 'Rebuild the whole table: "kappalake replay start" without --mode range.',
  'replay.compacted': 'Add --accept-compacted if that is known, or leave the table out with --tables.',
  'replay.base_moved': 'Cancel it, and start it again.',
  'pipeline.not_owner': 'Ask the process that writes this pipeline; "kappalake versions" names it.',
  'sql.syntax': 'Correct the SQL.',
  'sql.failed': 'Correct the SQL.',
  'sql.timeout': 'Ask for less, or raise query.timeout.',
  'result.too_large': 'Add a LIMIT, or raise query.rowsMax and query.bytesMax.',
}

const COLORS = { red: 31, green: 32, yellow: 33, dim: 2 } as const

export function paint(text: string, color: keyof typeof COLORS, hasColor: boolean): string {
  return hasColor ? `\u001B[${COLORS[color]}m${text}\u001B[0m` : text
}
