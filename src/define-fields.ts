import * as z from 'zod'
import { LakeError, type LakeErrorCode } from './error.ts'
import { redacted } from './redact.ts'

/**
 * What definitions and settings are checked with: leaf schemas (durations, sizes, names, instants), strict objects that
 * know which keys come later, and the one way in which a failed check becomes a LakeError.
 */

export type FieldPath = readonly (string | number)[]

/** One thing wrong with a definition or setting: where, what, and what to write instead. */
export interface FieldIssue {
  readonly code: LakeErrorCode
  readonly path: FieldPath
  readonly message: string
  readonly fix: string | undefined
}

/** Checks `value`; throws `config.invalid`, `config.unknown_key` or `config.unsupported` with `context.path` and a fix. */
export function parseFields<S extends z.ZodType>(schema: S, value: unknown, at: FieldPath = []): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.flatMap((issue) => toFieldIssues(schema, value, issue))
  throw fieldError(issues.map((issue) => ({ ...issue, path: [...at, ...issue.path] })))
}

/** The error of one field. */
export function invalidField(path: FieldPath, message: string, fix?: string): LakeError {
  return fieldError([{ code: 'config.invalid', path, message, fix }])
}

/** The error of the most telling issue; all of them are in `context.issues`. A feature to come tells more than a typo. */
export function fieldError(issues: readonly FieldIssue[]): LakeError {
  const order: readonly LakeErrorCode[] = ['config.unsupported', 'config.unknown_key', 'config.invalid']
  const [first] = issues.toSorted((a, b) => order.indexOf(a.code) - order.indexOf(b.code))
  const { code, path, message, fix } = first!
  return new LakeError(code, `${pathText(path)}: ${message}`, {
    context: { path: pathText(path), fields: path, problem: message, issues: issues.map(issueText) },
    ...(fix === undefined ? {} : { fix }),
  })
}

/** `pipelines.shop.tables.orders.columns.amount`, `kafka.brokers[0]`; the whole document is `(root)`. */
export function pathText(path: FieldPath): string {
  if (path.length === 0) return '(root)'
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('')
}

/** An object without unknown keys. `later` names keys of features to come, each with what to know about it. */
export function strict<S extends z.ZodRawShape>(shape: S, later: Readonly<Record<string, string>> = {}) {
  const schema = z.strictObject(shape)
  laterKeys.set(schema, later)
  return schema
}

/** A leaf that is written as text (or a number) and read by `read`, which throws `problem` for what it cannot read. */
export function leaf<T>(expected: string, read: (text: string) => T) {
  const error = () => `must be ${expected}`
  return z.union([z.string(), z.number()], { error }).transform((value, context) => {
    try {
      return read(String(value).trim())
    } catch (cause) {
      if (!(cause instanceof LakeError)) throw cause
      context.addIssue({ code: 'custom', message: cause.message, params: { fix: cause.fix } })
      return z.NEVER
    }
  })
}

/** Why a value cannot be read, before its field is known: `leaf` and the checks of a definition add the path. */
export function problem(message: string, fix?: string): LakeError {
  return new LakeError('config.invalid', message, fix === undefined ? {} : { fix })
}

/** Units of durations, from the smallest to the largest. */
export const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `500ms 5s 10m 1h 7d` to milliseconds. Throws `config.invalid`. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(text)
  if (match === null) throw problem(`"${text}" is not a duration`, 'Write a number and a unit: 500ms 5s 10m 1h 7d.')
  const ms = Number(match[1]) * UNITS_MS[match[2] as keyof typeof UNITS_MS]
  if (!Number.isInteger(ms) || ms > 8.64e15) throw problem(`"${text}" is not a whole number of milliseconds`)
  return ms
}

const UNITS_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}

/** `32MiB`, `800MB`, `65536` to bytes. Throws `config.invalid`. */
export function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)\s?([kKMGT]i?B|B)?$/.exec(text)
  const unit = match === null ? undefined : UNITS_BYTES[match[2] ?? 'B']
  if (unit === undefined)
    throw problem(`"${text}" is not a size`, 'Write bytes or a unit: 65536 512KiB 32MiB 1GiB 800MB.')
  const bytes = Number(match![1]) * unit
  if (!Number.isSafeInteger(bytes)) throw problem(`"${text}" is not a whole number of bytes`)
  return bytes
}

