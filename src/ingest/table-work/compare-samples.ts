import type { DuckDBValue } from '@duckdb/node-api'
import type { IcebergField } from '../../lake/table.ts'
import { jsonStyle, plainValue } from '../../values.ts'
import type { Comparison } from '../keys.ts'
import { RowHashes, type CompareContext, type ComparedSide } from './compare-scan.ts'
import type { SideNumber } from './group-sums.ts'
import { withLocalFiles } from './local-files.ts'
import type { MarkedRows, Marks } from './marked-rows.ts'
import { filesSql, nameOf, sqlType } from './stored-sql.ts'

// The few rows of a comparison that a person sees, chosen among many by DuckDB, which keeps no more than are wanted.

const [BEFORE, AFTER, GROUPS] = ['compared_before', 'compared_after', 'compared_groups'] as const

export interface FirstGroup {
  readonly values: readonly unknown[]
  /** Four words of hash. */
  readonly hash: Int32Array
}

/** The first groups in the order of their values; `marks` name one row of each, on either side. */
export async function firstGroups(
  context: CompareContext,
  marked: MarkedRows,
  sides: readonly ComparedSide[],
  marks: readonly Marks[],
  group: readonly string[],
  groupsMax: number,
): Promise<readonly FirstGroup[]> {
  const { connection } = context
  const columns = group.map((_, k) => `g${k}`)
  const types = group.map((name, k) => `g${k} ${sqlType(sides[0]!.field(name).type)}`)
  try {
    await connection.run(`CREATE OR REPLACE TEMP TABLE ${GROUPS} (${types.join(', ')})`)
    for (const side of sides) {
      const fields = group.map((name) => side.field(name))
      await keepFirst(context, marked, side, marks[side.number]!, {
        into: GROUPS,
        fields,
        order: fields,
        rowsMax: groupsMax,
      })
    }
    const hashes = new RowHashes((name) => sides[0]!.field(name), [group], 0)
    // Columns as they are hashed.
    const selected = hashes.fields.map(({ name }) => columns[group.indexOf(name)]!)
    const result = await connection.run(
      `SELECT ${selected.join(', ')} FROM ${GROUPS} ORDER BY ${columns.join(', ')} LIMIT ${groupsMax}`,
    )
    const found: FirstGroup[] = []
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const [states] = hashes.of(chunk.chunk, chunk.rowCount)
      const vectors = group.map((name) =>
        chunk!.getColumnVector(hashes.fields.findIndex((field) => field.name === name)),
      )
      for (let row = 0; row < chunk.rowCount; row++) {
        const values = vectors.map((vector) => plainValue(vector.getItem(row) as DuckDBValue, jsonStyle))
        found.push({ values, hash: states!.slice(4 * row, 4 * row + 4) })
      }
    }
    return found
  } finally {
    await connection.run(`DROP TABLE IF EXISTS ${GROUPS}`)
  }
}

/** The first rows in the order of the key, of those that are marked, paired by it. */
export async function firstSamples(
  context: CompareContext,
  marked: MarkedRows,
  sides: readonly ComparedSide[],
  marks: readonly Marks[],
  key: readonly string[],
  samplesMax: number,
): Promise<Comparison['samples']> {
  const { connection } = context
  const tables = [BEFORE, AFTER]
  try {
    for (const side of sides) {
      const { fields } = side
      const into = tables[side.number]!
      const types = fields.map((field) => `${nameOf(field)} ${sqlType(field.type)}`)
      await connection.run(`CREATE OR REPLACE TEMP TABLE ${into} (${types.join(', ')})`)
      const keys = key.map((name) => side.field(name))
      // Which rows of one key are taken follows from what they say.
      const order = [...keys, ...fields.filter((field) => !keys.includes(field))]
      await keepFirst(context, marked, side, marks[side.number]!, { into, fields, order, rowsMax: samplesMax })
    }
    const rows = await Promise.all(sides.map((side) => rowsOf(context, tables[side.number]!, side.fields)))
    const pairs: { before?: Row; after?: Row }[] = []
    for (const places of await placesByKey(context, sides, tables, key)) {
      if (pairs.length >= samplesMax) break
      for (let k = 0; k < Math.max(places[0].length, places[1].length); k++) {
        const [before, after] = [places[0][k], places[1][k]]
        pairs.push({
          ...(before === undefined ? {} : { before: rows[0]!.get(before)! }),
          ...(after === undefined ? {} : { after: rows[1]!.get(after)! }),
        })
      }
    }
    return pairs.slice(0, samplesMax).map(({ before, after }) => ({ before, after }))
  } finally {
    for (const table of tables) await connection.run(`DROP TABLE IF EXISTS ${table}`)
  }
}

type Row = Readonly<Record<string, unknown>>

/** Appends the first marked rows of each batch of files. */
async function keepFirst(
  { connection, storage, clock, onStep }: CompareContext,
  marked: MarkedRows,
  side: ComparedSide,
  marks: Marks,
  {
    into,
    fields,
    order,
    rowsMax,
  }: {
    readonly into: string
    readonly fields: readonly IcebergField[]
    readonly order: readonly IcebergField[]
    readonly rowsMax: number
  },
): Promise<void> {
  const [columns, by] = [fields, order].map((list) => list.map(nameOf).join(', '))
  for (const { first, rows } of side.batches()) {
    const chosen = rows.flatMap(({ file }, k) => {
      const words = marks.of(first + k)
      return words === undefined ? [] : [{ file, words }]
    })
    if (chosen.length === 0) continue
    const files = chosen.map(({ file }) => file)
    marked.feed(chosen.map(({ words }) => words))
    await withLocalFiles(storage, clock, files, (paths) =>
      connection.run(
        `INSERT INTO ${into} SELECT ${columns} FROM ${filesSql(paths, side.fields)} ` +
          `WHERE ${marked.name}(file_index, file_row_number) ORDER BY ${by} LIMIT ${rowsMax}`,
      ),
    )
    onStep()
  }
}

/** Rows of both tables by key, in its order: `rowid`s of those before, and of those after. */
async function placesByKey(
  { connection }: CompareContext,
  sides: readonly ComparedSide[],
  tables: readonly string[],
  key: readonly string[],
): Promise<readonly (readonly [bigint[], bigint[]])[]> {
  const rows = sides.map((side) => {
    const keys = key.map((name, k) => `${nameOf(side.field(name))} AS k${k}`)
    return `SELECT ${side.number} AS side, rowid AS place, ${keys.join(', ')} FROM ${tables[side.number]!}`
  })
  const by = key.map((_, k) => `k${k}`).join(', ')
  const result = await connection.runAndReadAll(
    `SELECT side, place, dense_rank() OVER (ORDER BY ${by}) AS number FROM (${rows.join(' UNION ALL ')}) ORDER BY number, side, place`,
  )
  const found = new Map<bigint, [bigint[], bigint[]]>()
  for (const [side, place, number] of result.getRows() as [SideNumber, bigint, bigint][]) {
    const places = found.get(number) ?? [[], []]
    found.set(number, places)
    places[side].push(place)
  }
  return [...found.values()]
}

async function rowsOf(
  { connection }: CompareContext,
  table: string,
  fields: readonly IcebergField[],
): Promise<ReadonlyMap<bigint, Row>> {
  const result = await connection.runAndReadAll(`SELECT rowid, ${fields.map(nameOf).join(', ')} FROM ${table}`)
  return new Map(
    result.getRows().map(([place, ...values]) => {
      const row = values.map((value, k) => [fields[k]!.name, plainValue(value, jsonStyle)] as const)
      return [place as bigint, Object.fromEntries(row)]
    }),
  )
}
