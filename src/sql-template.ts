import { LakeError } from './error.ts'
import { quoted } from './sql-text.ts'

/**
 * A template becomes SQL with numbered parameters; a table, a window or a companion of one stands for its quoted name.
 * Throws `request.invalid` for what is neither.
 */
export function template(texts: readonly string[], values: readonly unknown[]): { sql: string; params: unknown[] } {
  const params: unknown[] = []
  const parts = values.map((value) => {
    if (isTable(value)) return quoted(value.name)
    params.push(checkedParam(value, params.length + 1))
    return `$${params.length}`
  })
  return { sql: texts.map((text, index) => text + (parts[index] ?? '')).join(''), params }
}

/** What can be handed to a query. Throws `request.invalid` {parameter}. */
export function checkedParam(value: unknown, index: number): unknown {
  if (isParam(value)) return value
  const what = value === undefined ? 'is undefined' : `is of type ${typeof value}, which SQL does not know`
  throw new LakeError('request.invalid', `the parameter $${index} ${what}`, {
    fix: 'Give text, a number, bigint, boolean, Date, Uint8Array, null, a list of them, or a table.',
    context: { parameter: index },
  })
}

function isParam(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isParam)
  if (typeof value === 'object') return value === null || value instanceof Date || value instanceof Uint8Array
  return ['string', 'number', 'bigint', 'boolean'].includes(typeof value)
}

function isTable(value: unknown): value is { readonly name: string } {
  if (typeof value !== 'object' || value === null) return false
  const { kind, name } = value as { kind?: unknown; name?: unknown }
  return (kind === 'table' || kind === 'window' || kind === 'companion') && typeof name === 'string'
}
