import { rm } from 'node:fs/promises'
import { backoffMs } from '../clock.ts'
import type { PublishedTable } from '../define-topic.ts'
import { asLakeError, toErrorMessage, type LakeError } from '../error.ts'
import { isKept, openTable, writePlan, type LakeTable, type WritePlan } from '../lake/table.ts'
import { parsePartitionId } from '../log.ts'
import type { Version } from '../version.ts'
import { readRecords } from './change-records.ts'
import { HEADERS, type ChangeRecord } from './change-sink.ts'
import type { Changes } from './changes.ts'
import type { ChangeFile, ChangesRequest, SourcePlace } from './keys.ts'
import type { PublisherParts } from './publisher.ts'
import { changesBetween, inParts, rowsSince, type ChangedSides } from './table-changes.ts'
import { VersionHold } from './version-hold.ts'

const LOOK_EVERY_MS = 1_000
const RETRY_MS = 500
const RETRY_MS_MAX = 30_000
/** What reading a version says when its files, or it, have been deleted. */
const GONE: ReadonlySet<string> = new Set(['store.corrupt', 'snapshot.expired', 'version.unknown'])

/**
 * Publishes one table: the difference of each version to the one before it, in order. What is sent for a
 * version is a pure function of the two, so a repeat is the same records at the same positions.
 */
export class TablePublisher {
  readonly name: string
  readonly #renamedFrom: string
  readonly #parts: PublisherParts
  readonly #topic: string
  /** That its rows come from, of a source table. */
  readonly #from: string | undefined
  readonly #wanted: Pick<ChangesRequest, 'key' | 'where' | 'keyed' | 'select'>
  readonly #hold: VersionHold
  #head: Version
  /** All changes up to here were sent; undefined: nobody knows what was. */
  #sent: bigint | undefined
  #published: bigint | undefined
  /** That of `#sent`, and the table in it. */
  #base: Version | undefined
  #table: LakeTable | undefined
  /** A rollback or cut-over that no change has told of yet. */
  #discontinuity: bigint | undefined
  #isLost = false
  #isFailing = false
  /** The version after `#sent` can no longer be read. */
  #isSkipping = false

  constructor(parts: PublisherParts, table: PublishedTable, head: Version) {
    const { name, renamedFrom = name, to, key, topic } = table
    this.name = name
    this.#renamedFrom = renamedFrom
    this.#parts = parts
    this.#topic = to.topic
    this.#from = topic
    this.#hold = new VersionHold(parts, name)
    this.#wanted = { key, where: to.where, keyed: to.key, select: to.select }
    this.#head = head
    this.#sent = this.#published = Object.hasOwn(head.published, name) ? head.published[name] : undefined
  }

  /** Of the next version: what it says is not sent again. */
  get published(): bigint | undefined {
    return this.#published
  }

  /** Whether there is something to send, and nothing in the way. */
  get isSending(): boolean {
    return this.#sent !== this.#head.number && !this.#isFailing
  }

  /** Whether it is news. */
  saw(head: Version): boolean {
    const isNews = head.number > this.#head.number
    if (isNews) this.#head = head
    return isNews
  }

  /** Until `signal` aborts. Never throws: what cannot be sent is told and tried again. */
  async run(changes: Changes, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    for (let attempts = 0; !signal.aborted;) {
      if (this.#sent === this.#head.number) {
        await this.#hold.letGo().catch(() => undefined)
        await changes.wait(LOOK_EVERY_MS, signal)
        continue
      }
      try {
        await this.#step(signal)
        attempts = 0
        this.#isFailing = false
      } catch (error) {
        if (signal.aborted) return
        this.#isFailing = true
        await this.#failed(asLakeError(error))
        await clock.sleep(backoffMs(clock, attempts++, RETRY_MS, RETRY_MS_MAX), signal)
      }
    }
  }

  /** Sends the changes of one version. */
  async #step(signal: AbortSignal): Promise<void> {
    const base = await this.#openBase()
    if (base !== undefined) await this.#hold.look(base, this.#head)
    const next = await this.#nextOf(base)
    const isNext = base !== undefined && next.number === base.number + 1n
    if (isNext && isDiscontinuity(next)) {
      this.#discontinuity = next.number
      const records = await this.#sendBeyond(base, next, signal)
      if (!signal.aborted) this.#advance(next, undefined, records)
      return
    }
    // The same rows, in the same files or in others.
    const isSame = base !== undefined && this.#in(base) === this.#in(next)
    if (isSame) return this.#advance(next, this.#table, 0)
    if (isNext && next.kind === 'maintenance') return this.#advance(next, undefined, 0)
    const table = await openTable(this.#parts.storage, this.#in(next)!, this.name)
    const records = await this.#send(base, next, table, signal)
    if (!signal.aborted) this.#advance(next, table, records)
  }

