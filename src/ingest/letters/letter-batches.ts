import type { DuckDBConnection } from '@duckdb/node-api'
import type { WritePlan } from '../../lake/table.ts'
import { partitionId, type Cursor, type PartitionId, type RecordBatch, type Source } from '../../log.ts'
import { batchesOf } from '../archive/record-chunks.ts'
import { recordsSql } from './letter-sql.ts'

/** The records of marked rows of dead letters as the log had them, in order of partition and offset. */
export async function letterBatches(
  connection: DuckDBConnection,
  plan: WritePlan,
  paths: readonly string[],
  isMarked: string,
  topic: string,
): Promise<readonly RecordBatch[]> {
  const result = await connection.stream(recordsSql(plan, paths, isMarked))
  const batches: RecordBatch[] = []
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return batches
    batches.push(...batchesOf(chunk, { topic, topicId: '', end: () => 0n }))
  }
}

/** A log that holds these records and ends, and where each of its partitions begins. */
export function recordsOf(batches: readonly RecordBatch[]): {
  readonly source: Pick<Source, 'read'>
  readonly from: ReadonlyMap<PartitionId, Cursor>
} {
  const from = new Map<PartitionId, Cursor>()
  for (const { topic, partition, offsets } of batches) {
    const id = partitionId(topic, partition)
    if (!from.has(id)) from.set(id, { offset: offsets[0]!, leaderEpoch: -1, topicId: '' })
  }
  const source: Pick<Source, 'read'> = {
    async *read() {
      yield* batches
    },
  }
  return { source, from }
}
