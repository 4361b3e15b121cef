import type { DuckDBConnection } from '@duckdb/node-api'
import type { WindowKind } from '../../define-window.ts'
import { BUCKET_COLUMN, bucketSql, fromText } from './assign.ts'
import { calendarOf, calendarWindowsBetween, nominalMs } from './calendar.ts'
import { CELL_COLUMNS, LANE_COLUMNS } from './window.ts'

/**
 * Makes `table`, in memory, with the windows that events of `input` (best a table, it is read once more) can lie in; an earlier one of that name goes. Only buckets of time in which there are events are filled, so
 * that one event in a far year costs one more window, not all between.
 */
export async function createBoundaries(
  connection: DuckDBConnection,
  kind: WindowKind,
  input: string,
  table: string,
): Promise<void> {
  const calendar = calendarOf(kind)!
  const answer = await connection.runAndReadAll(
    `SELECT DISTINCT ${bucketSql(calendar)} AS ${BUCKET_COLUMN} FROM ${fromText(input)} WHERE ${LANE_COLUMNS.event} IS NOT NULL`,
  )
  await connection.run(
    `CREATE OR REPLACE TEMP TABLE ${table} (${BUCKET_COLUMN} BIGINT, ${CELL_COLUMNS.start} BIGINT, ${CELL_COLUMNS.end} BIGINT)`,
  )
  const appender = await connection.createAppender(table)
  try {
    for (const bucket of answer.getColumns()[0] ?? []) {
      const bucketStart = Number(bucket)
      for (const { startMs, endMs } of calendarWindowsBetween(
        calendar,
        bucketStart,
        bucketStart + nominalMs(calendar),
      )) {
        appender.appendBigInt(bucket as bigint)
        appender.appendBigInt(BigInt(startMs))
        appender.appendBigInt(BigInt(endMs))
        appender.endRow()
      }
    }
  } finally {
    appender.closeSync()
  }
}
