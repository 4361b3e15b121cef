import * as z from 'zod'
import { fromReplayOptions } from '../replay-request.ts'
import type { ReplayDifference, ReplayPhase, ReplayStatus } from '../replay-status.ts'

const PHASES = [
  'seeding',
  'rebuilding',
  'verifying',
  'catching-up',
  'ready',
  'cutting-over',
  'cut-over',
  'rolled-back',
] as const satisfies readonly ReplayPhase[]

const pointSchema = z.union([
  z.literal('earliest'),
  z.object({ timestamp: z.string() }),
  z.object({ offsets: z.record(z.string(), z.string()) }),
])

const progressSchema = z.object({
  phase: z.enum(PHASES),
  paused: z.boolean(),
  done: z.string().describe('offsets that were passed, gaps included'),
  total: z.string().describe('fixed at the start'),
  percent: z.number().describe('never falls; 100 only when all is rebuilt'),
  ratePerSecond: z.number().nullable().describe('over the last 30 seconds'),
  etaSeconds: z.number().nullable(),
  lag: z.string().nullable().describe('offsets that the fork is behind the log; null before it catches up'),
  partitions: z.array(z.object({ partition: z.string(), from: z.string(), until: z.string(), position: z.string() })),
})

/** A replay as the API tells of it: answers, pages and events alike. */
export const replaySchema = z.object({
  id: z.string(),
  pipeline: z.string(),
  state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
  options: z.object({
    mode: z.enum(['reprocess', 'verify', 'range']),
    tables: z.array(z.string()).nullable(),
    from: pointSchema,
    to: pointSchema.nullable(),
    rateLimit: z.number().nullable(),
    autoCutover: z.enum(['never', 'ifEqual', 'always']),
    acceptCompacted: z.boolean(),
    keepOld: z.string(),
  }),
  created: z.string(),
  ended: z.string().nullable(),
  writer: z.string().nullable().describe('the process that does it'),
  version: z.string().nullable().describe('of the pipeline, that the fork began at'),
  rebuilt: z.array(z.string()),
  shared: z.array(z.string()),
  progress: progressSchema.nullable(),
  difference: z
    .object({ id: z.string(), equal: z.boolean() })
    .nullable()
    .describe('null before it was compared; the whole of it is at /diff'),
  cutover: z
    .object({ version: z.string(), before: z.string().describe('the version that a rollback goes back to') })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string(), fix: z.string().optional() }).nullable(),
})
export type ReplayJson = z.output<typeof replaySchema>

const rowSchema = z.record(z.string(), z.unknown())

export const differenceSchema = z.object({
  id: z.string().describe('names what was found: a cut-over approves it by this id'),
  equal: z.boolean(),
  version: z.string().describe('of the pipeline, that was compared with'),
  tables: z.array(
    z.object({
      table: z.string(),
      kind: z.enum(['equal', 'different', 'new']),
      columns: z.object({
        added: z.array(z.string()),
        removed: z.array(z.string()),
        retyped: z.array(z.string()).describe('`name: before → after`'),
      }),
      rowsBefore: z.string(),
      rowsAfter: z.string(),
      digestBefore: z.string().describe('sum of the hashes of all rows, over the columns that both have'),
      digestAfter: z.string(),
      groupsCompared: z.number().describe('partitions of the log, or windows'),
      groupsDifferent: z.number(),
      groups: z.array(z.object({ group: z.string(), rowsBefore: z.string(), rowsAfter: z.string() })),
      added: z.string(),
      removed: z.string(),
      changed: z.string(),
      samples: z.array(
        z.object({
          change: z.enum(['added', 'removed', 'changed']),
          key: rowSchema,
          before: rowSchema.nullable(),
          after: rowSchema.nullable(),
          record: z.string().nullable().describe('`topic/partition@offset`'),
        }),
      ),
      leftOut: z.array(z.string()).describe('what was not compared, and why'),
    }),
  ),
})
export type DifferenceJson = z.output<typeof differenceSchema>

export function replayJson(status: ReplayStatus): ReplayJson {
  const { id, pipeline, state, options, createdMs, endedMs, writer, version, rebuilt, shared } = status
  const { progress, difference, cutover, error } = status
  return {
    id,
    pipeline,
    state,
    options: fromReplayOptions(options),
    created: new Date(createdMs).toISOString(),
    ended: endedMs === null ? null : new Date(endedMs).toISOString(),
    writer,
    version,
    rebuilt: [...rebuilt],
    shared: [...shared],
    progress: progress === null ? null : progressJson(progress),
    difference: difference === null ? null : { id: difference.id, equal: difference.isEqual },
    cutover: cutover === null ? null : { version: cutover.version, before: cutover.before },
    error:
      error === null
        ? null
        : { code: error.code, message: error.message, ...(error.fix === undefined ? {} : { fix: error.fix }) },
  }
}

function progressJson(progress: NonNullable<ReplayStatus['progress']>): NonNullable<ReplayJson['progress']> {
  const { phase, isPaused, done, total, percent, ratePerSecond, etaSeconds, lag, partitions } = progress
  return {
    phase,
    paused: isPaused,
    done,
    total,
    percent,
    ratePerSecond,
    etaSeconds,
    lag,
    partitions: partitions.map(({ partition, from, until, position }) => ({ partition, from, until, position })),
  }
}

export function differenceJson({ id, isEqual, version, tables }: ReplayDifference): DifferenceJson {
  return { id, equal: isEqual, version, tables: tables as DifferenceJson['tables'] }
}
