import type { Constant, Filter, QueryParams, TableUse } from './messages.ts'

// What a statement asks of its tables, read off DuckDB's syntax tree after the gate has passed it. It decides which files
// are opened, so what is not certain is left out: without a condition every file is.

type Json = Readonly<Record<string, any>>

/** A table in a FROM clause, and what its rows must meet to matter there. */
interface Place {
  readonly names: readonly string[]
  readonly filters: Filter[]
}

/** How the statement uses each of the tables. `serialized` is the answer of `json_serialize_sql`. */
export function tableUses(
  serialized: string,
  tables: readonly string[],
  params: QueryParams | undefined,
): readonly TableUse[] {
  const node = (JSON.parse(serialized) as { readonly statements: readonly Json[] }).statements[0]!['node'] as Json
  const reader = new Reader(params ?? [])
  reader.walk(node)
  const counted = countedTable(node)
  return tables.map((name) => {
    const scans = reader.commonTables.has(name) ? [[]] : (reader.scans.get(name) ?? [[]])
    return { name, scans, isCount: counted === name && !reader.commonTables.has(name) }
  })
}

/** `SELECT count(*) FROM t`, and nothing more. */
function countedTable(node: Json): string | undefined {
  if (!isPlain(node) || node['where_clause'] !== null || node['select_list'].length !== 1) return undefined
  const [call] = node['select_list'] as readonly Json[]
  const isCount =
    call!['class'] === 'FUNCTION' &&
    call!['function_name'] === 'count_star' &&
    call!['filter'] === null &&
    call!['order_bys'].orders.length === 0 &&
    !call!['distinct']
  return isCount && isTable(node['from_table']) ? String(node['from_table'].table_name).toLowerCase() : undefined
}

/** A SELECT of nothing but a list, FROM and WHERE. */
export function isPlain(node: Json): boolean {
  return node['type'] === 'SELECT_NODE' && node['modifiers'].length === 0 && isPlainBody(node)
}

export function isPlainBody(node: Json): boolean {
  return (
    node['cte_map'].map.length === 0 &&
    node['group_expressions'].length === 0 &&
    node['group_sets'].length === 0 &&
    node['aggregate_handling'] === 'STANDARD_HANDLING' &&
    node['having'] === null &&
    node['qualify'] === null &&
    node['sample'] === null
  )
}

export function isTable(table: Json): boolean {
  return table['type'] === 'BASE_TABLE' && table['sample'] === null && table['column_name_alias'].length === 0
}

class Reader {
  readonly scans = new Map<string, (readonly Filter[])[]>()
  /** Names that mean a common table expression in some part of the statement. */
  readonly commonTables = new Set<string>()
  readonly #params: ReadonlyMap<string, unknown>
  readonly #places = new Map<Json, Place>()

  constructor(params: QueryParams) {
    this.#params = new Map<string, unknown>(
      Array.isArray(params) ? params.map((value, index) => [String(index + 1), value]) : Object.entries(params),
    )
  }

  walk(node: unknown): void {
    if (Array.isArray(node)) {
      for (const item of node) this.walk(item)
      return
    }
    if (typeof node !== 'object' || node === null) return
    const object = node as Json
    for (const { key } of (object['cte_map']?.map ?? []) as readonly Json[])
      this.commonTables.add(String(key).toLowerCase())
    if (object['type'] === 'SELECT_NODE' && object['sample'] === null) this.#readWhere(object)
    if (object['class'] === undefined && object['type'] === 'BASE_TABLE') {
      const name = String(object['table_name']).toLowerCase()
      this.scans.set(name, [...(this.scans.get(name) ?? []), this.#places.get(object)?.filters ?? []])
    }
    for (const value of Object.values(object)) this.walk(value)
  }

  #readWhere(select: Json): void {
    const from = select['from_table'] as Json
    const places = placesOf(from)
    if (places === undefined || select['where_clause'] === null) return
    const isJoined = from['type'] !== 'BASE_TABLE'
    const renamed = aliasesOf(select['select_list'])
    for (const filter of this.#conjunction(select['where_clause'])) {
      if (filter.qualifier === undefined && (isJoined || renamed.has(filter.column))) continue
      // Next to an outer join, a row that is null everywhere may stand for one that is not there.
      if (isJoined && filter.op === 'null') continue
      const meant = [...places].filter(
        ([, { names }]) => filter.qualifier === undefined || names.includes(filter.qualifier),
      )
      if (meant.length === 1) meant[0]![1].filters.push(filter)
    }
    for (const [table, place] of places) this.#places.set(table, place)
  }

  #conjunction(node: Json): readonly Filter[] {
    switch (node['type']) {
      case 'CONJUNCTION_AND':
        return (node['children'] as readonly Json[]).flatMap((child) => this.#conjunction(child))
      case 'COMPARE_BETWEEN':
        return [
          ...this.#filter('>=', node['input'], [node['lower']]),
          ...this.#filter('<=', node['input'], [node['upper']]),
        ]
      case 'COMPARE_IN':
        return this.#filter('in', node['children'][0], node['children'].slice(1))
      case 'OPERATOR_IS_NULL':
        return this.#filter('null', node['children'][0], [])
      case 'OPERATOR_IS_NOT_NULL':
        return this.#filter('not null', node['children'][0], [])
    }
    const op = OPS[node['type']]
    if (op === undefined) return []
    if (node['left'].class === 'COLUMN_REF') return this.#filter(op, node['left'], [node['right']])
    return this.#filter(MIRRORED[op], node['right'], [node['left']])
  }

  #filter(op: Filter['op'], column: Json, operands: readonly Json[]): readonly Filter[] {
    if (column['class'] !== 'COLUMN_REF' || column['column_names'].length > 2) return []
    const values = operands.map((operand) => this.#constant(operand))
    if (values.includes(undefined)) return []
    const names = (column['column_names'] as readonly string[]).map((name) => name.toLowerCase())
    return [{ column: names.at(-1)!, qualifier: names.at(-2), op, values: values as readonly Constant[] }]
  }

  #constant(node: Json, as?: string): Constant | undefined {
    if (node['class'] === 'CAST' && as === undefined && node['try_cast'] === false)
      return this.#constant(node['child'], String(node['cast_type'].id))
    const constant =
      node['class'] === 'CONSTANT'
        ? literal(node['value'])
        : node['class'] === 'PARAMETER'
          ? bound(this.#params.get(String(node['identifier'])))
          : undefined
    if (as === undefined || constant === undefined) return constant
    if (constant.kind !== 'text') return undefined
    if (as === 'BOOLEAN')
      return constant.text === 't' || constant.text === 'f'
        ? { kind: 'boolean', value: constant.text === 't' }
        : undefined
    return { ...constant, as }
  }
}

