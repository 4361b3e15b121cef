import type { Clock } from '../clock.ts'
import { tableNames, type PipelineDefinition } from '../define.ts'
import { publishedTables } from '../define-topic.ts'
import { LakeError } from '../error.ts'
import type { Chain, VersionContent } from '../lake/chain.ts'
import { beforeTag, dropTag, holdFor, writeVersionHints, type Storage } from '../lake/table.ts'
import { parsePartitionId, type PartitionId } from '../log.ts'
import { LEFT_BEHIND, type TableVersion, type Version } from '../version.ts'

export interface CutoverParts {
  readonly definition: PipelineDefinition
  readonly main: Chain
  readonly storage: Storage
  readonly writer: string
  readonly clock: Clock
}

/**
 * Makes the head of a fork that of the main chain: one commit, whose id is the replay's own, so that doing it twice does
 * it once. It is tried again for as long as the main chain goes on from the fork's base by ingestion and maintenance
 * alone; throws `replay.base_moved` when it does not. The version before stays readable for `keepOldMs`.
 */
export async function cutOver(
  parts: CutoverParts,
  fork: Version,
  commitId: string,
  keepOldMs: number,
  signal: AbortSignal,
): Promise<Version> {
  const { main, storage, clock } = parts
  const { id, base } = fork.fork!
  const before = (number: bigint) =>
    holdFor(storage, main.pipeline, { name: beforeTag(id), version: number - 1n }, keepOldMs, clock)
  for (;;) {
    const head = await main.at({ kind: 'head' })
    const done = await cutoverOf(main, head, commitId)
    if (done !== undefined) return done
    try {
      assertOnward(head, base.number)
    } catch (error) {
      await dropTag(storage, main.pipeline, beforeTag(id))
      throw error
    }
    const build = async (on: Version | undefined, number: bigint): Promise<VersionContent> => {
      // Held before it is left: from then on it is what a rollback goes back to.
      await before(number)
      return contentOf(parts, fork, on!, number)
    }
    const result = await main.append(head, { commitId, build }, signal)
    if (result.kind !== 'committed') continue
    await writeVersionHints(storage, Object.values(result.version.tables))
    return result.version
  }
}

/** The version that a commit of this id made, as far as it is known: the newest hundred versions, and the last jump. */
export async function cutoverOf(main: Chain, head: Version, commitId: string): Promise<Version | undefined> {
  if (head.commitId === commitId) return head
  if (head.recentCommits.includes(commitId)) {
    const versions = await main.versions(head.recentCommits.length + 1)
    return versions.find((version) => version.commitId === commitId)
  }
  if (head.jump === undefined) return undefined
  const jump = await main.at({ kind: 'number', number: head.jump }).catch(() => undefined)
  return jump?.commitId === commitId ? jump : undefined
}

/** Throws `replay.base_moved` when the main chain was rolled back, repaired or cut over since the base. */
export function assertOnward({ jump }: Version, base: bigint): void {
  if (jump === undefined || jump <= base) return
  throw new LakeError('replay.base_moved', `version ${jump} does not go on from version ${base}, where this began`, {
    context: { version: String(jump), base: String(base) },
    fix: 'Cancel this replay and start another: it begins where the pipeline stands now.',
  })
}

/**
 * What the fork says, beside what the main chain alone knows: tables without a definition, where the log of their topics
 * stood, and what was sent of others.
 */
function contentOf({ definition, writer }: CutoverParts, fork: Version, head: Version, number: bigint): VersionContent {
  const names = new Set([...definition.tables, ...definition.windows].flatMap(tableNames))
  const left = Object.entries(head.tables).filter(([name]) => !names.has(name))
  const topics = new Set(definition.tables.map(({ topic }) => topic))
  const alone = <V>(of: ReadonlyMap<PartitionId, V>) =>
    [...of].filter(([id]) => !topics.has(parsePartitionId(id).topic))
  const published = publishedTables(definition).map(({ name, renamedFrom = name }) => {
    const sent = [name, renamedFrom].find((each) => Object.hasOwn(head.published, each))
    return [name, sent === undefined ? number : head.published[sent]!] as const
  })
  return {
    ...fork,
    kind: 'cutover',
    writer,
    tables: {
      ...Object.fromEntries(
        left.map(([name, table]): [string, TableVersion] => [name, { ...table, code: LEFT_BEHIND }]),
      ),
      ...fork.tables,
    },
    positions: new Map([...alone(head.positions), ...fork.positions]),
    origins: new Map([...alone(head.origins), ...fork.origins]),
    topicIds: { ...head.topicIds, ...fork.topicIds },
    tails: new Map([...alone(head.tails), ...fork.tails]),
    holes: new Map([...alone(head.holes), ...fork.holes]),
    // What came before is sent first. Of what differs nothing is: the next change says that it comes after a cut-over.
    published: Object.fromEntries(published),
    paused: head.paused,
    released: true,
  }
}
