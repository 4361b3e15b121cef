import type { PipelineDefinition } from '../define.ts'
import type { Salts } from '../define-redact.ts'
import { LakeError } from '../error.ts'
import { ContentSource } from '../ingest/memory-log.ts'
import { changedTables } from '../ingest/pipeline.ts'
import { openChain } from '../lake/chain.ts'
import type { MemoryStorage } from '../lake/storage/memory.ts'
import type { ReplayDifference } from '../replay-status.ts'
import type { LabLog } from './lab-log.ts'
import type { LabRegistry } from './lab-registry.ts'
import { Life } from './life.ts'
import { replayOnce } from './replay.ts'
import type { World } from './world.ts'

export interface PipelineLabParts {
  readonly definition: PipelineDefinition
  readonly world: World
  readonly storage: MemoryStorage
  readonly salts: Salts
  readonly registry: LabRegistry
  readonly log: LabLog
}

/** One pipeline of a lab, live: it reads on for as long as the lab is open. */
export class PipelineLab {
  readonly definition: PipelineDefinition
  readonly #parts: PipelineLabParts
  readonly #life: Life
  readonly #topics: ReadonlySet<string>

  constructor(parts: PipelineLabParts) {
    const { definition, world, log } = parts
    this.definition = definition
    this.#parts = parts
    this.#topics = new Set(definition.tables.map(({ topic }) => topic))
    this.#life = new Life({
      ...parts,
      source: new ContentSource(log.memory, world.clock, { pollMs: 1 }),
      reading: { lanes: 1, microBatch: { recordsMax: 10_000, bytesMax: 1 << 30, ageMsMax: 0 } },
      intervalMs: 0,
      isCompacting: false,
    })
  }

  /** Everything that was produced is in a version. Throws what stopped the pipeline. */
  async settle(): Promise<void> {
    const { world } = this.#parts
    await world.until(
      () => {
        this.#life.hurry()
        return this.#life.isOver || this.#isAtEnd
      },
      () => this.#life.head?.number,
    )
    this.assertRunning()
  }

  assertRunning(): void {
    const { error, result } = this.#life
    if (error !== undefined) throw error
    if (result !== undefined)
      throw new LakeError('pipeline.stopped', `the pipeline ${this.definition.name} ended: ${result.kind}`)
  }

  /** C of a source table (docs/windows.md), at the newest version. */
  watermarkMs(table: string): number | undefined {
    const { watermarksMs } = this.#life.head!
    return Object.hasOwn(watermarksMs, table) ? watermarksMs[table] : undefined
  }

  /** What a replay of this or other code gives, against what is there; undefined when no code changed. */
  async replay(changed?: PipelineDefinition): Promise<ReplayDifference | undefined> {
    const { world, storage, salts, registry, log, definition } = this.#parts
    await this.settle()
    const tried = changed ?? definition
    if (changed !== undefined && !(await this.#isChanged(changed))) return undefined
    const isSame = changed === undefined
    return world.finish(replayOnce({ definition: tried, world, storage, salts, registry, log, isSame }))
  }

  async close(): Promise<void> {
    await this.#parts.world.finish(this.#life.stop())
  }

  async #isChanged(definition: PipelineDefinition): Promise<boolean> {
    const { storage, world } = this.#parts
    const head = await openChain(storage, definition.name, world.clock).at({ kind: 'head' })
    return changedTables(definition, head).length > 0
  }

  get #isAtEnd(): boolean {
    const { head } = this.#life
    if (head === undefined) return false
    return [...this.#parts.log.ends(this.#topics)].every(([id, end]) => (head.positions.get(id) ?? -1n) >= end)
  }
}
