import type { Context } from 'hono'
import { findKey, idOfKey } from '../api-key.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { allows, type Scope } from '../scopes.ts'
import { asksForKeys } from '../served.ts'
import type { HttpSettings } from '../settings.ts'
import type { OperationAccess } from './operation.ts'

/** Who calls, and what they may. */
export interface Caller {
  /** Of the key; undefined where the API asks for none. */
  readonly id: string | undefined
  may(scope: Scope): boolean
  /** Counts a query. Throws `limit.rate`, and `limit.queries` when `running` of this caller's are under way already. */
  beginQuery(running: number): void
}

/** What the HTTP API knows of its callers. Keys come as `Authorization: Bearer id.secret` and in no other way. */
export interface Access {
  /**
   * The caller of a request, when it may do what is asked for. `table` stands for `{table}` in the scopes. Throws
   * `auth.missing`, `auth.invalid`, `auth.forbidden`.
   */
  admit(context: Context, access: OperationAccess, table?: string): Caller
}

const QUERIES_PER_SECOND = 20
const QUERIES_AT_ONCE = 4

export function openAccess(http: HttpSettings, clock: Clock): Access {
  if (!asksForKeys(http)) return { admit: () => EVERYBODY }
  const keys = http.keys!
  const callers = new Map<string, Caller>()
  return {
    admit(context, access, table) {
      const text = bearerOf(context.req.header('authorization'))
      if (text === undefined) {
        if (access === 'public') return NOBODY
        throw missing()
      }
      const key = findKey(keys, text, clock.nowMs())
      if (key === undefined) throw invalid(text)
      let caller = callers.get(key.id)
      if (caller === undefined) callers.set(key.id, (caller = keyCaller(key.id, new Set(key.scopes), http, clock)))
      if (typeof access !== 'string') requireAll(caller, access, table)
      return caller
    },
  }
}

/** Throws `auth.forbidden`. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.may(scope)) return
  throw new LakeError('auth.forbidden', `the key ${caller.id ?? ''} lacks the scope ${scope}`, {
    context: { scope },
    fix: 'Use a key that has it; docs/security.md says which role has which.',
  })
}

/** Throws `auth.forbidden`, whether or not there is such a table. */
export function requireTable(caller: Caller, table: string): void {
  requireScope(caller, `query:${table}`)
}

function requireAll(caller: Caller, access: readonly Scope[], table: string | undefined): void {
  for (const scope of access) {
    if (!scope.includes('{table}')) requireScope(caller, scope)
    else requireTable(caller, table ?? '')
  }
}

/** Where no keys are asked for, whoever reaches the API may do everything. */
const EVERYBODY: Caller = { id: undefined, may: () => true, beginQuery: () => undefined }

/** Somebody without a key, at what is open to all. */
const NOBODY: Caller = {
  id: undefined,
  may: () => false,
  beginQuery() {
    throw missing()
  },
}

function keyCaller(id: string, granted: ReadonlySet<Scope>, http: HttpSettings, clock: Clock): Caller {
  const perSecond = http.queriesPerSecond ?? QUERIES_PER_SECOND
  const atOnce = http.queriesAtOnce ?? QUERIES_AT_ONCE
  // A bucket that holds a second's worth: it fills as time goes by, and a query takes one out.
  let left = perSecond
  let seenMs = clock.monotonicMs()
  return {
    id,
    may: (scope) => allows(granted, scope),
    beginQuery(running) {
      const nowMs = clock.monotonicMs()
      left = Math.min(perSecond, left + ((nowMs - seenMs) * perSecond) / 1_000)
      seenMs = nowMs
      if (left < 1) throw limited('limit.rate', `the key ${id} may ask ${perSecond} queries a second`)
      if (running >= atOnce) throw limited('limit.queries', `the key ${id} has ${running} queries under way`)
      left -= 1
    },
  }
}

/** The text behind `Bearer`; undefined without the header. Throws `auth.invalid` for what is no bearer token. */
function bearerOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const text = /^bearer +([\x21-\x7e]+)$/i.exec(header.trim())?.[1]
  if (text === undefined) throw invalid('')
  return text
}

function missing(): LakeError {
  return new LakeError('auth.missing', 'this API asks for a key', {
    fix: 'Send the header "Authorization: Bearer <key>"; on the command line KAPPALAKE_TOKEN or --token.',
  })
}

/** Says nothing of what was sent: it may be a key of something else. */
function invalid(text: string): LakeError {
  const isForm = idOfKey(text) !== undefined
  return new LakeError('auth.invalid', isForm ? 'no such key, or its time is over' : 'this is not a key', {
    fix: 'Ask whoever runs this service for a key: "kappalake key new" makes one.',
  })
}

function limited(code: 'limit.rate' | 'limit.queries', message: string): LakeError {
  return new LakeError(code, message, { retryable: true, fix: 'Come back after Retry-After.' })
}
