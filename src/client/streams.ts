import { cancelled, errorOf, notReady } from './call.ts'

/** Lines of a text that is on its way, some at a time. The last one without an end is none. */
async function* linesOf(response: Response): AsyncGenerator<readonly string[], void, undefined> {
  const decoder = new TextDecoder()
  const reader = response.body?.getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true }
      if (done === true || value === undefined) return
      const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
      rest = lines.pop()!
      if (lines.length > 0) yield lines
    }
  } finally {
    // Reading no further ends the query there.
    await reader?.cancel().catch(() => undefined)
  }
}

/**
 * Rows of ndjson. A result that fails on its way has a last line that says why, and then breaks off: that line, and no
 * row that looks like it, is thrown.
 */
export async function* rowsOfLines<Row>(
  response: Response,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly Row[], void, undefined> {
  let last: Row | undefined
  try {
    for await (const lines of linesOf(response)) {
      const rows = lines.map((line) => JSON.parse(line) as Row)
      const given = last === undefined ? rows.slice(0, -1) : [last, ...rows.slice(0, -1)]
      last = rows.at(-1)
      if (given.length > 0) yield given
    }
  } catch (cause) {
    if (signal?.aborted === true) throw cancelled(cause)
    const { error } = (last ?? {}) as { readonly error?: unknown }
    const reason = typeof error === 'object' && error !== null ? errorOf({ ...error }) : undefined
    throw reason ?? notReady('the connection broke off in the middle of a result', cause)
  }
  if (last !== undefined) yield [last]
}

/** One of the server's events. */
export interface ServerEvent {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

/** Server-sent events, as far as they are used here. */
export async function* eventsOf(
  response: Response,
  signal: AbortSignal | undefined,
): AsyncGenerator<ServerEvent, void, undefined> {
  let fields: Record<string, string> = {}
  try {
    for await (const lines of linesOf(response))
      for (const line of lines) {
        const [, name, value] = /^([a-z]+):\s?(.*)$/.exec(line.replace(/\r$/, '')) ?? []
        if (name !== undefined) fields[name] = value!
        if (line.trim() !== '') continue
        const { event = 'message', id, data } = fields
        fields = {}
        if (data !== undefined) yield { event, id, data }
      }
  } catch (cause) {
    throw signal?.aborted === true ? cancelled(cause) : notReady('the stream of events broke off', cause)
  }
}
