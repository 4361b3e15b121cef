import type { DuckDBConnection } from '@duckdb/node-api'
import type { Column } from '../batch.ts'
import type { TableDefinition } from '../define.ts'
import { expressionsOf } from '../define-lookup.ts'
import { placeOf } from '../define-sql-tokens.ts'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import { computedColumns, tableColumns } from './decode/columns.ts'
import { quoted } from './decode/data-file-writer.ts'
import { duckType } from './decode/relation.ts'
import type { Lookup, Lookups } from './lookup.ts'
import { shapeOf } from './window/shape.ts'
import { expressionOf, type Refusal } from './row-wise-tree.ts'
import { computedFrom, resultColumns } from '../window/sql.ts'

/** One expression of a definition, and what it may read. */
interface Expression {
  /** `orders.columns.total`: where it is written. */
  readonly field: string
  readonly text: string
  readonly columns: readonly Column[]
  /** What it must be, or be cast to; undefined: a boolean. */
  readonly target: Column | undefined
}

/**
 * Makes sure that the expressions of definitions are row-wise (rule T5): one deterministic scalar expression each, over
 * columns that exist, of a type that fits. Decided on DuckDB's own syntax tree and by its binder, before a record is
 * read. Throws `transform.not_row_wise` {field, position}.
 */
export async function checkRowWise(
  tables: readonly TableDefinition[],
  windows: readonly WindowDefinition[],
  connection: DuckDBConnection,
  lookups: Lookups = new Map(),
): Promise<void> {
  for (const table of tables)
    for (const expression of ofTable(table, lookups.get(table.name) ?? [])) await check(expression, connection)
  for (const window of windows) {
    const source = tables.find(({ name }) => name === window.source)
    if (source === undefined)
      throw new LakeError('internal', `${window.name}: its source ${window.source} is no table here`)
    for (const expression of ofWindow(window, source)) await check(expression, connection)
  }
}

function ofTable(table: TableDefinition, lookups: readonly Lookup[]): Expression[] {
  const own = tableColumns(table)
  const record = own.filter(({ as }) => as === undefined)
  const found = lookups.map(({ column }) => column)
  const [columns, carried] = [
    [...own, ...found],
    [...record, ...found],
  ]
  const computed = computedColumns(table).map((column): Expression => ({
    field: `${table.name}.columns.${column.name}`,
    text: column.as,
    columns: carried,
    target: column,
  }))
  return [
    ...lookups.flatMap((lookup) => ofLookup(table, lookup, record)),
    ...computed,
    ...filter(`${table.name}.where`, table.where, columns),
    ...ofTopic(table, own),
  ]
}

/** What is looked for has the type of the column that it is compared with. */
function ofLookup({ name }: TableDefinition, lookup: Lookup, columns: readonly Column[]): Expression[] {
  const { definition, keyTypes, rangeType } = lookup
  return expressionsOf(definition, [name, 'lookup', definition.name]).map(({ sql, path, column }, k) => ({
    field: path.join('.'),
    text: sql,
    columns,
    target: { name: column, type: keyTypes[k] ?? rangeType! },
  }))
}

function ofWindow(window: WindowDefinition, source: TableDefinition): Expression[] {
  const { name, where, select } = window
  const columns = tableColumns(source)
  const shape = shapeOf(window, source)
  const computed = window.computed.map((column): Expression => ({
    field: `${name}.select.${column.name}`,
    text: column.as,
    columns: computedFrom(shape),
    target: column,
  }))
  return [
    ...filter(`${name}.where`, where, columns),
    ...select.flatMap((each) => filter(`${name}.select.${each.name}.where`, each.where, columns)),
    ...computed,
    ...ofTopic(window, resultColumns(shape)),
  ]
}

/** What is published reads rows as they are stored. */
function ofTopic({ name, to }: TableDefinition | WindowDefinition, columns: readonly Column[]): Expression[] {
  const computed = (to?.select ?? []).flatMap(({ name: field, type, as }) =>
    type === undefined
      ? []
      : [{ field: `${name}.to.select.${field}`, text: as, columns, target: { name: field, type } }],
  )
  return [...filter(`${name}.to.where`, to?.where, columns), ...computed]
}

