import type { Clock } from '../clock.ts'
import { type Lanes } from '../ingest/pipeline.ts'

/**
 * The same lanes, asked for so many records a second on average. What is not asked for is not fetched (lanes are pulled),
 * so that the limit holds for the log as well, a few batches apart.
 */
export function limited(lanes: Lanes, recordsPerSecond: number | null, clock: Clock): Lanes {
  if (recordsPerSecond === null) return lanes
  /** Until then all that was taken is within the limit. */
  let paidUntilMs = clock.monotonicMs()
  return {
    assign: (task) => lanes.assign(task),
    async next(timeoutMs) {
      const aheadMs = paidUntilMs - clock.monotonicMs()
      if (aheadMs > 0) {
        await clock.sleep(Math.min(aheadMs, timeoutMs))
        if (aheadMs > timeoutMs) return { kind: 'idle' }
      }
      const answer = await lanes.next(Math.max(0, timeoutMs - Math.max(0, aheadMs)))
      if (answer.kind === 'staged')
        paidUntilMs = Math.max(paidUntilMs, clock.monotonicMs()) + (answer.staged.records / recordsPerSecond) * 1_000
      return answer
    },
    get work() {
      return lanes.work
    },
    close: () => lanes.close(),
  }
}
