import { keyedPlants } from './plants-keyed.ts'
import { letterPlants } from './plants-letters.ts'
import { windowPlants } from './plants-windows.ts'
import { replayPlants } from './plants-replay.ts'

/** A bug put into production code while it is bundled for the simulation, which must then fail. */
export interface Plant {
  readonly name: string
  /** Public bugs of its kind, or what it amounts to. */
  readonly bug: string
  readonly edits: readonly Edit[]
}

/** `find` stands exactly once in the file that ends with `file`: production's, or what stands in for DuckDB. */
export interface Edit {
  readonly file: string
  readonly find: string
  readonly replace: string
}

const CHAIN = 'src/lake/chain.ts'
const COMMITTER = 'src/ingest/committer.ts'
const PIPELINE = 'src/ingest/pipeline.ts'
const START = 'src/ingest/start.ts'
const MICRO_BATCH = 'src/ingest/micro-batch.ts'
const PENDING = 'src/ingest/pending.ts'

const noFence: Edit = {
  file: CHAIN,
  find: `if ((await this.#get(number))?.kind !== 'maintenance') return { kind: 'stale', head: newest }`,
  replace: '{}',
}
const unknownThrows: Edit = {
  file: CHAIN,
  find: `if (outcome.kind === 'unknown' || outcome.kind === 'conflict') isUncertain = true`,
  replace: `if (outcome.kind === 'unknown') throw this.#unknown(version)`,
}

