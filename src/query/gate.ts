import { LakeError } from '../error.ts'
import { isAllowedFunction, isAllowedTableFunction } from './functions.ts'
import {
  EXPRESSIONS,
  MODIFIERS,
  PLAIN,
  QUERIES,
  REASONS,
  RELATIONS,
  TYPE_INFOS,
  type Part,
  type Shape,
} from './gate-tree.ts'

// What SQL may run: decided on DuckDB's own syntax tree (json_serialize_sql, which refuses all but SELECT), by lists of
// what is allowed. A node, member, function or reference that is not known here is refused.

export const SQL_BYTES_MAX = 64 * 1024
const NESTING_MAX = 200
/** Levels and nodes of the tree: chains of operators nest without a bracket. */
const DEPTH_MAX = 1_000
const NODES_MAX = 20_000

const TABLE_NAME = /^[a-z][a-z0-9_]*$/i
/** A common table may not be called what DuckDB would otherwise look for as a file. */
const COMMON_TABLE_NAME = /^[\p{L}_][\p{L}\p{M}\p{N}_ $-]*$/u

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
  const judge = new Judge()
  judge.statement(statements[0]!)
  return [...judge.tables].toSorted()
}

/** Names of common tables, in lower case, that may be read at some place. */
type Scope = ReadonlySet<string>
const NO_NAMES: Scope = new Set()

class Judge {
  readonly tables = new Set<string>()
  #nodes = 0
  #depth = 0

  statement(statement: Json): void {
    this.#members(statement, PLAIN.statement, NO_NAMES)
  }

