import { LakeError } from '../error.ts'
import { isAllowedFunction, isAllowedTableFunction } from './functions.ts'

// What SQL may run: decided on DuckDB's own syntax tree (json_serialize_sql, which refuses all but SELECT), by lists of
// what is allowed. A node, function or reference that is not known here is refused.

export const SQL_BYTES_MAX = 64 * 1024
const NESTING_MAX = 200

/** Expression classes of the tree. Absent on purpose: DEFAULT and the bound forms that no text produces. */
const EXPRESSIONS = new Set([
  'BETWEEN',
  'CASE',
  'CAST',
  'COLLATE',
  'COLUMN_REF',
  'COMPARISON',
  'CONJUNCTION',
  'CONSTANT',
  'FUNCTION',
  'LAMBDA',
  'LAMBDA_REF',
  'OPERATOR',
  'PARAMETER',
  'POSITIONAL_REFERENCE',
  'STAR',
  'SUBQUERY',
  'WINDOW',
  'TYPE',
])

/** Query nodes, table references, modifiers, orders. Absent on purpose: RECURSIVE_CTE_NODE, PIVOT, SHOW_REF. */
const NODES = new Set([
  'SELECT_NODE',
  'SET_OPERATION_NODE',
  'CTE_NODE',
  'BASE_TABLE',
  'JOIN',
  'SUBQUERY',
  'EMPTY',
  'EXPRESSION_LIST',
  'TABLE_FUNCTION',
  'DISTINCT_MODIFIER',
  'LIMIT_MODIFIER',
  'LIMIT_PERCENT_MODIFIER',
  'ORDER_MODIFIER',
  'ORDER_DEFAULT',
  'ASCENDING',
  'DESCENDING',
])

const TYPE_INFOS = new Set([
  'DECIMAL_TYPE_INFO',
  'LIST_TYPE_INFO',
  'STRUCT_TYPE_INFO',
  'ARRAY_TYPE_INFO',
  'UNBOUND_TYPE_INFO',
  'STRING_TYPE_INFO',
  'GENERIC_TYPE_INFO',
])

const REASONS: Readonly<Record<string, string>> = {
  RECURSIVE_CTE_NODE: 'recursive queries are not allowed',
  PIVOT: 'PIVOT and UNPIVOT are not allowed; write conditional aggregates',
  SHOW_REF: 'SHOW, DESCRIBE and SUMMARIZE are not allowed; ask /v1/tables',
}

const TABLE_NAME = /^[a-z][a-z0-9_]*$/i

type Json = Readonly<Record<string, unknown>>

/** Refuses texts that are too long or too deeply nested to be given to the parser. */
export function checkText(sql: string): void {
  const bytes = Buffer.byteLength(sql)
  if (bytes > SQL_BYTES_MAX)
    throw new LakeError('request.too_large', `the SQL has ${bytes} bytes; ${SQL_BYTES_MAX} are allowed`)
  let depth = 0
  for (const character of sql) {
    if (character === '(' || character === '[' || character === '{') depth++
    else if (character === ')' || character === ']' || character === '}') depth--
    if (depth > NESTING_MAX) throw denied(`more than ${NESTING_MAX} brackets are open at once`)
  }
}

/**
 * Judges the answer of `json_serialize_sql` and returns the names of the tables that the statement reads, in lower
 * case. The caller decides which of them exist. Throws `sql.syntax` {position}, `sql.multiple_statements`,
 * `sql.denied`.
 */
export function inspect(serialized: string): readonly string[] {
  const answer = JSON.parse(serialized) as {
    readonly error: boolean
    readonly error_type?: string
    readonly error_message?: string
    readonly position?: string
    readonly statements?: readonly Json[]
  }
  if (answer.error) throw refusalOf(answer)
  const statements = answer.statements ?? []
  if (statements.length === 0)
    throw new LakeError('sql.syntax', 'there is no statement', { fix: 'Send one SELECT statement.' })
  if (statements.length > 1)
    throw new LakeError('sql.multiple_statements', `there are ${statements.length} statements`, {
      fix: 'Send one SELECT statement.',
    })
  const tables = new Set<string>()
  walk(statements[0]!, NO_NAMES, tables)
  return [...tables].toSorted()
}

const NO_NAMES: ReadonlySet<string> = new Set()