export const plants: readonly Plant[] = [
  {
    name: 'put-without-if-absent',
    bug: 'delta#1410, delta#1830, iceberg#970',
    edits: [
      {
        file: CHAIN,
        find: 'await this.#storage.putIfAbsent(key, bytes).catch(',
        replace: `await this.#storage.put(key, bytes).then(() => ({ kind: 'created' }) as const).catch(`,
      },
    ],
  },
  {
    name: 'own-files-deleted',
    bug: 'iceberg#3717, duckdb-iceberg#1120',
    edits: [
      unknownThrows,
      {
        file: COMMITTER,
        find: `this.#report('failed', undefined, startMs, pending)`,
        replace: `for (const file of [...pending.files.values()].flat()) void this.#storage.delete(file.key).catch(() => undefined)`,
      },
    ],
  },
  {
    name: 'unknown-is-failure',
    bug: 'iceberg#16008, iceberg#14425, delta-rs#268: the batch is applied again',
    edits: [
      unknownThrows,
      {
        file: COMMITTER,
        find: `      this.#report('failed', undefined, startMs, pending)
      throw error`,
        replace: `      return this.#chain.head().then((head) => {
        if (head === undefined) throw error
        this.#head = head
        return openTables(this.#storage, head.tables)
      }).then((tables) => {
        this.#tables = tables
        return this.commit(change, signal)
      }).then((result) => ((tables = this.#tables), result))`,
      },
    ],
  },
  {
    name: 'conflict-is-lost',
    bug: 'arrow-rs-object-store#852: 409 taken for 412',
    edits: [
      {
        file: CHAIN,
        find: `if (outcome.kind === 'unknown' || outcome.kind === 'conflict') isUncertain = true`,
        replace: `if (outcome.kind === 'conflict') return { ...version, commitId: 'somebody' }
      if (outcome.kind === 'unknown') isUncertain = true`,
      },
    ],
  },
  {
    name: 'exists-is-ours',
    bug: 'the answer to an own retry believed without a look',
    edits: [
      {
        file: CHAIN,
        find: `if (outcome.kind === 'created' && !isLate) return version`,
        replace: `if ((outcome.kind === 'created' && !isLate) || outcome.kind === 'exists') return version`,
      },
    ],
  },
  {
    name: 'exists-is-theirs',
    bug: 'slatedb#766, slatedb#819, delta-rs#2279: an own commit taken for a fence',
    edits: [
      {
        file: CHAIN,
        find: 'if (there.commitId === draft.commitId) {',
        replace: 'if (there === version) {',
      },
    ],
  },
  {
    name: 'no-fence-on-rebase',
    bug: 'iceberg#17340, iceberg#17551',
    edits: [noFence],
  },
  {
    name: 'stale-ignored',
    bug: 'a fenced writer goes on with what it had folded',
    edits: [
      {
        file: COMMITTER,
        find: `    const outcome = result.kind === 'committed' ? 'ok' : result.kind`,
        replace: `    if (result.kind === 'stale') {
      this.#head = result.head
      this.#tables = await openTables(this.#storage, result.head.tables)
      return this.commit(change, signal)
    }
    const outcome = result.kind === 'committed' ? 'ok' : result.kind`,
      },
    ],
  },
  {
    name: 'resume-from-group-offset',
    bug: 'iceberg#10892 kind: advice read back, and no fence',
    edits: [
      {
        file: PIPELINE,
        find: 'const assign = () =>\n      lanes.assign({',
        replace: `const group = (source as unknown as { groupOffsets: Map<any, bigint> }).groupOffsets
  committer.believe(group)
  const assign = () => lanes.assign({`,
      },
      {
        file: COMMITTER,
        find: '  /** The next commit need not wait for rows. */',
        replace: `  believe(group: Map<PartitionId, bigint>): void {
    for (const [id, offset] of group) if (this.#pending.positions.has(id)) this.#pending.positions.set(id, offset)
  }
  /** The next commit need not wait for rows. */`,
      },
    ],
  },
  {
    name: 'resume-from-memory',
    bug: 'PostHog#59391 kind: an unchecked position in memory outlives the run',
    edits: [
      {
        file: COMMITTER,
        find: 'this.#pending = new Pending(head)',
        replace: `this.#pending = remembered.get(parts.chain) ?? new Pending(head)
    remembered.set(parts.chain, this.#pending)`,
      },
      {
        file: COMMITTER,
        find: 'this.#pending = new Pending(result.version)',
        replace: `this.#pending = new Pending(result.version)
      remembered.set(this.#chain, this.#pending)`,
      },
      {
        file: COMMITTER,
        find: 'export class Committer {',
        replace: `const remembered = new WeakMap<Chain, Pending>()
export class Committer {`,
      },
    ],
  },
  {
    name: 'first-position-not-durable',
    bug: 'records between the first look and the first commit are skipped after a crash',
    edits: [
      {
        file: START,
        find: `for (const [id, offset] of await source.positionsAt(ids, startAt)) positions.set(id, offset)`,
        replace: `void startAt, ids`,
      },
      {
        file: START,
        find: `await source.positionsAt(ids, 'earliest')`,
        replace: `await source.positionsAt(ids, definition.tables[0]!.startAt)`,
      },
    ],
  },
  {
    name: 'new-partition-at-latest',
    bug: 'a partition that appears later starts where startAt says',
    edits: [
      {
        file: START,
        find: `await source.positionsAt(ids, 'earliest')`,
        replace: `await source.positionsAt(ids, definition.tables[0]!.startAt)`,
      },
    ],
  },
  {
    name: 'offset-off-by-one',
    bug: 'the position of the last record is stored instead of the next one',
    edits: [
      {
        file: 'src/version-json.ts',
        find: 'positions: pairs(positions, String),',
        replace: 'positions: pairs(positions, (offset) => String(offset > 0n ? offset - 1n : offset)),',
      },
    ],
  },
  {
    name: 'control-records-skipped',
    bug: 'druid#5404, SPARK-23685: the next offset computed from the last record',
    edits: [
      {
        file: MICRO_BATCH,
        find: 'offset: batch.nextOffset,\n        // Of records',
        replace:
          'offset: batch.count > 0 ? batch.offsets[batch.count - 1]! + 1n : before.offset,\n        // Of records',
      },
    ],
  },
  {
    name: 'dead-letters-in-another-commit',
    bug: 'a companion table written by the commit after',
    edits: [
      {
        file: COMMITTER,
        find: `const of =
          letters ?? this.#windows.changeOf(name) ?? this.#keyed.changeOf(name, pending.files.get(name) ?? [], filled)`,
        replace: `const later = (this as unknown as { later?: Map<string, DataFile[]> }).later ?? new Map<string, DataFile[]>()
        Object.assign(this, { later })
        const files = name.endsWith('__dlq') ? later.get(name) : pending.files.get(name)
        if (name.endsWith('__dlq')) {
          later.delete(name)
          const now = pending.files.get(name)
          if (now !== undefined) later.set(name, now)
        }
        const of = this.#windows.changeOf(name) ?? this.#keyed.changeOf(name, files ?? [], filled)`,
      },
    ],
  },
  {
    name: 'batch-folded-twice',
    bug: 'a lane that answers twice is believed twice',
    edits: [
      {
        file: COMMITTER,
        find: `if (staged.ranges.every(({ partition, until }) => until <= (positions.get(partition) ?? -1n)))
      return this.#refuse(staged, 'repeated')`,
        replace: '',
      },
      {
        file: COMMITTER,
        find: `if (staged.ranges.some(({ partition, from }) => from !== positions.get(partition)))
      return this.#refuse(staged, 'gap')`,
        replace: `if (staged.ranges.some(({ partition, from }) => from > (positions.get(partition) ?? -1n)))
      return this.#refuse(staged, 'gap')`,
      },
    ],
  },
  {
    name: 'batch-past-a-gap',
    bug: 'a batch is folded although the one before it was lost with its lane',
    edits: [
      {
        file: COMMITTER,
        find: `if (staged.ranges.some(({ partition, from }) => from !== positions.get(partition)))
      return this.#refuse(staged, 'gap')`,
        replace: '',
      },
    ],
  },
  {
    name: 'empty-copy-believed',
    bug: 'a writer reports fewer rows than were counted, and nobody compares',
    edits: [{ file: COMMITTER, find: 'for (const table of prepared.staged.tables) assertCounted(table)', replace: '' }],
  },
  {
    name: 'forgotten-records-believed',
    bug: 'RisingWave#13047: a record that is neither row nor dead letter',
    edits: [{ file: MICRO_BATCH, find: 'assertComplete(staged, batches)', replace: '' }],
  },
  {
    name: 'stale-hint-trusted',
    bug: 'iceberg#864, iceberg#10427: the hint is taken for the head',
    edits: [
      {
        file: CHAIN,
        find: `      if (next === undefined) break`,
        replace: `      if (next === undefined || head !== undefined) break`,
      },
    ],
  },
  {
    name: 'rebase-without-the-rebased',
    bug: 'a commit on top of maintenance writes the tables as they were before it',
    edits: [
      {
        file: COMMITTER,
        find: 'const current = head === base ? before : await openTables(this.#storage, head!.tables)',
        replace: 'const current = before',
      },
    ],
  },
  {
    name: 'gap-skipped-in-silence',
    bug: 'an automatic offset reset: the hole is not written down',
    edits: [
      {
        file: PENDING,
        find: 'this.holes.set(partition, [...(this.holes.get(partition) ?? []), hole])',
        replace: '',
      },
    ],
  },
  {
    name: 'hole-from-the-lane',
    bug: 'a hole begins where the lane met it, not where the committed rows end',
    edits: [
      {
        file: PIPELINE,
        find: 'committer.skip(answer.partition, answer.until)',
        replace: 'committer.skip(answer.partition, answer.until, answer.from)',
      },
      {
        file: COMMITTER,
        find: 'skip(partition: PartitionId, until: bigint): void {',
        replace: 'skip(partition: PartitionId, until: bigint, met?: bigint): void {',
      },
      {
        file: COMMITTER,
        find: 'this.#pending.skip(partition, { from, until })',
        replace: 'this.#pending.skip(partition, { from: met ?? from, until })',
      },
    ],
  },
  {
    name: 'pause-forgotten',
    bug: 'a restart does not honour a pause that a version names',
    edits: [
      {
        file: PIPELINE,
        find: `if (opened.head.paused !== undefined) return { kind: 'paused', head: opened.head }`,
        replace: '',
      },
    ],
  },
  ...keyedPlants,
  ...windowPlants,
  ...replayPlants,
  ...letterPlants,
]