  /** The version that was sent last; undefined: all rows are to be sent. */
  async #openBase(): Promise<Version | undefined> {
    if (this.#sent === undefined || this.#base?.number === this.#sent) return this.#base
    this.#base = await this.#parts.chain.at({ kind: 'number', number: this.#sent })
    // No change has told of it, or it would not stand here.
    if (isDiscontinuity(this.#base)) this.#discontinuity = this.#base.number
    return this.#base
  }

  async #nextOf(base: Version | undefined): Promise<Version> {
    const head = this.#head
    if (base === undefined || this.#isSkipping || head.number === base.number + 1n) return head
    return this.#parts.chain.at({ kind: 'number', number: base.number + 1n })
  }

  async #send(base: Version | undefined, next: Version, table: LakeTable, signal: AbortSignal): Promise<number> {
    const { storage } = this.#parts
    const metadata = base && this.#in(base)
    const before = metadata === undefined ? undefined : (this.#table ?? (await openTable(storage, metadata, this.name)))
    const sides = await changesBetween(storage, before, table)
    if (sides === undefined) return 0
    const plan = await this.#planOf(next, table)
    const isStep = base !== undefined && next.number === base.number + 1n
    const headers = {
      [HEADERS.table]: this.name,
      [HEADERS.version]: String(next.number),
      ...(isStep ? {} : { [HEADERS.since]: String(base?.number ?? 0n) }),
    }
    return this.#sendRows(plan, sides, this.#wanted, headers, signal)
  }

  /**
   * Of a source table, after a rollback or cut-over: what came of records that no version before it had read. A replay
   * may be ahead of what it takes the place of, and what it read first nobody reads again.
   */
  async #sendBeyond(base: Version, next: Version, signal: AbortSignal): Promise<number> {
    const since = this.#from === undefined ? undefined : beyond(this.#from, base, next)
    const metadata = this.#in(next)
    if (since === undefined || metadata === undefined) return 0
    const table = await openTable(this.#parts.storage, metadata, this.name)
    const sides = await rowsSince(this.#parts.storage, table, since)
    if (sides === undefined) return 0
    const headers = { [HEADERS.table]: this.name, [HEADERS.version]: String(next.number) }
    const plan = await this.#planOf(next, table)
    return this.#sendRows(plan, sides, { ...this.#wanted, since }, headers, signal)
  }

  /** Sends what a request gives, with positions that count through all of it. */
  async #sendRows(
    plan: WritePlan,
    sides: ChangedSides,
    request: Omit<ChangesRequest, keyof ChangedSides>,
    headers: ChangeRecord['headers'],
    signal: AbortSignal,
  ): Promise<number> {
    const { sink, work } = this.#parts
    const first = this.#discontinuity === undefined ? {} : { [HEADERS.discontinuity]: String(this.#discontinuity) }
    let sent = 0
    for (const part of inParts(sides, request.key !== undefined)) {
      let from: ChangesRequest['from']
      do {
        const file: ChangeFile = await work().changes(plan, { ...request, ...part, from })
        from = file.next
        if (file.path === undefined) continue
        try {
          for await (const records of readRecords(file.path, headers, first, sent)) {
            if (signal.aborted) return sent
            await sink.send(this.#topic, records)
          }
        } finally {
          await rm(file.path, { force: true })
        }
        sent += file.count
      } while (from !== undefined && !signal.aborted)
    }
    return sent
  }

  /** Columns as the definition has them: of a version of other code those that it lacks are null. */
  async #planOf(version: Version, table: LakeTable): Promise<WritePlan> {
    const [then, now] = [version, this.#head].map((each) => each.tables[this.name] ?? each.tables[this.#renamedFrom])
    if (now === undefined || then?.code === now.code) return writePlan(table)
    return writePlan(await openTable(this.#parts.storage, now.metadata, this.name))
  }

  /** Key of the table's metadata in a version, also where it had its name before. */
  #in({ tables }: Version): string | undefined {
    return (tables[this.name] ?? tables[this.#renamedFrom])?.metadata
  }

  #advance(next: Version, table: LakeTable | undefined, records: number): void {
    const isWhole = this.#isLost
    if (records > 0) this.#discontinuity = undefined
    // A run that begins with a discontinuity knows by it that the next change has to tell of it.
    if (this.#discontinuity === undefined || isDiscontinuity(next)) this.#published = next.number
    this.#sent = next.number
    this.#base = next
    this.#table = table
    this.#isLost = this.#isSkipping = false
    this.#tell(records, isWhole, undefined)
  }

  async #failed(error: LakeError): Promise<void> {
    if (!GONE.has(error.code)) return this.#tell(0, false, error)
    const base = this.#base?.number === this.#sent ? this.#base : undefined
    if (this.#sent !== undefined && !(await this.#isThere(base))) {
      this.#sent = this.#base = this.#table = undefined
      this.#isLost = true
    } else this.#isSkipping = true
    this.#tell(0, false, error)
  }

  async #isThere(version: Version | undefined): Promise<boolean> {
    if (version === undefined) return false
    const { storage, chain, clock } = this.#parts
    // A store that is away says nothing: it is asked again.
    return isKept(storage, chain.pipeline, version, clock).catch(() => true)
  }

  #tell(records: number, isWhole: boolean, error: LakeError | undefined): void {
    this.#parts.observer({
      kind: 'published',
      pipeline: this.#parts.chain.pipeline,
      table: this.name,
      topic: this.#topic,
      version: this.#sent,
      records,
      lagVersions: Number(this.#head.number - (this.#sent ?? 0n)),
      isWhole,
      ...(error === undefined ? {} : { error: toErrorMessage(error) }),
    })
  }
}

/** Where a version stands in the partitions of a topic; undefined where the next one has read nothing beyond it. */
function beyond(topic: string, base: Version, next: Version): readonly SourcePlace[] | undefined {
  const places = [...base.positions].flatMap(([id, offset]) => {
    const { topic: from, partition } = parsePartitionId(id)
    return from === topic ? [{ partition, offset }] : []
  })
  const isBeyond = [...next.positions].some(
    ([id, offset]) => parsePartitionId(id).topic === topic && offset > (base.positions.get(id) ?? 0n),
  )
  return isBeyond ? places : undefined
}

/** Its tables are other ones without that a change made them so. Code that is accepted from here on changes no row. */
function isDiscontinuity({ kind, fork }: Version): boolean {
  return kind === 'rollback' || (kind === 'cutover' && fork !== undefined)
}
