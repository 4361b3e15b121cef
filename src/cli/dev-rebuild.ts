import type { PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { Lake } from '../index.ts'
import { isOver, type ReplayStatus } from '../replay-status.ts'
import { differenceJson, replayJson } from '../server/replays-json.ts'
import { paint, type CliContext } from './context.ts'
import { isByItself, rebuildStep } from './dev-change.ts'
import { shortId } from './replay-args.ts'
import { differenceScreen } from './replay-screen.ts'
import { bar, isWaiting, outcome, phases, watchReplay } from './replay-watch.ts'

export type RebuiltLake = Pick<Lake, 'replays' | 'replay'>

const LOOK_EVERY_MS = 200
/** A replay of this process is dropped between two of its steps. */
const DROP_MS_MAX = 10_000

/**
 * Replays what changed of a pipeline and shows how it gets on, what came out different, and the cut-over. One that is
 * under way for the same definition is gone on with, one for another is cancelled first. Throws why it failed, and
 * `sql.cancelled` when `context.signal` aborts: the replay is found again at the next start.
 */
export async function rebuild(lake: RebuiltLake, definition: PipelineDefinition, context: CliContext): Promise<void> {
  const { out } = context
  const first = await claim(lake, definition, context)
  if (first === undefined) return
  const ask = async (id: string) => replayJson(await lake.replays.get(id))
  const telling = out.isTty ? bar(out) : phases(out)
  const compared = await watchReplay(
    ask,
    replayJson(first),
    context,
    telling,
    (replay) => replay.difference !== null || isWaiting(replay),
  )
  if (compared.difference !== null) {
    const difference = differenceJson(await lake.replays.difference(compared.id))
    out.write(`\n${differenceScreen(compared, difference, out.hasColor)}\n`)
  }
  const ended = await watchReplay(ask, compared, context, telling, isWaiting)
  out.write(outcome(ended, paint('✓', 'green', out.hasColor)))
}

/** The replay to look at; undefined when the end came first. */
async function claim(
  lake: RebuiltLake,
  definition: PipelineDefinition,
  { out, clock, signal }: CliContext,
): Promise<ReplayStatus | undefined> {
  let told: string | undefined
  const tell = (id: string, line: string): void => {
    if (told !== id) out.write(`${line}\n`)
    told = id
  }
  for (; !signal.aborted; await clock.sleep(LOOK_EVERY_MS, signal)) {
    const step = rebuildStep(definition, await openReplay(lake, definition.name))
    if (step.kind === 'start') {
      const started = await lake.replay(definition.name, { autoCutover: 'always' })
      return lake.replays.get(started.id)
    }
    const { replay } = step
    const id = shortId(replay.id)
    if (step.kind === 'go-on') {
      tell(replay.id, `the replay ${id} of this definition goes on`)
      return replay
    }
    if (step.kind === 'wait')
      tell(replay.id, `waiting for the replay ${id}, which somebody else began: kappalake replay show ${id}`)
    else if (told !== replay.id) {
      await cancel(lake, replay.id)
      tell(replay.id, `the replay ${id} is of a definition from before: waiting until it is cancelled`)
    }
  }
  return undefined
}

/**
 * Cancels the replays that `dev` began and that a new definition makes pointless, while their process is still there to
 * do so. One that is just being cut over is waited for.
 */
export async function dropRebuilds(
  lake: RebuiltLake,
  pipelines: readonly string[],
  { clock, signal }: Pick<CliContext, 'clock' | 'signal'>,
): Promise<void> {
  const deadlineMs = clock.monotonicMs() + DROP_MS_MAX
  for (const pipeline of pipelines) {
    const open = await openReplay(lake, pipeline)
    if (open === undefined || !isByItself(open)) continue
    await cancel(lake, open.id)
    while (!isOver(await lake.replays.get(open.id)) && clock.monotonicMs() < deadlineMs && !signal.aborted)
      await clock.sleep(LOOK_EVERY_MS, signal)
  }
}

async function openReplay({ replays }: RebuiltLake, pipeline: string): Promise<ReplayStatus | undefined> {
  return (await replays.list()).find((each) => each.pipeline === pipeline && !isOver(each))
}

/** One that is over by now, or is being cut over, need not be cancelled. */
async function cancel({ replays }: RebuiltLake, id: string): Promise<void> {
  try {
    await replays.order(id, { kind: 'cancel' })
  } catch (error) {
    if (!(error instanceof LakeError) || error.code !== 'replay.state') throw error
  }
}
