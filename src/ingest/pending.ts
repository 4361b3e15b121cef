import type { Column } from '../batch.ts'
import { deadLetterTable } from '../define.ts'
import { windowTableNames } from '../define-window.ts'
import { LakeError } from '../error.ts'
import { joinColumns } from '../evolve-columns.ts'
import type { TableCounts } from '../event.ts'
import type { DataFile } from '../lake/table.ts'
import { parsePartitionId, type PartitionId, type Positions, type Tail } from '../log.ts'
import type { Clocks, Hole, Version } from '../version.ts'
import { advancedBy } from './clocks.ts'
import type { Staged, StagedTable } from './lane.ts'
import type { Standing } from './watermark.ts'
import type { WatermarksAt } from './windows.ts'

/** Everything folded since the head, as it will stand in the next version. */
export class Pending {
  readonly positions: Map<PartitionId, bigint>
  readonly tails: Map<PartitionId, Tail>
  readonly holes: Map<PartitionId, readonly Hole[]>
  /** Never changed, but replaced. */
  clocksMs: Clocks
  watermarks: WatermarksAt
  readonly files = new Map<string, DataFile[]>()
  readonly counts = new Map<string, TableCounts>()
  /** Columns of a registry that tables must have to have the files. */
  readonly needed = new Map<string, readonly Column[]>()
  /** Topics that fed a table. */
  readonly #topics = new Map<string, Set<string>>()
  hasMoved = false

  constructor(head: Version) {
    this.positions = new Map(head.positions)
    this.tails = new Map(head.tails)
    this.holes = new Map(head.holes)
    this.watermarks = { watermarksMs: head.watermarksMs, watermarkMs: head.watermarkMs }
    this.clocksMs = head.clocksMs
  }

  get hasFiles(): boolean {
    return this.files.size > 0
  }

  get watermarksMs(): WatermarksAt['watermarksMs'] {
    return this.watermarks.watermarksMs
  }

  /** What watermarks are made of, with partitions that are new. */
  standing(firstPositions: Positions = new Map()): Standing {
    const { clocksMs, watermarksMs } = this
    return { positions: new Map([...this.positions, ...firstPositions]), clocksMs, watermarksMs }
  }

  add(staged: Staged): void {
    this.hasMoved = true
    for (const { partition, until, tail = this.tails.get(partition), leaderEpoch } of staged.ranges) {
      this.positions.set(partition, until)
      // Markers behind the last data record may be of a later epoch, and the position is beyond them.
      if (tail !== undefined) this.tails.set(partition, { ...tail, leaderEpoch })
    }
    for (const table of staged.tables) {
      this.#addFiles(table.table, table.files)
      this.#need(table)
      this.#addFiles(deadLetterTable(table.table), table.deadLetterFiles)
      this.counts.set(table.table, sum(this.counts.get(table.table), table))
      const topics = this.#topics.get(table.table) ?? new Set()
      for (const name of [table.table, deadLetterTable(table.table)]) this.#topics.set(name, topics)
      for (const { window } of table.windows ?? [])
        for (const name of windowTableNames({ name: window })) this.#topics.set(name, topics)
      for (const partition of table.counts.keys()) topics.add(parsePartitionId(partition).topic)
    }
    this.clocksMs = advancedBy(staged, this.clocksMs)
  }

  /** Rows of records that were passed before: nothing moves, and no clock does. Their dead letters are others' business. */
  addReread(table: StagedTable): void {
    this.#addFiles(table.table, table.files)
    this.#need(table)
    const counts = new Map([...table.counts].map(([id, count]) => [id, { ...count, deadLetters: 0 }]))
    this.counts.set(table.table, sum(this.counts.get(table.table), { ...table, deadLetterFiles: [], counts }))
  }

  skip(partition: PartitionId, hole: Hole): void {
    this.hasMoved = true
    this.positions.set(partition, hole.until)
    // The tail is gone with the rest, and nobody knows the epoch of what stood last in the hole.
    this.tails.delete(partition)
    this.holes.set(partition, [...(this.holes.get(partition) ?? []), hole])
  }

  /** `topic:p=from-to,…` of what moved and fed the table. */
  rangesText(table: string, from: Positions): string {
    const topics = this.#topics.get(table)
    return [...this.positions]
      .filter(([id, until]) => from.get(id) !== until && topics?.has(parsePartitionId(id).topic))
      .map(([id, until]) => `${id.replace(/\/(?=\d+$)/, ':')}=${from.get(id) ?? until}-${until}`)
      .join(',')
  }

  #need({ table, needed }: StagedTable): void {
    if (needed !== undefined) this.needed.set(table, joinColumns(this.needed.get(table) ?? [], needed))
  }

  #addFiles(table: string, files: readonly DataFile[]): void {
    if (files.length > 0) this.files.set(table, [...(this.files.get(table) ?? []), ...files])
  }
}

/** A file that holds fewer rows than were counted is a lost row: a lane's answer is checked before it is believed. */
export function assertCounted(table: StagedTable): void {
  const [rows, deadLetters] = [recordsIn(table.files), recordsIn(table.deadLetterFiles)]
  const counted = sum(undefined, table)
  const isRows = rows === (table.isStored === false ? 0 : counted.rows)
  if (!isRows || deadLetters !== (table.isUnwritten === true ? 0 : counted.deadLetters))
    throw new LakeError('lane.failed', `${table.table}: the files hold ${rows} rows, ${counted.rows} were counted`, {
      retryable: true,
      context: { table: table.table, rows, deadLetters, counted: { ...counted } },
    })
}

function recordsIn(files: readonly DataFile[]): number {
  return files.reduce((total, file) => total + file.recordCount, 0)
}

function sum(before: TableCounts | undefined, table: StagedTable): TableCounts {
  const files = [...table.files, ...table.deadLetterFiles]
  const total = {
    rows: before?.rows ?? 0,
    deadLetters: before?.deadLetters ?? 0,
    tombstones: before?.tombstones ?? 0,
    skipped: before?.skipped ?? 0,
    filtered: before?.filtered ?? 0,
    files: (before?.files ?? 0) + files.length,
    bytes: files.reduce((bytes, file) => bytes + file.fileSizeBytes, before?.bytes ?? 0),
  }
  let futureEvents = before?.futureEvents ?? 0
  for (const counts of table.counts.values()) {
    total.rows += counts.rows
    total.deadLetters += counts.deadLetters
    total.tombstones += counts.tombstones
    total.skipped += counts.skipped
    total.filtered += counts.filtered ?? 0
    futureEvents += counts.futureEvents ?? 0
  }
  return futureEvents === 0 ? total : { ...total, futureEvents }
}
