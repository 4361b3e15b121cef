import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Column } from '../../../src/batch.ts'
import { Relation } from '../../../src/ingest/decode/relation.ts'
import type { Slab } from '../../../src/ingest/decode/slab.ts'
import { slabPieces } from '../../../src/ingest/window/slab-pieces.ts'
import { aggregateSql } from '../../../src/window/aggregates.ts'
import { pieceColumns } from '../../../src/window/double-pieces.ts'
import { partialsSql } from '../../../src/window/long-rows.ts'

// A5: what the lane takes to pieces is what SQL makes of the bits of the very same numbers.

let instance: DuckDBInstance
let connection: DuckDBConnection

beforeAll(async () => {
  instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
})

afterAll(() => {
  connection.closeSync()
  instance.closeSync()
})

const CORNERS = [0, -0, 1, -1, 2 ** -1_074, -(2 ** -1_022), Number.MAX_VALUE, NaN, Infinity, -Infinity, 0.1]

test.each(['double', 'float'] as const)(
  '%ss have the partials that their bits have',
  { timeout: 60_000 },
  async (kind) => {
    const column: Column = { name: 'x', type: { kind } }
    const columns: readonly Column[] = [column, { name: 'group', type: { kind: 'int' } }]
    let slabs: readonly Slab[] = []
    const name = `of_${kind}`
    const relation = new Relation(
      connection,
      name,
      [...columns, ...pieceColumns(column)],
      [0, 1, ...slabPieces(column, 0)],
    )
    const rows = `(SELECT *, 0::BIGINT AS __start, 10::BIGINT AS __end, 1::BIGINT AS __event_ms FROM ${name}())`
    const partials = (of: readonly Column[], where?: string): string => {
      const define = (name: string, fn: 'sum' | 'avg', filter = where) => ({
        name,
        fn,
        column: 'x',
        n: undefined,
        where: filter,
      })
      // More keys than are grouped with the cell.
      const all = [
        define('sum', 'sum'),
        define('avg', 'avg'),
        define('above', 'sum', 'x > 1'),
        define('below', 'sum', 'x < 0'),
      ]
      const aggregates = all.map((each) => aggregateSql(each, of, 'events'))
      return partialsSql(
        { groups: [columns[1]!], aggregates, computed: [], hasLastEvent: true, isSliced: false },
        'events',
        rows,
      )
    }
    // Grouped by the kind of what has no bucket as well: rows of one cell are added up.
    const cells = async (sql: string): Promise<string> => {
      const keys = ['group', 'sum__value', 'avg__value', 'above__value', 'below__value']
        .map((key) => `"${key}"`)
        .join(', ')
      const sums = `${keys}, sum(COLUMNS('rows|count|nan|infinity|weight'))`
      const answer = await connection.runAndReadAll(`SELECT ${sums} FROM (${sql}) GROUP BY ${keys} ORDER BY ALL`)
      return JSON.stringify(answer.getRowObjectsJson())
    }
    const value = fc.option(fc.oneof(fc.constantFrom(...CORNERS), fc.double()), { freq: 8 })
    const slab = fc.array(fc.tuple(value, fc.nat(1)), { minLength: 1, maxLength: 130 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(slab, { minLength: 1, maxLength: 3 }),
        fc.constantFrom(undefined, '"group" = 0'),
        async (all, where) => {
          slabs = all.map((values) => slabOf(kind, values))
          relation.feed(slabs)
          expect(await cells(partials([...columns, ...pieceColumns(column)], where))).toBe(
            await cells(partials(columns, where)),
          )
          relation.feed([])
        },
      ),
      { numRuns: 60 },
    )
  },
)

/** A column of floats or doubles and one of integers. */
function slabOf(kind: 'double' | 'float', values: readonly (readonly [number | null, number])[]): Slab {
  const rows = values.length
  const buffer = new ArrayBuffer(16 * rows + 64)
  const width = kind === 'double' ? 8 : 4
  const numbers = kind === 'double' ? new Float64Array(buffer, 0, rows) : new Float32Array(buffer, 0, rows)
  const groupsAt = 8 * rows
  const validAt = Math.ceil((12 * rows) / 8) * 8
  const valid = new Uint8Array(buffer, validAt)
  for (const [k, [x, group]] of values.entries()) {
    // What is null has any bits.
    numbers[k] = x ?? 3
    new Int32Array(buffer, groupsAt)[k] = group
    if (x !== null) valid[k >> 3]! |= 1 << (k & 7)
  }
  const fixed = { layout: 'fixed', rows, children: [] } as const
  return {
    rows,
    buffer,
    columns: [
      { ...fixed, width, dataAt: 0, validAt: values.some(([x]) => x === null) ? validAt : -1 },
      { ...fixed, width: 4, dataAt: groupsAt, validAt: -1 },
    ],
  }
}
