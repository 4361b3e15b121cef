/**
 * What DuckDB's syntax tree may consist of, kind by kind and member by member. Whatever is not listed is refused: a kind,
 * a member that a newer DuckDB adds, an object where a name is expected.
 */

/** What a member of a node may hold. Null is allowed everywhere. */
export type Part =
  /** Texts, numbers, flags, and lists of them. */
  | 'data'
  /** A constant: its value is data, whatever it looks like. */
  | 'constant'
  /** Must be false. */
  | 'never'
  /** Names of columns and parameters: objects of nothing but data, with the members of names. */
  | 'names'
  | 'expression'
  | 'expressions'
  /** Lists of expressions, as of VALUES. */
  | 'rows'
  /** `{key, value}`, the value an expression. */
  | 'renamed'
  /** `{when_expr, then_expr}` */
  | 'cases'
  | 'orders'
  | 'ordered'
  | 'modifiers'
  | 'statement'
  | 'query'
  | 'queries'
  | 'from'
  | 'call'
  | 'sample'
  | 'commonTables'
  | 'type'
  | 'types'
  /** `{first, second}`: fields of a struct. */
  | 'fields'

export interface Shape {
  /** Values of `type`, where the kind is told by another member. */
  readonly types?: ReadonlySet<string>
  readonly members: Readonly<Record<string, Part>>
}

function shape(members: Readonly<Record<string, Part>>, types?: string): Shape {
  return types === undefined ? { members } : { members, types: new Set(types.split(' ')) }
}

const EXPRESSION = { class: 'data', type: 'data', alias: 'data', query_location: 'data' } as const
const FUNCTION = { function_name: 'data', schema: 'data', catalog: 'data', children: 'expressions' } as const

/**
 * By `class`. Absent on purpose: DEFAULT, and the bound forms that no text produces. A column reference may also mean one
 * of the values that SQL writes without brackets (`current_date`, `current_user`): they tell nothing about this machine.
 */
export const EXPRESSIONS: Readonly<Record<string, Shape>> = {
  BETWEEN: shape(
    { ...EXPRESSION, input: 'expression', lower: 'expression', upper: 'expression' },
    'COMPARE_BETWEEN COMPARE_NOT_BETWEEN',
  ),
  CASE: shape({ ...EXPRESSION, case_checks: 'cases', else_expr: 'expression' }, 'CASE_EXPR'),
  CAST: shape({ ...EXPRESSION, child: 'expression', cast_type: 'type', try_cast: 'data' }, 'OPERATOR_CAST'),
  COLLATE: shape({ ...EXPRESSION, child: 'expression', collation: 'data' }, 'COLLATE'),
  COLUMN_REF: shape({ ...EXPRESSION, column_names: 'data' }, 'COLUMN_REF'),
  COMPARISON: shape(
    { ...EXPRESSION, left: 'expression', right: 'expression' },
    'COMPARE_EQUAL COMPARE_NOTEQUAL COMPARE_LESSTHAN COMPARE_GREATERTHAN COMPARE_LESSTHANOREQUALTO COMPARE_GREATERTHANOREQUALTO COMPARE_DISTINCT_FROM COMPARE_NOT_DISTINCT_FROM',
  ),
  CONJUNCTION: shape({ ...EXPRESSION, children: 'expressions' }, 'CONJUNCTION_AND CONJUNCTION_OR'),
  CONSTANT: shape({ ...EXPRESSION, value: 'constant' }, 'VALUE_CONSTANT'),
  FUNCTION: shape(
    {
      ...EXPRESSION,
      ...FUNCTION,
      filter: 'expression',
      order_bys: 'ordered',
      distinct: 'data',
      is_operator: 'data',
      export_state: 'never',
    },
    'FUNCTION',
  ),
  LAMBDA: shape({ ...EXPRESSION, lhs: 'expression', expr: 'expression', syntax_type: 'data' }, 'LAMBDA'),
  OPERATOR: shape(
    { ...EXPRESSION, children: 'expressions' },
    'OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_COALESCE OPERATOR_UNPACK OPERATOR_TRY COMPARE_IN COMPARE_NOT_IN ARRAY_CONSTRUCTOR ARRAY_EXTRACT ARRAY_SLICE STRUCT_EXTRACT GROUPING_FUNCTION',
  ),
  PARAMETER: shape({ ...EXPRESSION, identifier: 'data' }, 'VALUE_PARAMETER'),
  POSITIONAL_REFERENCE: shape({ ...EXPRESSION, index: 'data' }, 'POSITIONAL_REFERENCE'),
  STAR: shape(
    {
      ...EXPRESSION,
      relation_name: 'data',
      exclude_list: 'data',
      qualified_exclude_list: 'names',
      replace_list: 'renamed',
      rename_list: 'names',
      columns: 'data',
      unpacked: 'data',
      expr: 'expression',
    },
    'STAR',
  ),
  SUBQUERY: shape(
    { ...EXPRESSION, subquery_type: 'data', subquery: 'statement', child: 'expression', comparison_type: 'data' },
    'SUBQUERY',
  ),
  TYPE: shape({ ...EXPRESSION, catalog: 'data', schema: 'data', type_name: 'data', children: 'expressions' }, 'TYPE'),
  WINDOW: shape(
    {
      ...EXPRESSION,
      ...FUNCTION,
      partitions: 'expressions',
      orders: 'orders',
      start: 'data',
      end: 'data',
      start_expr: 'expression',
      end_expr: 'expression',
      offset_expr: 'expression',
      default_expr: 'expression',
      ignore_nulls: 'data',
      filter_expr: 'expression',
      exclude_clause: 'data',
      distinct: 'data',
      arg_orders: 'orders',
    },
    'WINDOW_AGGREGATE WINDOW_RANK WINDOW_RANK_DENSE WINDOW_NTILE WINDOW_PERCENT_RANK WINDOW_CUME_DIST WINDOW_ROW_NUMBER WINDOW_FIRST_VALUE WINDOW_LAST_VALUE WINDOW_LEAD WINDOW_LAG WINDOW_NTH_VALUE WINDOW_FILL',
  ),
}

