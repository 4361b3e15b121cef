import { APPEND, STORED, type TableDefinition } from '../../src/define.ts'
import type { Encoder, StagedCounts } from '../../src/ingest/lane.ts'
import { valueOf } from '../../src/ingest/record-batch.ts'
import { dataFiles } from '../../src/lake/scan.ts'
import { openTable, type DataFile, type Storage } from '../../src/lake/table.ts'
import { partitionId, type PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'

/** Tables for tests of the path: data files are JSON arrays of `partition@offset=value`. */
export function rowTable(name: string, topic: string): TableDefinition {
  return {
    kind: 'table',
    name,
    topic,
    value: 'json',
    startAt: 'earliest',
    columns: [{ name: 'v', type: { kind: 'string' } }],
    eventTime: undefined,
    partitionBy: [],
    onError: 'dead-letter',
    unknown: 'ignore',
    ...APPEND,
    ...STORED,
  }
}

/** Files that were written, by all processes together: names of files are given once. */
let files = 0

/**
 * Values that begin with `bad` become dead letters. `onEncode` may wait, count or throw. `rowOf` is what a table makes of
 * a value; undefined: nothing.
 */
export function rowEncoder(
  storage: Storage,
  onEncode: () => Promise<void> | void = () => undefined,
  rowOf: (table: string, value: string) => string | undefined = (_, value) => value,
): Encoder {
  const write = async (prefix: string, rows: readonly string[]): Promise<DataFile[]> => {
    if (rows.length === 0) return []
    const key = `${prefix}${files++}-${rows[0]!.replaceAll(/[^\w@]/g, '-')}.json`
    const bytes = Buffer.from(JSON.stringify(rows))
    await storage.put(key, bytes)
    return [{ key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }]
  }
  return {
    async encode(plan, batches) {
      await onEncode()
      const [rows, deadLetters]: [string[], string[]] = [[], []]
      const counts = new Map<PartitionId, StagedCounts>()
      for (const batch of batches) {
        const id = partitionId(batch.topic, batch.partition)
        const before = counts.get(id) ?? { rows: 0, deadLetters: 0, tombstones: 0, skipped: 0, clockMs: undefined }
        const count = { ...before }
        for (let i = 0; i < batch.count; i++) {
          const value = Buffer.from(valueOf(batch, i)!).toString()
          const isBad = value.startsWith('bad')
          const row = isBad ? value : rowOf(plan.table, value)
          if (row !== undefined) (isBad ? deadLetters : rows).push(`${batch.partition}@${batch.offsets[i]}=${row}`)
          if (isBad) count.deadLetters++
          else if (row === undefined) count.skipped++
          else count.rows++
        }
        counts.set(id, count)
      }
      if (plan.isUnwritten === true)
        return { table: plan.table, files: [], deadLetterFiles: [], counts, isStored: false, isUnwritten: true }
      const [files, deadLetterFiles] = [
        await write(plan.data.dataPrefix, rows),
        await write(plan.deadLetters.dataPrefix, deadLetters),
      ]
      return { table: plan.table, files, deadLetterFiles, counts }
    },
    close: () => Promise.resolve(),
  }
}

/** All rows of a table at a version, sorted; a row that is there twice stands there twice. */
export async function rowsOf(storage: Storage, version: Version, table: string): Promise<string[]> {
  const files = await dataFiles(storage, await openTable(storage, version.tables[table]!.metadata))
  const rows: string[] = []
  for (const { key } of files) rows.push(...(JSON.parse(Buffer.from((await storage.get(key))!).toString()) as string[]))
  return rows.sort()
}
