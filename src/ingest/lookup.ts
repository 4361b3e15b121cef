import type { DuckDBConnection } from '@duckdb/node-api'
import type { Column, ColumnType } from '../batch.ts'
import type { Clock } from '../clock.ts'
import type { TableDefinition } from '../define.ts'
import type { LookupDefinition } from '../define-lookup.ts'
import { LakeError } from '../error.ts'
import { openChain } from '../lake/chain.ts'
import { isKept, openTable, ownerOf, putTag, readTags, type LakeTable, type Storage } from '../lake/table.ts'
import { literal, quoted } from './decode/data-file-writer.ts'
import { duckType } from './decode/relation.ts'
import { AliveRows } from './table-work/concatenate.ts'
import { readStored } from './window/stored-relation.ts'

/** Of one look-up, since it is in the memory of each lane: its rows, and the bytes of the files that they come from. */
export interface LookupLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

const LIMITS: LookupLimits = { rowsMax: 1_000_000, bytesMax: 256 * 1024 * 1024 }

/** A look-up whose rows are in the lane's DuckDB: columns `k0`, `k1`, … (what is equal), `lo`, `hi` and `value`, a struct. */
export interface Lookup {
  readonly definition: LookupDefinition
  /** Name of the temporary table. */
  readonly relation: string
  /** What the expressions of `on` are cast to, in their order. */
  readonly keyTypes: readonly ColumnType[]
  /** The same of a range's value. */
  readonly rangeType: ColumnType | undefined
  /** What SQL of the table sees: a struct, null where no row was found. */
  readonly column: Column
}

/** By the name of the table that looks up. */
export type Lookups = ReadonlyMap<string, readonly Lookup[]>

interface Parts {
  readonly connection: DuckDBConnection
  readonly storage: Storage
  readonly clock: Clock
  readonly limits?: LookupLimits
}

/**
 * Loads the look-ups of tables, once for the life of a lane's encoder. The versions that they are pinned at are kept from
 * now on, by a tag. Throws `lookup.not_found`, `lookup.too_large`, `lookup.ambiguous`.
 */
export async function loadLookups(tables: readonly TableDefinition[], parts: Parts): Promise<Lookups> {
  const wanted = tables.filter(({ lookup = [] }) => lookup.length > 0)
  const loaded = new Map<string, readonly Lookup[]>()
  if (wanted.length === 0) return loaded
  const alive = new AliveRows(parts.connection)
  let count = 0
  for (const { name, lookup = [] } of wanted) {
    const own: Lookup[] = []
    for (const definition of lookup) own.push(await load(name, definition, `lookup_${count++}`, alive, parts))
    loaded.set(name, own)
  }
  return loaded
}

async function load(
  owner: string,
  definition: LookupDefinition,
  relation: string,
  alive: AliveRows,
  parts: Parts,
): Promise<Lookup> {
  const { connection, storage, clock, limits = LIMITS } = parts
  const field = `${owner}.lookup.${definition.name}`
  const table = await pinned(field, definition, storage, clock)
  const columns = new Map(table.schema.fields.map((each) => [each.name, each.type]))
  const typeOf = (name: string): ColumnType => {
    const type = columns.get(name)
    const known = typeof type === 'string' ? columnType(type) : undefined
    if (known === undefined)
      throw notFound(
        field,
        type === undefined ? `${table.name} has no column "${name}"` : `${table.name}.${name} is of a nested type`,
        `Name plain columns of it: ${[...columns.keys()].join(', ')}.`,
      )
    return known
  }
  const { on, between, select } = definition
  const keyTypes = on.map(([name]) => typeOf(name))
  const rangeType = between === undefined ? undefined : typeOf(between.from)
  if (between !== undefined && JSON.stringify(typeOf(between.to)) !== JSON.stringify(rangeType))
    throw notFound(field, `${between.from} and ${between.to} are of different types`, 'Name two columns of one type.')
  const fields = select.map((name): Column => ({ name, type: typeOf(name) }))
  assertSmall(field, table, limits)
  const names = [...new Set([...on.map(([name]) => name), ...(between ? [between.from, between.to] : []), ...select])]
  const database = {
    alive,
    run: async (sql: string) => void (await connection.run(sql)),
    temporary: async (name: string, query: string) =>
      void (await connection.run(`CREATE OR REPLACE TEMP TABLE ${name} AS ${query}`)),
  }
  const stored = `${relation}_stored`
  await readStored(database, storage, clock, stored, { metadata: table.metadata, columns: names })
  await connection.run(`CREATE OR REPLACE TEMP TABLE ${relation} AS ${rowsSql(definition, stored)}`)
  await connection.run(`DROP TABLE ${stored}`)
  await assertUnique(field, definition, relation, connection)
  const column: Column = { name: definition.name, type: { kind: 'struct', fields } }
  return { definition, relation, keyTypes, rangeType, column }
}

