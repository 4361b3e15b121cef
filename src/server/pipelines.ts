import * as z from 'zod'
import { LakeError, type ErrorMessage } from '../error.ts'
import type { Chain } from '../lake/chain.ts'
import { redacted } from '../redact.ts'
import type { PipelineControl } from '../status.ts'
import { isOver, type ReplayStatus } from '../replay-status.ts'
import type { Version } from '../version.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'
import { decodeCursor, encodeCursor, pageOf, pageQuery, slicePage } from './page.ts'
import { suggestion } from './suggest.ts'

const reasonSchema = z.object({
  code: z.string(),
  message: z.string(),
  retryable: z.boolean(),
  fix: z.string().optional(),
})

const pipelineSchema = z.object({
  name: z.string(),
  state: z.enum(['starting', 'running', 'paused', 'standby', 'waiting', 'stopped', 'superseded', 'failed']),
  reason: reasonSchema.nullable(),
  version: z.string().nullable().describe('number of the newest version'),
  writer: z.string().nullable(),
  lastCommit: z.string().nullable(),
  lag: z.object({ records: z.string().nullable().describe('null until the ends of all partitions are known') }),
  partitions: z.array(
    z.object({
      partition: z.string(),
      position: z.string().describe('the next offset to read'),
      end: z.string().nullable(),
      lag: z.string().nullable(),
      ratePerSecond: z.number(),
      clock: z.string().nullable().describe('largest event time'),
      held: reasonSchema
        .extend({ offset: z.string() })
        .nullable()
        .describe('the record that it waits at for a person, and why'),
    }),
  ),
  tables: z.array(z.string()),
  publishing: z
    .array(
      z.object({
        table: z.string(),
        topic: z.string(),
        version: z.string().nullable().describe('all changes up to this version were sent'),
        lagVersions: z.number(),
        reason: reasonSchema.nullable().describe('why the last attempt failed'),
      }),
    )
    .describe('tables with change topics'),
})

const versionSchema = z.object({
  number: z.string(),
  kind: z.string(),
  time: z.string(),
  writer: z.string(),
  commitId: z.string(),
  positions: z.record(z.string(), z.string()),
  tables: z.record(z.string(), z.object({ snapshot: z.string().nullable(), code: z.string() })),
})

/** A second chain that began at a version of this one, and may take its place. */
const forkSchema = z.object({
  id: z.string().describe('of the replay'),
  base: z.string().describe('the version that it began at'),
  state: z.string(),
  phase: z.string().nullable(),
})

const params = z.strictObject({ pipeline: z.string() })
const noBody = z.strictObject({})

export function pipelineOperations(door: ServerDoor): readonly Operation[] {
  const find = (name: string) => findPipeline(door, name)
  return [
    operation({
      method: 'get',
      path: '/v1/pipelines',
      id: 'listPipelines',
      summary: 'All pipelines with state, lag and positions',
      access: ['status'],
      query: z.strictObject(pageQuery),
      answer: pageOf(pipelineSchema),
      handle: ({ query }) => {
        const { items, nextCursor } = slicePage(door.pipelines, ({ name }) => name, query)
        return { items: items.map(pipelineJson), nextCursor }
      },
    }),
    operation({
      method: 'get',
      path: '/v1/pipelines/{pipeline}',
      id: 'getPipeline',
      summary: 'One pipeline',
      access: ['status'],
      params,
      answer: pipelineSchema,
      problems: ['pipeline.unknown'],
      handle: (input) => pipelineJson(find(input.params.pipeline)),
    }),
    operation({
      method: 'get',
      path: '/v1/pipelines/{pipeline}/versions',
      id: 'listVersions',
      summary: 'The versions of a pipeline, newest first, and its forks beside them',
      access: ['status'],
      params,
      query: z.strictObject(pageQuery),
      answer: pageOf(versionSchema).extend({ forks: z.array(forkSchema).describe('replays that are not over') }),
      problems: ['pipeline.unknown'],
      handle: async ({ params: { pipeline }, query }) => {
        const page = await versionsPage(findChain(door, pipeline), query)
        const replays = (await door.replays.list()).filter((replay) => replay.pipeline === pipeline)
        return { ...page, forks: replays.flatMap(forkJson) }
      },
    }),
    operation({
      method: 'post',
      path: '/v1/pipelines/{pipeline}/pause',
      id: 'pausePipeline',
      summary: 'Stop ingesting until resumed, across restarts; answers when the version that says so is committed',
      access: ['pipelines'],
      params,
      body: z.strictObject({ reason: z.string().min(1).max(500).default('asked for over HTTP') }),
      answer: pipelineSchema,
      problems: ['pipeline.unknown', 'pipeline.not_owner'],
      handle: async (input) => {
        const pipeline = find(input.params.pipeline)
        await pipeline.pause(input.body.reason)
        return pipelineJson(pipeline)
      },
    }),
    ...(['resume', 'restart'] as const).map((verb) =>
      operation({
        method: 'post',
        path: `/v1/pipelines/{pipeline}/${verb}`,
        id: `${verb}Pipeline`,
        summary:
          verb === 'resume'
            ? 'Go on after a pause, and try the records again that partitions wait at'
            : 'Try again after a state that waits for a person',
        access: ['pipelines'],
        params,
        body: noBody,
        answer: pipelineSchema,
        problems: ['pipeline.unknown', 'pipeline.not_owner'],
        handle: async (input) => {
          const pipeline = find(input.params.pipeline)
          await pipeline[verb]()
          return pipelineJson(pipeline)
        },
      }),
    ),
    operation({
      method: 'post',
      path: '/v1/pipelines/{pipeline}/accept-code',
      id: 'acceptCode',
      summary: 'Of a superseded pipeline: keep its rows, and make those from here on by the definition of this process',
      access: ['code'],
      params,
      body: noBody,
      answer: pipelineSchema,
      problems: ['pipeline.unknown', 'pipeline.not_owner', 'code.not_continuable', 'commit.stale'],
      handle: async (input) => {
        const pipeline = find(input.params.pipeline)
        await pipeline.acceptCode()
        return pipelineJson(pipeline)
      },
    }),
    operation({
      method: 'post',
      path: '/v1/pipelines/{pipeline}/flush',
      id: 'flushPipeline',
      summary: 'Commit all that the log holds now; answers with the version that holds it',
      access: ['pipelines'],
      params,
      body: noBody,
      answer: versionSchema,
      problems: ['pipeline.unknown', 'pipeline.not_owner', 'pipeline.paused', 'pipeline.stopped'],
      handle: async (input) => versionJson(await find(input.params.pipeline).flush(input.context.req.raw.signal)),
    }),
  ]
}

