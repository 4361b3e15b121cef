import * as z from 'zod'
import { KEY_ID, LIVE_KEYS_MAX } from './api-key.ts'
import { leaf, parseInstant, strict } from './define-fields.ts'
import { isScope, ROLE_NAMES, ROLES, SCOPE_NAMES, type Role, type Scope } from './scopes.ts'
import type { ApiKey } from './settings.ts'

/** `http.keys`: who may call the API. Hashes only, so that a file that is copied gives nobody a key. */

const KEYS_MAX = 1_000

const scopes = z.array(z.string()).superRefine((given, context) => {
  const wrong = given.find((each) => !isScope(each))
  if (given.length > 0 && wrong === undefined) return
  context.addIssue({
    code: 'custom',
    message: wrong === undefined ? 'names no scope' : `"${wrong}" is not a scope`,
    params: { fix: `There are ${SCOPE_NAMES.join(', ')}.` },
  })
})

const entry = strict({
  id: z.string().regex(KEY_ID, { error: 'must be lower-case letters, digits, dashes and underscores, at most 63' }),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, {
    error: 'must be the SHA-256 of the key as 64 lower-case hexadecimal digits; "kappalake key new" makes both',
  }),
  role: z.enum(ROLE_NAMES as [Role, ...Role[]]).optional(),
  scopes: scopes.optional(),
  expires: leaf('an RFC 3339 instant', parseInstant).optional(),
}).superRefine(({ role, scopes: list }, context) => {
  if ((role === undefined) === (list === undefined))
    context.addIssue({
      code: 'custom',
      message: role === undefined ? 'has neither a role nor scopes' : 'has a role and scopes',
      params: { fix: `Give it one of the roles ${ROLE_NAMES.join(', ')}, or a list of scopes.` },
    })
})

type Entry = z.output<typeof entry>

const lines = z
  .string()
  .transform((given, context) => {
    try {
      return readLines(given)
    } catch {
      context.addIssue({
        code: 'custom',
        message: 'is text, and not one JSON object a line',
        params: { fix: 'Put the lines there that "kappalake key new" prints as the entry.' },
      })
      return z.NEVER
    }
  })
  .pipe(z.array(entry))

/** A list of entries, or a text of one JSON object a line, as a secret file or the environment holds it. */
export const keys = z
  .union([z.array(entry), lines], { error: 'must be a list of keys, or one JSON object a line' })
  .superRefine((given, context) => {
    const problems = [
      // A secret that is empty by mistake must not open the door.
      ...(given.length === 0 ? [{ message: 'holds no key', fix: 'Add one, or remove http.keys.' }] : []),
      ...(given.length > KEYS_MAX ? [{ message: `has more than ${KEYS_MAX} keys`, fix: 'Remove some.' }] : []),
      ...conflicts(given),
    ]
    for (const { message, fix } of problems) context.addIssue({ code: 'custom', message, params: { fix } })
  })
  .transform((given): readonly ApiKey[] => given.map(toKey))

/** Whose keys there are, for those who look at the settings; what cannot be read is told elsewhere. */
export function idsOfKeys(value: unknown): string {
  try {
    const list = typeof value === 'string' ? readLines(value) : (value as unknown[])
    return list.map((each) => String((each as { readonly id?: unknown }).id)).join(', ')
  } catch {
    return '?'
  }
}

function readLines(text: string): unknown[] {
  const trimmed = text.trim()
  if (trimmed.startsWith('[')) return JSON.parse(trimmed) as unknown[]
  return trimmed
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as unknown)
}

/** Two keys of one id are a rotation: they must be the same caller with the same rights. */
function* conflicts(given: readonly Entry[]): Generator<{ message: string; fix: string }> {
  for (const [id, same] of byKeyId(given)) {
    if (same.length > LIVE_KEYS_MAX)
      yield { message: `${id} has ${same.length} keys`, fix: `Keep at most ${LIVE_KEYS_MAX}: the old and the new one.` }
    if (new Set(same.map((each) => rightsOf(each).toSorted().join(' '))).size > 1)
      yield { message: `the keys of ${id} have different rights`, fix: 'Give them the same role, or another id.' }
    if (new Set(same.map(({ sha256 }) => sha256)).size < same.length)
      yield { message: `${id} has the same key twice`, fix: 'Remove one of them.' }
  }
}

function byKeyId(given: readonly Entry[]): Map<string, Entry[]> {
  const groups = new Map<string, Entry[]>()
  for (const each of given) groups.set(each.id, [...(groups.get(each.id) ?? []), each])
  return groups
}

function rightsOf({ role, scopes: list }: Entry): readonly Scope[] {
  return role === undefined ? ((list ?? []) as readonly Scope[]) : ROLES[role]
}

function toKey(given: Entry): ApiKey {
  const { id, sha256, expires } = given
  return { id, sha256, scopes: rightsOf(given), ...(expires === undefined ? {} : { expiresMs: expires }) }
}
