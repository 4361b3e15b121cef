import type { Context } from 'hono'
import type { Clock } from '../clock.ts'

const WAIT_S_MAX = 30

/** For the description of operations that answer before what was asked for is done. */
export const preferHeader = {
  Prefer: `wait=<seconds>: answer when it is done, or after so many seconds, at most ${WAIT_S_MAX}`,
} as const

/** `Prefer: wait=30` (RFC 7240). A preference that cannot be read is none. */
export function waitMsOf(context: Context): number {
  const seconds = /(?:^|[,;\s])wait\s*=\s*"?(\d{1,6})"?(?:$|[,;\s])/i.exec(context.req.header('prefer') ?? '')?.[1]
  return seconds === undefined ? 0 : Math.min(Number(seconds), WAIT_S_MAX) * 1_000
}

/** The first state that is done, or the last that was seen when the time is over or nobody waits any more. */
export async function waitUntil<State>(
  state: State,
  watch: (signal: AbortSignal) => AsyncIterable<State>,
  isDone: (state: State) => boolean,
  waitMs: number,
  clock: Clock,
  gone: AbortSignal,
): Promise<State> {
  if (waitMs === 0 || isDone(state)) return state
  let newest = state
  const stop = new AbortController()
  const onGone = () => stop.abort()
  gone.addEventListener('abort', onGone, { once: true })
  if (gone.aborted) stop.abort()
  const over = clock.sleep(waitMs, stop.signal)
  const seen = (async () => {
    for await (const each of watch(stop.signal)) {
      newest = each
      if (isDone(each)) break
    }
  })()
  try {
    // What was asked for is recorded, so a watch that fails is no reason to say otherwise; and one that ends late does
    // not keep the client waiting.
    await Promise.race([seen.catch(() => undefined), over])
    return newest
  } finally {
    gone.removeEventListener('abort', onGone)
    stop.abort()
  }
}
