import { LakeError } from '../../src/error.ts'
import type { Chain } from '../../src/lake/chain.ts'
import {
  appendFiles,
  changeTable,
  openTable,
  readDeletedRows,
  storedFiles,
  writePlan,
  type DataFile,
  type LakeTable,
  type Stamp,
  type Storage,
} from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { expire } from '../../src/lake/upkeep.ts'
import { codeOf, definitionOf, PIPELINE } from './definition.ts'
import type { Plan } from './plan.ts'
import { Random } from './random.ts'
import { stretched } from './stretched-storage.ts'
import type { World } from './world.ts'

/** A file may be referred to so long after it was written: by a late write of a process that stood still. */
const GRACE_MS = 200_000

/** Whoever else writes the chain: maintenance, and a cut-over to other code. Sees the store as it is. */
export class Administrator {
  /** The cut-over has happened: what is started from now on has the new code. */
  isNewCode = false
  readonly #world: World
  readonly #plan: Plan
  readonly #storage: Storage
  readonly #chain: Chain
  readonly #random: Random

  constructor(options: {
    readonly world: World
    readonly plan: Plan
    readonly memory: Storage
    readonly admin: Chain
  }) {
    this.#world = options.world
    this.#plan = options.plan
    this.#storage = options.memory
    this.#chain = options.admin
    this.#random = new Random(options.plan.seed, 'administrator')
  }

  start(): void {
    const { maintenanceEveryMs, isExpiring, story, stormMs } = this.#plan
    if (maintenanceEveryMs !== undefined) this.#maintain(maintenanceEveryMs)
    if (isExpiring) this.#expire()
    if (story === 'cutover')
      this.#world.after(this.#random.between(0.3, 0.9) * stormMs, 'cutover', () => void this.#cutOver())
  }

  /** Deletes what nobody needs, with a grace that outlasts the latest write. */
  #expire(): void {
    this.#world.after(this.#random.between(4_000, 12_000), 'expiry', () => {
      if (!this.#world.isStormy) return
      const store = stretched(this.#storage, 3_600_000 / GRACE_MS)
      const clock = this.#world.clock(this.#random)
      void expire(store, PIPELINE, 3_600_000, clock, new AbortController().signal).catch(() => undefined)
      this.#expire()
    })
  }

  /** Maintenance as a version in between: other metadata, the same rows. */
  #maintain(everyMs: number): void {
    this.#world.after(this.#random.between(0.5, 1.5) * everyMs, 'maintenance', () => {
      if (!this.#world.isStormy) return
      void this.#publish('maintenance', async (head, number) => {
        const [name, table] = this.#random.pick(Object.entries(head.tables))
        const stamp = { commitId: `maintenance-${number}`, version: number, ranges: '' }
        const opened = await openTable(this.#storage, table.metadata)
        const change = this.#random.chance(0.5) ? this.#compact(opened, stamp) : this.#addNothing(opened, stamp)
        const { metadata, snapshot } = await change
        return { ...head, tables: { ...head.tables, [name]: { ...table, metadata, snapshot } } }
      })
      this.#maintain(everyMs)
    })
  }

  async #addNothing(table: LakeTable, stamp: Stamp): Promise<LakeTable> {
    const file = await this.#write(table, [], stamp)
    return appendFiles(this.#storage, table, [file], stamp, this.#world.clock(this.#random))
  }

  /** Puts some files together, as an engine of somebody else does. */
  async #compact(table: LakeTable, stamp: Stamp): Promise<LakeTable> {
    const stored = (await storedFiles(this.#storage, table)).filter(() => this.#random.chance(0.6))
    if (stored.length === 0) return this.#addNothing(table, stamp)
    const rows: unknown[] = []
    for (const file of stored) {
      const deleted = await readDeletedRows(this.#storage, file)
      const all = JSON.parse(Buffer.from((await this.#storage.get(file.key))!).toString()) as unknown[]
      rows.push(...all.filter((_, row) => !deleted.has(row)))
    }
    const file = { ...(await this.#write(table, rows, stamp)), sequenceNumber: table.raw['last-sequence-number'] }
    const removed = stored.map(({ key }) => key)
    const change = { kind: 'replace', added: rows.length > 0 ? [file] : [], deletes: [], removed } as const
    return changeTable(this.#storage, table, change, stamp, this.#world.clock(this.#random))
  }

  async #write(table: LakeTable, rows: readonly unknown[], { version }: Stamp): Promise<DataFile> {
    const key = `${writePlan(table).dataPrefix}maintenance-${version}.parquet`
    const bytes = Buffer.from(JSON.stringify(rows))
    await this.#storage.put(key, bytes)
    return { key, recordCount: rows.length, fileSizeBytes: bytes.length, partition: [], metrics: new Map() }
  }

  async #cutOver(): Promise<void> {
    const definition = definitionOf(this.#plan, true)
    const isDone = await this.#publish('cutover', (head) => {
      const tables = Object.entries(head.tables).map(([name, table]) => {
        return [name, { ...table, code: codeOf(definition, name) }] as const
      })
      return Promise.resolve({ ...head, tables: Object.fromEntries(tables) })
    })
    if (isDone) this.isNewCode = true
    else this.#world.after(200, 'cutover', () => void this.#cutOver())
  }

  async #publish(
    kind: 'maintenance' | 'cutover',
    change: (head: Version, number: bigint) => Promise<Version>,
  ): Promise<boolean> {
    const head = await this.#chain.head()
    if (head === undefined || head.paused !== undefined) return false
    const build = async (base: Version | undefined, number: bigint) => {
      if (base !== head) throw new LakeError('commit.stale', 'somebody was faster')
      return { ...(await change(head, number)), kind, writer: head.writer, released: head.released, fork: undefined }
    }
    const draft = { commitId: `${kind}-${head.number + 1n}`, build }
    const result = await this.#chain.append(head, draft).catch(() => undefined)
    return result?.kind === 'committed'
  }
}
