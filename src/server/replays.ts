import type { Context } from 'hono'
import * as z from 'zod'
import { LakeError } from '../error.ts'
import { replayRequestSchema, toReplayOptions } from '../replay-request.ts'
import { isOver, type ReplayOrder, type ReplayStatus } from '../replay-status.ts'
import { requireScope } from './access.ts'
import type { ServerDoor } from './door.ts'
import { idempotencyHeader, idempotencyKeyOf } from './idempotency.ts'
import { operation, type Operation } from './operation.ts'
import { pageOf, pageQuery, slicePage } from './page.ts'
import { findChain } from './pipelines.ts'
import { preferHeader, waitMsOf, waitUntil } from './prefer.ts'
import { eventIdOf, replayEvents } from './replays-events.ts'
import { differenceJson, differenceSchema, replayJson, replaySchema } from './replays-json.ts'

/** Event streams at once; each holds a connection and looks at the store. */
const STREAMS_MAX = 64

const params = z.strictObject({ replay: z.string().min(1).max(100) })
const noBody = z.strictObject({})

export function replayOperations(door: ServerDoor): readonly Operation[] {
  return [
    startOperation(door),
    operation({
      method: 'get',
      path: '/v1/replays',
      id: 'listReplays',
      summary: 'Replays of this store, the newest first; those that are over are kept for seven days',
      access: ['status'],
      query: z.strictObject({ ...pageQuery, pipeline: z.string().optional().describe('only of this one') }),
      answer: pageOf(replaySchema),
      problems: ['pipeline.unknown'],
      handle: async ({ query: { pipeline, ...page } }) => {
        if (pipeline !== undefined) findChain(door, pipeline)
        const ours = (await door.replays.list()).filter(
          (replay) => door.chains.has(replay.pipeline) && (pipeline ?? replay.pipeline) === replay.pipeline,
        )
        const { items, nextCursor } = slicePage(ours, ({ id }) => id, page)
        return { items: items.map(replayJson), nextCursor }
      },
    }),
    operation({
      method: 'get',
      path: '/v1/replays/{replay}',
      id: 'getReplay',
      summary: 'One replay: its phase, how it gets on, what was found',
      access: ['status'],
      params,
      answer: replaySchema,
      problems: ['replay.unknown'],
      handle: async (input) => replayJson(await find(door, input.params.replay)),
    }),
    operation({
      method: 'get',
      path: '/v1/replays/{replay}/diff',
      id: 'diffReplay',
      summary: 'What the rebuilt tables are against the live ones, with rows by key and the records they came from',
      access: ['status', 'query:*'],
      params,
      answer: differenceSchema,
      problems: ['replay.unknown', 'replay.state'],
      handle: async (input) => {
        const { id } = await find(door, input.params.replay)
        return differenceJson(await door.replays.difference(id))
      },
    }),
    eventsOperation(door),
    ...(Object.keys(ORDERS) as (keyof typeof ORDERS)[]).map((verb) => orderOperation(door, verb)),
  ]
}

function startOperation(door: ServerDoor): Operation {
  return operation({
    method: 'post',
    path: '/v1/replays',
    id: 'startReplay',
    summary: 'Run history again through the definition of today, beside the live tables',
    access: ['replays'],
    body: replayRequestSchema,
    answer: replaySchema,
    status: 202,
    headers: { ...idempotencyHeader, ...preferHeader },
    problems: [
      'pipeline.unknown',
      'table.unknown',
      'replay.running',
      'replay.range_keyed',
      'replay.nothing_changed',
      'replay.offsets_expired',
      'replay.compacted',
      'idempotency.mismatch',
    ],
    handle: async ({ body, context, caller }) => {
      // One that cuts over by itself is a cut-over.
      if ((body.autoCutover ?? 'never') !== 'never') requireScope(caller, 'cutover')
      const waitMs = waitMsOf(context)
      const key = idempotencyKeyOf(context)
      findChain(door, body.pipeline)
      const replay = await door.replays.start(body.pipeline, toReplayOptions(body), key)
      return accepted(door, context, replay, waitMs, (now) => isOver(now) || now.progress?.phase === 'ready')
    },
  })
}

