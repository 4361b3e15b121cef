import { createHash } from 'node:crypto'
import type { PipelineDefinition } from '../define.ts'
import { ContentSource } from '../ingest/memory-log.ts'
import { openChain } from '../lake/chain.ts'
import { dropTag, baseTag } from '../lake/table.ts'
import { LakeError } from '../error.ts'
import { REPLAY, type ReplayDifference } from '../replay-status.ts'
import { baseOf, build, forkOf, nextStage, openOrCreate, type ForkParts } from '../replay/fork.ts'
import { verify } from '../replay/verify.ts'
import type { LabLog } from './lab-log.ts'
import { openFold, openLanes, type LaneParts } from './lanes.ts'

export interface ReplayParts extends LaneParts {
  /** Of the code that is to be tried, which may be the same. */
  readonly definition: PipelineDefinition
  readonly log: LabLog
  readonly isSame: boolean
}

const READING = { lanes: 2, microBatch: { recordsMax: 1_000, bytesMax: 1 << 30, ageMsMax: 0 } }

/**
 * Builds a fork of the newest version by the path of replays, up to where that stands, and compares. Nothing comes of it:
 * the live tables stay what they are. Needs somebody who moves the world. Throws what stops the fork.
 */
export async function replayOnce(parts: ReplayParts): Promise<ReplayDifference> {
  const { world, storage, definition, log, registry, isSame } = parts
  const { clock } = world
  const source = new ContentSource(log.memory, clock, { pollMs: 1 })
  const main = openChain(storage, definition.name, clock)
  const forkParts: ForkParts = {
    definition,
    source,
    storage,
    main,
    policy: { writer: 'lab', minIntervalMs: 0, heartbeatMs: Infinity },
    clock,
    observer: () => undefined,
    control: { pauseReason: undefined, isHurried: false, compactions: new Map(), onHead: () => undefined },
    compaction: undefined,
    registry,
    startLanes: (of, from) => openLanes(of, from, parts, READING),
    openFold: (of) => openFold(of, parts),
  }
  const id = createHash('sha256').update(clock.uuid()).digest('hex')
  const mode = isSame ? 'verify' : 'reprocess'
  const fork = forkOf(forkParts, id, { ...REPLAY, mode })
  const { signal } = new AbortController()
  try {
    let head = await openOrCreate(forkParts, fork, signal)
    while (head.fork!.building !== undefined) {
      const result = head.fork!.building.until.size === 0 ? undefined : await build(forkParts, fork, head, signal)
      if (result !== undefined && result.kind !== 'drained')
        throw new LakeError('internal', `the replay of a lab ended as ${result.kind}`)
      head = (await nextStage(forkParts, fork, result?.head ?? head, signal)) ?? head
    }
    const lanes = await openLanes(definition, source, parts, READING)
    try {
      return await verify(await baseOf(main, head), head, definition, storage, lanes.work, mode)
    } finally {
      await lanes.close()
    }
  } finally {
    await dropTag(storage, definition.name, baseTag(id))
  }
}
