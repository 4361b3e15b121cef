import * as z from 'zod'
import { parseDuration, parseInstant, UNITS_MS } from './define-fields.ts'
import { LakeError } from './error.ts'
import type { PartitionId } from './log.ts'
import type { ReplayOptions, ReplayPoint } from './replay-status.ts'

/**
 * A replay as it is asked for: over HTTP, on the command line and in a program alike. Durations and times are texts
 * here, and numbers in `ReplayOptions`.
 */

const OFFSET = /^\d{1,19}$/
/** Of a topic as Kafka takes it, and a partition. */
const PARTITION = /^[\w.-]{1,249}\/\d{1,9}$/
const TABLE = /^[a-z]\w{0,62}$/

const timestamp = z.string().refine(isReadable(parseInstant), 'must be a time with its zone: "2026-11-21T10:00:00Z"')
const offsets = z.record(
  z.string().regex(PARTITION, 'must name a partition: "shop.orders/0"'),
  z.string().regex(OFFSET, 'must be an offset as text: "1234"'),
)

const fromSchema = z
  .union([z.literal('earliest'), z.strictObject({ timestamp }), z.strictObject({ offsets })], {
    error: 'must be "earliest", {"timestamp": "2026-11-21T10:00:00Z"} or {"offsets": {"shop.orders/0": "1234"}}',
  })
  .describe('the beginning of the pipeline, a time, or offsets by partition; fixed when the replay starts')

const toSchema = z
  .union([z.strictObject({ timestamp }), z.strictObject({ offsets })], {
    error: 'must be {"timestamp": "2026-11-21T10:00:00Z"} or {"offsets": {"shop.orders/0": "1234"}}',
  })
  .describe('exclusive; where the live tables stand when it is left out; of mode "range"')

/** What `POST /v1/replays` takes. */
export const replayRequestSchema = z.strictObject({
  pipeline: z.string(),
  mode: z
    .enum(['reprocess', 'verify', 'range'])
    .optional()
    .describe('rebuild, to be put in the place of the live tables · rebuild and compare · rows of a range again'),
  tables: z
    .array(z.string().regex(TABLE, 'must be the name of a table or window'))
    .min(1)
    .optional()
    .describe('tables and windows to rebuild; those whose code changed, or with "verify" all, when left out'),
  from: fromSchema.optional(),
  to: toSchema.optional(),
  rateLimit: z.int().min(1).optional().describe('records a second'),
  autoCutover: z
    .enum(['never', 'ifEqual', 'always'])
    .optional()
    .describe('whether it takes the place of the live tables by itself'),
  acceptCompacted: z
    .boolean()
    .optional()
    .describe('a compacted topic no longer has the history of a table without a key, and that is known'),
  keepOld: z
    .string()
    .refine(isReadable(parseDuration), 'must be a duration: "12h", "7d"')
    .optional()
    .describe('how long a cut-over can be rolled back; 7d when left out'),
})

export type ReplayRequest = z.output<typeof replayRequestSchema>
/** `ReplayRequest` of a pipeline that is named elsewhere. */
export type ReplayWishes = Omit<ReplayRequest, 'pipeline'>

/** What a checked request asks for; what it leaves out is left out. Throws `request.invalid`. */
export function toReplayOptions(request: ReplayWishes): Partial<ReplayOptions> {
  const { mode, tables, from, to, rateLimit, autoCutover, acceptCompacted, keepOld } = request
  if (to !== undefined && mode !== 'range')
    throw new LakeError('request.invalid', '"to" belongs to a range: other replays go on until they reach the log', {
      fix: 'Leave "to" out, or set "mode": "range".',
    })
  if (mode === 'verify' && autoCutover !== undefined && autoCutover !== 'never')
    throw new LakeError('request.invalid', 'a verification changes nothing, so it cannot be cut over', {
      fix: 'Leave "autoCutover" out, or set "mode": "reprocess".',
    })
  if (mode === 'range' && from === undefined)
    throw new LakeError('request.invalid', 'a range needs "from"', {
      fix: 'Say where it begins: {"offsets": {"shop.orders/0": "1234"}} or {"timestamp": "2026-11-21T10:00:00Z"}.',
    })
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(tables === undefined ? {} : { tables: [...new Set(tables)] }),
    ...(from === undefined ? {} : { from: pointOf(from) }),
    ...(to === undefined ? {} : { to: pointOf(to) }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(autoCutover === undefined ? {} : { autoCutover }),
    ...(acceptCompacted === undefined ? {} : { acceptCompacted }),
    ...(keepOld === undefined ? {} : { keepOldMs: parseDuration(keepOld) }),
  }
}

/** The options of a replay as they would be asked for. */
export function fromReplayOptions(options: ReplayOptions) {
  const { mode, tables, from, to, rateLimit, autoCutover, acceptCompacted, keepOldMs } = options
  return {
    mode,
    tables: tables === null ? null : [...tables],
    from: pointText(from),
    to: to === null ? null : pointText(to),
    rateLimit,
    autoCutover,
    acceptCompacted,
    keepOld: durationText(keepOldMs),
  }
}

function pointOf(point: NonNullable<ReplayRequest['from']>): ReplayPoint {
  if (point === 'earliest') return { kind: 'earliest' }
  if ('timestamp' in point) return { kind: 'timestamp', timestampMs: parseInstant(point.timestamp) }
  return { kind: 'offsets', offsets: point.offsets as Record<PartitionId, string> }
}

function pointText(point: ReplayPoint): NonNullable<ReplayRequest['from']> {
  switch (point.kind) {
    case 'earliest':
      return 'earliest'
    case 'timestamp':
      return { timestamp: new Date(point.timestampMs).toISOString() }
    case 'offsets':
      return { offsets: { ...point.offsets } }
  }
}

/** `7d` of 604800000: the largest unit that leaves nothing over. */
export function durationText(ms: number): string {
  for (const [unit, unitMs] of Object.entries(UNITS_MS).toReversed())
    if (ms > 0 && ms % unitMs === 0) return `${ms / unitMs}${unit}`
  return `${ms}ms`
}

function isReadable(read: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      read(text)
      return true
    } catch {
      return false
    }
  }
}
