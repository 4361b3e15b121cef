import { codeHash } from '../../src/define.ts'
import { LakeError } from '../../src/error.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { appendFiles, openTable, type Storage } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { definitionOf } from './definition.ts'
import type { Plan } from './plan.ts'
import { Random } from './random.ts'
import type { World } from './world.ts'

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
    const { maintenanceEveryMs, story, stormMs } = this.#plan
    if (maintenanceEveryMs !== undefined) this.#maintain(maintenanceEveryMs)
    if (story === 'cutover')
      this.#world.after(this.#random.between(0.3, 0.9) * stormMs, 'cutover', () => void this.#cutOver())
  }

  /** Maintenance as a version in between: new metadata with one file more, the same rows. */
  #maintain(everyMs: number): void {
    this.#world.after(this.#random.between(0.5, 1.5) * everyMs, 'maintenance', () => {
      if (!this.#world.isStormy) return
      void this.#publish('maintenance', async (head, number) => {
        const [name, table] = this.#random.pick(Object.entries(head.tables))
        const key = `tables/${name}/data/maintenance-${number}.json`
        await this.#storage.put(key, Buffer.from('[]'))
        const file = { key, recordCount: 0, fileSizeBytes: 2, partition: [], metrics: new Map() }
        const stamp = { commitId: `maintenance-${number}`, version: number, ranges: '' }
        const opened = await openTable(this.#storage, table.metadata)
        const clock = this.#world.clock(this.#random)
        const { metadata, snapshot } = await appendFiles(this.#storage, opened, [file], stamp, clock)
        return { ...head, tables: { ...head.tables, [name]: { ...table, metadata, snapshot } } }
      })
      this.#maintain(everyMs)
    })
  }

  async #cutOver(): Promise<void> {
    const code = new Map(definitionOf(this.#plan, true).tables.map((table) => [table.name, codeHash(table)]))
    const isDone = await this.#publish('cutover', (head) => {
      const tables = Object.entries(head.tables).map(([name, table]) => {
        return [name, { ...table, code: code.get(name.replace(/__.*/, ''))! }] as const
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
      return { ...(await change(head, number)), kind, writer: head.writer, released: head.released }
    }
    const draft = { commitId: `${kind}-${head.number + 1n}`, build }
    const result = await this.#chain.append(head, draft).catch(() => undefined)
    return result?.kind === 'committed'
  }
}
