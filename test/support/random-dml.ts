import { randomOf } from '../../infra/exact/random.mjs'
import type { CellKind } from './source-table.ts'

/** A column of a source table: its SQL type, its type in the lake, how the two are compared, and some values as SQL. */
export interface SourceColumn {
  readonly sql: string
  readonly lake: string
  readonly kind: CellKind
  readonly values: (random: () => number) => string
}

export interface SourceTable {
  readonly name: string
  readonly key: readonly string[]
  readonly columns: Readonly<Record<string, SourceColumn>>
}

const pick = <T>(random: () => number, items: readonly T[]): T => items[Math.floor(random() * items.length)]!
const whole = (random: () => number, limit: number): number => Math.floor(random() * limit)
const quoted = (text: string): string => `$q$${text}$q$`
const WORDS = ['tea', 'zażółć', '🙂 🏳️‍🌈', '', "it's", 'a\nb', '\\x', '日本', '"q"', '{"a":1}', '\u2028']

const column = (sql: string, lake: string, kind: CellKind, values: (random: () => number) => string): SourceColumn => ({
  sql,
  lake,
  kind,
  values,
})
const oneOf =
  (...values: readonly string[]) =>
  (random: () => number) =>
    pick(random, values)
const word = (random: () => number): string => quoted(`${pick(random, WORDS)} ${whole(random, 100)}`)
const date = (random: () => number): string => `date '1900-01-01' + ${whole(random, 80_000)}`
const instant = (random: () => number): string =>
  `timestamptz '1950-01-01 00:00:00+00' + ${whole(random, 4e9)} * interval '1 second' + ${whole(random, 1e6)} * interval '1 microsecond'`

/** One column of every common type. */
export const KINDS: SourceTable = {
  name: 'kinds',
  key: ['id'],
  columns: {
    id: column('bigint', 'long', 'text', (random) => String(whole(random, 25))),
    si: column('smallint', 'int', 'text', oneOf('-32768', '32767', '0')),
    i: column('int', 'int', 'text', oneOf('-2147483648', '2147483647', '7')),
    l: column('bigint', 'long', 'text', oneOf('-9223372036854775808', '9223372036854775807', '9007199254740993')),
    f4: column('real', 'float', 'double', oneOf('1.5', '-0.1', '3e30')),
    f8: column('double precision', 'double', 'double', oneOf('0.1', '-1e300', '5e-324', '2.5')),
    n: column(
      'numeric(18,6)',
      'decimal(18,6)',
      'text',
      (random) => `${whole(random, 2e9) - 1e9}.${whole(random, 1e6)}`,
    ),
    n0: column('numeric(38,0)', 'decimal(38,0)', 'text', oneOf('-1', '99999999999999999999999999999999999999', '0')),
    b: column('boolean', 'boolean', 'text', oneOf('true', 'false')),
    c: column('char(4)', 'string', 'text', oneOf(quoted('ab'), quoted('abcd'))),
    vc: column('varchar(40)', 'string', 'text', word),
    t: column('text', 'string', 'text', word),
    by: column('bytea', 'binary', 'bytes', oneOf(`'\\x'`, `'\\xdeadbeef'`, `'\\x00ff'`)),
    d: column('date', 'date', 'text', date),
    tm: column('time', 'long', 'time', oneOf(`'23:59:59.999999'`, `'00:00:00'`, `'12:30:00.5'`)),
    ts: column('timestamp', 'timestamp(us)', 'timestamp', (random) => `(${instant(random)}) at time zone 'UTC'`),
    ts3: column('timestamp(3)', 'timestamp(ms)', 'timestamp', (random) => `(${instant(random)}) at time zone 'UTC'`),
    tstz: column('timestamptz', 'timestamptz', 'timestamptz', instant),
    u: column('uuid', 'uuid', 'text', (random) => `md5('${whole(random, 1e6)}')::uuid`),
    j: column(
      'jsonb',
      'string',
      'json',
      oneOf(`'{"a": [1, 2.50], "b": {"c": null}}'`, `'[]'`, `'{"n": 9007199254740993}'`),
    ),
    ia: column('int[]', 'list<int>', 'list', oneOf(`'{}'`, `'{1,NULL,3}'`)),
    ta: column('text[]', 'list<string>', 'list', oneOf(`array['a', 'b,c', null]`, `array['ż 🙂']`)),
    e: column('mood', 'enum(low,ok,high)', 'text', oneOf(`'low'`, `'ok'`, `'high'`)),
    ip: column('inet', 'string', 'text', oneOf(`'10.0.0.1/8'`, `'::1'`)),
  },
}

