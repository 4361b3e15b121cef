import { deadLetterTable, deletesTable } from '../../src/define.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openTable, type Storage } from '../../src/lake/table.ts'
import { parsePartitionId, partitionId, type PartitionId } from '../../src/log.ts'
import { decodeVersion } from '../../src/version-json.ts'
import type { Version } from '../../src/version.ts'
import { checkKept } from './check-kept.ts'
import { KeyedFold, type KeyedOutcome } from './check-keyed.ts'
import { LetterFold } from './check-letters.ts'
import { RowsWindow } from './check-row-windows.ts'
import { TableWatch, type TableStep } from './check-tables.ts'
import { EventsWindow, type SourceRow } from './check-windows.ts'
import { codeOf, definitionOf, PIPELINE } from './definition.ts'
import { isDropped, tablesOf, type Plan, type SimTable } from './plan.ts'
import { isSteady } from './plan-windows.ts'
import { Random } from './random.ts'
import type { SimRow } from './row-encoder.ts'
import type { LedgerEntry, Shop } from './shop.ts'
import type { Append } from './witness.ts'
import { World } from './world.ts'

export interface CheckOptions {
  readonly plan: Plan
  readonly shop: Shop
  readonly storage: Storage
  readonly history: readonly Append[]
}

export interface Verdict {
  readonly violations: readonly string[]
  readonly versions: number
  readonly rows: number
}

/** Enough to understand what happened. */
const VIOLATIONS_MAX = 12

/**
 * The stranger: rebuilds every version of the chain from the ledger and compares each table of it with what the store
 * says. Knows nothing of any process but what `append` told its caller.
 */
export async function check(options: CheckOptions): Promise<Verdict> {
  const checker = new Checker(options)
  try {
    await checker.run()
  } catch (error) {
    checker.violations.push(error instanceof Error ? error.message : String(error))
  }
  return {
    violations: checker.violations.slice(0, VIOLATIONS_MAX),
    versions: checker.versions.length,
    rows: checker.rows,
  }
}

class Checker {
  readonly violations: string[] = []
  versions: Version[] = []
  rows = 0
  readonly #options: CheckOptions
  #tables: TableWatch
  #folds: ReadonlyMap<string, KeyedFold>
  /** Tables as the code of the version has them, which only a jump changes. */
  #plans: readonly SimTable[]
  /** Every data file that was ever in a table. */
  readonly #files = new Set<string>()
  /** Of the tables whose dead letters are settled. */
  readonly #letters: ReadonlyMap<string, LetterFold>
  /** By source. */
  readonly #windows: ReadonlyMap<string, readonly (EventsWindow | RowsWindow)[]>

