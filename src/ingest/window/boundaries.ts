import type { DuckDBConnection } from '@duckdb/node-api'
import type { WindowKind } from '../../define-window.ts'
import { quoted } from '../decode/data-file-writer.ts'
import { BUCKET_COLUMN, bucketSql, fromText } from './assign.ts'
import { calendarOf, calendarWindowsBetween, nominalMs } from './calendar.ts'
import { LANE_COLUMNS } from './window.ts'
import { CELL_COLUMNS } from '../../window/sql.ts'

/**
 * Makes a temporary table, of a name that is not quoted yet, with the windows that events of `input` can lie in; an earlier
 * one of the name goes. `input` had better be a table, since it is read once more. Only buckets of time in which there
 * are events are filled: an event of a far year costs a window more, not all windows between.
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
    `CREATE OR REPLACE TEMP TABLE ${quoted(table)} (${BUCKET_COLUMN} BIGINT, ${CELL_COLUMNS.start} BIGINT, ${CELL_COLUMNS.end} BIGINT)`,
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