/** Large values that the server keeps apart, so that an update that leaves them alone does not log them. */
export const DOCS: SourceTable = {
  name: 'docs',
  key: ['id'],
  columns: {
    id: column('int', 'int', 'text', (random) => String(whole(random, 15))),
    title: column('text', 'string', 'text', word),
    body: column('text', 'string', 'text', large),
    notes: column('text', 'string', 'text', large),
    rev: column('int', 'int', 'text', (random) => String(whole(random, 1e6))),
  },
}

export const PAIRS: SourceTable = {
  name: 'pairs',
  key: ['a', 'b'],
  columns: {
    a: column(
      'text',
      'string',
      'text',
      oneOf(quoted('x'), quoted('zażółć'), quoted('é'), quoted('e\u0301'), quoted('')),
    ),
    b: column('int', 'int', 'text', (random) => String(whole(random, 6))),
    v: column('text', 'string', 'text', word),
  },
}

export const SOURCE_TABLES = [KINDS, DOCS, PAIRS] as const

export function createSql(table: SourceTable): string {
  const columns = Object.entries(table.columns).map(([name, { sql }]) => `${name} ${sql}`)
  const external =
    table === DOCS ? 'alter table docs alter body set storage external, alter notes set storage external;' : ''
  return `create table ${table.name}(${columns.join(', ')}, primary key (${table.key.join(', ')})); ${external}`
}

/** Transactions of random changes, each one text; the same for the same seed. Some are rolled back. */
export function randomTransactions(seed: number, count: number): readonly string[] {
  const random = randomOf(seed)
  return Array.from({ length: count }, () => {
    const statements = Array.from({ length: 1 + whole(random, 6) }, () =>
      statement(pick(random, SOURCE_TABLES), random),
    )
    return `begin; ${statements.join('; ')}; ${random() < 0.1 ? 'rollback' : 'commit'}`
  })
}

function statement(table: SourceTable, random: () => number): string {
  const draw = random()
  if (draw < 0.35) return insert(table, random)
  if (draw < 0.75) return update(table, random)
  return draw < 0.85 ? changeKey(table, random) : `delete from ${table.name} where ${where(table, random)}`
}

function insert(table: SourceTable, random: () => number): string {
  const names = Object.keys(table.columns)
  const values = names.map((name) => value(table, name, random))
  return `insert into ${table.name} values (${values.join(', ')}) on conflict do nothing`
}

function update(table: SourceTable, random: () => number): string {
  const names = Object.keys(table.columns).filter((name) => !table.key.includes(name) && random() < 0.4)
  if (names.length === 0) return `delete from ${table.name} where ${where(table, random)}`
  const sets = names.map((name) => `${name} = ${value(table, name, random)}`)
  return `update ${table.name} set ${sets.join(', ')} where ${where(table, random)}`
}

/**
 * Only to a key that is free, or the whole transaction would fail. Large values change with it: those that do not are
 * neither in the event of the new key nor in any row of that key.
 */
function changeKey(table: SourceTable, random: () => number): string {
  const name = table.key.at(-1)!
  const to = value(table, name, random)
  const others = table.key.slice(0, -1).map((key) => `o.${key} = t.${key} and `)
  const isTaken = `exists (select 1 from ${table.name} o where ${others.join('')}o.${name} = ${to})`
  const large = table === DOCS ? ['body', 'notes'].map((column) => `, ${column} = ${value(table, column, random)}`) : []
  return `update ${table.name} t set ${name} = ${to}${large.join('')} where ctid = (select ctid from ${table.name} t where not ${isTaken} order by ${table.key.join(', ')} limit 1)`
}

function where(table: SourceTable, random: () => number): string {
  const name = table.key.at(-1)!
  return `${name} = ${value(table, name, random)}`
}

function value(table: SourceTable, name: string, random: () => number): string {
  const isNull = !table.key.includes(name) && random() < 0.12
  return isNull ? 'null' : table.columns[name]!.values(random)
}

function large(random: () => number): string {
  const seed = whole(random, 1e6)
  const pieces = 10 + whole(random, 200)
  return `(select string_agg(md5((${seed} + k)::text), '') from generate_series(1, ${pieces}) k)`
}