/** An RFC 3339 instant (the zone is needed) to milliseconds. Throws `config.invalid`. */
export function parseInstant(text: string): number {
  const match = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.exec(text)
  const ms = match === null ? NaN : Date.parse(text.replace(' ', 'T').toUpperCase())
  const isDay =
    match !== null && Number(match[3]) === new Date(Date.UTC(+match[1]!, +match[2]! - 1, +match[3]!)).getUTCDate()
  if (Number.isNaN(ms) || !isDay)
    throw problem(`"${text}" is not an instant`, 'Write an RFC 3339 time with its zone, such as 2026-01-31T00:00:00Z.')
  return ms
}

export const duration = (limits: { readonly minMs?: number; readonly maxMs?: number } = {}) =>
  leaf('a duration such as 500ms, 5s, 10m, 1h or 7d', (text) => {
    const ms = parseDuration(text)
    if (ms < (limits.minMs ?? 0)) throw problem(`${text} is shorter than ${limits.minMs} ms`)
    if (ms > (limits.maxMs ?? Infinity)) throw problem(`${text} is longer than ${limits.maxMs} ms`)
    return ms
  })

export const size = (min = 1) =>
  leaf('a size such as 32MiB', (text) => {
    const bytes = parseSize(text)
    if (bytes < min) throw problem(`${text} is smaller than ${min} bytes`)
    return bytes
  })

export const whole = (min: number, max: number) =>
  leaf(`a whole number from ${min} to ${max}`, (text) => {
    const value = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN
    if (!(value >= min && value <= max)) throw problem(`must be a whole number from ${min} to ${max}, not "${text}"`)
    return value
  })

/** Names of pipelines and tables. Names with `__` are those of companion tables. */
export const name = z.string().superRefine((text, context) => {
  const problem = nameProblem(text)
  if (problem !== undefined)
    context.addIssue({ code: 'custom', message: problem.message, params: { fix: problem.fix } })
})

export function nameProblem(text: string): LakeError | undefined {
  if (text.includes('__'))
    return problem(`the name "${text}" holds "__", which is kept for companion tables`, 'Use single underscores.')
  if (/^[a-z][a-z0-9_]{0,62}$/.test(text)) return undefined
  return problem(
    `"${text}" is not a name`,
    'A name starts with a lower-case letter and goes on with at most 62 lower-case letters, digits or underscores.',
  )
}

/** The closest of `known`, when it is close enough to be what was meant. */
export function didYouMean(word: string, known: readonly string[]): string | undefined {
  const scored = known
    .map((k) => ({ k, d: distance(word.toLowerCase(), k.toLowerCase()) }))
    .toSorted((a, b) => a.d - b.d)
  const best = scored[0]
  return best !== undefined && best.d <= Math.max(1, Math.floor(word.length / 3)) ? best.k : undefined
}

const laterKeys = new WeakMap<object, Readonly<Record<string, string>>>()

function toFieldIssues(schema: z.ZodType, value: unknown, issue: z.core.$ZodIssue): FieldIssue[] {
  const path = issue.path as (string | number)[]
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(schemaAt(schema, path), path, key))
  if (issue.code === 'invalid_key')
    return issue.issues.map((inner) => ({ code: 'config.invalid', path, ...messageAndFix(inner, path.at(-1)) }))
  const given = path.reduce<any>((node, key) => node?.[key], value)
  if (issue.code === 'invalid_union') {
    // What is wrong inside the option that fits the value says more than that no option fits.
    const branch = issue.errors.find((inner) => !inner.some((i) => i.path.length === 0 && isMismatch(i)))
    if (branch !== undefined)
      return branch.flatMap((inner) => toFieldIssues(schema, value, { ...inner, path: [...path, ...inner.path] }))
  }
  const code = (issue.code === 'custom' && (issue.params?.code as LakeErrorCode | undefined)) || 'config.invalid'
  return [{ code, path, ...messageAndFix(issue, given, formOf(issue, schemaAt(schema, path))) }]
}

