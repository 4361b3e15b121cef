import { codeHash, deadLetterTable } from '../../src/define.ts'
import { openChain } from '../../src/lake/chain.ts'
import { openTable, type Storage } from '../../src/lake/table.ts'
import { parsePartitionId, type PartitionId } from '../../src/log.ts'
import { decodeVersion } from '../../src/version-json.ts'
import type { Version } from '../../src/version.ts'
import { definitionOf, PIPELINE } from './definition.ts'
import type { Append } from './fleet.ts'
import type { Plan } from './plan.ts'
import { Random } from './random.ts'
import { TableReader, type ListedFile, type ReadTable } from './reader.ts'
import type { SimRow } from './row-encoder.ts'
import type { LedgerEntry, Shop } from './shop.ts'
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
  readonly #reader: TableReader
  /** Data files of each table at the version looked at, and the tables there. */
  readonly #listed = new Map<string, Set<string>>()
  readonly #tables = new Map<string, { readonly metadata: string; readonly read: ReadTable }>()
  readonly #owners = new Map<string, string>()

  constructor(options: CheckOptions) {
    this.#options = options
    this.#reader = new TableReader(options.storage)
  }

  async run(): Promise<void> {
    await this.#readChain()
    let before: Version | undefined
    for (const version of this.versions) {
      this.#checkOrder(before, version)
      this.#checkPositions(before, version)
      await this.#checkContent(before, version)
      before = version
    }
    this.#checkHistory()
    await this.#checkOrphans()
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
      if (was !== undefined && was !== code && version.kind !== 'cutover')
        this.#fail('I10', `${at} of kind ${version.kind} changes the code of ${name}`)
      const known = [false, true].map((isNew) =>
        definitionOf(this.#options.plan, isNew).tables.find((t) => name.startsWith(t.name))!,
      )
      if (!known.some((table) => codeHash(table) === code))
        this.#fail('K1', `${at} names code of ${name} that nobody has`)
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
    const { plan } = this.#options
    for (const { name, topic, onError } of plan.tables) {
      const rows = await this.#gained(version, name)
      const deadLetters = await this.#gained(version, deadLetterTable(name))
      this.rows += rows.size + deadLetters.size
      let clocks: number | undefined
      for (const [id, until] of version.positions) {
        if (parsePartitionId(id).topic !== topic) continue
        const from = before?.positions.get(id) ?? until
        clocks = this.#checkRange(version, name, id, from, until, rows, deadLetters, onError === 'skip')
        const clock = clocks ?? before?.clocksMs[name]?.[id]
        const isSure = this.#entries(id, from, until).every(({ isCompacted, isDeleted }) => !isCompacted && !isDeleted)
        if (
          isSure &&
          version.kind === 'ingest' &&
          version.clocksMs[name]?.[id] !== maxOf(clock, before?.clocksMs[name]?.[id])
        )
          this.#fail(
            'K1',
            `v${version.number} has the clock ${version.clocksMs[name]?.[id]} for ${name} ${id}, not ${clock}`,
          )
        this.#checkTail(version, id)
      }
      for (const at of [...rows.keys(), ...deadLetters.keys()])
        this.#fail('I5', `v${version.number} adds ${name} ${at}, which is not of its range`)
    }
  }

  /** Takes out of `rows` and `deadLetters` what must be there; returns the largest time of a row. */
  #checkRange(
    version: Version,
    table: string,
    id: PartitionId,
    from: bigint,
    until: bigint,
    rows: Map<string, SimRow>,
    deadLetters: Map<string, SimRow>,
    isSkipping: boolean,
  ): number | undefined {
    const { partition } = parsePartitionId(id)
    const holes = version.holes.get(id) ?? []
    let clock: number | undefined
    for (let offset = from; offset < until; offset++) {
      const entry = this.#options.shop.ledger.get(id)?.[Number(offset)]
      const at = `${partition}@${offset}`
      const place = `v${version.number}: ${table} ${id}@${offset}`
      const [row, deadLetter] = [rows.get(at), deadLetters.get(at)]
      rows.delete(at)
      deadLetters.delete(at)
      const isInHole = holes.some((hole) => hole.from <= offset && offset < hole.until)
      const mayLack = entry?.isCompacted === true || isInHole
      if (row !== undefined && (entry?.kind !== 'row' || entry.value !== row.v))
        this.#fail('I6', `${place} says ${row.v}, the log ${entry?.value} (${entry?.kind})`)
      if (
        deadLetter !== undefined &&
        (entry?.kind !== 'poison' || isSkipping || deadLetter.v !== `{"v":${entry.value}`)
      )
        this.#fail('I18', `${place} is a dead letter, in the log it is ${entry?.kind} ${entry?.value}`)
      if (row === undefined && entry?.kind === 'row' && !mayLack) this.#fail('I1', `${place} is lost`)
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

  /** The rows of the files that a table has more than in the version before, by `partition@offset`. */
  async #gained(version: Version, name: string): Promise<Map<string, SimRow>> {
    const rows = new Map<string, SimRow>()
    const named = version.tables[name]
    if (named === undefined) {
      this.#fail('K1', `v${version.number} does not name ${name}`)
      return rows
    }
    const before = this.#tables.get(name)
    if (before?.metadata === named.metadata) return rows
    const read = await this.#reader.table(named.metadata)
    this.#checkMetadata(version, name, before?.read, read)
    this.#tables.set(name, { metadata: named.metadata, read })
    const listed = new Set(read.files.map(({ key }) => key))
    if (listed.size !== read.files.length) this.#fail('I2', `v${version.number} lists a file of ${name} twice`)
    for (const key of this.#listed.get(name) ?? [])
      if (!listed.has(key)) this.#fail('I1', `v${version.number} of ${name} no longer has ${key}`)
    const fresh = read.files.filter(({ key }) => this.#listed.get(name)?.has(key) !== true)
    this.#listed.set(name, listed)
    const ranges: [partition: number, first: bigint, last: bigint, key: string][] = []
    for (const file of fresh) await this.#take(version, name, file, rows, ranges)
    for (const [p, first, last, key] of ranges)
      if (ranges.some((other) => other[3] !== key && other[0] === p && first <= other[2] && other[1] <= last))
        this.#fail('I2', `v${version.number} of ${name} has files that overlap in partition ${p}`)
    return rows
  }

  async #take(
    version: Version,
    name: string,
    file: ListedFile,
    rows: Map<string, SimRow>,
    ranges: [number, bigint, bigint, string][],
  ): Promise<void> {
    const owner = this.#owners.get(file.key)
    if (owner !== undefined) this.#fail('I2', `${file.key} is in ${owner} and in ${name}`)
    this.#owners.set(file.key, name)
    const found = await this.#reader.rows(file)
    if (found.length !== file.recordCount)
      this.#fail('I13', `${file.key} holds ${found.length} rows, not ${file.recordCount}`)
    for (const row of found) {
      const at = `${row.p}@${row.o}`
      if (rows.has(at)) this.#fail('I2', `v${version.number} adds ${name} ${at} twice`)
      rows.set(at, row)
    }
    for (const p of new Set(found.map((row) => row.p))) {
      const offsets = found.filter((row) => row.p === p).map(({ o }) => BigInt(o))
      ranges.push([p, offsets[0]!, offsets.at(-1)!, file.key])
    }
  }

  /** I16 for the metadata of one table; K2 for what a stranger is told in it. */
  #checkMetadata(version: Version, name: string, before: ReadTable | undefined, now: ReadTable): void {
    const at = `v${version.number} of ${name}`
    if (now.snapshot !== version.tables[name]!.snapshot)
      this.#fail('K1', `${at} names another snapshot than its metadata`)
    if (before === undefined) return
    if (before.uuid !== now.uuid) this.#fail('I16', `${at} is another table`)
    if (now.sequenceNumber <= before.sequenceNumber)
      this.#fail('I16', `${at} has the sequence number ${now.sequenceNumber}`)
    if (now.parent !== before.snapshot) this.#fail('I16', `${at} has the parent snapshot ${now.parent}`)
    if (now.summary['kappalake.commit'] !== version.commitId)
      this.#fail('K2', `${at} names another commit in its summary`)
  }

  /** I10, I11: what callers were told is what happened, between their call and the answer. */
  #checkHistory(): void {
    for (const call of this.#options.history) {
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
    for (const name of this.#tables.keys())
      for await (const { key } of storage.list(`tables/${name}/data/`))
        if (!this.#owners.has(key)) await storage.delete(key)
    const head = await openChain(storage, PIPELINE, new World().clock(new Random(1))).head()
    if (head?.number !== this.versions.at(-1)?.number) this.#fail('I12', `a new process finds the head ${head?.number}`)
    for (const [name, { metadata, read }] of this.#tables) {
      const { totalFiles } = await openTable(storage, metadata)
      if (totalFiles !== BigInt(read.files.length))
        this.#fail('I12', `${name} has ${read.files.length} files, not ${totalFiles}`)
    }
  }

  #fail(invariant: string, what: string): void {
    if (this.violations.length <= VIOLATIONS_MAX) this.violations.push(`${invariant} ${what}`)
  }
}

function maxOf(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.max(a, b)
}
