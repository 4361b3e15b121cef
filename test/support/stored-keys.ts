import { stretchesOf, type StoredKeys } from '../../src/ingest/keys.ts'
import { shardOf } from '../../src/lake/key-index.ts'
import { DeletedRows, type DataFile } from '../../src/lake/table.ts'

/** A file of which all rows live. */
export function alive<T extends DataFile>(file: T): { readonly file: T; readonly deleted: DeletedRows } {
  return { file, deleted: new DeletedRows(file.recordCount) }
}

/** What is known of the keys of one file, row by row: row, shard, three words of hash, version. */
export function keysByRow(keys: StoredKeys, file = 0): readonly (readonly (number | bigint | undefined)[])[] {
  const rows: (readonly (number | bigint | undefined)[])[] = []
  for (const stretch of stretchesOf(keys)) {
    if (stretch.file !== file) continue
    for (let key = stretch.from; key < stretch.until; key++) {
      const [a, b, c, row] = keys.cells.subarray(4 * key, 4 * key + 4)
      rows.push([row, stretch.shard, a, b, c, keys.versions?.[key]])
    }
  }
  return rows.toSorted((a, b) => Number(a[0]) - Number(b[0]))
}

/** The same from four words of hash a row. */
export function hashesByRow(
  hashes: Uint32Array,
  versions?: BigInt64Array,
): readonly (readonly (number | bigint | undefined)[])[] {
  return Array.from({ length: hashes.length / 4 }, (_, row) => {
    const [a, b, c, d] = hashes.subarray(4 * row, 4 * row + 4)
    return [row, shardOf(d!), a, b, c, versions?.[row]]
  })
}