  #members(object: Json, { members, types }: Shape, scope: Scope): void {
    if (types !== undefined && !types.has(String(object['type']))) throw notAllowed(object['type'])
    if (++this.#nodes > NODES_MAX) throw denied(`the statement has more than ${NODES_MAX} parts`)
    if (++this.#depth > DEPTH_MAX) throw denied(`the statement nests deeper than ${DEPTH_MAX} levels`)
    for (const [name, value] of Object.entries(object)) {
      const part = Object.hasOwn(members, name) ? members[name]! : undefined
      if (part === undefined) throw notAllowed(name)
      if (value !== null && part !== 'constant') this.#part(part, value, scope)
    }
    this.#depth--
  }

  #part(part: Exclude<Part, 'constant'>, value: unknown, scope: Scope): void {
    switch (part) {
      case 'data':
        return assertData(value)
      case 'never':
        if (value !== false) throw denied('this form is not allowed', 'Ask for an older version with `asOf`.')
        return
      case 'names':
        return assertNames(value)
      case 'expression':
        return this.#expression(value, scope)
      case 'expressions':
        return each(value, (item) => this.#expression(item, scope))
      case 'rows':
        return each(value, (row) => each(row, (item) => this.#expression(item, scope)))
      case 'renamed':
        return each(value, (item) => this.#members(objectOf(item), PLAIN.renamed, scope))
      case 'cases':
        return each(value, (item) => this.#members(objectOf(item), PLAIN.caseCheck, scope))
      case 'orders':
        return each(value, (item) => this.#members(objectOf(item), PLAIN.order, scope))
      case 'ordered':
        return this.#kind(value, { ORDER_MODIFIER: MODIFIERS['ORDER_MODIFIER']! }, scope)
      case 'modifiers':
        return each(value, (item) => this.#kind(item, MODIFIERS, scope))
      case 'statement':
        return this.#members(objectOf(value), PLAIN.statement, scope)
      case 'query':
        return this.#query(value, scope)
      case 'queries':
        return each(value, (item) => this.#query(item, scope))
      case 'from':
        return this.#relation(value, scope)
      case 'call':
        return this.#tableFunction(value, scope)
      case 'sample':
        return this.#members(objectOf(value), PLAIN.sample, scope)
      case 'commonTables':
        return // `#query` has read them: what stands beside them sees their names
      case 'type':
        return this.#type(value, scope)
      case 'types':
        return each(value, (item) => this.#type(item, scope))
      case 'fields':
        return each(value, (item) => this.#members(objectOf(item), PLAIN.field, scope))
    }
  }

  /** A node whose kind is its `type`. */
  #kind(value: unknown, shapes: Readonly<Record<string, Shape>>, scope: Scope): void {
    const object = objectOf(value)
    this.#members(object, shapeOf(shapes, object['type']), scope)
  }

  #expression(value: unknown, scope: Scope): void {
    const object = objectOf(value)
    const kind = object['class']
    if (kind === 'FUNCTION' || kind === 'WINDOW') checkFunction(object, isAllowedFunction)
    if (kind === 'TYPE') assertPlainType(object)
    this.#members(object, shapeOf(EXPRESSIONS, kind), scope)
  }

  #query(value: unknown, scope: Scope): void {
    const object = objectOf(value)
    this.#kind(object, QUERIES, this.#withCommonTables(object, scope))
  }

  /** A common table is seen by the ones after it and by the query it belongs to, not by what stands around. */
  #withCommonTables({ cte_map: value }: Json, scope: Scope): Scope {
    if (value === null || value === undefined) return scope
    const tables = objectOf(value)
    if (Object.keys(tables).some((key) => !Object.hasOwn(PLAIN.commonTables.members, key))) throw notAllowed('cte_map')
    const inner = new Set(scope)
    each(tables['map'] ?? [], (item) => {
      const { key, value: table, ...rest } = objectOf(item)
      if (typeof key !== 'string' || Object.keys(rest).length > 0) throw notAllowed('cte_map')
      if (!COMMON_TABLE_NAME.test(key)) throw denied(`${nameOf(key)} is not a name for a common table`)
      this.#members(objectOf(table), PLAIN.commonTable, inner)
      inner.add(lower(key))
    })
    return inner
  }

  #relation(value: unknown, scope: Scope): void {
    const object = objectOf(value)
    if (object['type'] === 'BASE_TABLE') this.#table(object, scope)
    this.#kind(object, RELATIONS, scope)
  }

  #table(table: Json, scope: Scope): void {
    const name = String(table['table_name'])
    if (isQualified(table['schema_name']) || isQualified(table['catalog_name']))
      throw denied(`${nameOf(name)} is named with a schema`, 'Name tables of the lake plainly.')
    if (scope.has(lower(name))) return
    if (!TABLE_NAME.test(name)) throw denied(`${nameOf(name)} is not a table of the lake`)
    this.tables.add(lower(name))
  }

  #tableFunction(value: unknown, scope: Scope): void {
    const call = objectOf(value)
    if (call['class'] !== 'FUNCTION') throw denied('a table function must be a plain call')
    checkFunction(call, isAllowedTableFunction)
    this.#members(call, EXPRESSIONS['FUNCTION']!, scope)
  }

  #type(value: unknown, scope: Scope): void {
    const type = objectOf(value)
    const info = type['type_info']
    this.#members({ ...type, type_info: null }, PLAIN.type, scope)
    if (info === null || info === undefined) return
    const object = objectOf(info)
    assertPlainType(object)
    this.#kind(object, TYPE_INFOS, scope)
  }
}

function shapeOf(shapes: Readonly<Record<string, Shape>>, kind: unknown): Shape {
  if (typeof kind !== 'string' || !Object.hasOwn(shapes, kind)) throw notAllowed(kind)
  return shapes[kind]!
}

function each(value: unknown, judge: (item: unknown) => void): void {
  if (!Array.isArray(value)) throw denied('the statement has an unknown form')
  for (const item of value) judge(item)
}

function objectOf(value: unknown): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw denied('the statement has an unknown form')
  return value as Json
}

function assertData(value: unknown): void {
  if (Array.isArray(value)) value.forEach(assertData)
  else if (typeof value === 'object' && value !== null) throw denied('the statement has an unknown form')
}

const NAME_PARTS = new Set(['catalog', 'schema', 'table', 'column', 'key', 'value'])

function assertNames(value: unknown): void {
  if (Array.isArray(value)) return value.forEach(assertNames)
  if (typeof value !== 'object' || value === null) return
  for (const [key, item] of Object.entries(value)) {
    if (!NAME_PARTS.has(key)) throw notAllowed(key)
    assertNames(item)
  }
}

function checkFunction(call: Json, isAllowed: (name: string) => boolean): void {
  const name = String(call['function_name'])
  if (!isBuiltIn(call)) throw denied(`the function ${name} is named with a schema`)
  if (!isAllowed(lower(name))) throw denied(`the function ${name} is not allowed here`)
}

function assertPlainType({ catalog, schema }: Json): void {
  if (isQualified(catalog) || isQualified(schema)) throw denied('a type is named with a schema')
}

/** The parser itself writes `[1]` as main.list_value(1); no one can put functions of his own there. */
function isBuiltIn({ catalog, schema }: Json): boolean {
  return (!isQualified(catalog) || catalog === 'system') && (!isQualified(schema) || schema === 'main')
}

function isQualified(name: unknown): boolean {
  return name !== undefined && name !== null && name !== ''
}

/** As DuckDB does it: to others than ASCII letters, case matters. JavaScript would take a Kelvin sign for a k. */
function lower(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

function nameOf(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 63))
}

const PARAMETERS =
  'A parameter is a value: for a table give the table itself in a template, or write its name into the text.'

function refusalOf(answer: {
  readonly error_type?: string
  readonly error_message?: string
  readonly position?: string
}): LakeError {
  if (answer.error_type === 'not implemented')
    return denied('only SELECT statements may run', 'Send one plain SELECT; PIVOT is not allowed.')
  const position = Number(answer.position)
  const message = (answer.error_message ?? 'the text is not SQL').split('\n')[0]!
  return new LakeError('sql.syntax', message, {
    context: Number.isInteger(position) ? { position } : {},
    // Most often it is the name of a table.
    ...(/at or near "\$\d+"/.test(message) ? { fix: PARAMETERS } : {}),
  })
}

function notAllowed(kind: unknown): LakeError {
  return denied(REASONS[String(kind)] ?? `${nameOf(kind)} is not allowed`)
}

function denied(message: string, fix = 'Queries read tables of the lake with one SELECT.'): LakeError {
  return new LakeError('sql.denied', message, { fix })
}
