import type { Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import type { Chain } from '../lake/chain.ts'
import type { Source } from '../log.ts'
import type { Version } from '../version.ts'
import type { Changes } from './changes.ts'
import { newPartitions, ownPartitions } from './start.ts'

const LOOK_EVERY_MS = 1_000

export interface Standby {
  readonly definition: PipelineDefinition
  readonly source: Source
  readonly chain: Chain
  readonly takeoverAfterMs: number
  readonly clock: Clock
}

/**
 * Stands by until the other writer has let go, or its head has stood still with the log ahead of it. `onHead` is told of
 * each head that is seen; where it says no, there is nothing to stand by for.
 */
export async function untilOurTurn(
  standby: Standby,
  changes: Changes,
  onHead: (head: Version) => boolean,
  signal: AbortSignal,
): Promise<void> {
  const { chain, clock, takeoverAfterMs } = standby
  let head = await chain.head()
  let sinceMs = clock.monotonicMs()
  while (!signal.aborted) {
    await changes.wait(Math.min(LOOK_EVERY_MS, takeoverAfterMs / 5))
    const now = await chain.head()
    if (now !== undefined && !onHead(now)) return
    if (now?.number !== head?.number) [head, sinceMs] = [now, clock.monotonicMs()]
    if (head === undefined || head.released) return
    if (head.paused !== undefined || clock.monotonicMs() - sinceMs < takeoverAfterMs) continue
    if (!(await isBehind(standby, head))) continue
    // Several may stand by: the first to commit wins, the others find out before they have worked for nothing.
    await clock.sleep(clock.random() * Math.min(LOOK_EVERY_MS, takeoverAfterMs / 5), signal)
    if ((await chain.head())?.number === head.number) return
  }
}

/** Waits for somebody to resume a paused pipeline. */
export async function untilResumed(chain: Chain, changes: Changes, signal: AbortSignal): Promise<void> {
  do await changes.wait(LOOK_EVERY_MS)
  while (!signal.aborted && (await chain.head())?.paused !== undefined)
}

/** Whether the log holds something that the head does not: a quiet topic is no reason to take over. */
async function isBehind({ source, definition }: Standby, head: Version): Promise<boolean> {
  const positions = ownPartitions(definition, head.positions)
  const bounds = await source.bounds([...positions.keys()])
  if ([...bounds].some(([id, { end }]) => end > (positions.get(id) ?? 0n))) return true
  return (await newPartitions(source, definition, head)).firstPositions.size > 0
}
