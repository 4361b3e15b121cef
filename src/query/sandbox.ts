import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DOUBLE,
  DuckDBBlobValue,
  DuckDBInstance,
  DuckDBTimestampTZValue,
  HUGEINT,
  INTEGER,
  listValue,
  StatementType,
  TIMESTAMPTZ,
  VARCHAR,
  type DuckDBConnection,
  type DuckDBPreparedStatement,
  type DuckDBResult,
  type DuckDBType,
  type DuckDBValue,
} from '@duckdb/node-api'
import { LakeError } from '../error.ts'
import { registerExact } from '../window/exact-double.ts'
import { tableUses } from './filters.ts'
import { conditionSql, inspectCondition } from './condition.ts'
import { checkText, inspect } from './gate.ts'
import type { ProcessSettings, QueryParams, TableUse, View } from './messages.ts'
import { makePositions } from './positions.ts'
import { canNarrow, narrowed, placesSql, topRowsOf, type Place, type TopRows } from './top-rows.ts'
import { SCHEMA, SCHEMA_SQL, viewSql } from './view-sql.ts'

/** DuckDB's share of the memory that the process may have; the rest is for the runtime and for results on their way. */
const MEMORY_SHARE = 0.6

/** A statement under way. After the last row of `result`, `assertComplete` throws when it was not the last one. */
export interface Execution {
  readonly result: DuckDBResult
  /** Whether its rows were chosen in a step before. */
  readonly isNarrowed: boolean
  assertComplete(): Promise<void>
}

/** A DuckDB of its own for one query: nothing that a statement changes is there for the next one. */
export class Sandbox {
  readonly #instance: DuckDBInstance
  readonly #connection: DuckDBConnection
  /** What `tables` has seen of the statement. */
  #top: TopRows | undefined

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance
    this.#connection = connection
  }

  static async open(settings: ProcessSettings): Promise<Sandbox> {
    const instance = await DuckDBInstance.create(':memory:', {
      threads: String(settings.threads),
      memory_limit: `${Math.floor((settings.memoryBytesMax * MEMORY_SHARE) / 1024)}KiB`,
      // A file that is read twice is in the cache of the operating system.
      enable_external_file_cache: 'false',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      allow_community_extensions: 'false',
      allow_persistent_secrets: 'false',
      temp_directory: '',
    })
    const connection = await instance.connect()
    await connection.run(`SET TimeZone = 'UTC'`)
    return new Sandbox(instance, connection)
  }

  /** Parses and judges the text; returns the tables that it reads, and what it asks of them. */
  async tables(sql: string, params: QueryParams | undefined, where: string | undefined): Promise<readonly TableUse[]> {
    checkText(sql)
    if (where !== undefined) inspectCondition(await this.#tree(conditionSql(where)))
    const tree = await this.#tree(sql)
    const names = inspect(tree)
    this.#top = topRowsOf(tree)
    const isPlaced = this.#top !== undefined
    return tableUses(tree, names, params).map((use) => (isPlaced ? { ...use, isPlaced } : use))
  }

  async #tree(sql: string): Promise<string> {
    const answer = await this.#connection.runAndReadAll('SELECT json_serialize_sql($1::VARCHAR)', [sql])
    return String(answer.getRowsJS()[0]![0])
  }

  /** Makes the tables, locks the door behind them, and starts the query. Only for text that `tables` has passed. */
  async execute(views: readonly View[], sql: string, params: QueryParams | undefined): Promise<Execution> {
    const connection = this.#connection
    const states = views.flatMap(({ open }) => (open === undefined ? [] : [open.state]))
    const files = [...views, ...states].flatMap((view) => [
      ...view.files,
      ...(view.partial ?? []).flatMap(({ files, alive = [] }) => [...files, ...alive]),
    ])
    await connection.run(`SET allowed_paths = [${files.map(quoteText).join(', ')}]`)
    await connection.run(SCHEMA_SQL)
    const top = this.#top !== undefined && views.length === 1 && canNarrow(views[0]!, this.#top) ? this.#top : undefined
    if (states.length > 0) registerExact(connection)
    for (const state of states) {
      await makePositions(connection, state)
      await connection.run(viewSql(state, false, SCHEMA))
    }
    for (const view of views) {
      await makePositions(connection, view)
      await connection.run(viewSql(view, top !== undefined))
    }
    await connection.run('SET enable_external_access = false')
    await connection.run('SET lock_configuration = true')
    const isNarrowed = top !== undefined && (await this.#narrow(views[0]!, sql, params, top))
    await connection.run('BEGIN TRANSACTION READ ONLY')
    const statements = await connection.extractStatements(sql)
    const prepared = await statements.prepare(0)
    // The gate has read the syntax tree; here DuckDB itself says what it is about to run.
    if (statements.count !== 1 || prepared.statementType !== StatementType.SELECT)
      throw new LakeError('sql.denied', 'only one SELECT statement may run')
    bind(prepared, params)
    return { result: await prepared.stream(), isNarrowed, assertComplete: () => this.#assertComplete(prepared) }
  }

  /** Leaves of the view the rows that the statement will choose; all of them, and false, when it cannot be told which. */
  async #narrow(view: View, sql: string, params: QueryParams | undefined, top: TopRows): Promise<boolean> {
    const connection = this.#connection
    await connection.run('BEGIN TRANSACTION READ ONLY')
    const places = await this.#places(sql, params, top)
    await connection.run('ROLLBACK')
    const rest = places === undefined ? view : narrowed(view, places)
    if (rest !== view) await makePositions(connection, rest)
    await connection.run(viewSql(rest))
    return rest !== view
  }

  async #places(sql: string, params: QueryParams | undefined, top: TopRows): Promise<readonly Place[] | undefined> {
    try {
      const prepared = await this.#connection.prepare(await placesSql(this.#connection, sql, top))
      bind(prepared, params)
      const rows = (await prepared.runAndReadAll()).getRowsJS()
      return rows.map(([part, file, row]) => ({ part: Number(part), file: Number(file), row: Number(row) }))
    } catch {
      return undefined // what is wrong with the statement, it tells in its own words
    }
  }

  /**
   * The binding ends a stream in the same way whether its rows are all there or the statement failed in the middle. A
   * failure leaves the transaction unusable, and that can be seen; running the statement again tells the reason.
   */
  async #assertComplete(prepared: DuckDBPreparedStatement): Promise<void> {
    try {
      await this.#connection.run('SELECT 1')
    } catch (cause) {
      await this.#connection.run('ROLLBACK')
      await prepared.run()
      throw new LakeError('sql.failed', 'the query failed in the middle of its result', { cause })
    }
  }

  close(): void {
    this.#connection.closeSync()
    this.#instance.closeSync()
  }
}

