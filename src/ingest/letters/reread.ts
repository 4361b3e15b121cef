import type { CommitResult } from '../../lake/chain.ts'
import type { Baseless } from '../keyed-tables.ts'
import { TRUNCATE, type StagedKeys } from '../keys.ts'
import { LakeError } from '../../error.ts'
import type { Staged, StagedTable } from '../lane.ts'
import { assertCounted } from '../pending.ts'
import { partitionsOf } from './judge.ts'
import { recordText } from './letters.ts'

/** Records of one table that were read again, as the committer takes them. */
export interface Reread {
  readonly table: StagedTable
  /** Operations on keys that lost against later records of theirs. */
  readonly stale: ReadonlySet<number>
}

/** `baseless`: records lack values that no row has, and are dead letters. */
export type SettleResult = CommitResult | { readonly kind: 'baseless'; readonly records: readonly Baseless[] }

/** What a truncation removed, and what came after it, only the log says in its order. Throws `config.unsupported`. */
export function assertNoTruncation({ table, keys }: StagedTable): void {
  if (keys?.files.includes(TRUNCATE) !== true) return
  throw new LakeError('config.unsupported', `${table}: a truncation that could not be read is not made up for`, {
    context: { table },
    fix: 'Discard its dead letter, and replay the table.',
  })
}

/** As a batch that nothing else is in, of whole files. What is stale lacks nothing: nobody reads it. */
export function stagedAlone({ table, stale }: Reread): Staged {
  assertCounted(table)
  const { keys } = table
  const staged = keys === undefined ? table : { ...table, keys: withoutHoles(keys, stale) }
  return { lane: 0, ranges: [], tables: [staged], records: 0, bytes: 0, encodeMs: 0 }
}

function withoutHoles(keys: StagedKeys, stale: ReadonlySet<number>): StagedKeys {
  const { holes } = keys
  if (holes === undefined || stale.size === 0) return keys
  const left = [...holes.operations.keys()].filter((k) => !stale.has(holes.operations[k]!))
  if (left.length === 0) return { ...keys, holes: undefined }
  const operations = Uint32Array.from(left, (k) => holes.operations[k]!)
  const lacking = Uint32Array.from(left, (k) => holes.lacking[k]!)
  return { ...keys, holes: { operations, lacking, columns: holes.columns } }
}

/** The records of operations, in their order: `topic/partition@offset`. */
export function recordsOfKeys(topic: string, keys: StagedKeys): readonly string[] {
  const partitions = partitionsOf(keys)
  return Array.from(keys.offsets, (offset, k) => recordText(topic, { partition: partitions[k]!, offset }))
}
