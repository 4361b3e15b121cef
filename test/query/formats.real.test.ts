import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { openEngine, type Engine, type QueryFormat } from '../../src/query/engine.ts'
import { CHILD_PATH, querySettings, resolverOf } from './support.ts'

const cache = process.env['KAPPALAKE_CACHE'] ?? path.resolve(import.meta.dirname, '../../.cache')

let engine: Engine
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-formats-'))
  engine = await openEngine({
    settings: querySettings({ children: 1, rowsMax: 10 }),
    resolve: resolverOf([]),
    clock: systemClock,
    childPath: CHILD_PATH,
  })
}, 30_000)

afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true })
})

async function bytesOf(sql: string, format: QueryFormat): Promise<Buffer> {
  const { body } = await engine.query({ sql, format })
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts)
}

async function fileOf(sql: string, format: 'arrow' | 'parquet'): Promise<string> {
  const file = path.join(folder, `result.${format}`)
  await writeFile(file, await bytesOf(sql, format))
  return file
}

interface Seen {
  readonly types: Readonly<Record<string, string>>
  readonly parquetTypes: Readonly<Record<string, string>>
  readonly rows: number
  readonly batches: number
  readonly rowGroups: number
  readonly different: readonly string[]
  readonly second: Readonly<Record<string, string>>
}

/** What pyarrow makes of a result in both formats. */
async function seenByPyarrow(sql: string): Promise<Seen> {
  const python = path.join(cache, 'python/bin/python')
  expect(existsSync(python), `${python} is missing: run \`npm run setup\``).toBe(true)
  const script = path.join(import.meta.dirname, '../interop/python/read_results.py')
  const { stdout } = await promisify(execFile)(python, [
    script,
    await fileOf(sql, 'arrow'),
    await fileOf(sql, 'parquet'),
  ])
  return JSON.parse(stdout) as Seen
}

/** Every type that both formats have, nulls among the values. */
const everything = (rows: number): string => `
  select i, case when i % 3 <> 0 then i % 2 = 0 end flag,
    (i % 100 - 50)::tinyint i8, (i % 1000 - 300)::smallint i16, -i::integer i32, (i * -4611686018427)::bigint i64,
    (i % 200)::utinyint u8, (65535 - i % 100)::usmallint u16, (4294967295 - i)::uinteger u32, (18446744073709551615::hugeint - i)::ubigint u64,
    (i * 1e20)::hugeint wide, (i / 7)::float f32, case when i % 4 = 1 then 'nan'::double else i / 7 end f64,
    (i % 100 * 1.25)::decimal(5, 2) d5, (i * -1.25)::decimal(15, 3) d15, (i * 1.25)::decimal(30, 4) d30,
    case when i % 5 <> 0 then 'text ' || i || ' ü€😀' end s, case when i % 2 = 0 then '' end e, encode('b' || i) b,
    date '1969-12-30' + (i % 1000)::integer da, time '00:00:00.000001' + to_seconds(i % 86400) ti,
    timestamp '1969-12-31 23:59:59.123456' + to_seconds(i) us, timestamptz '2026-01-01 00:00:00.5+02' + to_seconds(i) tz,
    (timestamp '2026-01-01' + to_seconds(i))::timestamp_s sec, (timestamp '2026-01-01' + to_seconds(i))::timestamp_ms ms,
    (timestamp '2026-01-01 00:00:00.000001' + to_seconds(i))::timestamp_ns ns,
    [i, null, i + 1] l, case i % 4 when 0 then null when 1 then [] else [[i], [], null, [null, i]] end ll,
    {'a': i, 'b': {'c': 'x' || i, 'd': [i]}} st, case when i % 2 = 0 then {'a': case when i % 4 = 0 then i end} end sn,
    case when i % 3 <> 0 then map([i, i + 1], ['x', null]) end m, [{'k': [1, i]}, null] ls, [1.5, i]::float[2] ar
  from range(${rows}) t(i) order by i`

/** How many rows of one query the other one does not have. */
const missing = (left: string, right: string): string => `(select count(*) from ((${left}) except (${right})))`

