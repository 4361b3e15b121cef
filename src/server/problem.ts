import { asLakeError, LakeError, type LakeErrorCode } from '../error.ts'
import { redacted } from '../redact.ts'

/** RFC 9457, with the stable code, whether it may help to try again, and what to do. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly instance?: string
  readonly code: LakeErrorCode
  readonly retryable: boolean
  readonly fix?: string
  readonly queryId?: string
  readonly [fact: string]: unknown
}

const STATUS: Partial<Record<LakeErrorCode, number>> = {
  'request.invalid': 400,
  'request.forbidden': 403,
  'request.too_large': 413,
  'auth.missing': 401,
  'auth.invalid': 401,
  'auth.forbidden': 403,
  'sql.syntax': 400,
  'sql.denied': 400,
  'sql.multiple_statements': 400,
  'sql.failed': 422,
  'sql.timeout': 504,
  'sql.cancelled': 503,
  'sql.crashed': 503,
  'result.too_large': 413,
  'limit.queries': 429,
  'limit.rate': 429,
  'table.unknown': 404,
  'pipeline.unknown': 404,
  'query.unknown': 404,
  'version.unknown': 404,
  'job.unknown': 404,
  'snapshot.expired': 410,
  'rollback.not_kept': 410,
  'rollback.offsets_expired': 410,
  'replay.unknown': 404,
  'replay.running': 409,
  'replay.state': 409,
  'replay.diff_unapproved': 409,
  'replay.base_moved': 409,
  'replay.nothing_changed': 422,
  'replay.range_keyed': 422,
  'replay.compacted': 422,
  'replay.offsets_expired': 410,
  'code.changed': 409,
  'code.not_continuable': 409,
  'idempotency.mismatch': 422,
  'format.unsupported': 406,
  'pipeline.paused': 409,
  'pipeline.not_owner': 409,
  'pipeline.stopped': 409,
  'commit.stale': 409,
  'code.superseded': 409,
  'table.claimed': 409,
  'table.not_window': 409,
  not_ready: 503,
  internal: 500,
}

/** Seconds after which a refused client may come back. */
const RETRY_AFTER_S = 1

export function statusOf(code: LakeErrorCode): number {
  return STATUS[code] ?? (/^(store|kafka|lane|commit)\./.test(code) ? 503 : 500)
}

export function problemOf(error: unknown, instance?: string, queryId?: string): Problem {
  const { code, message, retryable, fix, context } = asLakeError(error)
  const status = statusOf(code)
  return {
    ...factsOf(context),
    type: `https://github.com/kappalake/kappalake/blob/main/docs/errors.md#${code}`,
    title: code.replaceAll(/[._]/g, ' '),
    status,
    // What was not foreseen may name paths or foreign text: its place is the log.
    detail: error instanceof LakeError ? redacted(message) : 'something failed that should not',
    ...(instance === undefined ? {} : { instance }),
    code,
    retryable,
    ...(fix === undefined ? {} : { fix }),
    ...(queryId === undefined ? {} : { queryId }),
  }
}

export function problemResponse(problem: Problem): Response {
  return new Response(`${JSON.stringify(problem)}\n`, {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      ...refusalHeaders(problem.code),
    },
  })
}

/** What a client is told beside the problem: how to authenticate, and when to come back. */
export function refusalHeaders(code: LakeErrorCode): Record<string, string> {
  if (code === 'auth.missing') return { 'www-authenticate': 'Bearer realm="kappalake"' }
  if (code === 'auth.invalid') return { 'www-authenticate': 'Bearer realm="kappalake", error="invalid_token"' }
  return statusOf(code) === 429 ? { 'retry-after': String(RETRY_AFTER_S) } : {}
}

const RESERVED = new Set(['type', 'title', 'status', 'detail', 'instance', 'code', 'retryable', 'fix', 'queryId'])

/** Facts of the error as further members: numbers, booleans, texts. Keys of store objects stay inside. */
function factsOf(context: Readonly<Record<string, unknown>>): Record<string, string | number | boolean> {
  const facts: Record<string, string | number | boolean> = {}
  for (const [name, value] of Object.entries(context)) {
    if (RESERVED.has(name) || name === 'key' || name === 'path') continue
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') facts[name] = value
    else if (typeof value === 'bigint') facts[name] = String(value)
  }
  return facts
}