function bind(prepared: DuckDBPreparedStatement, params: QueryParams = []): void {
  const names = Array.from({ length: prepared.parameterCount }, (_, index) => prepared.parameterName(index + 1))
  const given = new Map<string, unknown>(
    Array.isArray(params) ? params.map((value, index) => [String(index + 1), value]) : Object.entries(params),
  )
  const unknown = [...given.keys()].filter((name) => !names.includes(name))
  const missing = names.filter((name) => !given.has(name))
  if (unknown.length + missing.length > 0)
    throw new LakeError(
      'request.invalid',
      [
        ...missing.map((name) => `the parameter $${name} has no value`),
        ...unknown.map((name) => `no parameter $${name}`),
      ].join('; '),
      { fix: 'Give `params` as a list for $1, $2, … or ?, or as an object for $name.' },
    )
  for (const [index, name] of names.entries()) {
    const { value, type } = boundValue(given.get(name), name)
    if (value === null) prepared.bindNull(index + 1)
    else prepared.bindValue(index + 1, value, type)
  }
}

function boundValue(value: unknown, name: string): { value: DuckDBValue; type?: DuckDBType } {
  switch (typeof value) {
    case 'string':
      return { value, type: VARCHAR }
    case 'boolean':
      return { value, type: BOOLEAN }
    case 'number':
      if (!Number.isSafeInteger(value)) return { value, type: DOUBLE }
      return Math.abs(value) < 2 ** 31 ? { value, type: INTEGER } : { value: BigInt(value), type: BIGINT }
    case 'bigint':
      if (BigInt.asIntN(64, value) === value) return { value, type: BIGINT }
      if (BigInt.asIntN(128, value) === value) return { value, type: HUGEINT }
      break
    case 'object':
      if (value === null) return { value: null }
      if (value instanceof Uint8Array) return { value: new DuckDBBlobValue(value), type: BLOB }
      if (value instanceof Date) return { value: instantOf(value, name), type: TIMESTAMPTZ }
      if (Array.isArray(value)) return { value: listValue(value.map((item) => boundValue(item, name).value)) }
  }
  throw new LakeError('request.invalid', `the parameter $${name} has a value of no type that SQL knows`, {
    fix: 'Use text, numbers, booleans, null, or lists of them.',
  })
}

function instantOf(date: Date, name: string): DuckDBTimestampTZValue {
  const inMs = date.getTime()
  if (Number.isNaN(inMs)) throw new LakeError('request.invalid', `the parameter $${name} is not a date`)
  return new DuckDBTimestampTZValue(BigInt(inMs) * 1_000n)
}

function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
