import { parsePartitionId, type PartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { lacksOf, type SimChange } from './change.ts'
import type { RowStep } from './check-row-windows.ts'
import { atOf, type Fail, type TableStep } from './check-tables.ts'
import { isDropped, type SimTable } from './plan.ts'
import type { SimRow } from './row-encoder.ts'
import type { LedgerEntry } from './shop.ts'

/** What is known of a key: its row, or that it was deleted. `n` orders it with the partition, in tables with a version. */
interface KeyState {
  readonly n: number
  readonly p: number
  readonly row: SimRow | undefined
}

/** What a version says of a keyed table. */
export interface KeyedStep {
  readonly version: Version
  /** [from, until) of each partition of the table's topic. */
  readonly ranges: readonly (readonly [id: PartitionId, from: bigint, until: bigint])[]
  readonly rows: TableStep
  readonly deadLetters: Map<string, SimRow>
  readonly deletes: TableStep | undefined
  /** The rows are what is left of many versions: those that were superseded may have been thrown away. */
  readonly isWhole: boolean
}

/** What the records of a version came to. */
export interface KeyedOutcome {
  readonly clocks: ReadonlyMap<PartitionId, number>
  readonly steps: readonly RowStep[]
}

/**
 * The rows of a keyed table as the ledger has them, folded one record after the other: the later offset wins, or with
 * versions the greatest (version, partition, offset).
 */
export class KeyedFold {
  readonly #table: SimTable
  readonly #ledger: ReadonlyMap<PartitionId, readonly LedgerEntry[]>
  readonly #fail: Fail
  readonly #states = new Map<string, KeyState>()
  readonly #deletes = new Map<string, SimRow>()
  #changes: { before: SimRow | undefined; after: SimRow | undefined }[] = []

  constructor(table: SimTable, ledger: ReadonlyMap<PartitionId, readonly LedgerEntry[]>, fail: Fail) {
    this.#table = table
    this.#ledger = ledger
    this.#fail = fail
  }

  /** Rows that live, by the log. */
  *rows(): Iterable<SimRow> {
    for (const { row } of this.#states.values()) if (row !== undefined) yield row
  }

  /**
   * Folds the ranges of the version and compares what then should be with what is. Returns the clocks of its rows, and
   * what its records did.
   */
  async step(step: KeyedStep): Promise<KeyedOutcome> {
    const { version, ranges, rows, deletes } = step
    const clocks = new Map<PartitionId, number>()
    const steps: RowStep[] = []
    const truncations = ranges.map(([id, from, until]) => this.#lastTruncation(version, id, from, until))
    for (const [k, [id, from, until]] of ranges.entries())
      for (let offset = from; offset < until; offset++) {
        const entry = this.#ledger.get(id)?.[Number(offset)]
        if (entry === undefined || isInHole(version, id, offset)) continue
        this.#changes = []
        const isRow = this.#take(step, id, offset, entry, offset < truncations[k]!)
        if (isRow) clocks.set(id, Math.max(clocks.get(id) ?? -Infinity, entry.timestampMs))
        steps.push({ id, changes: this.#changes, movesToMs: isRow ? entry.timestampMs : undefined })
      }
    const what = `v${version.number} of ${this.#table.name}`
    const isEmptied = truncations.some((offset) => offset >= 0n)
    if (rows.lost.length > 0 && !isEmptied) {
      const live = new Set([...this.#states.values()].map(({ row }) => row && atOf(row)))
      for (const at of rows.lost) if (live.has(at)) this.#fail('U1', `${what} no longer has ${at}`)
    }
    if (rows.live !== undefined || this.#hasMoved(ranges)) await this.#compareRows(what, rows)
    if (deletes !== undefined) await this.#compareDeletes(what, deletes)
    return { clocks, steps }
  }

  #liveRows: readonly SimRow[] = []

  /** The plain rows of the table are those of the fold: no other, none twice. */
  async #compareRows(what: string, rows: TableStep): Promise<void> {
    if (rows.live !== undefined) this.#liveRows = await rows.live()
    const found = new Map<string, SimRow>()
    for (const row of this.#liveRows) {
      const twin = found.get(row.k!)
      if (twin !== undefined) this.#fail('U2', `${what}: ${row.k} lives at ${atOf(twin)} and at ${atOf(row)}`)
      found.set(row.k!, row)
      const wanted = this.#states.get(row.k!)?.row
      if (wanted === undefined)
        this.#fail(
          'U3',
          `${what}: ${row.k} lives at ${atOf(row)}, by the log it ${this.#states.has(row.k!) ? 'was deleted' : 'was never there'}`,
        )
      else if (textOf(wanted) !== textOf(row))
        this.#fail('U1', `${what}: ${row.k} is ${textOf(row)}, by the log ${textOf(wanted)}`)
    }
    for (const [k, { row }] of this.#states)
      if (row !== undefined && !found.has(k)) this.#fail('U1', `${what}: ${k}, written at ${atOf(row)}, is lost`)
  }

  /** A deleted key has a marker that says when; none outdoes a row that lives. */
  async #compareDeletes(what: string, { live }: TableStep): Promise<void> {
    if (live !== undefined) {
      this.#deletes.clear()
      for (const row of await live()) this.#deletes.set(atOf(row), row)
    }
    const latest = new Map<string, SimRow>()
    for (const row of this.#deletes.values()) {
      const best = latest.get(row.k!)
      if (best === undefined || isLater(row.n!, row.p, best.n!, best.p)) latest.set(row.k!, row)
    }
    for (const [k, { n, p, row }] of this.#states) {
      const marker = latest.get(k)
      if (row === undefined && (marker === undefined || marker.n !== n || marker.p !== p))
        this.#fail('U5', `${what}: ${k} was deleted at ${n} by ${p}, its marker says ${marker?.n} by ${marker?.p}`)
      if (row !== undefined && marker !== undefined && isLater(marker.n!, marker.p, n, p))
        this.#fail('U5', `${what}: ${k} lives at ${n} of ${p}, its marker says ${marker.n} by ${marker.p}`)
    }
    for (const [k, marker] of latest)
      if (!this.#states.has(k)) this.#fail('U5', `${what}: ${k} has a marker of ${atOf(marker)} and was never there`)
  }

  /** Takes out of the version's rows and dead letters what must be there. Whether the record made a row. */
  #take(step: KeyedStep, id: PartitionId, offset: bigint, entry: LedgerEntry, isDoomed: boolean): boolean {
    const { keyed, onError } = this.#table
    const { partition } = parsePartitionId(id)
    const at = `${partition}@${offset}`
    const place = `v${step.version.number}: ${this.#table.name} ${id}@${offset}`
    const [row, deadLetter] = [step.rows.gained.get(at), step.deadLetters.get(at)]
    step.rows.gained.delete(at)
    step.deadLetters.delete(at)
    if (deadLetter !== undefined && (deadLetter.v !== entry.text || onError === 'skip'))
      this.#fail('I18', `${place} is a dead letter ${deadLetter.v}, in the log ${entry.text}`)
    const { change } = entry
    if (entry.kind === 'row' && isDropped(this.#table, change!)) {
      if (row !== undefined || deadLetter !== undefined)
        this.#fail('I6', `${place} is left out by the code of the table`)
      return false
    }
    if (entry.kind === 'poison' || entry.kind === 'hidden' || change === undefined) {
      const isWanted = entry.kind === 'poison' && onError !== 'skip' && !entry.isCompacted
      if (isWanted && deadLetter === undefined) this.#fail('I18', `${place} is neither row nor dead letter`)
      if (entry.kind === 'hidden' && deadLetter !== undefined) this.#fail('I18', `${place} is a dead letter`)
      if (row !== undefined) this.#fail('I6', `${place} is a row, in the log it is ${entry.kind}`)
      return false
    }
    if (entry.kind === 'null' || change.op !== 'u') {
      if (row !== undefined || deadLetter !== undefined) this.#fail('I6', `${place} is a row or a dead letter`)
      if (entry.kind === 'row' && change.op === 't') this.#truncate()
      else this.#delete(change.k, entry.kind === 'null' ? undefined : change.n, partition)
      return false
    }
    const stood = this.#states.get(change.k)?.row
    const isBaseless = keyed!.isKeeping && lacksOf(change).length > 0 && stood === undefined
    // Rows that a truncation of the same version removes may have gone with their file.
    if (isDoomed) {
      if (deadLetter !== undefined || isBaseless) return false
      if (row !== undefined || !entry.isCompacted) this.#put(change, partition, offset, stood, entry.timestampMs)
      return true
    }
    if (step.isWhole && row === undefined && !isBaseless) {
      this.#put(change, partition, offset, stood, entry.timestampMs)
      return true
    }
    if (row === undefined && !entry.isCompacted && !(isBaseless && (deadLetter !== undefined || onError === 'skip')))
      this.#fail('I1', `${place} is lost`)
    if (deadLetter !== undefined && !isBaseless) this.#fail('I18', `${place} is a dead letter, but its key has a row`)
    if (row === undefined) return false
    if (isBaseless) this.#fail('I18', `${place} is a row, but nothing has the values that it lacks`)
    const made = this.#put(change, partition, offset, stood, entry.timestampMs)
    if (textOf(made) !== textOf(row)) this.#fail('I6', `${place} says ${textOf(row)}, the log ${textOf(made)}`)
    return true
  }

  #put(change: SimChange, p: number, offset: bigint, stood: SimRow | undefined, at: number): SimRow {
    const { isVersioned, isKeeping } = this.#table.keyed!
    const { v, k, n } = change
    const kept = isKeeping ? stood : undefined
    const row = { p, o: String(offset), v, k, n, a: change.a ?? kept?.a ?? null, b: change.b ?? kept?.b ?? null, at }
    const before = this.#states.get(k)
    if (!isVersioned || before === undefined || !isLater(before.n, before.p, n, p)) this.#set(k, { n, p, row })
    return row
  }

  #delete(k: string, version: number | undefined, p: number): void {
    const before = this.#states.get(k)
    if (!this.#table.keyed!.isVersioned) this.#set(k, undefined)
    else if (version !== undefined) {
      if (before === undefined || !isLater(before.n, before.p, version, p))
        this.#set(k, { n: version, p, row: undefined })
    } else if (before?.row !== undefined && before.p === p) this.#set(k, { n: before.n, p, row: undefined })
  }

  #set(k: string, state: KeyState | undefined): void {
    this.#changes.push({ before: this.#states.get(k)?.row, after: state?.row })
    if (state === undefined) this.#states.delete(k)
    else this.#states.set(k, state)
  }

  #truncate(): void {
    for (const { row } of this.#states.values()) this.#changes.push({ before: row, after: undefined })
    this.#states.clear()
  }

  #lastTruncation(version: Version, id: PartitionId, from: bigint, until: bigint): bigint {
    if (!this.#table.keyed!.isTruncated) return -1n
    const entries = this.#ledger.get(id) ?? []
    for (let offset = until - 1n; offset >= from; offset--) {
      const entry = entries[Number(offset)]
      const isTruncation = entry?.kind === 'row' && entry.change!.op === 't' && !isDropped(this.#table, entry.change!)
      if (isTruncation && !isInHole(version, id, offset)) return offset
    }
    return -1n
  }

  #hasMoved(ranges: KeyedStep['ranges']): boolean {
    return ranges.some(([, from, until]) => from !== until)
  }
}

function isLater(standsN: number, standsP: number, n: number, p: number): boolean {
  return standsN > n || (standsN === n && standsP > p)
}

function isInHole(version: Version, id: PartitionId, offset: bigint): boolean {
  return (version.holes.get(id) ?? []).some((hole) => hole.from <= offset && offset < hole.until)
}

function textOf({ p, o, v, k, n, a, b, at }: SimRow): string {
  return `${p}@${o} v${v} ${k} n${n} ${a} ${b} at ${at}`
}
