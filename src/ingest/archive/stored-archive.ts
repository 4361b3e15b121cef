import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import type { Clock } from '../../clock.ts'
import { LakeError } from '../../error.ts'
import type { Storage } from '../../lake/table.ts'
import { parsePartitionId, partitionId, type PartitionId, type RecordBatch, type Tail } from '../../log.ts'
import { openDuckDb } from '../decode/open-duckdb.ts'
import { tailOf } from '../record-batch.ts'
import type { Archive, ArchiveLog, KeptRange } from './archive.ts'
import { ArchiveFiles, boundsOf } from './archive-files.ts'
import { firstAtSql, recordsSql } from './archive-sql.ts'
import { LocalCopies } from './local-copies.ts'
import { batchesOf } from './record-chunks.ts'
import { readWindows, type Piece, type ReadWindow } from './windows.ts'

/** Bytes of files, as they are stored, that are sorted at once. */
const WINDOW_BYTES = 16 * 1024 * 1024
const WINDOW_ROWS_MAX = 250_000
const MEMORY_BYTES_MAX = 384 * 1024 * 1024

/**
 * Reads archives with a DuckDB of its own, which is made when something is read: for child processes. Records come in
 * windows, each in order of partition and offset; what does not fit into memory is sorted on disk.
 */
export function openArchiveLog(archives: readonly Archive[], storage: Storage, clock: Clock): ArchiveLog {
  return new StoredArchives(archives, storage, clock)
}

class StoredArchives implements ArchiveLog {
  readonly #archives: ReadonlyMap<string, StoredArchive>
  readonly #copies: LocalCopies
  readonly #folder: string
  #instance: Promise<DuckDBInstance> | undefined