const QUERY = { type: 'data', modifiers: 'modifiers', cte_map: 'commonTables' } as const

/** By `type`. Absent on purpose: RECURSIVE_CTE_NODE. */
export const QUERIES: Readonly<Record<string, Shape>> = {
  SELECT_NODE: shape({
    ...QUERY,
    select_list: 'expressions',
    from_table: 'from',
    where_clause: 'expression',
    group_expressions: 'expressions',
    group_sets: 'data',
    aggregate_handling: 'data',
    having: 'expression',
    sample: 'sample',
    qualify: 'expression',
  }),
  SET_OPERATION_NODE: shape({
    ...QUERY,
    setop_type: 'data',
    left: 'query',
    right: 'query',
    setop_all: 'data',
    children: 'queries',
  }),
}

const RELATION = { type: 'data', alias: 'data', sample: 'sample', query_location: 'data' } as const

/** By `type`. Absent on purpose: PIVOT, SHOW_REF, COLUMN_DATA, DELIM_GET. */
export const RELATIONS: Readonly<Record<string, Shape>> = {
  BASE_TABLE: shape({
    ...RELATION,
    schema_name: 'data',
    table_name: 'data',
    catalog_name: 'data',
    column_name_alias: 'data',
    at_clause: 'never',
  }),
  EMPTY: shape(RELATION),
  EXPRESSION_LIST: shape({ ...RELATION, expected_names: 'data', expected_types: 'types', values: 'rows' }),
  JOIN: shape({
    ...RELATION,
    left: 'from',
    right: 'from',
    condition: 'expression',
    join_type: 'data',
    ref_type: 'data',
    using_columns: 'data',
    delim_flipped: 'data',
    is_implicit: 'data',
    duplicate_eliminated_columns: 'expressions',
  }),
  SUBQUERY: shape({ ...RELATION, subquery: 'statement', column_name_alias: 'data' }),
  TABLE_FUNCTION: shape({ ...RELATION, function: 'call', column_name_alias: 'data', with_ordinality: 'data' }),
}

const LIMIT = { type: 'data', limit: 'expression', offset: 'expression' } as const

export const MODIFIERS: Readonly<Record<string, Shape>> = {
  DISTINCT_MODIFIER: shape({ type: 'data', distinct_on_targets: 'expressions' }),
  LIMIT_MODIFIER: shape(LIMIT),
  LIMIT_PERCENT_MODIFIER: shape(LIMIT),
  ORDER_MODIFIER: shape({ type: 'data', orders: 'orders' }),
}

const TYPE_INFO = { type: 'data', alias: 'data', modifiers: 'data', extension_info: 'never' } as const

/** What a type says beyond its id. Absent on purpose: those of other extensions. */
export const TYPE_INFOS: Readonly<Record<string, Shape>> = {
  ARRAY_TYPE_INFO: shape({ ...TYPE_INFO, child_type: 'type', size: 'data' }),
  DECIMAL_TYPE_INFO: shape({ ...TYPE_INFO, width: 'data', scale: 'data' }),
  GENERIC_TYPE_INFO: shape(TYPE_INFO),
  LIST_TYPE_INFO: shape({ ...TYPE_INFO, child_type: 'type' }),
  STRING_TYPE_INFO: shape({ ...TYPE_INFO, collation: 'data' }),
  STRUCT_TYPE_INFO: shape({ ...TYPE_INFO, child_types: 'fields' }),
  UNBOUND_TYPE_INFO: shape({
    ...TYPE_INFO,
    name: 'data',
    catalog: 'data',
    schema: 'data',
    user_type_modifiers: 'constant',
    expr: 'expression',
  }),
}

/** Objects that have no kind of their own. */
export const PLAIN = {
  statement: shape({ node: 'query', named_param_map: 'names' }),
  order: shape({ type: 'data', null_order: 'data', expression: 'expression' }),
  caseCheck: shape({ when_expr: 'expression', then_expr: 'expression' }),
  renamed: shape({ key: 'data', value: 'expression' }),
  field: shape({ first: 'data', second: 'type' }),
  type: shape({ id: 'data', type_info: 'data' }),
  sample: shape({ sample_size: 'constant', is_percentage: 'data', method: 'data', seed: 'data', repeatable: 'data' }),
  commonTables: shape({ map: 'data' }),
  commonTable: shape({
    aliases: 'data',
    query: 'statement',
    materialized: 'data',
    key_targets: 'expressions',
  }),
} as const satisfies Readonly<Record<string, Shape>>

export const REASONS: Readonly<Record<string, string>> = {
  RECURSIVE_CTE_NODE: 'recursive queries are not allowed',
  PIVOT: 'PIVOT and UNPIVOT are not allowed; write conditional aggregates',
  SHOW_REF:
    'SHOW, DESCRIBE and SUMMARIZE are not allowed; names and columns of tables: kappalake tables -o json, or GET /v1/tables',
}