export function findChain(door: ServerDoor, name: string): Chain {
  const chain = door.chains.get(name)
  if (chain === undefined) throw unknown(name, [...door.chains.keys()])
  return chain
}

function findPipeline(door: ServerDoor, name: string): PipelineControl {
  const pipeline = door.pipelines.find((each) => each.name === name)
  if (pipeline === undefined)
    throw unknown(
      name,
      door.pipelines.map((each) => each.name),
    )
  return pipeline
}

function unknown(name: string, known: readonly string[]): LakeError {
  return new LakeError('pipeline.unknown', `there is no pipeline ${JSON.stringify(name)}${suggestion(name, known)}`)
}

function pipelineJson(pipeline: PipelineControl): z.output<typeof pipelineSchema> {
  const { name, state, reason, head, lastCommitMs, partitions, tables, publishing = [] } = pipeline.status()
  const isEndKnown = partitions.every(({ end }) => end !== undefined)
  return {
    name,
    state,
    reason: reasonJson(reason),
    version: head === undefined ? null : String(head.number),
    writer: head?.writer ?? null,
    lastCommit: timeText(lastCommitMs),
    lag: {
      records: isEndKnown
        ? String(partitions.reduce((sum, { position, end }) => sum + lagOf(position, end!), 0n))
        : null,
    },
    partitions: partitions.map(({ partition, position, end, ratePerSecond, clockMs, held }) => ({
      partition,
      position: String(position),
      end: end === undefined ? null : String(end),
      lag: end === undefined ? null : String(lagOf(position, end)),
      ratePerSecond,
      clock: timeText(clockMs),
      held: held === undefined ? null : { ...reasonJson(held.reason)!, offset: String(held.offset) },
    })),
    tables: [...tables],
    publishing: publishing.map(({ table, topic, version, lagVersions, error }) => ({
      table,
      topic,
      version: version === undefined ? null : String(version),
      lagVersions,
      reason: reasonJson(error),
    })),
  }
}

function reasonJson(reason: ErrorMessage | undefined): z.output<typeof reasonSchema> | null {
  if (reason === undefined) return null
  const { code, message, retryable, fix } = reason
  return { code, message: redacted(message), retryable, ...(fix === undefined ? {} : { fix }) }
}

function lagOf(position: bigint, end: bigint): bigint {
  return end > position ? end - position : 0n
}

async function versionsPage(chain: Chain, { limit, cursor }: { limit: number; cursor?: string | undefined }) {
  const before = cursor === undefined ? undefined : BigInt(decodeCursor(cursor, versionCursor).before)
  const found = await chain.versions(limit + 1, before)
  const items = found.slice(0, limit)
  const nextCursor = found.length > limit ? encodeCursor({ before: String(items.at(-1)!.number) }) : null
  return { items: items.map(versionJson), nextCursor }
}

const versionCursor = z.object({ before: z.string().regex(/^\d{1,16}$/) })

function versionJson(version: Version): z.output<typeof versionSchema> {
  return {
    number: String(version.number),
    kind: version.kind,
    time: version.time,
    writer: version.writer,
    commitId: version.commitId,
    positions: Object.fromEntries([...version.positions].map(([partition, offset]) => [partition, String(offset)])),
    tables: Object.fromEntries(
      Object.entries(version.tables).map(([name, { snapshot, code }]) => [
        name,
        { snapshot: snapshot === undefined ? null : String(snapshot), code },
      ]),
    ),
  }
}

/** A replay that failed keeps its fork, until it is cancelled. */
function forkJson(replay: ReplayStatus): z.output<typeof forkSchema>[] {
  const { id, version, state, progress } = replay
  if (version === null || (isOver(replay) && state !== 'failed')) return []
  return [{ id, base: version, state, phase: progress?.phase ?? null }]
}

function timeText(inMs: number | undefined): string | null {
  return inMs === undefined || Math.abs(inMs) > 8.64e15 ? null : new Date(inMs).toISOString()
}
