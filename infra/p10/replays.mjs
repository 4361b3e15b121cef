// Replays as they are asked for and looked at over HTTP, by processes that may be killed meanwhile.
import { randomUUID } from 'node:crypto'
import { recompute } from '../windows/oracle.mjs'
import { SOURCES } from '../windows/pipelines.mjs'
import { send, until } from './lake.mjs'

const PHASES = ['seeding', 'rebuilding', 'verifying', 'catching-up', 'ready', 'cutting-over', 'cut-over']
const LIMIT_MS = 90_000

/** Asks for a replay until it is taken: under one key it is one replay, whatever becomes of the answers. */
export async function startReplay(lake, request) {
  const key = randomUUID()
  const answer = await until(
    `a replay of ${request.pipeline}`,
    () => send(lake, '/v1/replays', request, { 'idempotency-key': key }),
    ({ status }) => status < 500,
  )
  if (answer.status !== 202) throw new Error(`a replay of ${request.pipeline}: ${JSON.stringify(answer)}`)
  return answer.body
}

export async function replayOf(lake, id) {
  return lake.ask(`/v1/replays/${id}`)
}

/** Throws when the replay ended otherwise. */
export function untilReplay(lake, id, what, isWanted, limitMs = LIMIT_MS) {
  return until(
    `${lake.name}: replay ${id.slice(0, 8)} ${what}`,
    () => replayOf(lake, id),
    (replay) => {
      if (isWanted(replay)) return true
      if (['failed', 'cancelled'].includes(replay.state)) throw new Error(`it ended: ${JSON.stringify(replay)}`)
      return false
    },
    limitMs,
  )
}

export function untilPhase(lake, id, phase, limitMs) {
  return untilReplay(lake, id, phase, ({ progress }) => progress?.phase === phase, limitMs)
}

/**
 * Kills the process that does the replay when it is first seen in the phase, and starts it again. False when the phase
 * was over before anybody saw it.
 */
export async function killIn(lake, id, phase) {
  const place = PHASES.indexOf(phase)
  const seen = await untilReplay(lake, id, `${phase} or beyond`, ({ progress }) => {
    return progress !== null && PHASES.indexOf(progress.phase) >= place
  })
  if (seen.progress.phase !== phase) return false
  await lake.signalTree('SIGKILL')
  lake.start()
  return true
}

/** An order that is given until it is taken or refused. */
export function order(lake, id, verb, body = {}) {
  return until(
    `${verb} of ${id.slice(0, 8)}`,
    () => send(lake, `/v1/replays/${id}/${verb}`, body),
    ({ status }) => status < 500,
  )
}

export async function differenceOf(lake, id) {
  const difference = await lake.ask(`/v1/replays/${id}/diff`)
  if (difference === undefined) throw new Error(`replay ${id} does not say what it found`)
  return difference
}

/** What the difference must say of a window: the rows of old and new code at the positions of a version, by key. */
export function expectedDifference(before, after, log, positions) {
  const [was, is] = [before, after].map((window) => window && rowsAt(window, log, positions))
  if (was === undefined) return { kind: 'new', rowsAfter: is.size }
  let [added, removed, changed] = [0, 0, 0]
  for (const [key, text] of is)
    if (!was.has(key)) added++
    else if (was.get(key) !== text) changed++
  for (const key of was.keys()) if (!is.has(key)) removed++
  const kind = added + removed + changed === 0 ? 'equal' : 'different'
  return { kind, rowsBefore: was.size, rowsAfter: is.size, added, removed, changed }
}

function rowsAt(window, log, positions) {
  const source = SOURCES[window.source]
  const records = log.get(source.topic)
  const at = [...records.keys()].map((partition) => [partition, Number(positions[`${source.topic}/${partition}`] ?? 0)])
  const { rows } = recompute(window, source, records, new Map(at))
  const text = ({ values, lastMs }) =>
    JSON.stringify([Object.values(values), window.input === 'events' ? lastMs : null], (_, value) =>
      typeof value === 'bigint' ? String(value) : value,
    )
  return new Map([...rows].map(([key, row]) => [key, text(row)]))
}

/** Of a table in a difference, the counts that `expectedDifference` gives. */
export function foundDifference(difference, table) {
  const found = difference.tables.find((each) => each.table === table)
  if (found === undefined) return undefined
  const { kind, rowsBefore, rowsAfter, added, removed, changed } = found
  if (kind === 'new') return { kind, rowsAfter: Number(rowsAfter) }
  const counts = { rowsBefore, rowsAfter, added, removed, changed }
  return { kind, ...Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, Number(count)])) }
}
