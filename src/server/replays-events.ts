import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { ReplayStatus } from '../replay-status.ts'
import { problemOf } from './problem.ts'
import { replayJson } from './replays-json.ts'

const HEARTBEAT_MS = 15_000
/** What a browser waits before it asks again, in milliseconds. */
const RETRY_MS = 2_000

/**
 * Server-sent events of one replay: its state at once, and whenever it changes, until it is over. Each event is the
 * whole of it, so that what a client missed does not matter and nothing is kept for anybody; the id is that of the
 * content, and a client that has it already is not told again.
 *
 * Nothing is asked for before the client took what came before, so a slow one holds one event and no more. `ending`
 * and the end of the stream let go of the replay alike; `onEnd` is called once, whichever it was.
 */
export function replayEvents(
  watch: (signal: AbortSignal) => AsyncIterable<ReplayStatus>,
  options: {
    readonly clock: Clock
    readonly lastEventId: string | undefined
    readonly ending: AbortSignal
    readonly onEnd?: () => void
  },
): ReadableStream<Uint8Array> {
  const { clock, lastEventId, ending, onEnd } = options
  const stop = new AbortController()
  const states = watch(stop.signal)[Symbol.asyncIterator]()
  let timer = new AbortController()
  let asked: Promise<IteratorResult<ReplayStatus>> | undefined
  let known = lastEventId
  let [isBegun, isCancelled] = [false, false]

  const end = (): void => {
    if (stop.signal.aborted) return
    stop.abort()
    timer.abort()
    ending.removeEventListener('abort', end)
    // It may wait for a change that never comes: it is told to end, and not waited for.
    void Promise.resolve(states.return?.()).catch(() => undefined)
    onEnd?.()
  }
  ending.addEventListener('abort', end, { once: true })
  if (ending.aborted) end()

  /** Undefined when a heartbeat is due. */
  const change = async (): Promise<IteratorResult<ReplayStatus> | undefined> => {
    if (asked === undefined) {
      asked = states.next()
      // Nobody may be there any more when it fails.
      asked.catch(() => undefined)
    }
    timer = new AbortController()
    const quiet = clock.sleep(HEARTBEAT_MS, timer.signal).then(() => undefined)
    const result = await Promise.race([asked, quiet]).finally(() => timer.abort())
    if (result !== undefined) asked = undefined
    return result
  }

  /** What the client is sent next; undefined when that was all. */
  const next = async (): Promise<string | undefined> => {
    if (!isBegun) {
      // Proxies and clients see at once that there is a stream.
      isBegun = true
      return `retry: ${RETRY_MS}\n\n`
    }
    while (!stop.signal.aborted) {
      const result = await change()
      if (stop.signal.aborted || result?.done === true) return undefined
      if (result === undefined) return ': still here\n\n'
      const { id, text } = eventOf(result.value)
      if (id === known) continue
      known = id
      return text
    }
    return undefined
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let text: string | undefined
        let isFailed = false
        try {
          text = await next()
        } catch (error) {
          isFailed = true
          text = `event: problem\ndata: ${JSON.stringify(problemOf(error))}\n\n`
        }
        if (isCancelled) return
        if (text !== undefined) controller.enqueue(ENCODER.encode(text))
        if (text !== undefined && !isFailed) return
        end()
        controller.close()
      },
      cancel() {
        isCancelled = true
        end()
      },
    },
    { highWaterMark: 0 },
  )
}

const ENCODER = new TextEncoder()

/** The id of an event is a digest of what it says. */
export function eventIdOf(status: ReplayStatus): string {
  return eventOf(status).id
}

function eventOf(status: ReplayStatus): { readonly id: string; readonly text: string } {
  const data = JSON.stringify(replayJson(status))
  const id = createHash('sha256').update(data).digest('hex').slice(0, 16)
  return { id, text: `event: replay\nid: ${id}\ndata: ${data}\n\n` }
}
