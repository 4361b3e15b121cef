import type { DuckDBConnection } from '@duckdb/node-api'
import { aliasesOf, isPlainBody, isTable } from './filters.ts'
import type { PartialFiles, View } from './messages.ts'

// The first rows of a wide table in two steps: which rows they are, by the columns that decide it; then the statement as
// it is, over those rows alone. What it gives is what it would give over all rows: they hold a set of first rows, and
// the statement picks them by its own conditions and order.

type Json = Readonly<Record<string, any>>

/** A statement `SELECT columns FROM table [WHERE …] ORDER BY … LIMIT …` that needs no more than the first `rows`. */
export interface TopRows {
  readonly rows: number
  /** What must be columns of the table, in lower case: `current_date`, for one, may be no column. */
  readonly columns: readonly string[]
}

/** More are a scan rather than a choice. */
const ROWS_MAX = 2_000
/** In fewer rows the second step costs more than it saves. */
const TABLE_ROWS_MIN = 50_000

/** Functions and operators whose value depends on their arguments alone, and not on when they are asked. */
const PURE = new Set(
  `+ - * / // % & | << >> || abs ceil floor round trunc sign greatest least length strlen lower upper trim ltrim rtrim
  substring substr left right concat replace contains prefix suffix starts_with ends_with ~~ !~~ ~~* !~~* coalesce
  ifnull nullif date_trunc date_part year month day hour minute second epoch epoch_ms hash`
    .trim()
    .split(/\s+/),
)
const EXPRESSIONS = new Set([
  'BETWEEN',
  'CASE',
  'CAST',
  'COLUMN_REF',
  'COMPARISON',
  'CONJUNCTION',
  'CONSTANT',
  'FUNCTION',
  'OPERATOR',
  'PARAMETER',
])

/** Judges the answer of `json_serialize_sql`; undefined when the statement must go the plain way, or might have to. */
export function topRowsOf(serialized: string): TopRows | undefined {
  const node = (JSON.parse(serialized) as { readonly statements: readonly Json[] }).statements[0]!['node'] as Json
  if (node['type'] !== 'SELECT_NODE' || !isPlainBody(node) || node['modifiers'].length !== 2) return undefined
  const [order, limit] = node['modifiers'] as readonly [Json, Json]
  const from = node['from_table'] as Json
  if (order['type'] !== 'ORDER_MODIFIER' || limit['type'] !== 'LIMIT_MODIFIER' || !isTable(from)) return undefined
  const rows = countOf(limit['limit']) + (limit['offset'] === null ? 0 : countOf(limit['offset']))
  const table = String(from['alias'] === '' ? from['table_name'] : from['alias']).toLowerCase()
  const list = node['select_list'] as readonly Json[]
  const keys = (order['orders'] as readonly Json[]).map(({ expression }) => expression as Json)
  const parts = [...keys, node['where_clause']]
  const columns = parts.flatMap((part) => columnsIn(part, table))
  const aliases = aliasesOf(list)
  const isSimple =
    rows <= ROWS_MAX && // NaN is not
    list.every((item) => isColumn(item, table) || isPlainStar(item)) &&
    keys.every((key) => !['CONSTANT', 'PARAMETER'].includes(key['class'])) && // would be the number of a column
    parts.every(isPure) &&
    columns.every((name) => name !== table && !aliases.has(name))
  return isSimple ? { rows, columns } : undefined
}

function countOf(node: Json | null): number {
  const value: unknown = node?.['class'] === 'CONSTANT' ? node['value'].value : undefined
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : Number.NaN
}

/** `column` or `table.column`; what is longer may be a field, and then has a name that ORDER BY can use. */
function isColumn(item: Json, table: string): boolean {
  if (item['class'] !== 'COLUMN_REF') return false
  const names = item['column_names'] as readonly string[]
  return names.length === 1
    ? names[0]!.toLowerCase() !== table
    : names.length === 2 && names[0]!.toLowerCase() === table
}

function isPlainStar(item: Json): boolean {
  return (
    item['class'] === 'STAR' &&
    item['columns'] === false &&
    item['expr'] === null &&
    item['replace_list'].length === 0 &&
    item['rename_list'].length === 0
  )
}