  constructor(options: CheckOptions) {
    this.#options = options
    const fail = this.#fail.bind(this)
    this.#tables = new TableWatch(options.storage, fail)
    this.#plans = options.plan.tables
    this.#folds = this.#newFolds()
    this.#letters = new Map(options.plan.letters?.tables.map((name) => [name, new LetterFold(name, fail)]))
    this.#windows = new Map(
      options.plan.tables.map((table) => [
        table.name,
        table.windows.map((window) => {
          const Window = window.input === 'rows' ? RowsWindow : EventsWindow
          return new Window(window, table, fail, isSteady(options.plan, table))
        }),
      ]),
    )
  }

  async run(): Promise<void> {
    await this.#readChain()
    let before: Version | undefined
    for (const version of this.versions) {
      this.#checkOrder(before, version)
      if (before === undefined) this.#begin(version)
      if (this.#isJump(version)) {
        // What it names stands for itself: all of it is read and folded from the beginning, by the code that it names.
        this.#begin(version)
        await this.#checkContent(undefined, version)
      } else {
        this.#checkPositions(before, version)
        await this.#checkContent(before, version)
      }
      before = version
    }
    this.#keepFiles()
    this.#checkHistory()
    await this.#checkOrphans()
    if (this.violations.length === 0 && this.#options.plan.isExpiring)
      this.violations.push(...(await checkKept(this.#options.storage, this.versions, this.#options.plan.seed)))
  }

  #newFolds(): ReadonlyMap<string, KeyedFold> {
    const fail = this.#fail.bind(this)
    const keyed = this.#plans.filter((table) => table.keyed !== undefined)
    return new Map(keyed.map((table) => [table.name, new KeyedFold(table, this.#options.shop.ledger, fail)]))
  }

  #begin(version: Version): void {
    const { plan, storage } = this.#options
    this.#keepFiles()
    this.#tables = new TableWatch(storage, this.#fail.bind(this))
    const definition = definitionOf(plan, true)
    const younger = tablesOf(plan, true)
    this.#plans = plan.tables.map((table, index) => {
      return version.tables[table.name]?.code === codeOf(definition, table.name) ? younger[index]! : table
    })
    this.#folds = this.#newFolds()
  }

  /** Its tables are others than those of the version before: positions may be anywhere, and no step leads there. */
  #isJump({ kind }: Version): boolean {
    return kind === 'rollback' || (kind === 'cutover' && this.#options.plan.replay !== undefined)
  }

  /** Of a jump the beginning of its tables; the first version of a chain holds nothing. */
  #beginOf(version: Version, id: PartitionId, until: bigint): bigint {
    return this.#isJump(version) ? (version.origins.get(id) ?? until) : until
  }

  #keepFiles(): void {
    for (const key of this.#tables.owners.keys()) this.#files.add(key)
  }

  /** I16: dense numbers from 1, and nothing beside them. */
  async #readChain(): Promise<void> {
    const { storage } = this.#options
    const keys: string[] = []
    for await (const { key } of storage.list(`pipelines/${PIPELINE}/v`)) keys.push(key)
    for (const [index, key] of keys.entries()) {
      const version = decodeVersion((await storage.get(key))!)
      if (version.number !== BigInt(index + 1) || !key.endsWith(`v${String(index + 1).padStart(16, '0')}.json`))
        this.#fail('I16', `${key} stands at place ${index + 1} and says ${version.number}`)
      this.versions.push(version)
    }
    if (keys.length === 0) this.#fail('I20', 'there is no version at all')
  }

  #checkOrder(before: Version | undefined, version: Version): void {
    const at = `v${version.number}`
    if (version.parent !== (before?.commitId ?? '')) this.#fail('I16', `${at} has the parent ${version.parent}`)
    if (before !== undefined && !version.recentCommits.includes(before.commitId))
      this.#fail('I16', `${at} does not remember the commit before it`)
    if (before !== undefined && version.time < before.time) this.#fail('I16', `${at} is older than the one before`)
    for (const [name, { code }] of Object.entries(version.tables)) {
      const was = before?.tables[name]?.code
      if (was !== undefined && was !== code && version.kind !== 'cutover' && version.kind !== 'rollback')
        this.#fail('I10', `${at} of kind ${version.kind} changes the code of ${name}`)
      const known = [false, true].map((isNew) => codeOf(definitionOf(this.#options.plan, isNew), name))
      if (!known.includes(code)) this.#fail('K1', `${at} names code of ${name} that nobody has`)
    }
    const recorded =
      version.kind !== 'ingest' || this.#options.history.some(({ commitId }) => commitId === version.commitId)
    if (!recorded) this.#fail('I11', `${at} was committed by nobody`)
  }

  /** I5 and P7: positions only grow, begin where they must, and are moved by ingestion alone. */
  #checkPositions(before: Version | undefined, version: Version): void {
    const { shop, plan } = this.#options
    const at = `v${version.number}`
    for (const [id, position] of version.positions) {
      const ledger = shop.ledger.get(id) ?? []
      const was = before?.positions.get(id)
      if (position > BigInt(ledger.length))
        this.#fail('I17', `${at} stands at ${position} of ${id}, which ends at ${ledger.length}`)
      if (was !== undefined && position < was) this.#fail('I5', `${at} takes ${id} from ${was} back to ${position}`)
      if (was !== undefined && position !== was && before?.paused !== undefined)
        this.#fail('X1', `${at} moves ${id} on top of a pause`)
      if (was !== undefined && position !== was && version.kind !== 'ingest')
        this.#fail('I5', `${at} of kind ${version.kind} moves ${id}`)
      const mustBeFirst = was === undefined && (before !== undefined || plan.startAt === 'earliest')
      if (mustBeFirst && ledger.slice(0, Number(position)).some(({ isDeleted }) => !isDeleted))
        this.#fail('P7', `${at} begins ${id} at ${position}`)
    }
    for (const id of before?.positions.keys() ?? shop.firstPartitions)
      if (!version.positions.has(id)) this.#fail('P7', `${at} does not know ${id}`)
    for (const [id, holes] of version.holes) {
      const known = before?.holes.get(id)?.length ?? 0
      for (const { from, until } of holes.slice(known)) this.#checkHole(at, id, from, until, before, version)
    }
  }

  /** I17: a hole holds nothing but what the log has lost. */
  #checkHole(
    at: string,
    id: PartitionId,
    from: bigint,
    until: bigint,
    before: Version | undefined,
    version: Version,
  ): void {
    const ledger = this.#options.shop.ledger.get(id) ?? []
    if (from < (before?.positions.get(id) ?? 0n) || until > (version.positions.get(id) ?? 0n))
      this.#fail('I17', `${at} has a hole ${from}-${until} in ${id} outside of its own range`)
    for (let offset = from; offset < until; offset++)
      if (ledger[Number(offset)]?.isDeleted !== true)
        this.#fail('I17', `${at} passes over ${id}@${offset}, which the log still has`)
  }

  /** I1, I2, I5, I6, I13, I18: each table has gained exactly the rows of the range of this version. */
  async #checkContent(before: Version | undefined, version: Version): Promise<void> {
    for (const table of this.#plans) {
      const { name, topic, keyed } = table
      const rows = await this.#tables.step(version, name)
      await this.#checkEvents(version, table, rows.gained)
      const letters = await this.#tables.step(version, deadLetterTable(name))
      const { gained: deadLetters, lost } =
        (await this.#letters.get(name)?.step(version, letters, rows.gained)) ?? letters
      this.rows += rows.gained.size + deadLetters.size
      const ranges = [...version.positions]
        .filter(([id]) => parsePartitionId(id).topic === topic)
        .map(([id, until]) => [id, before?.positions.get(id) ?? this.#beginOf(version, id, until), until] as const)
      for (const at of keyed === undefined ? [...rows.lost, ...lost] : lost)
        this.#fail('I1', `v${version.number} of ${name} no longer has ${at}`)
      const { clocks, steps } =
        keyed === undefined
          ? {
              clocks: new Map(
                ranges.map((range) => [range[0], this.#checkRange(version, table, range, rows.gained, deadLetters)]),
              ),
              steps: [],
            }
          : await this.#checkKeyed(version, table, ranges, rows, deadLetters)
      for (const window of this.#windows.get(name)!)
        if (window instanceof RowsWindow) await window.step(version, steps, this.#folds.get(name)!.rows(), this.#tables)
      for (const range of ranges) this.#checkClock(before, version, name, range, clocks.get(range[0]))
      for (const at of [...rows.gained.keys(), ...deadLetters.keys()])
        this.#fail('I5', `v${version.number} adds ${name} ${at}, which is not of its range`)
    }
  }

  async #checkKeyed(
    version: Version,
    { name, keyed }: SimTable,
    ranges: readonly Range[],
    rows: TableStep,
    deadLetters: Map<string, SimRow>,
  ): Promise<KeyedOutcome> {
    const deletes = keyed!.isVersioned ? await this.#tables.step(version, deletesTable(name)) : undefined
    return this.#folds.get(name)!.step({ version, ranges, rows, deadLetters, deletes, isWhole: this.#isJump(version) })
  }

  /** Section 17: at every version windows are what its rows come to, each judged by its own partition. */
  async #checkEvents(version: Version, { name, topic }: SimTable, gained: ReadonlyMap<string, SimRow>): Promise<void> {
    const windows = this.#windows.get(name)!.filter((window) => window instanceof EventsWindow)
    if (windows.length === 0) return
    const rows = Array.from(gained.values(), ({ p, o, v }): SourceRow => {
      const id = partitionId(topic, p)
      return { id, offset: BigInt(o), v, atMs: this.#options.shop.ledger.get(id)![Number(o)]!.timestampMs }
    }).toSorted((a, b) => Number(a.offset - b.offset))
    for (const window of windows) await window.step(version, rows, this.#tables)
  }

  #checkClock(
    before: Version | undefined,
    version: Version,
    name: string,
    [id, from, until]: Range,
    found: number | undefined,
  ): void {
    const was = before?.clocksMs[name]?.[id]
    const clock = maxOf(found ?? was, was)
    const isSure = this.#entries(id, from, until).every(({ isCompacted, isDeleted }) => !isCompacted && !isDeleted)
    if (isSure && (version.kind === 'ingest' || this.#isJump(version)) && version.clocksMs[name]?.[id] !== clock)
      this.#fail(
        'K1',
        `v${version.number} has the clock ${version.clocksMs[name]?.[id]} for ${name} ${id}, not ${clock}`,
      )
    this.#checkTail(version, id)
  }

  /** Takes out of `rows` and `deadLetters` what must be there; returns the largest time of a row. */
  #checkRange(
    version: Version,
    table: SimTable,
    [id, from, until]: Range,
    rows: Map<string, SimRow>,
    deadLetters: Map<string, SimRow>,
  ): number | undefined {
    const { name, onError } = table
    const { partition } = parsePartitionId(id)
    const isSkipping = onError === 'skip'
    const holes = version.holes.get(id) ?? []
    let clock: number | undefined
    for (let offset = from; offset < until; offset++) {
      const entry = this.#options.shop.ledger.get(id)?.[Number(offset)]
      const at = `${partition}@${offset}`
      const place = `v${version.number}: ${name} ${id}@${offset}`
      const [row, deadLetter] = [rows.get(at), deadLetters.get(at)]
      rows.delete(at)
      deadLetters.delete(at)
      const isInHole = holes.some((hole) => hole.from <= offset && offset < hole.until)
      const mayLack = entry?.isCompacted === true || isInHole
      const isLeftOut = entry?.kind === 'row' && isDropped(table, entry.change!)
      if (row !== undefined && (entry?.kind !== 'row' || isLeftOut || entry.change!.v !== row.v))
        this.#fail('I6', `${place} says ${row.v}, the log ${entry?.text} (${entry?.kind})`)
      if (deadLetter !== undefined && (entry?.kind !== 'poison' || isSkipping || deadLetter.v !== entry.text))
        this.#fail('I18', `${place} is a dead letter, in the log it is ${entry?.kind} ${entry?.text}`)
      if (row === undefined && entry?.kind === 'row' && !mayLack && !isLeftOut) this.#fail('I1', `${place} is lost`)
      if (deadLetter === undefined && entry?.kind === 'poison' && !isSkipping && !mayLack)
        this.#fail('I18', `${place} is neither row nor dead letter`)
      if (row !== undefined && entry !== undefined) clock = maxOf(clock, entry.timestampMs)
    }
    return clock
  }

  #entries(id: PartitionId, from: bigint, until: bigint): readonly LedgerEntry[] {
    return (this.#options.shop.ledger.get(id) ?? []).slice(Number(from), Number(until))
  }

  #checkTail(version: Version, id: PartitionId): void {
    const tail = version.tails.get(id)
    if (tail === undefined) return
    const entry = this.#options.shop.ledger.get(id)?.[Number(tail.offset)]
    if (tail.offset >= version.positions.get(id)! || entry?.hash !== tail.hash)
      this.#fail('P5', `v${version.number} has a tail of ${id} at ${tail.offset} that is not in the log`)
  }

  /** I10, I11: what callers were told is what happened, between their call and the answer. */
  #checkHistory(): void {
    // What is done under an id of its own, a cut-over or a rollback, is tried on one head after the other: the last counts.
    const last = new Map(this.#options.history.map((call) => [call.commitId, call]))
    for (const call of last.values()) {
      const standing = this.versions.find(({ commitId }) => commitId === call.commitId)
      const what = `${call.process} commit on ${call.base}: ${call.result} ${call.number}`
      switch (call.result) {
        case 'committed':
          if (standing === undefined || standing.number !== call.number)
            this.#fail('I11', `${what}, but it is not there`)
          else if (standing.number <= call.headBefore || standing.number > call.headAfter)
            this.#fail('I11', `${what}, while the head went from ${call.headBefore} to ${call.headAfter}`)
          break
        case 'stale':
        case 'superseded':
          if (standing !== undefined) this.#fail('I11', `${what}, but it stands at ${standing.number}`)
          if (call.number! <= call.base) this.#fail('I11', `${what}, but nothing came after its base`)
          break
        case 'thrown':
        case 'open':
      }
      if (standing === undefined) continue
      for (const between of this.versions.slice(Number(call.base), Number(standing.number) - 1))
        if (between.kind !== 'maintenance') this.#fail('I10', `${what} passed over version ${between.number}`)
    }
  }

  /** I12: without all that nobody refers to, production code finds the same head and the same tables. */
  async #checkOrphans(): Promise<void> {
    const { storage } = this.#options
    for (const name of this.#tables.tables.keys())
      for await (const { key } of storage.list(`tables/${name}/data/`))
        if (key.endsWith('.parquet') && !this.#files.has(key)) await storage.delete(key)
    const head = await openChain(storage, PIPELINE, new World().clock(new Random(1))).head()
    if (head?.number !== this.versions.at(-1)?.number) this.#fail('I12', `a new process finds the head ${head?.number}`)
    for (const [name, { metadata, read }] of this.#tables.tables) {
      const { totalFiles } = await openTable(storage, metadata)
      if (totalFiles !== BigInt(read.files.length))
        this.#fail('I12', `${name} has ${read.files.length} files, not ${totalFiles}`)
    }
  }

  #fail(invariant: string, what: string): void {
    if (this.violations.length <= VIOLATIONS_MAX) this.violations.push(`${invariant} ${what}`)
  }
}

type Range = readonly [id: PartitionId, from: bigint, until: bigint]

function maxOf(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.max(a, b)
}