/** The table at its version, which is kept from now on. */
async function pinned(
  field: string,
  { table, version }: LookupDefinition,
  storage: Storage,
  clock: Clock,
): Promise<LakeTable> {
  const pipeline = await ownerOf(storage, table)
  if (pipeline === undefined)
    throw notFound(field, `the store has no table ${table}`, 'Run the pipeline that makes it first.')
  const number = BigInt(version)
  const found = await openChain(storage, pipeline, clock)
    .at({ kind: 'number', number })
    .catch((cause: unknown) => {
      if (!(cause instanceof LakeError) || cause.code !== 'version.unknown') throw cause
      throw notFound(
        field,
        `${pipeline} has no version ${version}, or no longer`,
        `"kappalake versions ${pipeline}" lists those that can be pinned.`,
      )
    })
  const at = Object.hasOwn(found.tables, table) ? found.tables[table] : undefined
  if (at === undefined)
    throw notFound(field, `version ${version} of ${pipeline} has no table ${table}`, 'Name a later one.')
  const name = `lookup-v${version}`
  const tags = await readTags(storage, pipeline)
  if (!tags.some((tag) => tag.name === name)) {
    if (!(await isKept(storage, pipeline, found, clock)))
      throw notFound(field, `version ${version} of ${pipeline} can no longer be read`, 'Name a younger one.')
    await putTag(storage, pipeline, { name, version: number, untilMs: undefined })
  }
  return openTable(storage, at.metadata, table)
}

function assertSmall(
  field: string,
  { name, totalRecords, totalDeletes, totalBytes }: LakeTable,
  { rowsMax, bytesMax }: LookupLimits,
): void {
  const rows = totalRecords - totalDeletes
  if (rows <= BigInt(rowsMax) && totalBytes <= BigInt(bytesMax)) return
  throw new LakeError('lookup.too_large', `${field}: ${name} has ${rows} rows in ${totalBytes} bytes`, {
    context: { field, rows, bytes: totalBytes, rowsMax, bytesMax },
    fix: `Look-ups are for tables of at most ${rowsMax} rows and ${bytesMax} bytes: join larger ones in queries.`,
  })
}

/** Rows that can be found at all: null is equal to nothing, and a range that ends before it begins has no values. */
function rowsSql({ on, between, select }: LookupDefinition, stored: string): string {
  const keys = on.map(([name], k) => `${quoted(name)} AS k${k}`)
  const range = between === undefined ? [] : [`${quoted(between.from)} AS lo`, `${quoted(between.to)} AS hi`]
  const value = `{${select.map((name) => `${literal(name)}: ${quoted(name)}`).join(', ')}} AS value`
  const there = on.map(([name]) => `${quoted(name)} IS NOT NULL`)
  const real =
    between === undefined
      ? []
      : [`${quoted(between.from)} IS NOT NULL`, `coalesce(${quoted(between.to)} >= ${quoted(between.from)}, true)`]
  return `SELECT ${[...keys, ...range, value].join(', ')} FROM ${stored} WHERE ${[...there, ...real].join(' AND ')}`
}

