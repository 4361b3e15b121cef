import { createHash } from 'node:crypto'
import type { Clock } from '../../src/clock.ts'
import { table } from '../../src/define.ts'
import type { CommitterParts } from '../../src/ingest/committer.ts'
import type { ChangedRows, StagedKeys, StoredKeys, TableWork } from '../../src/ingest/keys.ts'
import { byShard } from '../../src/ingest/table-work/by-shard.ts'
import type { Staged, TablePlan } from '../../src/ingest/lane.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import {
  createTable,
  openTable,
  writePlan,
  type DataFile,
  type DeletedRows,
  type LakeTable,
  type Storage,
  type StoredFile,
  type WritePlan,
} from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

// The keyed table that processes race for. Its log is a function of the offset, and its data files are arrays of
// offsets in JSON: what is raced for is what refers to them.

export const PIPELINE = 'race'
export const PARTITION = 'race/0' as const
/** Records of one commit. */
export const BATCH = 3
const KEYS = 40
export const DEFINITION = table('race', {
  from: { topic: 'race' },
  columns: { id: 'string', n: 'long' },
  key: ['id'],
})

export const keyAt = (offset: number): number => (Math.imul(offset + 1, 2_654_435_761) >>> 0) % KEYS
export const isDelete = (offset: number): boolean => offset % 7 === 6

/** Offsets of the live rows when the log ends before `until`, ascending. */
export function foldUntil(until: number): number[] {
  const live = new Map<number, number>()
  for (let offset = 0; offset < until; offset++)
    if (isDelete(offset)) live.delete(keyAt(offset))
    else live.set(keyAt(offset), offset)
  return [...live.values()].toSorted((a, b) => a - b)
}

/** What the store says are the live rows of a version: offsets, ascending. Reads every file anew. */
export async function liveRows(storage: Storage, version: Version): Promise<number[]> {
  const live: number[] = []
  const files = await storedFiles(storage, await openTable(storage, version.tables['race']!.metadata))
  for (const file of files) {
    const deleted = await readDeletedRows(storage, file)
    const rows = JSON.parse(Buffer.from((await storage.get(file.key))!).toString()) as number[]
    live.push(...rows.filter((_, row) => !deleted.has(row)))
  }
  return live.toSorted((a, b) => a - b)
}

/** Makes the empty table and the first version of its chain. */
export async function createRace(storage: Storage, clock: Clock): Promise<void> {
  const created = await createTable(
    storage,
    { name: 'race', columns: DEFINITION.columns, partitionBy: [], formatVersion: 3, key: ['id'] },
    clock,
  )
  const content = {
    kind: 'ingest',
    writer: 'race',
    tables: { race: { metadata: created.metadata, snapshot: undefined, code: 'c' } },
    positions: new Map([[PARTITION, 0n]]),
    ...NOTHING_ELSE,
    topicIds: { race: 'topic-id' },
  } as const
  const draft = { commitId: clock.uuid(), build: () => Promise.resolve(content) }
  const result = await openChain(storage, PIPELINE, clock).append(undefined, draft)
  if (result.kind !== 'committed') throw new Error(`the first version is ${result.kind}`)
}

export function planOf(of: LakeTable): TablePlan {
  return { table: 'race', topic: 'race', data: writePlan(of), deadLetters: writePlan(of) }
}

