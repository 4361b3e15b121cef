import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { deadLetterColumns, tableColumns } from '../../src/ingest/decode/columns.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { createTable, writePlan, type DataFile, type LakeTable, type Storage } from '../../src/lake/table.ts'
import { batchOf, definition } from '../support/lake-table.ts'
import { jsonText, type Row } from './value.ts'

export interface Encoded {
  readonly files: readonly DataFile[]
  /** The rows with the system columns that the encoder adds. */
  readonly rows: readonly Row[]
}

const TIMESTAMP_MS = 1_700_000_000_123

/** All columns of the source table that production makes for these. */
export function encodedColumns(columns: readonly Column[]): readonly Column[] {
  return tableColumns(definition({ columns }))
}

/** Writes rows the way production does: as records of JSON, decoded and encoded by a lane. Every record must become a row. */
export async function writeEncoded(
  storage: Storage,
  table: LakeTable,
  columns: readonly Column[],
  rows: readonly Row[],
  firstOffset: bigint,
): Promise<Encoded> {
  const defined = definition({ name: table.name, columns })
  const letters = await createTable(
    storage,
    { name: `${table.name}__dlq`, columns: deadLetterColumns, partitionBy: [], formatVersion: 3 },
    systemClock,
  )
  const types = new Map(table.schema.fields.map(({ name, type }) => [name, type]))
  const values = rows.map(
    (row) =>
      `{${columns.map(({ name }) => `${JSON.stringify(name)}:${jsonText(types.get(name)!, row[name]!)}`).join(',')}}`,
  )
  const records = values.map((value) => ({ value, timestampMs: TIMESTAMP_MS }))
  const encoder = await openEncoder({ tables: [defined], storage, clock: systemClock })
  const plan = { table: table.name, topic: defined.topic, data: writePlan(table), deadLetters: writePlan(letters) }
  const staged = await encoder.encode(plan, [batchOf(records, { first: firstOffset })], new Set())
  await encoder.close()
  if (staged.deadLetterFiles.length > 0) throw new Error(`${table.name}: records of the test became dead letters`)
  return {
    files: staged.files,
    rows: rows.map((row, index) => ({
      ...row,
      _kafka_partition: 0,
      _offset: firstOffset + BigInt(index),
      _timestamp: BigInt(TIMESTAMP_MS) * 1_000n,
    })),
  }
}
