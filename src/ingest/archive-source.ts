import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import {
  parsePartitionId,
  type Cursor,
  type PartitionBounds,
  type PartitionId,
  type Positions,
  type RecordBatch,
  type Source,
  type StartAt,
  type Tail,
  type TopicInfo,
} from '../log.ts'
import type { SourceSettings } from '../settings.ts'
import type { Archive, ArchiveIndex, ArchiveLog, KeptRange } from './archive/archive.ts'
import { gap, logTruncated, topicReplaced } from './log-errors.ts'
import { openSource } from './source.ts'

/**
 * The log that the settings name, and before it what archives keep of it. Without a reader of archives, in a process that
 * has no DuckDB, all can be asked but what stands in them.
 */
export function openReplaySource(
  settings: SourceSettings,
  archives: readonly Archive[],
  clock: Clock,
  log?: ArchiveLog,
): Source {
  const live = openSource(settings, clock)
  return archives.length === 0 ? live : joined(archives, log, live)
}

/**
 * A log of which all is asked that `joined` answers, each time with the archives as they are then; `index` looks into
 * them. Its lanes read it. The live log stays open when it is closed.
 */
export function withArchives(
  live: Source,
  archives: () => Promise<readonly Archive[]>,
  index: (archives: readonly Archive[]) => ArchiveIndex,
): Source {
  const now = async (): Promise<Source> => {
    const kept = await archives()
    return kept.length === 0 ? live : joined(kept, index(kept), live)
  }
  return {
    topics: (names) => live.topics(names),
    positionsAt: async (partitions, at) => (await now()).positionsAt(partitions, at),
    bounds: async (partitions) => (await now()).bounds(partitions),
    tailAt: async (partition, offset) => (await now()).tailAt(partition, offset),
    async *read(from, signal) {
      yield* (await now()).read(from, signal)
    },
    compacted: async (topics) => (await (await now()).compacted?.(topics)) ?? new Set(),
    advise: (group, positions) => live.advise?.(group, positions) ?? Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

/**
 * A log that begins where its archive begins: what is below the live topic's first offset is read from the archive, the
 * rest from the topic, each offset once. Of a compacted topic all is read from the archive that stands there, since it
 * has what compaction took. When the live log loses records while they are read, the archive's take their place.
 *
 *   archive  from ├──────────────────────────┤ until
 *   live                  logStart ├──────────────────────▶ end
 *   read     ─── archive ──────────┤─── live ─────────────▶
 */
export function joined(archives: readonly Archive[], log: ArchiveLog | ArchiveIndex | undefined, live: Source): Source {
  return new JoinedSource(archives, log, live)
}

class JoinedSource implements Source {
  readonly #archives: ReadonlyMap<string, Archive>
  readonly #log: ArchiveLog | ArchiveIndex | undefined
  readonly #live: Source
  /** Partitions whose archive was seen to be of the live log. */
  readonly #proven = new Set<PartitionId>()

  constructor(archives: readonly Archive[], log: ArchiveLog | ArchiveIndex | undefined, live: Source) {
    this.#archives = new Map(archives.map((archive) => [archive.topic, archive]))
    this.#log = log
    this.#live = live
  }

  topics(names: readonly string[]): Promise<ReadonlyMap<string, TopicInfo>> {
    return this.#live.topics(names)
  }

  async positionsAt(partitions: readonly PartitionId[], at: StartAt): Promise<Positions> {
    if (at === 'latest') return this.#live.positionsAt(partitions, at)
    const bounds = await this.#liveBounds(partitions)
    if (at === 'earliest') return new Map(partitions.map((id) => [id, this.#logStart(id, bounds.get(id)!)]))
    const found = new Map<PartitionId, bigint>()
    const seams = await this.#seams(partitions, bounds)
    for (const [id, seam] of seams) {
      const isOfLog = this.#logStart(id, bounds.get(id)!) <= this.#range(id)!.from
      const offset = isOfLog ? await this.#index.firstAt(id, at.timestampMs, seam) : undefined
      if (offset !== undefined) found.set(id, offset)
    }
    const left = partitions.filter((id) => !found.has(id))
    return new Map([...found, ...(left.length === 0 ? [] : await this.#live.positionsAt(left, at))])
  }

  async bounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>> {
    const bounds = await this.#liveBounds(partitions)
    return new Map([...bounds].map(([id, bound]) => [id, { ...bound, logStart: this.#logStart(id, bound) }]))
  }

  async tailAt(partition: PartitionId, offset: bigint): Promise<Tail | undefined> {
    const now = await this.#live.tailAt(partition, offset)
    const range = this.#range(partition)
    if (now !== undefined || this.#log === undefined || range === undefined) return now
    return offset >= range.from && offset < range.until ? this.#log.tailAt(partition, offset) : undefined
  }

  async *read(from: ReadonlyMap<PartitionId, Cursor>, signal: AbortSignal): AsyncGenerator<RecordBatch> {
    const cursors = new Map(from)
    while (!signal.aborted) {
      const { ranges, ends } = await this.#archived(cursors)
      if (ranges.size > 0)
        for await (const batch of this.#reader.read(ranges, signal)) {
          const id = move(cursors, batch)
          const end = ends.get(id)!
          yield { ...batch, end: end > batch.end ? end : batch.end }
          if (signal.aborted) return
        }
      if (signal.aborted) return
      try {
        for await (const batch of this.#live.read(cursors, signal)) {
          move(cursors, batch)
          yield batch
          if (signal.aborted) return
        }
        return
      } catch (error) {
        if (!this.#isKept(error, cursors)) throw error
      }
    }
  }

  async compacted(topics: readonly string[]): Promise<ReadonlySet<string>> {
    const found = (await this.#live.compacted?.(topics)) ?? new Set<string>()
    const ranges = [...found].flatMap((topic) => [...(this.#archives.get(topic)?.ranges ?? [])])
    const bounds = ranges.length === 0 ? undefined : await this.#live.bounds(ranges.map(([id]) => id))
    // What an archive keeps, compaction does not touch; one that began later lacks what the topic had before.
    const isKept = (topic: string): boolean =>
      [...(this.#archives.get(topic)?.ranges ?? [])].every(([id, { from }]) => from <= bounds!.get(id)!.logStart)
    return new Set([...found].filter((topic) => !this.#archives.has(topic) || !isKept(topic)))
  }

  async advise(group: string, positions: Positions): Promise<void> {
    await this.#live.advise?.(group, positions)
  }

  async close(): Promise<void> {
    try {
      if (this.#log !== undefined && 'close' in this.#log) await this.#log.close()
    } finally {
      await this.#live.close()
    }
  }

  get #index(): ArchiveIndex {
    return this.#log ?? unread()
  }

  get #reader(): ArchiveLog {
    return this.#log !== undefined && 'read' in this.#log ? this.#log : unread()
  }

  #range(id: PartitionId): KeptRange | undefined {
    return this.#archives.get(parsePartitionId(id).topic)?.ranges.get(id)
  }

  /** Where the log begins: an archive that ends before the live log begins is none of it. */
  #logStart(id: PartitionId, { logStart }: PartitionBounds): bigint {
    const range = this.#range(id)
    return range !== undefined && range.from < logStart && range.until >= logStart ? range.from : logStart
  }

  /** Throws `kafka.topic_replaced` when a topic is not the one that its archive is of. */
  async #liveBounds(partitions: readonly PartitionId[]): Promise<ReadonlyMap<PartitionId, PartitionBounds>> {
    const topics = [...new Set(partitions.map((id) => parsePartitionId(id).topic))]
    const kept = topics.filter((topic) => this.#archives.has(topic))
    if (kept.length > 0)
      for (const { topic, topicId } of (await this.#live.topics(kept)).values()) {
        const known = this.#archives.get(topic)!.topicId
        if (topicId !== known) throw topicReplaced(topic, known, topicId)
      }
    return this.#live.bounds(partitions)
  }

  /** What is to be read from archives before the live log can be, and where the live log ends. Throws `kafka.gap`. */
  async #archived(cursors: ReadonlyMap<PartitionId, Cursor>): Promise<{
    readonly ranges: ReadonlyMap<PartitionId, KeptRange>
    readonly ends: ReadonlyMap<PartitionId, bigint>
  }> {
    const ranges = new Map<PartitionId, KeptRange>()
    const ends = new Map<PartitionId, bigint>()
    const ids = [...cursors].filter(([id, { offset }]) => offset < (this.#range(id)?.until ?? 0n)).map(([id]) => id)
    if (ids.length === 0) return { ranges, ends }
    const bounds = await this.#liveBounds(ids)
    const seams = await this.#seams(ids, bounds)
    for (const id of ids) {
      const [{ offset }, { from, until }, bound] = [cursors.get(id)!, this.#range(id)!, bounds.get(id)!]
      const seam = seams.get(id)
      if (seam === undefined || offset >= seam) continue
      if (offset < from) {
        // What neither has; a compacted topic may still have a part of it.
        if (offset < bound.logStart) throw gap(id, offset, this.#logStart(id, bound))
        continue
      }
      await this.#prove(id, until, bound)
      ranges.set(id, { from: offset, until: seam })
      ends.set(id, bound.end)
    }
    return { ranges, ends }
  }

  /** Where reading goes over from archive to topic, of partitions of which the archive has something that is needed. */
  async #seams(
    ids: readonly PartitionId[],
    bounds: ReadonlyMap<PartitionId, PartitionBounds>,
  ): Promise<ReadonlyMap<PartitionId, bigint>> {
    const kept = ids.filter((id) => this.#range(id) !== undefined)
    const topics = [...new Set(kept.map((id) => parsePartitionId(id).topic))]
    const compacted = topics.length === 0 ? undefined : await this.#live.compacted?.(topics)
    const seams = new Map<PartitionId, bigint>()
    for (const id of kept) {
      const [{ from, until }, { logStart }] = [this.#range(id)!, bounds.get(id)!]
      const isCompacted = compacted?.has(parsePartitionId(id).topic) === true
      const seam = isCompacted || logStart > until ? until : logStart
      if (seam > from) seams.set(id, seam)
    }
    return seams
  }

  /** Throws `kafka.log_truncated` when the live log is not the one that the archive is of, by a record that both have. */
  async #prove(id: PartitionId, until: bigint, { logStart, highWatermark }: PartitionBounds): Promise<void> {
    if (highWatermark < until) throw logTruncated(id, highWatermark, until)
    if (this.#proven.has(id)) return
    const last = until > logStart ? await this.#index.last(id) : undefined
    // A missing record proves nothing: compaction may have taken it.
    const now = last === undefined || last.offset < logStart ? undefined : await this.#live.tailAt(id, last.offset)
    if (now !== undefined && now.hash !== last!.hash) throw logTruncated(id, last!.offset, until)
    this.#proven.add(id)
  }

  /** Whether an error says that the live log lost what an archive has. */
  #isKept(error: unknown, cursors: ReadonlyMap<PartitionId, Cursor>): boolean {
    if (!(error instanceof LakeError) || error.code !== 'kafka.gap') return false
    const { partition, until } = error.context as { partition: PartitionId; until: string }
    const [range, cursor] = [this.#range(partition), cursors.get(partition)]
    if (range === undefined || cursor === undefined) return false
    return cursor.offset >= range.from && cursor.offset < range.until && range.until >= BigInt(until)
  }
}

function unread(): never {
  throw new LakeError('internal', 'this process cannot read archives: its lanes do')
}

/** Of records from an archive no epoch is known: the live log then takes the position as it is. */
function move(cursors: Map<PartitionId, Cursor>, batch: RecordBatch): PartitionId {
  const id: PartitionId = `${batch.topic}/${batch.partition}`
  const before = cursors.get(id)!
  if (batch.nextOffset > before.offset)
    cursors.set(id, { ...before, offset: batch.nextOffset, leaderEpoch: batch.leaderEpoch })
  return id
}