/** Whether the value of an expression depends on the row alone. */
function isPure(node: unknown): boolean {
  if (Array.isArray(node)) return node.every(isPure)
  if (typeof node !== 'object' || node === null) return true
  const object = node as Json
  const { class: kind } = object
  if (kind === 'CONSTANT') return true
  if (kind !== undefined && !EXPRESSIONS.has(kind)) return false
  if (kind === 'FUNCTION' && !PURE.has(String(object['function_name']).toLowerCase())) return false
  return Object.values(object).every(isPure)
}

/** Names that stand for columns, those behind the table's own left out. */
function columnsIn(node: unknown, table: string): readonly string[] {
  if (Array.isArray(node)) return node.flatMap((item) => columnsIn(item, table))
  if (typeof node !== 'object' || node === null) return []
  const object = node as Json
  if (object['class'] !== 'COLUMN_REF') return Object.values(object).flatMap((value) => columnsIn(value, table))
  const names = (object['column_names'] as readonly string[]).map((name) => name.toLowerCase())
  return names.length > 1 && names[0] === table ? names.slice(1, 2) : names.slice(0, 1)
}

/** Whether two steps are right and worth it: where no rows are deleted, DuckDB itself takes two. */
export function canNarrow({ columns, partial = [], fileRows = 0, open }: View, top: TopRows): boolean {
  if (open !== undefined || partial.some(({ alive }) => alive !== undefined)) return false
  const rows = partial.reduce((sum, part) => sum + (part.fileRows ?? 0), fileRows)
  const names = new Set(columns.map(({ name }) => name.toLowerCase()))
  const isWide = partial.length > 0 && names.size > 2 && rows >= TABLE_ROWS_MIN
  return isWide && top.columns.every((name) => names.has(name))
}

/** Columns of a view that says where each of its rows stands. No column of a table has such a name. */
export const PLACE = ['kappalake part', 'kappalake file', 'kappalake row'] as const

const column = (name: string) => ({
  class: 'COLUMN_REF',
  type: 'COLUMN_REF',
  alias: '',
  query_location: 0,
  column_names: [name],
})

/** The statement that gives the places of the first rows in the place of their columns. */
export async function placesSql(connection: DuckDBConnection, sql: string, { rows }: TopRows): Promise<string> {
  const limit = {
    type: 'LIMIT_MODIFIER',
    limit: {
      class: 'CONSTANT',
      type: 'VALUE_CONSTANT',
      alias: '',
      query_location: 0,
      value: { type: { id: 'BIGINT', type_info: null }, is_null: false, value: rows },
    },
    offset: null,
  }
  // The tree stays in DuckDB: JavaScript would take digits off its numbers.
  const answer = await connection.runAndReadAll(
    `SELECT json_deserialize_sql(json_object('error', false, 'statements', json_array(json_object(
        'node', json_merge_patch(node, json_object('select_list', $2::JSON, 'modifiers', json_array(node->'$.modifiers[0]', $3::JSON))),
        'named_param_map', params))))
      FROM (SELECT tree->'$.statements[0].node' AS node, tree->'$.statements[0].named_param_map' AS params
        FROM (SELECT json_serialize_sql($1::VARCHAR) AS tree))`,
    [sql, JSON.stringify(PLACE.map(column)), JSON.stringify(limit)],
  )
  return String(answer.getRowsJS()[0]![0])
}

/** A row by the part of a view (-1: whole files), the file in it, and the position in the file. */
export interface Place {
  readonly part: number
  readonly file: number
  readonly row: number
}

/** The view of these rows alone. */
export function narrowed(view: View, places: readonly Place[]): View {
  const byFile = new Map<string, number[]>()
  for (const { part, file, row } of places) {
    const path = (part < 0 ? view.files : view.partial![part]!.files)[file]!
    const rows = byFile.get(path)
    if (rows === undefined) byFile.set(path, [row])
    else rows.push(row)
  }
  const lists = [...byFile.values()].map((rows) => rows.toSorted((a, b) => a - b))
  let end = 0
  const only: PartialFiles = {
    kind: 'only',
    files: [...byFile.keys()],
    ends: Uint32Array.from(lists, (rows) => (end += rows.length)),
    positions: Uint32Array.from(lists.flat()),
  }
  return { name: view.name, columns: view.columns, files: [], partial: byFile.size === 0 ? [] : [only] }
}
