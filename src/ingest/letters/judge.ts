import type { Stands } from '../fillings.ts'
import { DELETE, isBare, type StagedKeys } from '../keys.ts'
import { isLater } from '../versioned-fold.ts'

/** How a keyed table orders the records of a key. */
export interface KeyRules {
  readonly isVersioned: boolean
  /** Whether a null value can remove a row without saying of which version: nothing of it stays. */
  readonly hasTombstones: boolean
  /** Whether a record can remove a row at all. */
  readonly hasDeletes: boolean
}

/** What is to be found out of an operation before it is known whether a later record of its key came. */
export interface Questions {
  /** Operations that are older than what their key has: stale. */
  readonly stale: readonly number[]
  /** Operations whose key has a record of another partition: no log says which of the two is the later one. */
  readonly undecided: readonly number[]
  /** Whether the row came later, its offset says. */
  readonly rows: readonly { readonly operation: number; readonly key: string; readonly row: number }[]
  /** Whether something came later that left no trace, only the log says. */
  readonly log: readonly number[]
}

/**
 * Where operations of records that are read again stand among those of their keys (rules U1 to U6), as far as the key
 * index tells. `standing` is what the key of an operation has now, whatever other records read again do to it: a later
 * one of them is folded later.
 */
export function questionsOf(
  keys: StagedKeys,
  { isVersioned, hasTombstones, hasDeletes }: KeyRules,
  standing: (operation: number) => Stands | undefined,
): Questions {
  const stale: number[] = []
  const undecided: number[] = []
  const rows: Questions['rows'][number][] = []
  const log: number[] = []
  const seen = new Map<string, number>()
  let operation = 0
  for (const { partition, count } of keys.runs)
    for (const end = operation + count; operation < end; operation++) {
      const stands = standing(operation)
      const row = stands?.row
      if (!isVersioned) {
        const key = keys.hashes.subarray(4 * operation, 4 * operation + 4).join(' ')
        if ((seen.get(key) ?? partition) !== partition) {
          undecided.push(operation)
          continue
        }
        seen.set(key, partition)
        if (row === undefined) {
          // Of a key that is not there a delete is nothing, whenever it came.
          if (hasDeletes && keys.files[operation] !== DELETE) log.push(operation)
        } else if (stands!.partition !== partition) undecided.push(operation)
        else rows.push({ operation, key: row.key, row: row.row })
        continue
      }
      if (isBare(keys, operation)) {
        // It speaks for rows of its own partition that came before it; the fold sees to the first.
        if (row !== undefined && stands!.partition === partition) rows.push({ operation, key: row.key, row: row.row })
        continue
      }
      const version = keys.versions![operation]!
      if (stands !== undefined && isLater(stands.version, stands.partition, version, partition)) stale.push(operation)
      else if (row !== undefined && stands!.version === version && stands!.partition === partition)
        rows.push({ operation, key: row.key, row: row.row })
      else if (hasTombstones && keys.files[operation] !== DELETE) log.push(operation)
    }
  return { stale, undecided, rows, log }
}

/** Kafka partition of each operation. */
export function partitionsOf({ count, runs }: Pick<StagedKeys, 'count' | 'runs'>): Int32Array {
  const partitions = new Int32Array(count)
  let first = 0
  for (const run of runs) {
    partitions.fill(run.partition, first, first + run.count)
    first += run.count
  }
  return partitions
}