describe('a result in binary formats', () => {
  test('is what pyarrow reads, with the same types and values in both', async () => {
    const seen = await seenByPyarrow(everything(2_500))
    expect(seen).toMatchObject({ rows: 2_500, rowGroups: 1, different: ['f64'] }) // NaN is never equal to itself
    expect(seen.batches).toBeGreaterThan(1)
    expect(seen.types).toEqual({
      i: 'int64',
      flag: 'bool',
      i8: 'int8',
      i16: 'int16',
      i32: 'int32',
      i64: 'int64',
      u8: 'uint8',
      u16: 'uint16',
      u32: 'uint32',
      u64: 'uint64',
      wide: 'decimal128(38, 0)',
      f32: 'float',
      f64: 'double',
      d5: 'decimal128(5, 2)',
      d15: 'decimal128(15, 3)',
      d30: 'decimal128(30, 4)',
      s: 'string',
      e: 'string',
      b: 'binary',
      da: 'date32[day]',
      ti: 'time64[us]',
      us: 'timestamp[us]',
      tz: 'timestamp[us, tz=UTC]',
      sec: 'timestamp[ms]',
      ms: 'timestamp[ms]',
      ns: 'timestamp[ns]',
      l: 'list<item: int64>',
      ll: 'list<item: list<item: int64>>',
      st: 'struct<a: int64, b: struct<c: string, d: list<item: int64>>>',
      sn: 'struct<a: int64>',
      m: 'map<int64, string>',
      ls: 'list<item: struct<k: list<item: int64>>>',
      ar: 'list<item: float>',
    })
    const named = Object.entries(seen.parquetTypes).map(([name, type]) => [
      name,
      type.replaceAll('element:', 'item:').replace(" ('m')", ''),
    ])
    expect(Object.fromEntries(named)).toEqual(seen.types)
    expect(seen.second).toMatchObject({
      flag: 'False',
      i8: '-49',
      u64: '18446744073709551614',
      wide: '100000000000000000000',
      d5: '1.25',
      d15: '-1.250',
      d30: '1.2500',
      s: 'text 1 ü€😀',
      e: 'None',
      b: "b'b1'",
      da: '1969-12-31',
      ti: '00:00:01.000001',
      us: '123456',
      tz: '1767218401500000',
      ns: '1767225601000001000',
      l: '[1, None, 2]',
      ll: '[]',
      st: "{'a': 1, 'b': {'c': 'x1', 'd': [1]}}",
      sn: 'None',
      m: "[(1, 'x'), (2, None)]",
      ls: "[{'k': [1, 1]}, None]",
      ar: '[1.5, 1.0]',
    })
  }, 60_000)

  test('is, as Parquet, what DuckDB reads', async () => {
    const sql = everything(30_000)
    const file = await fileOf(sql, 'parquet')
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    await connection.run("SET TimeZone = 'UTC'")
    const one = async (text: string): Promise<unknown> => (await connection.runAndReadAll(text)).getRowsJS()[0]
    const read = `from read_parquet('${file}')`
    expect(await one(`select ${missing(sql, read)}, ${missing(read, sql)}, (select count(*) ${read})`)).toEqual([
      0n,
      0n,
      30_000n,
    ])
    const groups = `select distinct row_group_id, row_group_num_rows n from parquet_metadata('${file}')`
    expect(await one(`select count(*) > 1, sum(n)::bigint from (${groups})`)).toEqual([true, 30_000n])
    connection.closeSync()
    instance.closeSync()
  }, 60_000)

  test('may have no rows', async () => {
    const seen = await seenByPyarrow('select 1 a, [1] b from range(0)')
    expect(seen).toMatchObject({ rows: 0, rowGroups: 0, types: { a: 'int32', b: 'list<item: int32>' }, different: [] })
  }, 30_000)

  test('has texts where the formats have no type', async () => {
    const sql = `select interval 1 day iv, '00000000-0000-0000-0000-00000000002a'::uuid id, '101'::bit b, time with time zone '10:00:00+02' tz, row(1, 'x') r
      from range(2)`
    const seen = await seenByPyarrow(sql)
    expect(new Set(Object.values(seen.types))).toEqual(new Set(['string']))
    expect(seen.different).toEqual([])
    const [row] = (await engine.rows({ sql: `${sql} limit 1` })) as [Record<string, unknown>]
    expect(seen.second['iv']).toBe(row['iv'])
    expect(seen.second['id']).toBe('00000000-0000-0000-0000-00000000002a')
  }, 30_000)

  test.each(['arrow', 'parquet'] as const)('%s: one integer too many digits is an error', async (format) => {
    await expect(bytesOf('select 170141183460469231731687303715884105727::hugeint h', format)).rejects.toMatchObject({
      code: 'sql.failed',
      message: expect.stringContaining('39 digits'),
    })
  })

  test.each(['ndjson', 'csv', 'arrow', 'parquet'] as const)(
    '%s: a failure before the first piece is a failure of the query',
    async (format) => {
      const sql = `select case when range = 9000 then error('at 9000') else range end n from range(10000)`
      await expect(engine.query({ sql, format })).rejects.toMatchObject({ code: 'sql.failed', message: 'at 9000' })
    },
  )

  test.each(['arrow', 'parquet'] as const)('%s: what fails on the way has no end', async (format) => {
    const sql = `select case when range = 900000 then error('at 900000') else range end n from range(1000000)`
    const { body } = await engine.query({ sql, format })
    const parts: Uint8Array[] = []
    const reading = (async () => {
      for await (const part of body) parts.push(part)
    })()
    await expect(reading).rejects.toMatchObject({ code: 'sql.failed', message: 'at 900000' })
    const tail = Buffer.concat(parts).subarray(format === 'arrow' ? -8 : -4)
    expect(parts.length).toBeGreaterThan(1)
    expect(tail.equals(format === 'arrow' ? Buffer.from([255, 255, 255, 255, 0, 0, 0, 0]) : Buffer.from('PAR1'))).toBe(
      false,
    )
  })
})
