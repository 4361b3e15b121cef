import { NOT_REPEATABLE, ROW_WISE, TAKES_LAMBDA } from './row-wise-functions.ts'

/** Why an expression is refused. */
export interface Refusal {
  readonly reason: string
  /** What to write instead. */
  readonly fix: string
  /** Where what is refused begins, when it is known: DuckDB counts bytes in trees, and characters in syntax errors. */
  readonly byte?: number | undefined
  readonly character?: number | undefined
}

type Json = Readonly<Record<string, unknown>>

/** What stands before the expression in the statement that is parsed. */
const PREFIX_BYTES = 'SELECT ('.length

/** Classes of the tree that are scalars over one row. What is not known here is refused. */
const SCALARS = new Set([
  'BETWEEN',
  'CASE',
  'CAST',
  'COLUMN_REF',
  'COMPARISON',
  'CONJUNCTION',
  'CONSTANT',
  'FUNCTION',
  'LAMBDA',
  'OPERATOR',
])

const REASONS: Readonly<Record<string, string>> = {
  SUBQUERY: 'a query of its own is not row-wise',
  WINDOW: 'a window function looks at other rows',
  STAR: 'a star stands for many columns',
  PARAMETER: 'there are no parameters here',
  POSITIONAL_REFERENCE: 'a column is read by its name',
  COLLATE: 'a collation is not allowed; texts are compared by their bytes',
}

const ONE_EXPRESSION: Refusal = {
  reason: 'is not one expression',
  fix: 'Write what could stand behind SELECT: one expression over the columns.',
}

const SYNTAX =
  'Write one expression over the columns; a column that is called like a word of SQL stands in double quotes.'

/**
 * Judges the answer of `json_serialize_sql` to `SELECT (expression)`: undefined when it is one scalar expression over
 * these columns, of functions of the list alone.
 */
export function expressionOf(serialized: string, columns: readonly string[]): Refusal | undefined {
  const answer = JSON.parse(serialized) as {
    readonly error: boolean
    readonly error_message?: string
    readonly position?: string
    readonly statements?: readonly { readonly node: Json }[]
  }
  if (answer.error)
    return {
      reason: (answer.error_message ?? 'is no SQL').split('\n')[0]!,
      fix: SYNTAX,
      character: positionOf(answer),
    }
  const [statement, ...others] = answer.statements ?? []
  const node = statement?.node
  if (node === undefined || others.length > 0 || !isPlain(node)) return ONE_EXPRESSION
  const [expression, ...more] = node['select_list'] as readonly Json[]
  if (expression === undefined || more.length > 0) return ONE_EXPRESSION
  return judge(expression, new Set(columns.map((name) => name.toLowerCase())))
}

/** A query of nothing but what it selects. */
function isPlain(node: Json): boolean {
  return (
    node['type'] === 'SELECT_NODE' &&
    (node['from_table'] as Json)['type'] === 'EMPTY' &&
    isEmpty((node['cte_map'] as Json)['map']) &&
    ['modifiers', 'where_clause', 'group_expressions', 'group_sets', 'having', 'sample', 'qualify'].every((name) =>
      isEmpty(node[name]),
    )
  )
}

function isEmpty(value: unknown): boolean {
  return value === null || (Array.isArray(value) && value.length === 0)
}

/** Walks through an expression and everything in it. `names` are columns, and within lambdas their parameters. */
function judge(node: unknown, names: ReadonlySet<string>): Refusal | undefined {
  if (Array.isArray(node)) return firstOf(node, (item) => judge(item, names))
  if (typeof node !== 'object' || node === null) return undefined
  const object = node as Json
  const kind = object['class']
  if (kind === undefined) return firstOf(Object.values(object), (value) => judge(value, names))
  if (typeof kind !== 'string' || !SCALARS.has(kind) || object['type'] === 'GROUPING_FUNCTION')
    return at(object, REASONS[String(kind)] ?? `${String(kind)} is not allowed`, ONE_EXPRESSION.fix)
  if (kind === 'CONSTANT') return undefined
  if (kind === 'COLUMN_REF') return judgeColumn(object, names)
  if (kind !== 'FUNCTION') return firstOf(Object.values(object), (value) => judge(value, names))
  return (
    judgeFunction(object) ??
    firstOf(object['children'] as readonly Json[], (child) => judgeArgument(object, child, names))
  )
}

function judgeColumn(object: Json, names: ReadonlySet<string>): Refusal | undefined {
  const name = String((object['column_names'] as readonly string[])[0])
  if (names.has(name.toLowerCase())) return undefined
  if (NOT_REPEATABLE.has(name.toLowerCase())) return notRepeatable(object, name)
  return at(object, `there is no column "${name}"`, 'Read columns of the table, computed ones only in filters.')
}

function judgeFunction(call: Json): Refusal | undefined {
  const name = String(call['function_name']).toLowerCase()
  if (NOT_REPEATABLE.has(name)) return notRepeatable(call, name)
  const isBuiltIn =
    (call['catalog'] === '' || call['catalog'] === 'system') && ['', 'main'].includes(String(call['schema']))
  if (!isBuiltIn || !ROW_WISE.has(name))
    return at(
      call,
      `the function ${name} is not one of the deterministic scalar functions`,
      'Aggregates belong into "select" of a window; docs/config.md says what an expression may call.',
    )
  const { orders } = call['order_bys'] as { readonly orders: readonly unknown[] }
  if (call['filter'] !== null || call['distinct'] === true || orders.length > 0)
    return at(call, `${name} is no aggregate`, 'Remove DISTINCT, ORDER BY and FILTER.')
  return undefined
}

/** The parser takes `a -> b` for a lambda everywhere; it is one only where a function takes it. */
function judgeArgument(call: Json, child: Json, names: ReadonlySet<string>): Refusal | undefined {
  if (child['class'] !== 'LAMBDA' || !TAKES_LAMBDA.has(String(call['function_name']).toLowerCase()))
    return judge(child, names)
  const left = child['lhs'] as Json
  const parameters = left['class'] === 'COLUMN_REF' ? [left] : ((left['children'] ?? []) as readonly Json[])
  const inner = parameters.flatMap((each) => (each['column_names'] as readonly string[] | undefined) ?? [])
  return judge(child['expr'], new Set([...names, ...inner.map((name) => name.toLowerCase())]))
}

function notRepeatable(object: Json, name: string): Refusal {
  return at(
    object,
    `${name} gives another value in a replay`,
    'Take values of the record: the time at which it was written is the column _timestamp.',
  )
}

function firstOf<T>(list: readonly T[], judge: (item: T) => Refusal | undefined): Refusal | undefined {
  for (const item of list) {
    const refusal = judge(item)
    if (refusal !== undefined) return refusal
  }
  return undefined
}

function at(object: Json, reason: string, fix: string): Refusal {
  return { reason, fix, byte: positionOf({ position: object['query_location'] }) }
}

/** DuckDB counts from the start of the statement, and has a number for "unknown" that is none of them. */
function positionOf({ position }: { readonly position?: unknown }): number | undefined {
  const at = Number(position) - PREFIX_BYTES
  return Number.isSafeInteger(at) && at >= 0 ? at : undefined
}
