import type { PipelineDefinition } from '../define.ts'
import type { Positions, Source } from '../log.ts'
import type { Archive, ArchiveWork } from './archive/archive.ts'
import { LanePool, type LanePoolOptions } from './lane-pool.ts'
import type { Lanes } from './lanes.ts'

/** Lanes of which most of the time there are none: processes are started when some are opened, and ended by `close`. */
export interface LanesOnDemand extends ArchiveWork {
  readonly isOpen: boolean
  /** `version`: whose archives they read; default: those of the newest. */
  open(definition: PipelineDefinition, source: Source, until?: Positions, version?: bigint): Promise<Lanes>
  close(): Promise<void>
}

/** `archives`: those of a version of the pipeline, the newest by default. */
export function lanesOnDemand(
  options: LanePoolOptions,
  archives: (version?: bigint) => Promise<readonly Archive[]>,
): LanesOnDemand {
  let pool: LanePool | undefined
  return {
    get isOpen() {
      return pool !== undefined
    },
    open: async ({ name, tables, windows }, _source, until, version) => {
      const kept = await archives(version)
      pool ??= new LanePool(options)
      return pool.open(name, tables, windows, { until, archives: kept })
    },
    lookUp: async (kept, question) => {
      // Processes that were started for nothing else end with it.
      const asked = pool ?? new LanePool({ ...options, lanes: 1 })
      const work = asked.openWork()
      try {
        return await work.lookUp(kept, question)
      } finally {
        work.close()
        if (asked !== pool) await asked.close()
      }
    },
    close: async () => {
      const ending = pool
      pool = undefined
      await ending?.close()
    },
  }
}