/** How an object or a list is written, when something else stands there. */
function formOf(issue: z.core.$ZodIssue, schema: z.ZodType | undefined): string | undefined {
  const expected = issue.code === 'invalid_type' ? issue.expected : undefined
  if (expected === 'array') return 'Write a list, such as [a, b].'
  if (expected === 'record') return 'Write names with their values, such as {a: …}.'
  const keys = Object.keys((schema as z.ZodObject | undefined)?.def?.shape ?? {})
  return keys.length === 0
    ? undefined
    : `Write {${keys.map((key) => `${key}: …`).join(', ')}}, with the keys that you need.`
}

function isMismatch(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_union'
}

function unknownKey(schema: z.ZodType | undefined, path: FieldPath, key: string): FieldIssue {
  const later = schema === undefined ? undefined : laterKeys.get(schema)?.[key]
  if (later !== undefined)
    return {
      code: 'config.unsupported',
      path: [...path, key],
      message: `${later} not in this release`,
      fix: `Remove "${key}".`,
    }
  const known = Object.keys((schema as z.ZodObject | undefined)?.def?.shape ?? {})
  const meant = didYouMean(key, known)
  return {
    code: 'config.unknown_key',
    path: [...path, key],
    message: `there is no key "${key}"${meant === undefined ? '' : `, did you mean "${meant}"?`}`,
    fix: meant === undefined ? `Known keys here: ${known.join(', ')}.` : `Write "${meant}".`,
  }
}

const EXPECTED: Readonly<Record<string, string>> = { object: 'a mapping', record: 'a mapping', array: 'a list' }

/** `fix`: what to write where a value of another kind stands. */
function messageAndFix(
  issue: z.core.$ZodIssue,
  given: unknown,
  fix?: string,
): { message: string; fix: string | undefined } {
  if (issue.code === 'custom') return { message: issue.message, fix: issue.params?.fix as string | undefined }
  if (issue.code === 'invalid_value') {
    const allowed = issue.values.map(String)
    const meant = typeof given === 'string' ? didYouMean(given, allowed) : undefined
    return {
      message: `must be ${allowed.join(' or ')}${given === undefined ? '' : `, not ${describe(given)}`}`,
      fix: meant === undefined ? undefined : `Did you mean "${meant}"?`,
    }
  }
  const isMissing = given === undefined && (issue.code === 'invalid_type' || issue.code === 'invalid_union')
  if (isMissing) return { message: `is missing`, fix: 'Add it.' }
  if (issue.code === 'invalid_type') {
    return { message: `must be ${EXPECTED[issue.expected] ?? `a ${issue.expected}`}, not ${describe(given)}`, fix }
  }
  return { message: issue.message, fix: undefined }
}

function describe(value: unknown): string {
  if (value === null) return 'empty'
  if (Array.isArray(value)) return 'a list'
  // What stands in the wrong place may be a secret.
  return typeof value === 'object' ? 'a mapping' : redacted(JSON.stringify(value))
}

/** The object schema that stands at a path: what knows the keys that were allowed there. */
function schemaAt(schema: z.ZodType, path: FieldPath): z.ZodType | undefined {
  const def = schema.def as any
  if (def.innerType !== undefined) return schemaAt(def.innerType, path)
  if (def.type === 'pipe') return schemaAt(def.in, path)
  if (def.type === 'union') return def.options.map((o: z.ZodType) => schemaAt(o, path)).find((o: unknown) => o)
  const [key, ...rest] = path
  if (key === undefined) return def.type === 'object' ? schema : undefined
  const next = def.type === 'object' ? def.shape[key] : (def.valueType ?? def.element)
  return next === undefined ? undefined : schemaAt(next, rest)
}

function issueText({ path, message, fix }: FieldIssue): string {
  return `${pathText(path)}: ${message}${fix === undefined ? '' : ` ${fix}`}`
}

/** Edit distance with swaps of neighbours. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1
      let best = Math.min(row[j - 1]! + 1, rows[i - 1]![j]! + 1, rows[i - 1]![j - 1]! + cost)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, rows[i - 2]![j - 2]! + 1)
      row.push(best)
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}
