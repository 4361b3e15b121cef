import { LakeError, type LakeErrorCode } from '../error.ts'
import type { ReplayJson } from '../server/replays-json.ts'
import type { Client } from './client.ts'
import type { CliContext, Terminal } from './context.ts'
import { pathOf, shortId } from './replay-args.ts'
import { nextOf, percentOf, stateOf } from './replay-screen.ts'
import { grouped } from './serve.ts'

const ASK_EVERY_MS = 500
/** A server that is started again is waited for: the replay goes on from where it stood. */
const AWAY_MS_MAX = 60_000
const BAR_CHARS = 24

/** How somebody is told of a replay that gets on. */
export interface Telling {
  tell(replay: ReplayJson): void
  end(): void
}

/** One line that is rewritten, on a terminal. */
export function bar(terminal: Terminal): Telling {
  return {
    tell: (replay) => terminal.write(`\r\u001B[2K${[...progressLine(replay)].slice(0, terminal.columns - 1).join('')}`),
    end: () => terminal.write('\r\u001B[2K'),
  }
}

/** One JSON object for each change, for programs. */
export function lines(terminal: Terminal): Telling {
  return { tell: (replay) => terminal.write(`${JSON.stringify(replay)}\n`), end: () => undefined }
}

/** One line for each phase: what is left to say where the answer of the command is for a program. */
export function phases(terminal: Terminal): Telling {
  let told: string | undefined
  return {
    tell: (replay) => {
      const state = stateOf(replay)
      if (state !== told) terminal.write(`${shortId(replay.id)} ${state}\n`)
      told = state
    },
    end: () => undefined,
  }
}

/** Looks on until `isDone`, or until it is over. Throws why it failed, and `replay.state` when it was cancelled. */
export async function watchReplay(
  ask: (id: string) => Promise<ReplayJson>,
  first: ReplayJson,
  context: CliContext,
  telling: Telling,
  isDone: (replay: ReplayJson) => boolean,
): Promise<ReplayJson> {
  let told: string | undefined
  try {
    for (let replay = first; ; replay = await ask(first.id)) {
      const text = JSON.stringify(replay)
      if (text !== told) telling.tell(replay)
      told = text
      if (isDone(replay) || (replay.state !== 'queued' && replay.state !== 'running')) {
        failIfFailed(replay)
        return replay
      }
      await context.clock.sleep(ASK_EVERY_MS, context.signal)
      if (context.signal.aborted)
        throw new LakeError('sql.cancelled', `the replay ${shortId(first.id)} is ${stateOf(replay)}, and goes on`, {
          fix: `Look again with "kappalake replay watch ${shortId(first.id)}".`,
        })
    }
  } finally {
    telling.end()
  }
}

/** Nothing more happens by itself. */
export function isWaiting(replay: ReplayJson): boolean {
  const { options, progress, difference } = replay
  if (progress?.phase !== 'ready') return false
  if (options.autoCutover === 'ifEqual') return difference?.equal === false
  return options.autoCutover === 'never'
}

/** One that was cut over is done, and has an error only when it could not be rolled back. */
export function failIfFailed({ id, state, error }: ReplayJson): void {
  if (state === 'cancelled') throw new LakeError('replay.state', `the replay ${shortId(id)} was cancelled`)
  if ((state !== 'failed' && state !== 'done') || error === null) return
  const what = state === 'failed' ? 'failed' : 'was not rolled back'
  throw new LakeError(error.code as LakeErrorCode, `the replay ${shortId(id)} ${what}: ${error.message}`, {
    fix:
      error.fix ??
      (state === 'failed'
        ? `Try again with "kappalake replay resume ${shortId(id)}", or drop it with "kappalake replay cancel ${shortId(id)}".`
        : 'The live tables are those of the replay.'),
  })
}

/** `rebuilding  ███████░░░░░  58.3 %  1,204 of 2,066  125 rec/s  6 s left` */
export function progressLine(replay: ReplayJson): string {
  const { progress, error } = replay
  if (progress === null)
    return error === null
      ? `${stateOf(replay)}: waits for a process with this definition`
      : `${stateOf(replay)}: ${error.code}: ${error.message}`
  const { percent, done, total, ratePerSecond, etaSeconds, lag } = progress
  const filled = Math.floor((Math.min(100, percent) / 100) * BAR_CHARS)
  return [
    stateOf(replay).padEnd(12),
    `${'█'.repeat(filled)}${'░'.repeat(BAR_CHARS - filled)}`,
    `${percentOf(percent).padStart(5)} %`,
    ...(lag === null ? [`${grouped(BigInt(done))} of ${grouped(BigInt(total))}`] : [`lag ${grouped(BigInt(lag))}`]),
    ...(ratePerSecond === null ? [] : [`${grouped(BigInt(Math.round(ratePerSecond)))} rec/s`]),
    ...(etaSeconds === null ? [] : [`${spanText(etaSeconds)} left`]),
    ...(error === null ? [] : [`${error.code}: ${error.message}`]),
  ].join('  ')
}

/** What a replay has come to, and what a person would do now. */
export function outcome(replay: ReplayJson, mark: string): string {
  const { id, rebuilt, shared, version, difference, cutover, pipeline, progress, error } = replay
  const next = nextOf(replay)
  return [
    `${mark} replay ${shortId(id)} of ${pipeline}: ${stateOf(replay)}${version === null ? '' : `, began at version ${version}`}`,
    ...(rebuilt.length === 0
      ? []
      : [
          `  ${progress === null ? 'rebuilds' : 'rebuilt'} ${rebuilt.join(', ')}${shared.length === 0 ? '' : ` · shared ${shared.join(', ')}`}`,
        ]),
    ...(difference === null
      ? []
      : [
          difference.equal
            ? '  equal to the live tables'
            : `  differs from the live tables: difference ${shortId(difference.id)}`,
        ]),
    ...(cutover === null ? [] : [`  ${overText(cutover, progress?.phase === 'rolled-back')}`]),
    ...(error === null
      ? []
      : [`  reason: ${error.message} (${error.code})`, ...(error.fix === undefined ? [] : [`  fix: ${error.fix}`])]),
    ...(next === '' ? [] : [`  next: ${next}`]),
    '',
  ].join('\n')
}

function overText({ version, before }: NonNullable<ReplayJson['cutover']>, isBack: boolean): string {
  return isBack
    ? `version ${version} had its tables; those of version ${before} are back`
    : `version ${version} has its tables; before it stood version ${before}`
}

/** `7 s`, `1 min 15 s`, `2 h 5 min` */
function spanText(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`
}

/** How a server is asked for a replay, again and again. */
export function fromServer(client: Client, { clock, signal }: CliContext): (id: string) => Promise<ReplayJson> {
  return async (id) => {
    const sinceMs = clock.monotonicMs()
    for (;;) {
      try {
        return await client.get<ReplayJson>(pathOf(id))
      } catch (error) {
        const isAway = error instanceof LakeError && error.code === 'not_ready' && !signal.aborted
        if (!isAway || clock.monotonicMs() - sinceMs > AWAY_MS_MAX) throw error
        await clock.sleep(ASK_EVERY_MS, signal)
      }
    }
  }
}
