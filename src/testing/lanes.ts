import type { PipelineDefinition } from '../define.ts'
import type { Salts } from '../define-redact.ts'
import { openEncoder } from '../ingest/encoder.ts'
import type { MicroBatchLimits } from '../ingest/lane.ts'
import { inlineLanes, type Lanes } from '../ingest/lanes.ts'
import { openTableWork } from '../ingest/table-work.ts'
import { openWindowFold } from '../ingest/window/fold.ts'
import type { WindowFold } from '../ingest/window/window.ts'
import type { Storage } from '../lake/table.ts'
import type { Source } from '../log.ts'
import type { LabRegistry } from './lab-registry.ts'
import type { World } from './world.ts'

export interface LaneParts {
  readonly world: World
  readonly storage: Storage
  readonly salts: Salts
  readonly registry: LabRegistry
}

/** How lanes read. */
export interface Reading {
  readonly lanes: number
  readonly microBatch: MicroBatchLimits
}

/** The lanes of production in this process, with a DuckDB of their own, which ends with them. */
export async function openLanes(
  { tables, windows }: PipelineDefinition,
  source: Source,
  { world: { clock, turns }, storage, salts, registry }: LaneParts,
  { lanes, microBatch }: Reading,
): Promise<Lanes> {
  const [inner, work] = await turns.do(() =>
    Promise.all([
      openEncoder({ tables, windows, storage, clock, salts, registry }),
      openTableWork({ tables, storage, clock }),
    ]),
  )
  let isClosed = false
  // A lane that was told to stop may still ask for its next batch.
  const encoder = turns.each(inner, () => !isClosed)
  const opened = inlineLanes({ source, encoder, work: turns.each(work), lanes, microBatch, clock })
  return {
    assign: (task) => opened.assign(task),
    next: (timeoutMs) => opened.next(timeoutMs),
    work: opened.work,
    close: async () => {
      await opened.close()
      await turns.do(async () => {
        isClosed = true
        await inner.close()
        await work.close()
      })
    },
  }
}

/** The fold of production in this process. */
export async function openFold(
  { tables, windows }: PipelineDefinition,
  { world: { clock, turns }, storage }: LaneParts,
): Promise<WindowFold> {
  return turns.each(await turns.do(() => openWindowFold({ windows, tables, storage, clock })))
}
