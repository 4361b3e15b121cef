import type { Context } from 'hono'
import * as z from 'zod'
import { LakeError } from '../error.ts'
import type { Job, JobRequest } from '../jobs.ts'
import type { ServerDoor } from './door.ts'
import { idempotencyHeader, idempotencyKeyOf } from './idempotency.ts'
import { operation, type Operation } from './operation.ts'
import { pageOf, pageQuery, slicePage } from './page.ts'
import { findChain } from './pipelines.ts'
import { findTable, tableParams } from './tables.ts'

export const jobSchema = z.object({
  id: z.string(),
  kind: z.enum(['compact', 'discard', 'expire', 'retry', 'rollback', 'replay']),
  pipeline: z.string(),
  table: z.string().nullable(),
  to: z.string().nullable().describe('the version that a rollback goes back to'),
  state: z.enum(['queued', 'running', 'done', 'failed', 'cancelled']),
  created: z.string(),
  started: z.string().nullable(),
  ended: z.string().nullable(),
  writer: z.string().nullable().describe('the process that does it'),
  result: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])).nullable(),
  error: z
    .object({ code: z.string(), message: z.string(), retryable: z.boolean(), fix: z.string().optional() })
    .nullable(),
})

const noBody = z.strictObject({})

export function jobOperations(door: ServerDoor): readonly Operation[] {
  const ask = async (context: Context, request: JobRequest) => {
    const job = await door.jobs.ask(request, idempotencyKeyOf(context))
    return context.json(jobJson(job), 202, { location: `/v1/jobs/${job.id}` })
  }
  return [
    ...(['compact', 'expire'] as const).map((kind) =>
      operation({
        method: 'post',
        path: `/v1/tables/{table}/${kind}`,
        id: `${kind}Table`,
        summary:
          kind === 'compact'
            ? 'A job that concatenates small files and leaves out deleted rows'
            : 'A job that deletes files and versions that are kept no longer',
        access: [kind],
        params: tableParams,
        body: noBody,
        answer: jobSchema,
        status: 202,
        headers: idempotencyHeader,
        problems: ['table.unknown', 'idempotency.mismatch'],
        handle: async ({ params: { table }, context }) => {
          const { pipeline } = await findTable(door, table)
          return ask(context, { kind, pipeline, table })
        },
      }),
    ),
    operation({
      method: 'post',
      path: '/v1/pipelines/{pipeline}/rollback',
      id: 'rollbackPipeline',
      summary: 'A job that goes back to an older version and leaves the pipeline paused there',
      access: ['rollback'],
      params: z.strictObject({ pipeline: z.string() }),
      body: z.strictObject({ to: z.string().regex(/^[1-9]\d{0,15}$/, 'must be the number of a version, as text') }),
      answer: jobSchema,
      status: 202,
      headers: idempotencyHeader,
      problems: ['pipeline.unknown', 'version.unknown', 'idempotency.mismatch'],
      handle: async ({ params: { pipeline }, body: { to }, context }) => {
        await findChain(door, pipeline).at({ kind: 'number', number: BigInt(to) })
        return ask(context, { kind: 'rollback', pipeline, to })
      },
    }),
    operation({
      method: 'get',
      path: '/v1/jobs',
      id: 'listJobs',
      summary: 'Jobs of this store, the newest first; those that are over are kept for seven days',
      access: ['status'],
      query: z.strictObject(pageQuery),
      answer: pageOf(jobSchema),
      handle: async ({ query }) => {
        const ours = (await door.jobs.list()).filter(({ request }) => door.chains.has(request.pipeline))
        const { items, nextCursor } = slicePage(ours, ({ id }) => id, query)
        return { items: items.map(jobJson), nextCursor }
      },
    }),
    operation({
      method: 'get',
      path: '/v1/jobs/{job}',
      id: 'getJob',
      summary: 'One job',
      access: ['status'],
      params: z.strictObject({ job: z.string() }),
      answer: jobSchema,
      problems: ['job.unknown'],
      handle: async ({ params }) => {
        const job = await door.jobs.get(params.job)
        if (job === undefined || !door.chains.has(job.request.pipeline))
          throw new LakeError('job.unknown', `there is no job ${JSON.stringify(params.job)}`)
        return jobJson(job)
      },
    }),
  ]
}

export function jobJson({
  id,
  request,
  state,
  createdMs,
  startedMs,
  endedMs,
  writer,
  result,
  error,
}: Job): z.output<typeof jobSchema> {
  return {
    id,
    kind: request.kind,
    pipeline: request.pipeline,
    table: 'table' in request ? request.table : 'where' in request ? (request.where.table ?? null) : null,
    to: 'to' in request ? request.to : null,
    state,
    created: new Date(createdMs).toISOString(),
    started: startedMs === null ? null : new Date(startedMs).toISOString(),
    ended: endedMs === null ? null : new Date(endedMs).toISOString(),
    writer,
    result: result === null ? null : { ...result },
    error:
      error === null
        ? null
        : {
            code: error.code,
            message: error.message,
            retryable: error.retryable,
            ...(error.fix === undefined ? {} : { fix: error.fix }),
          },
  }
}
