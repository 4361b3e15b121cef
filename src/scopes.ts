/**
 * What a key may do over HTTP. A scope is one right; a role is a bundle of them. What is not in here is nobody's right:
 * each operation of the API names the scopes that it needs, and a caller without one of them is refused.
 */

const PLAIN = [
  'status', // how pipelines, replays and jobs get on; positions, versions, no rows
  'metrics',
  'pipelines', // pause, resume, flush, restart
  'replays', // start, pause, resume, cancel
  'dead-letters', // retry and discard them
  'compact',
  'code', // make rows by another definition from here on
  'cutover', // put rebuilt tables in the place of the live ones
  'rollback',
  'expire',
  'queries', // see and end those of others
  'config',
] as const

/** `query` is the right to read some table, `query:orders` that one, `query:*` every one. */
export type Scope = (typeof PLAIN)[number] | 'query' | `query:${string}`

const READER: readonly Scope[] = ['query:*', 'status', 'metrics']
const OPERATOR: readonly Scope[] = [...READER, 'pipelines', 'replays', 'dead-letters', 'compact']
const ADMIN: readonly Scope[] = [...OPERATOR, 'code', 'cutover', 'rollback', 'expire', 'queries', 'config']

export const ROLES = { reader: READER, operator: OPERATOR, admin: ADMIN } as const

export type Role = keyof typeof ROLES

export const ROLE_NAMES = Object.keys(ROLES) as readonly Role[]

/** All that a key can be given, for messages. */
export const SCOPE_NAMES: readonly string[] = [...PLAIN, 'query:*', 'query:<table>']

/** A right that a key can be given; `query` alone is none. */
export function isScope(text: string): text is Scope {
  return (PLAIN as readonly string[]).includes(text) || /^query:(?:\*|[a-z][a-z0-9_]{0,127})$/.test(text)
}

/** Whether these rights hold the one that is asked for. */
export function allows(granted: ReadonlySet<Scope>, asked: Scope): boolean {
  if (granted.has(asked)) return true
  if (asked === 'query') return [...granted].some((scope) => scope.startsWith('query:'))
  return asked.startsWith('query:') && granted.has('query:*')
}
