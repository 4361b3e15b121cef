import duckdb from '@duckdb/node-bindings'
import type { DuckDBConnection, DuckDBDataChunk } from '@duckdb/node-api'
import { SYSTEM_COLUMNS } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import type { DataFile, DeletedRows, IcebergField, WritePlan } from '../../lake/table.ts'
import type { KeyRun } from '../keys.ts'
import type { FileKeys } from './by-shard.ts'
import { keyColumn, TextColumn, type KeyColumn, type KeyHash } from './key-columns.ts'
import { filesSql, nameOf } from './stored-sql.ts'

export interface KeyNames {
  readonly key: readonly string[]
  readonly version: string | undefined
}

/**
 * Reads what the committer must know of all rows of a file that lies on this machine, in the file's order; a version that
 * is null is 0. Texts of `deleted` rows are not hashed. Throws `store.corrupt` when it has other rows than its manifest
 * says, or one without a key.
 */
export async function readKeys(
  connection: DuckDBConnection,
  plan: WritePlan,
  names: KeyNames,
  file: DataFile,
  path: string,
  hasher: KeyHash,
  deleted?: DeletedRows,
): Promise<FileKeys> {
  const field = (name: string): IcebergField => {
    const found = plan.schema.fields.find((each) => each.name === name)
    if (found === undefined) throw new LakeError('internal', `${plan.table} has no column ${name}`)
    return found
  }
  const keys = names.key.map(field)
  const version = names.version === undefined ? undefined : field(names.version)
  const fields = [...new Set([...keys, ...(version ? [version] : []), field(SYSTEM_COLUMNS.partition)])]
  const selected = ['file_row_number', ...fields.map(nameOf)].join(', ')
  const at = (wanted: IcebergField): number => 1 + fields.indexOf(wanted)
  const rows = new StoredRows(
    file,
    keys.map((key) => ({ at: at(key), column: keyColumn(key) })),
    version === undefined ? undefined : { at: at(version), isShort: version.type === 'int' || version.type === 'date' },
    at(field(SYSTEM_COLUMNS.partition)),
    hasher,
    deleted,
  )
  const result = await connection.stream(`SELECT ${selected} FROM ${filesSql([path], fields)}`)
  // The next chunk is on its way while this one is looked at.
  let next = result.fetchChunk()
  try {
    for (;;) {
      const chunk = await next
      if (chunk === null || chunk.rowCount === 0) break
      next = result.fetchChunk()
      rows.add(chunk)
    }
  } finally {
    await next.catch(() => undefined)
  }
  return rows.done()
}

/** What has been read of one file. */
class StoredRows {
  readonly #file: DataFile
  readonly #keys: readonly { readonly at: number; readonly column: KeyColumn }[]
  readonly #version: { readonly at: number; readonly isShort: boolean } | undefined
  readonly #partitionAt: number
  readonly #hasher: KeyHash
  readonly #deleted: DeletedRows | undefined
  readonly #hashes: Uint32Array
  readonly #versions: BigInt64Array | undefined
  readonly #runs: { partition: number; count: number }[] = []
  #count = 0
  #canonical = new Uint8Array(1_024)

  constructor(
    file: DataFile,
    keys: readonly { readonly at: number; readonly column: KeyColumn }[],
    version: { readonly at: number; readonly isShort: boolean } | undefined,
    partitionAt: number,
    hasher: KeyHash,
    deleted: DeletedRows | undefined,
  ) {
    this.#file = file
    this.#keys = keys
    this.#version = version
    this.#partitionAt = partitionAt
    this.#hasher = hasher
    this.#deleted = deleted
    this.#hashes = new Uint32Array(4 * file.recordCount)
    this.#versions = version === undefined ? undefined : new BigInt64Array(file.recordCount)
  }

