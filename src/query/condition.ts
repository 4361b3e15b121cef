import { LakeError } from '../error.ts'
import { isPlain } from './filters.ts'
import { inspect } from './gate.ts'

const BEFORE = 'SELECT 1 WHERE\n'

/** A statement that the condition, when it is one, completes to no more than itself. */
export function conditionSql(where: string): string {
  return `${BEFORE}${where}\n`
}

/**
 * Judges what `json_serialize_sql` makes of `conditionSql`. What passes means the same between brackets in another
 * statement: it closes none that it has not opened, and brings no clause of its own. Throws `sql.*`.
 */
export function inspectCondition(serialized: string): void {
  try {
    inspect(serialized)
  } catch (error) {
    throw error instanceof LakeError ? shifted(error) : error
  }
  const { statements } = JSON.parse(serialized) as { readonly statements: readonly { readonly node: any }[] }
  const { node } = statements[0]!
  if (!isPlain(node) || node.from_table.type !== 'EMPTY' || node.select_list.length !== 1)
    throw new LakeError('sql.denied', '`where` is more than one condition', {
      fix: 'Write what may stand after WHERE.',
    })
  if (hasParameter(node))
    throw new LakeError('sql.denied', '`where` has parameters', { fix: 'Write the values into the condition.' })
}

function hasParameter(node: unknown): boolean {
  if (typeof node !== 'object' || node === null) return false
  return (node as { class?: unknown }).class === 'PARAMETER' || Object.values(node).some(hasParameter)
}

function shifted(error: LakeError): LakeError {
  const { position } = error.context
  if (typeof position !== 'number') return error
  const context = { ...error.context, position: Math.max(0, position - BEFORE.length) }
  return new LakeError(error.code, error.message, { context, ...(error.fix === undefined ? {} : { fix: error.fix }) })
}