const OPS: Readonly<Record<string, '=' | '<' | '<=' | '>' | '>='>> = {
  COMPARE_EQUAL: '=',
  COMPARE_LESSTHAN: '<',
  COMPARE_LESSTHANOREQUALTO: '<=',
  COMPARE_GREATERTHAN: '>',
  COMPARE_GREATERTHANOREQUALTO: '>=',
}
const MIRRORED = { '=': '=', '<': '>', '<=': '>=', '>': '<', '>=': '<=' } as const

/** The joins whose rows are pairs that meet a condition. Positions and nearest rows depend on rows that WHERE drops. */
const JOINS = new Set(['INNER', 'LEFT', 'RIGHT', 'OUTER'])
const JOIN_KINDS = new Set(['REGULAR', 'NATURAL', 'CROSS'])

/** The tables that a FROM clause joins; undefined when something in it may look at more than single rows. */
function placesOf(from: Json): ReadonlyMap<Json, Place> | undefined {
  if (from['type'] !== 'JOIN') return placeOf(from)
  if (!JOINS.has(from['join_type']) || !JOIN_KINDS.has(from['ref_type'])) return undefined
  const [left, right] = [placesOf(from['left']), placesOf(from['right'])]
  return left === undefined || right === undefined ? undefined : new Map([...left, ...right])
}

function placeOf(from: Json): ReadonlyMap<Json, Place> | undefined {
  const isBase = from['type'] === 'BASE_TABLE'
  // A sample is taken before the rows are judged, and columns that are named anew are others.
  if ((from['sample'] ?? null) !== null || (isBase && !isTable(from))) return undefined
  const name = isBase && from['alias'] === '' ? from['table_name'] : (from['alias'] ?? '')
  return new Map([[from, { names: [String(name).toLowerCase()], filters: [] }]])
}

/** Names that the list gives to something else than a column of that name. */
export function aliasesOf(list: readonly Json[]): ReadonlySet<string> {
  return new Set(list.filter((item) => item['alias'] !== '').map((item) => String(item['alias']).toLowerCase()))
}

function literal({ type, is_null, value }: Json): Constant | undefined {
  if (is_null) return undefined
  switch (type.id) {
    case 'TINYINT':
    case 'SMALLINT':
    case 'INTEGER':
    case 'BIGINT':
      return numberOf(value, 0)
    case 'DECIMAL':
      return numberOf(value, type.type_info.scale)
    case 'DOUBLE':
      return typeof value === 'number' ? { kind: 'double', value } : undefined
    case 'VARCHAR':
      return { kind: 'text', text: String(value), as: undefined }
  }
  return undefined
}

/** Integers beyond 2^53 have lost digits on their way through JSON. */
function numberOf(value: unknown, scale: number): Constant | undefined {
  return Number.isSafeInteger(value) ? { kind: 'number', unscaled: BigInt(value as number), scale } : undefined
}

function bound(value: unknown): Constant | undefined {
  switch (typeof value) {
    case 'string':
      return { kind: 'text', text: value, as: undefined }
    case 'number':
      return numberOf(value, 0) ?? { kind: 'double', value }
    case 'bigint':
      return { kind: 'number', unscaled: value, scale: 0 }
    case 'boolean':
      return { kind: 'boolean', value }
  }
  if (value instanceof Uint8Array) return { kind: 'bytes', value }
  if (value instanceof Date && !Number.isNaN(value.getTime()))
    return { kind: 'instant', us: BigInt(value.getTime()) * 1_000n }
  return undefined
}