function filter(field: string, text: string | undefined, columns: readonly Column[]): Expression[] {
  return text === undefined ? [] : [{ field, text, columns, target: undefined }]
}

async function check(expression: Expression, connection: DuckDBConnection): Promise<void> {
  const { text, columns, target } = expression
  const sql = `SELECT (${text}\n)`
  const answer = await scalar(connection, 'SELECT json_serialize_sql($1::VARCHAR)', [sql])
  const refusal = expressionOf(
    String(answer),
    columns.map(({ name }) => name),
  )
  if (refusal !== undefined) throw refused(expression, refusal)
  const row = columns.map(({ name, type }) => `CAST(NULL AS ${String(duckType(type))}) AS ${quoted(name)}`)
  const type = await typeOf(expression, `SELECT (${text}\n) AS v FROM (SELECT ${row.join(', ')})`, connection)
  if (target === undefined) {
    if (type !== 'BOOLEAN') throw refused(expression, { reason: `is ${type}, where a BOOLEAN is due`, fix: COMPARE })
  } else await checkCast(expression, type, target, connection)
}

async function typeOf(expression: Expression, sql: string, connection: DuckDBConnection): Promise<string> {
  try {
    const described = await connection.runAndReadAll(`DESCRIBE ${sql}`)
    return String(described.getRows()[0]![1])
  } catch (error) {
    // The text was not run: what the binder says is about names and types, never about data.
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]!
    throw refused(expression, { reason, fix: 'Correct the expression.' }, error)
  }
}

async function checkCast(
  expression: Expression,
  type: string,
  { type: declared }: Column,
  connection: DuckDBConnection,
): Promise<void> {
  const target = String(duckType(declared))
  if (declared.kind === 'list' || declared.kind === 'map' || declared.kind === 'struct')
    throw refused(expression, { reason: `gives a ${target}`, fix: 'Compute columns of plain types.' })
  const isNested = /[)\]]$/.test(type) && !type.startsWith('DECIMAL')
  const isCast = isNested ? target === 'VARCHAR' : await canCast(type, target, connection)
  if (!isCast)
    throw refused(expression, {
      reason: `is ${type}, which cannot be cast to ${target}`,
      fix: 'Declare the column with another type, or convert the value in the expression.',
    })
}

/** DuckDB says only of a value, not of a type, that there is no such cast. */
async function canCast(type: string, target: string, connection: DuckDBConnection): Promise<boolean> {
  const value = SAMPLES.find(([pattern]) => pattern.test(type))?.[1] ?? '1'
  try {
    await connection.run(`SELECT CAST(v AS ${target}) FROM (SELECT CAST('${value}' AS ${type}) AS v)`)
    return true
  } catch (error) {
    return !(error instanceof Error && /Unimplemented type for cast/i.test(error.message))
  }
}

const SAMPLES: readonly (readonly [RegExp, string])[] = [
  [/^(DATE|TIMESTAMP)/, '2000-01-01 00:00:00'],
  [/^TIME/, '00:00:00'],
  [/^INTERVAL/, '1 day'],
  [/^UUID/, '00000000-0000-0000-0000-000000000000'],
]
const COMPARE = 'Compare with something: amount > 0, status IS NOT NULL.'

async function scalar(connection: DuckDBConnection, sql: string, values: string[]): Promise<unknown> {
  return (await connection.runAndReadAll(sql, values)).getRows()[0]![0]
}

function refused({ field, text }: Expression, { reason, fix, byte, character }: Refusal, cause?: unknown): LakeError {
  const at = byte === undefined ? character : Buffer.from(text).subarray(0, byte).toString().length
  const place = at === undefined ? '' : ` at ${placeOf(text, at)}`
  return new LakeError('transform.not_row_wise', `${field}${place}: ${reason}`, {
    context: { field, ...(at === undefined ? {} : { position: at }) },
    fix,
    ...(cause === undefined ? {} : { cause }),
  })
}
