import { systemClock as clock } from '../../src/clock.ts'
import { table, type TableDefinition } from '../../src/define.ts'
import { MemoryLog } from '../../src/ingest/memory-log.ts'
import { openChain } from '../../src/lake/chain.ts'
import type { Storage } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { runOnce } from './fork-lake.ts'

/** A table with a pipeline of its own, filled by what is given, batch by batch. */
export class ReferenceTable {
  readonly #log = new MemoryLog()
  readonly #storage: Storage
  readonly #definition: TableDefinition

  constructor(storage: Storage, name: string, columns: Readonly<Record<string, string>>, key: readonly string[] = []) {
    this.#storage = storage
    const keyed = key.length === 0 ? {} : { key }
    this.#definition = table(name, { from: { topic: name }, columns, ...keyed })
    this.#log.createTopic(name, 1)
  }

  /** The version that has these rows too. */
  async add(rows: readonly object[]): Promise<Version> {
    const { name } = this.#definition
    const records = rows.map((row) => ({ timestampMs: 1, key: undefined, value: Buffer.from(JSON.stringify(row)) }))
    this.#log.append(name, 0, records)
    const pipeline = `of_${name}`
    return runOnce({
      storage: this.#storage,
      log: this.#log,
      chain: openChain(this.#storage, pipeline, clock),
      definition: { name: pipeline, tables: [this.#definition], windows: [], onDataLoss: 'stop' },
      lanes: 1,
      recordsMax: 1_000,
      offsetsMax: 1_000,
    })
  }
}
