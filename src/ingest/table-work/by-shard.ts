import type { DeletedRows } from '../../lake/table.ts'
import { SHARDS, shardOf } from '../../lake/key-index.ts'
import type { KeyRun, StoredKeys } from '../keys.ts'

/** What is known of the rows of one stored data file: element i is the row at position i. */
export interface FileKeys {
  readonly count: number
  /** 128 bits of hash a row, four words each; those of dead rows may be anything. */
  readonly hashes: Uint32Array
  readonly versions: BigInt64Array | undefined
  /** Kafka partitions of the rows, in runs. */
  readonly runs: readonly KeyRun[]
}

/** The live rows of files in the order of the index, by counting those of each shard first. */
export function byShard(files: readonly { readonly keys: FileKeys; readonly deleted: DeletedRows }[]): StoredKeys {
  const counts = files.map(({ keys, deleted }) => countsOf(keys, deleted))
  const ends = new Uint32Array(SHARDS * files.length)
  let keys = 0
  for (let shard = 0; shard < SHARDS; shard++)
    for (const [k, count] of counts.entries()) ends[shard * files.length + k] = keys += count[shard]!
  const cells = new Uint32Array(4 * keys)
  const versions = files.some((file) => file.keys.versions !== undefined) ? new BigInt64Array(keys) : undefined
  for (const [k, { keys, deleted }] of files.entries()) {
    const next = Uint32Array.from(counts[k]!, (count, shard) => ends[shard * files.length + k]! - count)
    place(keys, deleted, next, cells, versions)
  }
  return { runs: files.map((file) => file.keys.runs), ends, cells, versions }
}

function countsOf({ count, hashes }: FileKeys, deleted: DeletedRows): Uint32Array {
  const counts = new Uint32Array(SHARDS)
  for (let row = 0; row < count; row++) if (!deleted.has(row)) counts[shardOf(hashes[4 * row + 3]!)]!++
  return counts
}

/** `next`: where the next key of each shard goes. */
function place(
  { count, hashes, versions: from }: FileKeys,
  deleted: DeletedRows,
  next: Uint32Array,
  cells: Uint32Array,
  versions: BigInt64Array | undefined,
): void {
  for (let row = 0; row < count; row++) {
    if (deleted.has(row)) continue
    const at = 4 * row
    const key = next[shardOf(hashes[at + 3]!)]!++
    cells[4 * key] = hashes[at]!
    cells[4 * key + 1] = hashes[at + 1]!
    cells[4 * key + 2] = hashes[at + 2]!
    cells[4 * key + 3] = row
    if (versions !== undefined) versions[key] = from![row]!
  }
}
