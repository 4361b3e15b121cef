import type { PipelineDefinition } from '../../src/define.ts'
import { Changes } from '../../src/ingest/changes.ts'
import { runJobs } from '../../src/ingest/job-runner.ts'
import type { CommitPolicy, Lanes } from '../../src/ingest/pipeline.ts'
import type { Supervisor } from '../../src/ingest/supervise.ts'
import type { Chain } from '../../src/lake/chain.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import type { Storage } from '../../src/lake/table.ts'
import type { Source } from '../../src/log.ts'
import { runReplays } from '../../src/replay/run-replays.ts'
import type { SimProcess } from './process.ts'
import type { ReplayStory } from './replay.ts'

/** What a process has and uses for its pipeline. */
export interface Beside {
  readonly process: SimProcess
  readonly definition: PipelineDefinition
  readonly source: Source
  readonly storage: Storage
  readonly chain: Chain
  readonly policy: CommitPolicy
  readonly supervisor: Supervisor
  startLanes(source: Source): Promise<Lanes>
}

/** The jobs and replays that a process does beside its pipeline, put together as the library does. */
export async function workBeside(
  story: ReplayStory,
  { process, definition, source, storage, chain, policy, supervisor, startLanes }: Beside,
  signal: AbortSignal,
): Promise<void> {
  const { clock, plan } = process
  const jobs = openJobs(storage, clock)
  const replaying = runReplays(
    {
      definition,
      source,
      storage,
      main: chain,
      policy,
      clock,
      compaction: plan.compaction,
      jobs,
      takeoverAfterMs: plan.takeoverAfterMs,
      changes: new Changes(clock),
      lanes: { open: (_definition, of) => startLanes(of), close: () => Promise.resolve() },
      observer: () => undefined,
      verify: story.verify,
    },
    signal,
  )
  await Promise.all([replaying, runJobs(jobs, supervisor, policy.writer, clock, signal)])
}
