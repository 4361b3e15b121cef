import type { Clock } from '../clock.ts'
import { asLakeError, LakeError, toErrorMessage } from '../error.ts'
import type { PipelineState } from '../event.ts'
import { commitIdOf, type Job, type JobResult, type Jobs, type OwnerRequest } from '../jobs.ts'
import type { PipelineControl } from '../status.ts'

/** Jobs that other processes left in the store are looked for this often. */
const LOOK_EVERY_MS = 5_000
/** A process whose code was taken over takes the pipeline back only where nobody else does what was asked. */
const PATIENCE_MS = 30_000
/** States in which this process is the one that writes the pipeline, or would be: what it can do then. */
const OURS: Readonly<Record<OwnerRequest['kind'], ReadonlySet<PipelineState>>> = {
  compact: new Set(['running', 'waiting']),
  discard: new Set(['running', 'waiting']),
  expire: new Set(['running', 'paused', 'waiting', 'failed']),
  retry: new Set(['running', 'waiting']),
  rollback: new Set(['running', 'paused', 'waiting', 'failed', 'superseded']),
}

const REFUSED_WHILE_PAUSED: ReadonlySet<string> = new Set(['compact', 'discard', 'retry'])

/**
 * Does the jobs of a pipeline, one after the other, while this process writes it. A job that was under way when its
 * process died is done again: every kind of job may be. Runs until `signal` aborts and never throws.
 */
export async function runJobs(
  jobs: Jobs,
  control: PipelineControl,
  writer: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const isOurs = ({ request, state, createdMs }: Job) => {
      const now = control.status().state
      if (now === 'superseded' && clock.nowMs() - createdMs < PATIENCE_MS) return false
      // Replays are done by whoever has their definition.
      if (request.kind === 'replay') return false
      // A paused pipeline refuses it: better than a job that waits for somebody to resume.
      const isRefused = REFUSED_WHILE_PAUSED.has(request.kind) && now === 'paused' && state === 'queued'
      return isRefused || OURS[request.kind].has(now)
    }
    if (OURS.rollback.has(control.status().state)) {
      // A store that is away now is asked again.
      const open = await jobs.open(control.name).catch(() => [])
      let isHeld = false
      for (const job of open) {
        const isSettling = job.request.kind === 'retry' || job.request.kind === 'discard'
        if (signal.aborted || !isOurs(job) || (isSettling && isHeld)) continue
        const isOver = await runJob(jobs, job, control, writer, clock).catch(() => false)
        // The head knows how far the last of them has come: another one in between would make it begin anew.
        if (isSettling && !isOver) isHeld = true
      }
    }
    await clock.sleep(LOOK_EVERY_MS, signal)
  }
}

/** Whether it is over. Throws only when the store cannot be written: then the job stands as it was. */
async function runJob(jobs: Jobs, job: Job, control: PipelineControl, writer: string, clock: Clock): Promise<boolean> {
  const running: Job = { ...job, state: 'running', startedMs: job.startedMs ?? clock.nowMs(), writer, error: null }
  await jobs.update(running)
  const wasSuperseded = control.status().state === 'superseded'
  try {
    const result = await work(job, control, jobs)
    await jobs.update({ ...running, state: 'done', endedMs: clock.nowMs(), result })
    return true
  } catch (error) {
    const { code, retryable } = asLakeError(error)
    // Somebody else writes the pipeline by now, or it stops here: he finds the job where it was.
    const isTaken = code === 'pipeline.stopped' && !wasSuperseded && control.status().state === 'superseded'
    const isLater = code === 'pipeline.not_owner' || isTaken || retryable
    const why = code === 'pipeline.not_owner' || isTaken ? null : toErrorMessage(error)
    if (isLater) await jobs.update({ ...running, state: 'queued', writer: null, error: why })
    else await jobs.update({ ...running, state: 'failed', endedMs: clock.nowMs(), error: why })
    return !isLater
  }
}

async function work(job: Job, control: PipelineControl, jobs: Jobs): Promise<JobResult> {
  const { request } = job
  switch (request.kind) {
    case 'compact':
      return { ...(await control.compact(request.table)) }
    case 'expire':
      return { ...(await control.expire(request.table)) }
    case 'retry':
    case 'discard': {
      await assertNoReplay(jobs, request.pipeline)
      const { discarded, ...read } = await control.settle(job.id, request)
      return { ...(request.kind === 'retry' ? read : { discarded }), dryRun: request.dryRun === true }
    }
    case 'rollback': {
      const { number } = await control.rollback(BigInt(request.to), commitIdOf(job))
      return { version: String(number) }
    }
    case 'replay':
      throw new LakeError('internal', 'a replay is no job of the process that writes the pipeline')
  }
}

/** What is settled on the main chain while a fork is built would be lost with the cut-over. Throws `replay.running`. */
async function assertNoReplay(jobs: Jobs, pipeline: string): Promise<void> {
  const replay = (await jobs.open(pipeline)).find(({ request }) => request.kind === 'replay')
  if (replay === undefined) return
  throw new LakeError('replay.running', `pipeline ${pipeline} has a replay that is not over`, {
    context: { replay: replay.id },
    fix: 'Wait for it, cut it over, or cancel it; then ask again.',
  })
}
