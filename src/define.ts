import { createHash } from 'node:crypto'
import { columnText, type Column } from './batch.ts'
import type { StartAt } from './log.ts'

/** How a record's value becomes columns. `raw` keeps key, value and headers as they are. */
export type ValueFormat = 'json' | 'raw'

export interface EventTime {
  /** A declared column of type timestamp, timestamptz or long, or `_timestamp` (the record's own timestamp). */
  readonly column: string
  /** Unit of a `long` column; timestamps carry their own. */
  readonly unit: 's' | 'ms' | 'us'
  readonly outOfOrdernessMs: number
  readonly idleAfterMs: number
  /** An event further ahead of its record's timestamp does not move the clock. */
  readonly maxFutureSkewMs: number
}

/** A table as it runs: every default filled in, nothing optional left to interpretation. Made by define.ts or config.ts. */
export interface TableDefinition {
  readonly kind: 'table'
  readonly name: string
  readonly topic: string
  readonly value: ValueFormat
  readonly startAt: StartAt
  readonly columns: readonly Column[]
  readonly eventTime: EventTime | undefined
  /** Iceberg transforms over columns: `status`, `day(updatedAt)`, `bucket(16, orderId)`, `truncate(4, zip)`, `hour month year`. */
  readonly partitionBy: readonly string[]
  readonly onError: 'dead-letter' | 'stop' | 'skip'
  readonly unknown: 'extra' | 'ignore' | 'fail'
}

export interface PipelineDefinition {
  readonly name: string
  readonly tables: readonly TableDefinition[]
  readonly onDataLoss: 'stop' | 'record-gap'
}

export interface LakeDefinition {
  readonly pipelines: readonly PipelineDefinition[]
}

/** Raised only when a release changes what the same definition and log give. */
const SEMANTICS = 1

/**
 * Hash of everything that decides a table's rows. Settings (lanes, intervals, credentials) and `startAt`, which only
 * says where a log begins, are not part of it.
 */
export function codeHash(table: TableDefinition): string {
  const normal = {
    semantics: SEMANTICS,
    name: table.name,
    topic: table.topic,
    value: table.value,
    columns: table.columns.map((column) => [column.name, columnText(column)]),
    eventTime: table.eventTime,
    partitionBy: table.partitionBy,
    onError: table.onError,
    unknown: table.unknown,
  }
  return createHash('sha256').update(JSON.stringify(normal)).digest('hex').slice(0, 32)
}

/** Name of the companion table that keeps a table's dead letters. Names with `__` are ours alone. */
export function deadLetterTable(name: string): string {
  return `${name}__dlq`
}