  add({ chunk, rowCount: rows }: DuckDBDataChunk): void {
    const base = this.#count
    if (base + rows > this.#file.recordCount) throw this.#wrong(base + rows)
    const positions = longs(duckdb.data_chunk_get_vector(chunk, 0), rows)
    if (positions[0] !== BigInt(base) || positions[rows - 1] !== BigInt(base + rows - 1))
      throw new LakeError('internal', `rows of ${this.#file.key} came in another order than they stand in it`)
    this.#addKeys(chunk, rows)
    if (this.#version !== undefined) this.#addVersions(duckdb.data_chunk_get_vector(chunk, this.#version.at), rows)
    this.#addRuns(ints(duckdb.data_chunk_get_vector(chunk, this.#partitionAt), rows))
    this.#count += rows
  }

  done(): FileKeys {
    if (this.#count !== this.#file.recordCount) throw this.#wrong(this.#count)
    const runs: readonly KeyRun[] = this.#runs
    return { count: this.#count, hashes: this.#hashes, versions: this.#versions, runs }
  }

  #addKeys(chunk: duckdb.DataChunk, rows: number): void {
    let bytesMax = 0
    for (const { at, column } of this.#keys) {
      const vector = duckdb.data_chunk_get_vector(chunk, at)
      if (nulls(vector, rows) !== undefined)
        throw new LakeError('store.corrupt', `${this.#file.key} has a row without a key`, {
          context: { key: this.#file.key },
        })
      column.load(vector, rows)
      bytesMax += column.bytesMax
    }
    if (bytesMax > this.#canonical.length) this.#canonical = new Uint8Array(2 * bytesMax)
    const [bytes, keys, hasher, hashes, base] = [this.#canonical, this.#keys, this.#hasher, this.#hashes, this.#count]
    const only = keys.length === 1 ? keys[0]!.column : undefined
    if (only instanceof TextColumn) return only.hashRows(rows, hasher, hashes, base, this.#deleted)
    for (let row = 0; row < rows; row++) {
      let end = 0
      for (let k = 0; k < keys.length; k++) end = keys[k]!.column.put(row, bytes, end)
      hasher.hash(bytes, 0, end, hashes, 4 * (base + row))
    }
  }

  #addVersions(vector: duckdb.Vector, rows: number): void {
    const [to, base] = [this.#versions!, this.#count]
    if (this.#version!.isShort) {
      const values = ints(vector, rows)
      for (let row = 0; row < rows; row++) to[base + row] = BigInt(values[row]!)
    } else to.set(longs(vector, rows), base)
    const isNull = nulls(vector, rows)
    if (isNull === undefined) return
    for (let row = 0; row < rows; row++) if (isNull(row)) to[base + row] = 0n
  }

  #addRuns(partitions: Int32Array): void {
    const runs = this.#runs
    for (let row = 0; row < partitions.length;) {
      const partition = partitions[row]!
      let until = row + 1
      while (until < partitions.length && partitions[until] === partition) until++
      const last = runs.at(-1)
      if (last?.partition === partition) last.count += until - row
      else runs.push({ partition, count: until - row })
      row = until
    }
  }

  #wrong(rows: number): LakeError {
    const { key, recordCount } = this.#file
    return new LakeError('store.corrupt', `${key} has other rows than its manifest says: ${rows} of ${recordCount}`, {
      context: { key, rows, recordCount },
    })
  }
}

/** Whether a row is null; undefined when none of the chunk is. */
function nulls(vector: duckdb.Vector, rows: number): ((row: number) => boolean) | undefined {
  const valid = duckdb.vector_get_validity(vector, Math.ceil(rows / 64) * 8)
  if (valid === null) return undefined
  const isNull = (row: number): boolean => (valid[row >> 3]! & (1 << (row & 7))) === 0
  for (let row = 0; row < rows; row++) if (isNull(row)) return isNull
  return undefined
}

function longs(vector: duckdb.Vector, rows: number): BigInt64Array {
  const bytes = duckdb.vector_get_data(vector, rows * 8)
  return new BigInt64Array(bytes.buffer, bytes.byteOffset, rows)
}

function ints(vector: duckdb.Vector, rows: number): Int32Array {
  const bytes = duckdb.vector_get_data(vector, rows * 4)
  return new Int32Array(bytes.buffer, bytes.byteOffset, rows)
}
