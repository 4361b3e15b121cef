import type { Context } from 'hono'
import type * as z from 'zod'
import type { LakeErrorCode } from '../error.ts'
import type { Scope } from '../scopes.ts'
import type { Caller } from './access.ts'

type Shape = z.ZodObject

/** One verb on one path: what it takes, what it gives, what can go wrong. It is routed and documented from here. */
export interface Operation {
  readonly method: 'get' | 'post' | 'delete'
  /** `/v1/tables/{table}` */
  readonly path: string
  readonly id: string
  readonly summary: string
  readonly access: OperationAccess
  readonly params: Shape | undefined
  readonly query: Shape | undefined
  /** A JSON body. A verb that has none must still be sent as JSON when it changes something. */
  readonly body: Shape | undefined
  /** The handler reads the body itself: `body` documents its JSON form only. */
  readonly ownBody: boolean
  readonly answer: z.ZodType
  /** 202: what was asked for is recorded, and will be done. */
  readonly status: 200 | 202
  /** Headers that the operation reads, with what they are for. */
  readonly headers: Readonly<Record<string, string>>
  /** Media types of the answer; the first is the default. */
  readonly media: readonly string[]
  readonly problems: readonly LakeErrorCode[]
  handle(input: { params: unknown; query: unknown; body: unknown; context: Context; caller: Caller }): Promise<unknown>
}

/**
 * What a caller needs: every one of these scopes, any key, or nothing. `{table}` stands for that part of the path, so that
 * `query:{table}` is the right to read the table that is asked for.
 */
export type OperationAccess = 'public' | 'key' | readonly [Scope, ...Scope[]]

type Output<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined

/**
 * Makes an operation whose handler sees checked input. It returns what becomes the JSON answer, or a Response for
 * anything else.
 */
export function operation<
  Params extends Shape | undefined = undefined,
  Query extends Shape | undefined = undefined,
  Body extends Shape | undefined = undefined,
>(given: {
  readonly method: Operation['method']
  readonly path: string
  readonly id: string
  readonly summary: string
  readonly access: OperationAccess
  readonly params?: Params
  readonly query?: Query
  readonly body?: Body
  readonly ownBody?: boolean
  readonly answer: z.ZodType
  readonly status?: 200 | 202
  readonly headers?: Readonly<Record<string, string>>
  readonly media?: readonly string[]
  readonly problems?: readonly LakeErrorCode[]
  handle(input: {
    readonly params: Output<Params>
    readonly query: Output<Query>
    readonly body: Output<Body>
    readonly context: Context
    readonly caller: Caller
  }): unknown
}): Operation {
  return {
    ...given,
    params: given.params,
    query: given.query,
    body: given.body,
    ownBody: given.ownBody ?? false,
    status: given.status ?? 200,
    headers: given.headers ?? {},
    media: given.media ?? ['application/json'],
    problems: given.problems ?? [],
    handle: (input) => Promise.resolve(given.handle(input as Parameters<typeof given.handle>[0])),
  }
}
