import { backoffMs } from '../clock.ts'
import { asLakeError, LakeError, toErrorMessage } from '../error.ts'
import { NEEDS_A_PERSON, tableCodes } from '../ingest/pipeline.ts'
import type { Job } from '../jobs.ts'
import { ReplayRun, type ReplayParts } from './replay-run.ts'
import { forget, isReplay, type ReplayJob } from './replays.ts'

export type { ReplayLanes, ReplayParts, Verify } from './replay-run.ts'

/** Replays that other processes asked for are looked for this often. */
const LOOK_EVERY_MS = 5_000
const RETRY_MS_MAX = 30_000
/** What we cannot explain is tried again so often in a row. */
const UNKNOWN_MAX = 5

/**
 * Does the replays of a pipeline that are for the definition of this process, one after the other, whoever writes the
 * pipeline meanwhile. Runs until `signal` aborts and never throws.
 */
export async function runReplays(parts: ReplayParts, signal: AbortSignal): Promise<void> {
  const { jobs, main, definition, changes } = parts
  const codes = JSON.stringify([...tableCodes(definition)].toSorted())
  const abandoned = new Abandoned(parts)
  while (!signal.aborted) {
    // A store that is away now is asked again.
    const open: readonly Job[] = await jobs.open(main.pipeline).catch(() => [])
    const replays = open.filter(isReplay)
    for (const [index, job] of replays.entries()) {
      if (signal.aborted) break
      const isOurs = JSON.stringify(Object.entries(job.request.codes).toSorted()) === codes
      if (index > 0) await refuse(parts, job, replays[0]!).catch(() => undefined)
      // What is settled on main while a fork is built would be lost: it comes to its end first.
      else if (isOurs && job.replay === undefined && open.some(isSettling)) continue
      else if (isOurs) await doReplay(parts, job, signal).catch(() => undefined)
      else await abandoned.look(job).catch(() => undefined)
    }
    await changes.wait(LOOK_EVERY_MS, signal)
  }
}

/** Dead letters are being read again, or discarded. */
function isSettling({ request, state }: Job): boolean {
  return (request.kind === 'retry' || request.kind === 'discard') && state === 'running'
}

/** Throws only when the store cannot be written: then the job stands as it was. */
async function doReplay(parts: ReplayParts, job: ReplayJob, signal: AbortSignal): Promise<void> {
  const { clock, changes, lanes } = parts
  const run = new ReplayRun(parts, job)
  if (job.replay === undefined) await dropFailed(parts, job)
  try {
    for (let attempts = 0; !signal.aborted;) {
      try {
        if ((await run.step(signal)) !== 'again') return
        attempts = 0
      } catch (error) {
        if (signal.aborted) return
        if (isFinal(asLakeError(error), attempts)) return await run.fails(error)
        await run.waits(error).catch(() => undefined)
        await changes.wait(backoffMs(clock, attempts++, 500, RETRY_MS_MAX), signal)
      }
    }
  } finally {
    await lanes.close()
  }
}

/** Whether time does not cure it. */
function isFinal({ code, retryable }: LakeError, attempts: number): boolean {
  if (retryable) return false
  if (code === 'internal') return attempts >= UNKNOWN_MAX
  return NEEDS_A_PERSON.has(code) || /^(?:replay|table|version|snapshot|code)\./.test(code)
}

/** A new start lets go of what failed before: nobody goes on from there. */
async function dropFailed({ jobs, storage }: ReplayParts, { id, request }: ReplayJob): Promise<void> {
  for (const other of await jobs.list())
    if (isReplay(other) && other.request.pipeline === request.pipeline && other.state === 'failed' && other.id !== id)
      await forget(storage, other)
}

/** Two were asked for at the same time: the older one it is. */
async function refuse({ jobs, clock }: ReplayParts, job: ReplayJob, first: ReplayJob): Promise<void> {
  const error = new LakeError('replay.running', 'the pipeline has a replay that is not over', {
    context: { replay: first.id },
    fix: 'Wait for it, cut it over, or cancel it.',
  })
  await jobs.update({ ...job, state: 'failed', endedMs: clock.nowMs(), error: toErrorMessage(error) })
}

/** Replays for a definition that no process has any more: they are cancelled here when somebody asks for it. */
class Abandoned {
  readonly #parts: ReplayParts
  #seen: { readonly text: string; readonly sinceMs: number } | undefined

  constructor(parts: ReplayParts) {
    this.#parts = parts
  }

  async look(job: ReplayJob): Promise<void> {
    const { jobs, storage, clock, takeoverAfterMs } = this.#parts
    const text = JSON.stringify(job)
    if (text !== this.#seen?.text) this.#seen = { text, sinceMs: clock.monotonicMs() }
    if (clock.monotonicMs() - this.#seen.sinceMs < takeoverAfterMs) return
    const orders = await jobs.orders(job.id)
    if (!orders.some(({ kind }) => kind === 'cancel')) return
    await forget(storage, job)
    await jobs.update({ ...job, state: 'cancelled', endedMs: clock.nowMs(), error: null })
  }
}
