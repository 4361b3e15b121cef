import type { Context } from 'hono'
import { LakeError } from '../error.ts'

const KEY_HEADER = 'Idempotency-Key'

/** For the description of operations that take a key. */
export const idempotencyHeader = {
  [KEY_HEADER]: 'Names the job, so that the same request sent twice is one job; 8 to 200 characters',
} as const

/** Throws `request.invalid` for a key that cannot be one. */
export function idempotencyKeyOf(context: Context): string | undefined {
  const key = context.req.header(KEY_HEADER)
  if (key === undefined || /^[\x21-\x7e]{8,200}$/.test(key)) return key
  throw new LakeError('request.invalid', `${KEY_HEADER} must have 8 to 200 printable characters without blanks`, {
    fix: 'Send a new UUID for each new request.',
  })
}
