import type { Clock } from '../clock.ts'
import type { LakeDefinition } from '../define.ts'
import type { Jobs } from '../jobs.ts'
import type { Chain } from '../lake/chain.ts'
import type { Storage } from '../lake/table.ts'
import type { Engine } from '../query/engine.ts'
import type { Replays } from '../replay-status.ts'
import type { Settings } from '../settings.ts'
import type { PipelineControl } from '../status.ts'
import type { Metrics } from './metrics.ts'

/** All that the HTTP API knows of the lake behind it. */
export interface ServerDoor {
  readonly engine: Engine
  readonly storage: Storage
  /** By name of pipeline. */
  readonly chains: ReadonlyMap<string, Chain>
  readonly pipelines: readonly PipelineControl[]
  readonly jobs: Jobs
  readonly replays: Replays
  readonly definition: LakeDefinition
  readonly settings: Settings
  readonly metrics: Metrics
  readonly clock: Clock
}
