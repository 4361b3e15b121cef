import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { systemClock as clock } from '../../src/clock.ts'
import type { PipelineDefinition } from '../../src/define.ts'
import { acceptCode } from '../../src/ingest/accept-code.ts'
import { openEncoder } from '../../src/ingest/encoder.ts'
import { inlineLanes } from '../../src/ingest/lanes.ts'
import { ContentSource, MemoryLog } from '../../src/ingest/memory-log.ts'
import { run, type Control } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openWindowFold } from '../../src/ingest/window/fold.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { COMPACTION, openTable, type Storage } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'

// Windows, lanes, fold and committer as they run, over the memory log, with real Parquet. Free of the test runner: the
// same code runs in bundles with planted bugs.

/** Stores in a folder that is removed at the end, and a DuckDB that reads their files. */
export class Lakes {
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-windows-'))
  readonly #duck: DuckDBConnection

  private constructor(duck: DuckDBConnection) {
    this.#duck = duck
  }

  static async open(): Promise<Lakes> {
    const duck = await (await DuckDBInstance.create()).connect()
    await duck.run(`SET TimeZone = 'UTC'`)
    return new Lakes(duck)
  }

  async create(definition: PipelineDefinition, partitions: number): Promise<Lake> {
    const storage = await openStorage({ url: `file:${mkdtempSync(path.join(this.#folder, 's-'))}` }, clock)
    return new Lake(definition, partitions, storage, this.#duck)
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }

/** How one run reads the log. */
export interface How {
  readonly lanes: number
  readonly recordsMax: number
  readonly offsetsMax: number
  /** The partition that all records of the run come from; the others are idle. */
  readonly only?: number | undefined
}

/** One pipeline over topic `c` and the memory log, in a store of its own. */
export class Lake {
  /** Another one is accepted with `accept`. */
  definition: PipelineDefinition
  readonly log = new MemoryLog()
  readonly storage: Storage
  onHead: (head: Version) => void = () => undefined

  readonly #duck: DuckDBConnection

  constructor(definition: PipelineDefinition, partitions: number, storage: Storage, duck: DuckDBConnection) {
    this.definition = definition
    this.storage = storage
    this.#duck = duck
    this.log.createTopic('c', partitions)
  }

  get chain() {
    return openChain(this.storage, this.definition.name, clock)
  }

  /** Goes on with another definition from here on. */
  async accept(definition: PipelineDefinition): Promise<Version> {
    const { chain, storage, log } = this
    this.definition = definition
    const source = new ContentSource(log, clock)
    return acceptCode({ definition, chain, storage, source, writer: 'w', clock })
  }

  /** Runs until everything of so many partitions is committed, and a little longer. */
  async run(how: How, partitions = 1, lingerMs = 40): Promise<void> {
    const { storage, definition } = this
    const { tables, windows } = definition
    const stop = new AbortController()
    const control: Control = {
      pauseReason: undefined,
      isHurried: true,
      compactions: new Map(),
      onHead: (head) => {
        this.onHead(head)
        const isAtEnd = ([id, at]: [string, bigint]) => at === this.log.end('c', Number(id.at(-1)))
        if (head.positions.size >= partitions && [...head.positions].every(isAtEnd))
          void clock.sleep(lingerMs).then(() => stop.abort())
      },
    }
    const source = new ContentSource(this.log, clock, { batchOffsetsMax: how.offsetsMax, pollMs: 5 })
    const encoder = await openEncoder({ tables, windows, storage, clock })
    const work = await openTableWork({ tables, storage, clock })
    const microBatch = { recordsMax: how.recordsMax, bytesMax: 1 << 20, ageMsMax: 2 }
    const pipeline = {
      definition,
      storage,
      clock,
      observer: () => undefined,
      control,
      compaction: EAGER,
      startLanes: () => Promise.resolve(inlineLanes({ source, encoder, work, lanes: how.lanes, microBatch, clock })),
      openFold: () => openWindowFold({ windows, tables, storage, clock }),
    }
    const policy = { writer: 'w', minIntervalMs: 10, heartbeatMs: 1_000 }
    try {
      const result = await run(source, pipeline, this.chain, policy, stop.signal)
      assert.equal(result.kind, 'stopped')
    } finally {
      await encoder.close()
      await work.close()
    }
  }

  /** Live rows, as files and deletion vectors of a version say. */
  async rows(version: Version, name: string, columns: string): Promise<unknown[][]> {
    const rows: unknown[][] = []
    for (const file of await storedFiles(this.storage, await openTable(this.storage, version.tables[name]!.metadata))) {
      const deleted = await readDeletedRows(this.storage, file)
      const sql = `SELECT ${columns} FROM read_parquet('${this.storage.url.slice(7)}/${file.key}') ORDER BY file_row_number`
      const all = (await this.#duck.runAndReadAll(sql)).getRows()
      assert.equal(all.length, file.recordCount)
      rows.push(...all.filter((_, row) => !deleted.has(row)))
    }
    return rows
  }

  async head(): Promise<Version> {
    return (await this.chain.head())!
  }
}