  constructor(archives: readonly Archive[], storage: Storage, clock: Clock) {
    this.#copies = new LocalCopies(storage, clock)
    this.#folder = path.join(storage.scratch, `${clock.uuid()}.archive`)
    const connect = async (): Promise<DuckDBConnection> => (await this.#opened()).connect()
    this.#archives = new Map(
      archives.map((archive) => [archive.topic, new StoredArchive(archive, storage, this.#copies, connect)]),
    )
  }

  /** Archives take turns, a window each: none of them runs far ahead. */
  async *read(ranges: ReadonlyMap<PartitionId, KeptRange>, signal: AbortSignal): AsyncGenerator<RecordBatch> {
    const byTopic = new Map<string, Map<number, KeptRange>>()
    for (const [id, range] of ranges) {
      const { topic, partition } = parsePartitionId(id)
      byTopic.set(topic, (byTopic.get(topic) ?? new Map()).set(partition, range))
    }
    const all = [...byTopic].map(([topic, wanted]) => this.#archive(topic).reader(wanted, signal))
    try {
      for (const open = new Set(all); open.size > 0;)
        for (const reader of open) {
          const window = await reader.next()
          if (window === undefined) open.delete(reader)
          else yield* window
          if (signal.aborted) return
        }
    } finally {
      for (const reader of all) reader.close()
    }
  }

  async tailAt(partition: PartitionId, offset: bigint): Promise<Tail | undefined> {
    const signal = new AbortController().signal
    for await (const batch of this.read(new Map([[partition, { from: offset, until: offset + 1n }]]), signal))
      if (batch.count > 0) return tailOf(batch)
    return undefined
  }

  async last(partition: PartitionId): Promise<Tail | undefined> {
    const { topic, partition: number } = parsePartitionId(partition)
    const offset = await this.#archive(topic).lastOffset(number)
    return offset === undefined ? undefined : this.tailAt(partition, offset)
  }

  firstAt(partition: PartitionId, timestampMs: number, until: bigint): Promise<bigint | undefined> {
    const { topic, partition: number } = parsePartitionId(partition)
    return this.#archive(topic).firstAt(number, timestampMs, until)
  }

  async close(): Promise<void> {
    const instance = await this.#instance?.catch(() => undefined)
    instance?.closeSync()
    this.#instance = undefined
    await this.#copies.close()
    await rm(this.#folder, { recursive: true, force: true })
  }

  #archive(topic: string): StoredArchive {
    const found = this.#archives.get(topic)
    if (found === undefined) throw new LakeError('internal', `${topic} has no archive`)
    return found
  }

  #opened(): Promise<DuckDBInstance> {
    this.#instance ??= mkdir(this.#folder, { recursive: true }).then(() =>
      openDuckDb({ memoryMaxBytes: MEMORY_BYTES_MAX, folder: this.#folder }),
    )
    return this.#instance
  }
}

/** One reading of an archive: a window at a time. */
interface Reader {
  next(): Promise<AsyncGenerator<RecordBatch, void, undefined> | undefined>
  close(): void
}

class StoredArchive {
  readonly #archive: Archive
  readonly #storage: Storage
  readonly #copies: LocalCopies
  readonly #connect: () => Promise<DuckDBConnection>
  #files: Promise<ArchiveFiles> | undefined

  constructor(archive: Archive, storage: Storage, copies: LocalCopies, connect: () => Promise<DuckDBConnection>) {
    this.#archive = archive
    this.#storage = storage
    this.#copies = copies
    this.#connect = connect
  }

  reader(ranges: ReadonlyMap<number, KeptRange>, signal: AbortSignal): Reader {
    let connection: DuckDBConnection | undefined
    let windows: Generator<ReadWindow, void, undefined> | undefined
    const close = (): void => {
      connection?.closeSync()
      connection = undefined
    }
    return {
      next: async () => {
        connection ??= await this.#connect()
        const files = await this.#opened()
        windows ??= readWindows(
          await files.pieces(ranges, connection, this.#copies),
          ranges,
          Math.min(files.rowsOf(WINDOW_BYTES), WINDOW_ROWS_MAX),
        )
        const window = windows.next()
        if (window.done !== true) return this.#read(files, window.value, connection, signal)
        close()
        return undefined
      },
      close,
    }
  }

  async lastOffset(partition: number): Promise<bigint | undefined> {
    const { pieces } = await this.#piecesOf(partition)
    return pieces.reduce<bigint | undefined>(
      (most, { last }) => (most === undefined || last > most ? last : most),
      undefined,
    )
  }

  async firstAt(partition: number, timestampMs: number, until: bigint): Promise<bigint | undefined> {
    const { pieces, files } = await this.#piecesOf(partition)
    const wanted = pieces
      .filter(({ file, first }) => first < until && mayReach(files, file, timestampMs))
      .toSorted((a, b) => (a.first < b.first ? -1 : 1))
    let found: bigint | undefined
    const connection = await this.#connect()
    try {
      for (const { file: number, first } of wanted) {
        if (found !== undefined && first > found) break
        const { file, fields } = files.files[number]!
        const offset = await this.#copies.with([file], async ([path]) => {
          const sql = firstAtSql(path!, fields, partition, timestampMs, until)
          return (await connection.runAndReadAll(sql)).getRows()[0]![0] as bigint | null
        })
        if (offset !== null && (found === undefined || offset < found)) found = offset
      }
      return found
    } finally {
      connection.closeSync()
    }
  }

  async #piecesOf(partition: number): Promise<{ readonly pieces: readonly Piece[]; readonly files: ArchiveFiles }> {
    const files = await this.#opened()
    const range = this.#archive.ranges.get(partitionId(this.#archive.topic, partition))
    if (range === undefined) return { pieces: [], files }
    const connection = await this.#connect()
    try {
      return { pieces: await files.pieces(new Map([[partition, range]]), connection, this.#copies), files }
    } finally {
      connection.closeSync()
    }
  }

  async *#read(
    { files }: ArchiveFiles,
    { files: numbers, ranges }: ReadWindow,
    connection: DuckDBConnection,
    signal: AbortSignal,
  ): AsyncGenerator<RecordBatch, void, undefined> {
    const left = new Map([...ranges].map(([partition, { from }]) => [partition, from]))
    const { topic, topicId } = this.#archive
    const of = { topic, topicId, end: (partition: number) => this.#end(partition) }
    const read = numbers.map((number) => files[number]!)
    const paths = await this.#copies.lease(read.map(({ file }) => file))
    try {
      const sources = read.map(({ fields }, k) => ({ fields, path: paths.paths[k]! }))
      if (sources.length > 0) {
        const result = await connection.stream(recordsSql(sources, ranges)).catch((error) => paths.explain(error))
        for (;;) {
          const chunk = await result.fetchChunk().catch((error) => paths.explain(error))
          if (chunk === null || chunk.rowCount === 0) break
          for (const batch of batchesOf(chunk, of)) {
            assertNext(batch, left)
            left.set(batch.partition, batch.nextOffset)
            yield batch
            if (signal.aborted) return
          }
        }
      }
    } finally {
      await paths.release()
    }
    // What is left of the ranges holds nothing.
    for (const [partition, { until }] of ranges)
      if (left.get(partition)! < until) yield emptyBatch(topic, topicId, partition, until, this.#end(partition))
  }

  #end(partition: number): bigint {
    return this.#archive.ranges.get(partitionId(this.#archive.topic, partition))!.until
  }

  #opened(): Promise<ArchiveFiles> {
    this.#files ??= ArchiveFiles.open(this.#storage, this.#archive)
    return this.#files
  }
}

/** Whether a file may hold a record that is not older, by its statistics. */
function mayReach({ files }: ArchiveFiles, number: number, timestampMs: number): boolean {
  const { file, fields } = files[number]!
  const outside = fields.timestampMs === undefined ? undefined : file.metrics.get(fields.timestampMs.id)
  if (outside !== undefined && outside.nullCount < outside.valueCount) return true
  const bounds = boundsOf(file, fields.timestamp)
  return bounds === undefined ? timestampMs <= -1 : bounds.greatest >= BigInt(timestampMs) * 1_000n || timestampMs <= -1
}

/** A record that stands twice, or out of its place, would be counted twice. */
function assertNext({ topic, partition, offsets }: RecordBatch, left: ReadonlyMap<number, bigint>): void {
  let next = left.get(partition)
  for (const offset of offsets) {
    if (next === undefined || offset < next)
      throw new LakeError('store.corrupt', `the archive of ${topic} has offset ${offset} of ${partition} twice`, {
        context: { partition: partitionId(topic, partition), offset: String(offset) },
      })
    next = offset + 1n
  }
}

function emptyBatch(topic: string, topicId: string, partition: number, nextOffset: bigint, end: bigint): RecordBatch {
  return {
    topic,
    topicId,
    partition,
    nextOffset,
    end,
    count: 0,
    buffer: new Uint8Array(0),
    offsets: new BigInt64Array(0),
    timestampsMs: new Float64Array(0),
    keyRanges: new Int32Array(0),
    valueRanges: new Int32Array(0),
    headers: () => [],
    leaderEpoch: -1,
  }
}
