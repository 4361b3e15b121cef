import type { PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { TableWork } from '../ingest/pipeline.ts'
import type { Storage } from '../lake/table.ts'
import type { ReplayDifference } from '../replay-status.ts'
import type { Version } from '../version.ts'

/** What the rebuilt tables of a fork are, against those of the version that it began at. */
export function verify(
  _base: Version,
  fork: Version,
  _definition: PipelineDefinition,
  _storage: Storage,
  _work: TableWork,
): Promise<ReplayDifference> {
  return Promise.reject(
    new LakeError('config.unsupported', `version ${fork.number} cannot be compared by this release`),
  )
}
