import type { DuckDBConnection } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, Storage, WritePlan } from '../../lake/table.ts'
import { copyDataFile, quoted, ROW_GROUP_ROWS } from '../decode/data-file-writer.ts'
import type { PartitionTuple } from '../decode/partition.ts'
import type { ChangedRows, ConcatenateInput } from '../keys.ts'
import { registerRowFunction, type RowFunction } from './row-function.ts'
import { filesSql, nameOf, ROW_ID, SEQUENCE_NUMBER } from './stored-sql.ts'

/** Bytes of a row group, as inputs are stored. */
const GROUP_BYTES_MAX = 16 * 1024 * 1024
const CHUNK_ROWS = 2_048

/**
 * Writes the living rows of files of one partition tuple as one file, in their order: row `pos` of an input comes to
 * stand at base of the input + pos − dead rows below it. That rows pass in just that order is asserted with each chunk.
 */
export async function concatenate(
  connection: DuckDBConnection,
  alive: AliveRows,
  storage: Storage,
  clock: Clock,
  plan: WritePlan,
  inputs: readonly ConcatenateInput[],
  paths: readonly string[],
): Promise<DataFile> {
  check(plan, inputs)
  const isKnown = inputs.some(({ firstRowId }) => firstRowId !== undefined)
  const lineage = isKnown ? [ROW_ID, SEQUENCE_NUMBER] : []
  const { fields } = plan.schema
  const columns = [
    ...fields.map((field) => `${nameOf(field)} AS ${quoted(field.name)}`),
    ...(isKnown ? lineageSql(inputs) : []),
  ]
  const files = filesSql(paths, [...fields, ...lineage])
  const from = `SELECT ${columns.join(', ')} FROM ${files} WHERE ${alive.name}(file_index, file_row_number)`
  const rows = inputs.reduce((sum, { file, deleted }) => sum + file.recordCount - deleted.count, 0)
  try {
    alive.feed(inputs)
    const written = await copyDataFile(connection, storage, clock, plan, {
      from,
      rows,
      tuple: inputs[0]!.file.partition,
      groupRows: groupRows(inputs),
      lineage,
    })
    alive.assertDone()
    return written
  } finally {
    alive.feed([])
  }
}

/** A row group is in memory as a whole before it is written, several times as large as it is in the file. */
function groupRows(inputs: readonly ConcatenateInput[]): number {
  const rowBytes = Math.max(1, ...inputs.map(({ file }) => file.fileSizeBytes / Math.max(1, file.recordCount)))
  const chunks = Math.floor(GROUP_BYTES_MAX / rowBytes / CHUNK_ROWS)
  return Math.min(ROW_GROUP_ROWS, Math.max(1, chunks) * CHUNK_ROWS)
}

/** Rows that were rewritten before carry their own; null, and what has no such column, is as the manifest says. */
function lineageSql(inputs: readonly ConcatenateInput[]): string[] {
  const firsts = list(inputs.map(({ firstRowId }) => firstRowId))
  const numbers = list(
    inputs.map(({ firstRowId, sequenceNumber }) => (firstRowId === undefined ? undefined : sequenceNumber)),
  )
  return [
    `coalesce(${nameOf(ROW_ID)}, ${firsts} + file_row_number) AS ${ROW_ID.name}`,
    `coalesce(${nameOf(SEQUENCE_NUMBER)}, ${numbers}) AS ${SEQUENCE_NUMBER.name}`,
  ]
}

/** The value of a row's file. */
function list(values: readonly (bigint | undefined)[]): string {
  return `CAST([${values.map((value) => value ?? 'NULL').join(', ')}] AS BIGINT[])[CAST(file_index AS BIGINT) + 1]`
}

function check(plan: WritePlan, inputs: readonly ConcatenateInput[]): void {
  const wrong =
    inputs.find(({ file, deleted }) => deleted.rows !== file.recordCount) ??
    inputs.find(({ file }) => !isSame(file.partition, inputs[0]!.file.partition))
  if (inputs.length > 0 && wrong === undefined) return
  throw new LakeError('internal', `${plan.table}: files that cannot be concatenated`, {
    context: { table: plan.table, key: wrong?.file.key },
  })
}

function isSame(a: PartitionTuple, b: PartitionTuple): boolean {
  return (
    a.length === b.length &&
    a.every((value, k) => {
      const other = b[k]
      return value instanceof Uint8Array && other instanceof Uint8Array
        ? Buffer.compare(value, other) === 0
        : Object.is(value, other)
    })
  )
}

/**
 * `alive(file_index, file_row_number)`: whether a row of the files at hand is not deleted. A filter instead of a join,
 * since no plan can change the order in which it lets rows pass; one call per chunk.
 */
export class AliveRows {
  readonly name = 'is_alive'
  #inputs: readonly ChangedRows[] = []
  /** The row that must come next. */
  #file = 0
  #row = 0
  #fault: LakeError | undefined

  constructor(connection: DuckDBConnection) {
    const filter: RowFunction = (files, rows, count) => this.#filter(files, rows, count)
    registerRowFunction(connection, this.name, { file: 'ulong', result: 'boolean' }, filter)
  }

  /** Files that the next statement reads, in its order. */
  feed(inputs: readonly ChangedRows[]): void {
    this.#inputs = inputs
    this.#file = this.#row = 0
    this.#fault = undefined
  }

  /** Throws unless every row of every input passed, in order. */
  assertDone(): void {
    this.#skipEmpty()
    if (this.#fault === undefined && this.#file === this.#inputs.length) return
    throw this.#fault ?? outOfOrder(this.#file, this.#row)
  }

  #filter(files: Uint32Array, rows: Uint32Array, count: number): Uint8Array {
    const alive = new Uint8Array(count)
    for (let k = 0; k < count; k++) {
      this.#skipEmpty()
      const [file, row] = [files[2 * k]!, rows[2 * k]!]
      if (file !== this.#file || row !== this.#row || file >= this.#inputs.length) {
        this.#fault ??= outOfOrder(file, row)
        return alive
      }
      if (!this.#inputs[file]!.deleted.has(row)) alive[k] = 1
      this.#row++
    }
    return alive
  }

  #skipEmpty(): void {
    while (this.#file < this.#inputs.length && this.#row >= this.#inputs[this.#file]!.deleted.rows) {
      this.#file++
      this.#row = 0
    }
  }
}

function outOfOrder(file: number, row: number): LakeError {
  return new LakeError('internal', 'rows came in another order than they stand in their files', {
    context: { file, row },
  })
}
