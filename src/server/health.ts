import * as z from 'zod'
import { asLakeError, LakeError } from '../error.ts'
import type { ServerDoor } from './door.ts'
import { operation, type Operation } from './operation.ts'
import { softwareVersion } from './software.ts'

const CHECK_MS_MAX = 2_000

const checkSchema = z.object({
  name: z.string().describe('`store`, `query`, or `pipeline/<name>`'),
  ok: z.boolean(),
  code: z.string().optional(),
  detail: z.string().optional(),
  fix: z.string().optional(),
})
type Check = z.output<typeof checkSchema>

export function healthOperations(door: ServerDoor): readonly Operation[] {
  return [
    operation({
      method: 'get',
      path: '/healthz',
      id: 'health',
      summary: 'Whether the process is alive',
      access: 'public',
      answer: z.object({ status: z.literal('ok') }),
      handle: () => ({ status: 'ok' }),
    }),
    operation({
      method: 'get',
      path: '/readyz',
      id: 'ready',
      summary: 'Whether store, log and query processes are reachable; 503 when not. Details need the scope `status`',
      access: 'public',
      answer: z.object({ ready: z.boolean(), checks: z.array(checkSchema) }),
      problems: ['not_ready'],
      handle: async ({ context, caller }) => {
        const checks = await checksOf(door)
        const ready = checks.every(({ ok }) => ok)
        return context.json({ ready, checks: caller.may('status') ? checks : [] }, ready ? 200 : 503)
      },
    }),
    operation({
      method: 'get',
      path: '/version',
      id: 'version',
      summary: 'What runs here',
      access: 'key',
      answer: z.object({ name: z.string(), version: z.string(), node: z.string() }),
      handle: () => ({ name: 'kappalake', version: softwareVersion(), node: process.version }),
    }),
    operation({
      method: 'get',
      path: '/metrics',
      id: 'metrics',
      summary: 'Prometheus text exposition',
      access: ['metrics'],
      answer: z.string(),
      media: ['text/plain'],
      handle: async () => {
        const { metrics, engine, pipelines, clock } = door
        const text = await metrics.scrape({
          nowMs: clock.nowMs(),
          engine: engine.stats(),
          pipelines: pipelines.map((pipeline) => pipeline.status()),
        })
        return new Response(text, { headers: { 'content-type': metrics.registry.contentType } })
      },
    }),
  ]
}

async function checksOf(door: ServerDoor): Promise<readonly Check[]> {
  const pids = door.engine.stats().pids.length
  return [
    await storeCheck(door),
    pids > 0
      ? { name: 'query', ok: true }
      : { name: 'query', ok: false, code: 'not_ready', detail: 'no query process runs' },
    ...door.pipelines.map((pipeline) => pipelineCheck(pipeline.status())),
  ]
}

async function storeCheck({ storage, clock }: ServerDoor): Promise<Check> {
  const timer = new AbortController()
  try {
    const late = clock.sleep(CHECK_MS_MAX, timer.signal).then(() => {
      if (timer.signal.aborted) return
      throw new LakeError('store.unavailable', `the store does not answer within ${CHECK_MS_MAX} ms`)
    })
    await Promise.race([storage.head('pipelines/.ready'), late])
    return { name: 'store', ok: true }
  } catch (error) {
    const { code, message, fix } = asLakeError(error, 'store.unavailable')
    return { name: 'store', ok: false, code, detail: message, ...(fix === undefined ? {} : { fix }) }
  } finally {
    timer.abort()
  }
}

/** Pauses and standbys are as they should be; what waits for the log or for a person is not. */
function pipelineCheck({ name, state, reason }: ReturnType<ServerDoor['pipelines'][number]['status']>): Check {
  const ok = state === 'running' || state === 'paused' || state === 'standby'
  return {
    name: `pipeline/${name}`,
    ok,
    ...(ok ? {} : { code: reason?.code ?? 'not_ready', detail: reason?.message ?? `the pipeline is ${state}` }),
    ...(ok || reason?.fix === undefined ? {} : { fix: reason.fix }),
  }
}