const ORDERS = {
  pause: {
    summary: 'Hold it where it is; it goes on from there',
    scope: 'replays',
    isDone: ({ progress }: ReplayStatus) => progress?.isPaused === true,
  },
  resume: {
    summary: 'Go on after a pause',
    scope: 'replays',
    isDone: ({ progress }: ReplayStatus) => progress?.isPaused === false,
  },
  cancel: { summary: 'Drop the fork; the live tables never knew of it', scope: 'replays', isDone: () => false },
  cutover: {
    summary: 'Put the rebuilt tables in the place of the live ones, in one commit',
    scope: 'cutover',
    isDone: ({ progress }: ReplayStatus) => progress?.phase === 'cut-over',
  },
  rollback: {
    summary: 'Go back to the tables from before the cut-over, in one commit',
    scope: 'rollback',
    isDone: ({ progress }: ReplayStatus) => progress?.phase === 'rolled-back',
  },
} as const

function orderOperation(door: ServerDoor, verb: keyof typeof ORDERS): Operation {
  const { summary, scope, isDone } = ORDERS[verb]
  const common = {
    method: 'post',
    path: `/v1/replays/{replay}/${verb}`,
    id: `${verb}Replay`,
    summary,
    access: [scope],
    params,
    answer: replaySchema,
    status: 202,
    headers: preferHeader,
  } as const
  const give = async (given: string, order: ReplayOrder, context: Context) => {
    const waitMs = waitMsOf(context)
    const before = await find(door, given)
    const replay = await door.replays.order(before.id, order)
    // What was over before, such as a replay that is rolled back, is done when the order is.
    return accepted(door, context, replay, waitMs, (now) => isDone(now) || (isOver(now) && !isOver(before)))
  }
  if (verb === 'cutover')
    return operation({
      ...common,
      body: z.strictObject({
        approve: z.string().max(200).optional().describe('id of the difference, when there is one'),
      }),
      problems: ['replay.unknown', 'replay.state', 'replay.diff_unapproved', 'replay.base_moved'],
      handle: ({ params: { replay }, body: { approve = null }, context }) =>
        give(replay, { kind: 'cutover', approve }, context),
    })
  return operation({
    ...common,
    body: noBody,
    problems:
      verb === 'rollback'
        ? ['replay.unknown', 'replay.state', 'rollback.not_kept', 'rollback.offsets_expired']
        : ['replay.unknown', 'replay.state'],
    handle: (input) => give(input.params.replay, { kind: verb }, input.context),
  })
}

function eventsOperation(door: ServerDoor): Operation {
  let streams = 0
  return operation({
    method: 'get',
    path: '/v1/replays/{replay}/events',
    id: 'watchReplay',
    summary: 'Server-sent events: the replay now and whenever it changes, until it is over',
    access: ['status'],
    params,
    answer: z.string(),
    media: ['text/event-stream'],
    headers: { 'Last-Event-ID': 'The event that the client has; 204 when nothing will come after it' },
    problems: ['replay.unknown', 'limit.queries'],
    handle: async (input) => {
      const { req } = input.context
      const replay = await find(door, input.params.replay)
      const lastEventId = req.header('Last-Event-ID')
      // A browser asks again when a stream ends, unless it is told that this was all.
      if (isOver(replay) && lastEventId === eventIdOf(replay)) return new Response(null, { status: 204 })
      if (streams >= STREAMS_MAX)
        throw new LakeError('limit.queries', `${STREAMS_MAX} event streams are open`, {
          retryable: true,
          fix: 'Close some, or ask for the replay itself now and then.',
        })
      streams++
      const body = replayEvents((signal) => door.replays.watch(replay.id, signal), {
        clock: door.clock,
        lastEventId,
        ending: req.raw.signal,
        onEnd: () => streams--,
      })
      return new Response(body, { headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' } })
    },
  })
}

/** Throws `replay.unknown`, also for replays of pipelines that this process knows nothing of. */
async function find(door: ServerDoor, id: string): Promise<ReplayStatus> {
  const replay = await door.replays.get(id)
  if (door.chains.has(replay.pipeline)) return replay
  throw new LakeError('replay.unknown', `there is no replay ${JSON.stringify(id)}`, {
    fix: 'GET /v1/replays lists them.',
  })
}

/** 202 and the replay: as it is, or as it became while the client was ready to wait. */
async function accepted(
  door: ServerDoor,
  context: Context,
  replay: ReplayStatus,
  waitMs: number,
  isDone: (now: ReplayStatus) => boolean,
): Promise<Response> {
  const watch = (signal: AbortSignal) => door.replays.watch(replay.id, signal)
  const now = await waitUntil(replay, watch, isDone, waitMs, door.clock, context.req.raw.signal)
  return context.json(replayJson(now), 202, {
    location: `/v1/replays/${replay.id}`,
    ...(waitMs === 0 ? {} : { 'preference-applied': `wait=${waitMs / 1_000}` }),
  })
}
