import * as z from 'zod'
import { LakeError } from '../error.ts'

const LIMIT_MAX = 1_000
const LIMIT = 100

/** What every list takes. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(LIMIT_MAX).default(LIMIT).describe('items of one page'),
  cursor: z.string().max(2_048).optional().describe('`nextCursor` of the page before'),
}

export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), nextCursor: z.string().nullable() })
}

/** Opaque to clients, readable to us. */
export function encodeCursor(value: Readonly<Record<string, string | readonly (string | null)[]>>): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** Throws `request.invalid` when it is not one of ours. */
export function decodeCursor<Shape extends z.ZodType>(cursor: string, shape: Shape): z.output<Shape> {
  try {
    return shape.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')))
  } catch (cause) {
    throw new LakeError('request.invalid', 'the cursor is not one that this list gave', {
      cause,
      fix: 'Start again without a cursor.',
    })
  }
}

/** A page of a list that is at hand as a whole: the cursor names the last item given. */
export function slicePage<Item>(
  items: readonly Item[],
  idOf: (item: Item) => string,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): { items: readonly Item[]; nextCursor: string | null } {
  const after = cursor === undefined ? undefined : decodeCursor(cursor, z.object({ after: z.string() })).after
  const start = after === undefined ? 0 : items.findIndex((item) => idOf(item) === after) + 1
  const page = items.slice(start, start + limit)
  const isLast = start + limit >= items.length
  return { items: page, nextCursor: isLast ? null : encodeCursor({ after: idOf(page.at(-1)!) }) }
}