/** A record must find at most one row: which of two it would be follows from nothing. */
async function assertUnique(
  field: string,
  { on, between, table }: LookupDefinition,
  relation: string,
  connection: DuckDBConnection,
): Promise<void> {
  const keys = on.map((_, k) => `k${k}`)
  const by = keys.length === 0 ? '' : `PARTITION BY ${keys.join(', ')} `
  const sql =
    between === undefined
      ? `SELECT ${keys.join(', ')} FROM ${relation} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1`
      : `SELECT ${[...keys, 'lo', 'hi', 'next_lo'].join(', ')} FROM (
SELECT *, lead(lo) OVER (${by}ORDER BY lo, hi) AS next_lo FROM ${relation}
) WHERE next_lo <= coalesce(hi, next_lo) ORDER BY ALL LIMIT 1`
  const [row] = (await connection.runAndReadAll(sql)).getRows()
  if (row === undefined) return
  const what =
    between === undefined
      ? `two rows of ${table} have the ${on.map(([name]) => name).join(', ')} ${row.join(', ')}`
      : `ranges of ${table} overlap: ${row.slice(-3, -1).join(' to ')} and one from ${String(row.at(-1))}`
  throw new LakeError('lookup.ambiguous', `${field}: ${what}`, {
    context: { field, table },
    fix: 'Look up by what names one row: the key of the table, ranges that do not overlap.',
  })
}

function notFound(field: string, reason: string, fix: string): LakeError {
  return new LakeError('lookup.not_found', `${field}: ${reason}`, { context: { field }, fix })
}

/** Undefined of what a look-up does not take. */
function columnType(type: string): ColumnType | undefined {
  const decimal = /^decimal\((\d+),\s*(\d+)\)$/.exec(type)
  if (decimal !== null) return { kind: 'decimal', precision: Number(decimal[1]), scale: Number(decimal[2]) }
  return PLAIN.has(type) ? { kind: type as 'string' } : undefined
}

const PLAIN = new Set('boolean int long float double string binary date uuid timestamp timestamptz'.split(' '))

/**
 * Makes a relation of what a look-up finds for each row of `input`, in its order: `value`, and whether one of its
 * expressions failed. `input` is scanned by one thread, so that its rows have numbers.
 */
export function foundSql({ definition, relation, keyTypes, rangeType }: Lookup, input: string): string {
  const { on, between } = definition
  const tried = [
    ...on.map(([, sql], k) => `${attempt(sql, keyTypes[k]!)} AS t${k}`),
    ...(between === undefined ? [] : [`${attempt(between.value, rangeType!)} AS tv`]),
  ]
  const names = [...on.map((_, k) => `t${k}`), ...(between === undefined ? [] : ['tv'])]
  const equal = on.map((_, k) => `p.t${k}.v = l.k${k}`)
  const join = between === undefined ? 'LEFT JOIN' : 'ASOF LEFT JOIN'
  const where = between === undefined ? equal : [...equal, 'p.tv.v >= l.lo']
  const value = between === undefined ? 'l.value' : 'CASE WHEN l.hi IS NULL OR p.tv.v <= l.hi THEN l.value END'
  return `SELECT value, failed FROM (
SELECT p.n, ${value} AS value, ${names.map((name) => `p.${name} IS NULL`).join(' OR ')} AS failed
FROM (SELECT row_number() OVER () AS n, ${tried.join(', ')} FROM ${input}) p ${join} ${relation} l ON ${where.join(' AND ')}
) ORDER BY n`
}

/** Values are packed: a null is a value, and what fails is none. */
export function attempt(sql: string, type: ColumnType | 'BOOLEAN'): string {
  return `TRY({'v': CAST((${sql}\n) AS ${type === 'BOOLEAN' ? type : String(duckType(type))})})`
}