/** What a lane would hand over for the records [from, from + BATCH). */
export async function staged(work: RaceWork, plan: TablePlan, from: bigint): Promise<Staged> {
  const offsets = Array.from({ length: BATCH }, (_, k) => Number(from) + k)
  const upserts = offsets.filter((offset) => !isDelete(offset))
  const files = upserts.length === 0 ? [] : [await work.write(plan.data, upserts)]
  const keys: StagedKeys = {
    count: BATCH,
    hashes: hashesOf(offsets),
    files: Int32Array.from(offsets, (offset) => (isDelete(offset) ? -1 : 0)),
    rows: Uint32Array.from(offsets, (offset) => Math.max(0, upserts.indexOf(offset))),
    offsets: BigInt64Array.from(offsets, BigInt),
    runs: [{ partition: 0, count: BATCH }],
    versions: undefined,
    bare: undefined,
    holes: undefined,
  }
  const until = from + BigInt(BATCH)
  const counts = { rows: upserts.length, deadLetters: 0, tombstones: BATCH - upserts.length, skipped: 0 }
  return {
    lane: 0,
    ranges: [{ partition: PARTITION, from, until, leaderEpoch: 0, tail: undefined, end: until }],
    tables: [
      {
        table: 'race',
        files,
        deadLetterFiles: [],
        counts: new Map([[PARTITION, { ...counts, clockMs: undefined }]]),
        keys,
      },
    ],
    records: BATCH,
    bytes: 1,
    encodeMs: 0,
  }
}

/** Work on data files that are arrays of offsets. They never change, so a process reads each once. */
export class RaceWork implements TableWork {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #read = new Map<string, readonly number[]>()

  constructor(storage: Storage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
  }

  async write({ dataPrefix }: WritePlan, rows: readonly number[]): Promise<DataFile> {
    const key = `${dataPrefix}${this.#clock.uuid()}.parquet`
    const bytes = Buffer.from(JSON.stringify(rows))
    await this.#storage.put(key, bytes)
    this.#read.set(key, rows)
    return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
  }

  async readKeys(_: TablePlan, files: readonly ChangedRows[]): Promise<StoredKeys> {
    const read = files.map(async ({ file, deleted }) => {
      const rows = await this.#rows(file.key)
      const runs = [{ partition: 0, count: rows.length }]
      return { keys: { count: rows.length, hashes: hashesOf(rows), versions: undefined, runs }, deleted }
    })
    return byShard(await Promise.all(read))
  }

  /** Nothing is published here. */
  changes(): Promise<never> {
    return Promise.reject(new Error('no table here has a change topic'))
  }

  /** Nothing is replayed here. */
  compare(): Promise<never> {
    return Promise.reject(new Error('no rows are compared here'))
  }

  async concatenate(
    plan: WritePlan,
    inputs: readonly { readonly file: DataFile; readonly deleted: DeletedRows }[],
  ): Promise<DataFile> {
    const rows: number[] = []
    for (const { file, deleted } of inputs)
      rows.push(...(await this.#rows(file.key)).filter((_, row) => !deleted.has(row)))
    return this.write(plan, rows)
  }

  /** No range is replayed. */
  rowsWithin(): Promise<never> {
    return Promise.reject(new Error('no row here is of a range'))
  }

  fill(): Promise<never> {
    return Promise.reject(new Error('no row lacks anything'))
  }

  async #rows(key: string): Promise<readonly number[]> {
    const known = this.#read.get(key)
    if (known !== undefined) return known
    const rows = JSON.parse(Buffer.from((await this.#storage.get(key))!).toString()) as number[]
    this.#read.set(key, rows)
    return rows
  }
}

/** The files of a table as a compaction takes them, with the rows that are dead by now. */
export function inputsOf(files: readonly StoredFile[], dead: ReadonlyMap<string, DeletedRows>) {
  return files.map((file) => ({
    file,
    firstRowId: file.firstRowId,
    sequenceNumber: file.sequenceNumber,
    deleted: dead.get(file.key)!.clone(),
  }))
}

export function partsOf(storage: Storage, chain: Chain, writer: string, clock: Clock): CommitterParts {
  return { storage, chain, clock, observer: () => undefined, policy: { writer, minIntervalMs: 0, heartbeatMs: 1_000 } }
}

function hashesOf(offsets: readonly number[]): Uint32Array {
  const hashes = new Uint32Array(4 * offsets.length)
  for (const [k, offset] of offsets.entries()) {
    const digest = createHash('md5')
      .update(String(keyAt(offset)))
      .digest()
    for (let word = 0; word < 4; word++) hashes[4 * k + word] = digest.readUInt32LE(4 * word)
  }
  return hashes
}
