import type { Plant } from './plants.ts'

const COMMITTER = 'src/ingest/committer.ts'
const MICRO_BATCH = 'src/ingest/micro-batch.ts'
const COLLECT = 'src/lake/collect.ts'
const EXPIRE_VERSIONS = 'src/lake/expire-versions.ts'
const REACHABLE = 'src/lake/reachable.ts'
const FORWARDING = 'src/ingest/forwarding.ts'
const UPSERT = 'src/ingest/upsert.ts'
const VERSIONED = 'src/ingest/versioned-fold.ts'

/** Bugs in keyed tables, compaction, expiry and collection. */
export const keyedPlants: readonly Plant[] = [
  {
    name: 'compaction-not-translated',
    bug: 'hudi#2245 kind: rows that died while files were put together live again',
    edits: [
      {
        file: UPSERT,
        find: 'live.deleted.eachSince(input.deleted, (row) => deleted!.add(rowOf(row)))',
        replace: '',
      },
    ],
  },
  {
    name: 'own-row-in-the-wrong-file',
    bug: 'a row of the same commit is looked for in another file of its batch',
    edits: [
      {
        file: UPSERT,
        find: 'staged[target]!.number, rows[operation]!)) this.#kill(partition)',
        replace: 'staged[0]!.number, rows[operation]!)) this.#kill(partition)',
      },
    ],
  },
  {
    name: 'own-dead-rows-forgotten',
    bug: 'a row that is written and replaced in one commit lives on',
    edits: [
      {
        file: UPSERT,
        find: 'deletes: [...this.#touched].map(',
        replace: 'deletes: [...this.#touched].filter((live) => !this.#added.has(live)).map(',
      },
    ],
  },
  {
    name: 'folded-by-timestamp',
    bug: 'risingwave, materialize kind: the record with the later time wins, not the one with the later offset',
    edits: [
      {
        file: MICRO_BATCH,
        find: 'const batches = [...this.#batches.values()].flat().filter((batch) => batch.topic === plan.topic)',
        replace: `const batches = [...this.#batches.values()]
        .flatMap((list) => list.toSorted((a, b) => (a.timestampsMs[0] ?? 0) - (b.timestampsMs[0] ?? 0)))
        .filter((batch) => batch.topic === plan.topic)`,
      },
    ],
  },
  {
    name: 'forwarding-by-the-first-step',
    bug: 'a row that moved twice is looked for where it stood in between',
    edits: [
      {
        file: FORWARDING,
        find: 'steps.reduce((at, step) => step.rowOf(at), row)',
        replace: 'move.rowOf(row)',
      },
    ],
  },
  {
    name: 'truncation-forgets-the-pending',
    bug: 'files of the same commit survive a truncation that came after them',
    edits: [
      {
        file: UPSERT,
        find: '.filter((live) => !staged.includes(live))',
        replace: '.filter((live) => !staged.includes(live) && !this.#added.has(live))',
      },
    ],
  },
  {
    name: 'marker-version-lost',
    bug: 'after a restart an older record revives a deleted key',
    edits: [
      {
        file: VERSIONED,
        find: 'this.#index.put(hashes, 4 * row, Markers.FILE, partition, version)',
        replace: 'this.#index.put(hashes, 4 * row, Markers.FILE, partition, 0n)',
      },
    ],
  },
  {
    name: 'tombstone-of-any-partition',
    bug: 'a null value removes the row of another partition: what is left depends on who was faster',
    edits: [
      {
        file: VERSIONED,
        find: 'if (stood === undefined || stood.live.partitions.at(stood.row) !== partition) {',
        replace: 'if (stood === undefined) {',
      },
    ],
  },
  {
    name: 'collection-without-grace',
    bug: 'iceberg#12765 kind: orphan files of a commit under way are deleted',
    edits: [{ file: COLLECT, find: 'nowMs - modifiedMs > graceMs && ', replace: '' }],
  },
  {
    name: 'only-the-head-is-kept',
    bug: 'files of an older version that must stay readable are deleted',
    edits: [
      {
        file: EXPIRE_VERSIONS,
        find: 'return isYoung || newest.has(file) || isHeld(file, nowMs)',
        replace: 'return newest.has(file)',
      },
    ],
  },
  {
    name: 'only-added-files-are-kept',
    bug: 'a file that a manifest takes over as existing counts as unreferenced',
    edits: [{ file: REACHABLE, find: 'if (status !== LEFT) this.#keep', replace: 'if (status === 1) this.#keep' }],
  },
  {
    name: 'foreign-compaction-ignored',
    bug: 'iceberg#4217 kind: rows are deleted in files that somebody else has replaced',
    edits: [{ file: COMMITTER, find: 'this.#keyed.assertCurrent(before, current)', replace: '' }],
  },
]
