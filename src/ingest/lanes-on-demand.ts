import type { PipelineDefinition } from '../define.ts'
import type { Positions, Source } from '../log.ts'
import { LanePool, type LanePoolOptions } from './lane-pool.ts'
import type { Lanes } from './lanes.ts'

/** Lanes of which most of the time there are none: processes are started when some are opened, and ended by `close`. */
export interface LanesOnDemand {
  open(definition: PipelineDefinition, source: Source, until?: Positions): Promise<Lanes>
  close(): Promise<void>
}

export function lanesOnDemand(options: LanePoolOptions): LanesOnDemand {
  let pool: LanePool | undefined
  return {
    open: ({ name, tables, windows }, _source, until) => {
      pool ??= new LanePool(options)
      return Promise.resolve(pool.open(name, tables, windows, { until }))
    },
    close: async () => {
      const ending = pool
      pool = undefined
      await ending?.close()
    },
  }
}
