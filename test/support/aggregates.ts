import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection, type Json } from '@duckdb/node-api'
import type { Column } from '../../src/batch.ts'
import type { AggregateDefinition, AggregateFunction } from '../../src/define-window.ts'
import { aggregateSql } from '../../src/window/aggregates.ts'
import type { WindowShape } from '../../src/window/columns.ts'
import { registerExact } from '../../src/window/exact-double.ts'
import { mergeSql, partialsSql, resultsSql } from '../../src/window/long-rows.ts'
import { sqlTypeOf } from '../../src/window/sql-type.ts'

export type Input = 'events' | 'rows'
export const DOUBLE: Column = { name: 'x', type: { kind: 'double' } }
export const LONG: Column = { name: 'x', type: { kind: 'long' } }

export function define(fn: AggregateFunction, extra: Partial<AggregateDefinition> = {}): AggregateDefinition {
  return { name: fn, fn, column: 'x', n: undefined, where: undefined, ...extra }
}

export function shapeOf(
  column: Column,
  input: Input,
  definitions: readonly AggregateDefinition[],
  isSliced = false,
): WindowShape {
  const aggregates = definitions.map((definition) => aggregateSql(definition, [column], input))
  return { groups: [], aggregates, computed: [], hasLastEvent: false, isSliced }
}

/** Rows as [value, window's start, sign]; the position is the place in the list. */
export type Given = readonly [value: string, start?: number, sign?: 1 | -1]

export function relation({ type }: Column, input: Input, rows: readonly Given[]): string {
  const tuples = rows.map(([value, start = 0, sign = 1], k) => `(${value}, ${start}, ${k}, ${sign})`)
  const sign = input === 'rows' ? ', CAST(s AS BIGINT) AS __sign' : ''
  return `(SELECT CAST(v AS ${sqlTypeOf(type)}) AS x, CAST(w AS BIGINT) AS __start, CAST(w + 10 AS BIGINT) AS __end,
CAST(o AS BIGINT) AS __event_ms, CAST(0 AS INTEGER) AS _kafka_partition, CAST(o AS BIGINT) AS _offset${sign}
FROM (VALUES ${tuples.join(', ')}) AS t(v, w, o, s))`
}

/** Aggregates of batches, each of which becomes a Parquet file, as a lane writes it. */
export class Aggregates {
  readonly #folder: string
  readonly #instance: DuckDBInstance
  readonly connection: DuckDBConnection

  private constructor(folder: string, instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#folder = folder
    this.#instance = instance
    this.connection = connection
  }

  static async open(): Promise<Aggregates> {
    const folder = await mkdtemp(path.join(tmpdir(), 'aggregates-'))
    const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
    const connection = await instance.connect()
    registerExact(connection)
    return new Aggregates(folder, instance, connection)
  }

  /** One row per window: its results, by name. */
  async of(
    column: Column,
    input: Input,
    definitions: readonly AggregateDefinition[],
    batches: readonly (readonly Given[])[],
  ): Promise<Record<string, Json>[]> {
    const shape = shapeOf(column, input, definitions)
    const merged = mergeSql(shape, await this.files(shape, input, column, batches))
    return this.json(`${resultsSql(shape, `(${merged})`)} ORDER BY __start`)
  }

  async files(
    shape: WindowShape,
    input: Input,
    column: Column,
    batches: readonly (readonly Given[])[],
  ): Promise<string> {
    const paths: string[] = []
    for (const [k, rows] of batches.entries()) {
      const file = path.join(this.#folder, `${k}.parquet`)
      const partials = partialsSql(shape, input, relation(column, input, rows))
      await this.connection.run(`COPY (${partials}) TO '${file}' (FORMAT parquet)`)
      paths.push(`'${file}'`)
    }
    return `read_parquet([${paths.join(', ')}])`
  }

  async json(sql: string): Promise<Record<string, Json>[]> {
    return (await this.connection.runAndReadAll(sql)).getRowObjectsJson()
  }

  async close(): Promise<void> {
    this.connection.closeSync()
    this.#instance.closeSync()
    await rm(this.#folder, { recursive: true })
  }
}
