import type { PipelineDefinition } from '../define.ts'
import { asLakeError, type LakeError } from '../error.ts'
import { run, type Control, type RunResult } from '../ingest/pipeline.ts'
import { openChain } from '../lake/chain.ts'
import { COMPACTION, type Storage } from '../lake/table.ts'
import type { Source } from '../log.ts'
import type { Version } from '../version.ts'
import { openFold, openLanes, type LaneParts, type Reading } from './lanes.ts'

/** A version without rows; rarer than that a writer would find its head too old. */
const HEARTBEAT_MS = 3_600_000

/** When files are put together: as soon as there are two. */
const EAGER = { ...COMPACTION, smallBytes: 1 << 30, fanIn: 2, deadShare: 0.05, restAfter: 0 }

export interface LifeParts extends LaneParts {
  readonly definition: PipelineDefinition
  readonly source: Source
  /** Where versions go, which may be a door that fails. Default: `storage`. */
  readonly door?: Storage
  readonly reading: Reading
  /** Time between commits; 0: each batch is a version. */
  readonly intervalMs: number
  readonly isCompacting: boolean
}

/** One life of the process that writes a pipeline: from the head, until it is stopped, comes to an end or fails. */
export class Life {
  head: Version | undefined
  result: RunResult | undefined
  error: LakeError | undefined
  readonly #stop = new AbortController()
  readonly #control: Control
  readonly #running: Promise<void>

  constructor(parts: LifeParts) {
    const { world, definition, source, storage, door = storage, intervalMs, isCompacting, registry } = parts
    this.#control = {
      pauseReason: undefined,
      isHurried: false,
      compactions: new Map(),
      onHead: (head) => (this.head = head),
    }
    const pipeline = {
      definition,
      storage: door,
      clock: world.clock,
      observer: () => undefined,
      control: this.#control,
      compaction: isCompacting ? EAGER : undefined,
      registry,
      startLanes: (of: Source) => openLanes(definition, of, parts, parts.reading),
      openFold: () => openFold(definition, parts),
    }
    const policy = { writer: 'lab', minIntervalMs: intervalMs, heartbeatMs: HEARTBEAT_MS }
    const chain = openChain(door, definition.name, world.clock)
    this.#running = run(source, pipeline, chain, policy, this.#stop.signal).then(
      (result) => {
        this.result = result
        if ('head' in result) this.head = result.head
      },
      (error: unknown) => void (this.error = asLakeError(error)),
    )
  }

  get isOver(): boolean {
    return this.result !== undefined || this.error !== undefined
  }

  /** The next commit waits for nothing. */
  hurry(): void {
    this.#control.isHurried = true
  }

  /** Commits what was read; resolves when nothing of it is left. Needs somebody who moves the world. */
  stop(): Promise<void> {
    this.#stop.abort()
    return this.#running
  }
}