function walk(node: unknown, scope: ReadonlySet<string>, tables: Set<string>): void {
  if (Array.isArray(node)) {
    for (const item of node) walk(item, scope, tables)
    return
  }
  if (typeof node !== 'object' || node === null) return
  const object = node as Json
  checkKind(object)
  const inner = withCommonTables(object, scope, tables)
  if (object['class'] === 'CONSTANT') return // its value is data
  if (object['class'] === 'FUNCTION' || object['class'] === 'WINDOW') checkFunction(object, isAllowedFunction)
  if (object['class'] === undefined && object['type'] === 'BASE_TABLE') readTable(object, inner, tables)
  for (const [key, value] of Object.entries(object)) {
    if (key === 'cte_map') continue
    if (key === 'function' && object['type'] === 'TABLE_FUNCTION') walkTableFunction(value as Json, inner, tables)
    else walk(value, inner, tables)
  }
}

function walkTableFunction(call: Json, scope: ReadonlySet<string>, tables: Set<string>): void {
  if (call['class'] !== 'FUNCTION') throw denied('a table function must be a plain call')
  checkFunction(call, isAllowedTableFunction)
  for (const value of Object.values(call)) walk(value, scope, tables)
}

/** A common table expression is seen by the ones after it and by the query it belongs to, not by what stands around. */
function withCommonTables(object: Json, scope: ReadonlySet<string>, tables: Set<string>): ReadonlySet<string> {
  const entries = (object['cte_map'] as { readonly map?: readonly Json[] } | undefined)?.map ?? []
  if (entries.length === 0) return scope
  const inner = new Set(scope)
  for (const { key, value } of entries as readonly { readonly key: string; readonly value: unknown }[]) {
    walk(value, inner, tables)
    inner.add(key.toLowerCase())
  }
  return inner
}

function checkKind(object: Json): void {
  const { class: expressionClass, type } = object
  if (expressionClass !== undefined) {
    if (typeof expressionClass !== 'string' || !EXPRESSIONS.has(expressionClass))
      throw denied(`${nameOf(expressionClass)} expressions are not allowed`)
    return
  }
  if (typeof type !== 'string') return
  if (type.endsWith('_TYPE_INFO')) {
    if (!TYPE_INFOS.has(type) || isQualified(object['catalog']) || isQualified(object['schema']))
      throw denied('this type is not allowed')
  } else if (!NODES.has(type)) throw denied(REASONS[type] ?? `${nameOf(type)} is not allowed`)
}

function checkFunction(call: Json, isAllowed: (name: string) => boolean): void {
  const name = String(call['function_name'])
  // The parser itself writes `[1]` as main.list_value(1); no one can put functions of his own there.
  const isBuiltIn = !isQualified(call['catalog']) || call['catalog'] === 'system'
  if (!isBuiltIn || (isQualified(call['schema']) && call['schema'] !== 'main'))
    throw denied(`the function ${name} is named with a schema`)
  if (!isAllowed(name)) throw denied(`the function ${name} is not allowed here`)
}

function readTable(table: Json, scope: ReadonlySet<string>, tables: Set<string>): void {
  const name = String(table['table_name'])
  if (isQualified(table['schema_name']) || isQualified(table['catalog_name']))
    throw denied(`${nameOf(name)} is named with a schema`, 'Name tables of the lake plainly.')
  if (table['at_clause'] !== null && table['at_clause'] !== undefined)
    throw denied('AT is not allowed', 'Ask for an older version with `asOf`.')
  if (scope.has(name.toLowerCase())) return
  if (!TABLE_NAME.test(name)) throw denied(`${nameOf(name)} is not a table of the lake`)
  tables.add(name.toLowerCase())
}

function isQualified(name: unknown): boolean {
  return typeof name === 'string' && name !== ''
}

function nameOf(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 63))
}

function refusalOf(answer: {
  readonly error_type?: string
  readonly error_message?: string
  readonly position?: string
}): LakeError {
  if (answer.error_type === 'not implemented')
    return denied('only SELECT statements may run', 'Send one plain SELECT; PIVOT is not allowed.')
  const position = Number(answer.position)
  return new LakeError('sql.syntax', (answer.error_message ?? 'the text is not SQL').split('\n')[0]!, {
    context: Number.isInteger(position) ? { position } : {},
  })
}

function denied(message: string, fix = 'Queries read tables of the lake with one SELECT.'): LakeError {
  return new LakeError('sql.denied', message, { fix })
}
