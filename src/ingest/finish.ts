import type { Clock } from '../clock.ts'
import type { Committer } from './committer.ts'
import type { Change } from './next-version.ts'
import type { RunResult } from './pipeline.ts'
import type { Publisher } from './publisher.ts'

/** The last commit of a run: all that was folded, and why it ends. It can say most of what was sent, and is sent itself. */
export async function finish(
  committer: Committer,
  publisher: Publisher,
  end: { readonly kind: 'drained' | 'stopped' | 'paused' },
  change: Change,
  signal: AbortSignal,
): Promise<RunResult> {
  await publisher.caughtUp(signal)
  const result = await committer.commit(change, signal)
  if (result.kind !== 'committed') return result
  publisher.saw(result.version)
  await publisher.caughtUp(signal)
  return { kind: end.kind, head: result.version }
}

/** Does `work` with a signal that aborts after `ms`. */
export async function within<T>(ms: number, clock: Clock, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const [limit, timer] = [new AbortController(), new AbortController()]
  void clock.sleep(ms, timer.signal).then(() => limit.abort())
  try {
    return await work(limit.signal)
  } finally {
    timer.abort()
  }
}
