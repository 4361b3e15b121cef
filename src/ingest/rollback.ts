import type { Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { Chain, VersionContent } from '../lake/chain.ts'
import { isKept, writeVersionHints, type Storage } from '../lake/table.ts'
import type { Source } from '../log.ts'
import { LEFT_BEHIND, type Version } from '../version.ts'
import { lostRanges } from './start.ts'

export interface RollbackParts {
  readonly definition: PipelineDefinition
  readonly chain: Chain
  readonly storage: Storage
  readonly source: Source
  readonly writer: string
  readonly clock: Clock
}

/** `done`: a commit of this id went back before. `to`: it can be gone back to this version. */
export type RollbackPlan =
  | { readonly kind: 'done'; readonly version: Version }
  | { readonly kind: 'to'; readonly target: Version }

/**
 * Whether it can be gone back to an older version. Changes nothing. Throws `version.unknown`, `request.invalid`, `rollback.not_kept`, `rollback.offsets_expired`, and
 * what proves that the log is another one.
 */
export async function planRollback(
  { definition, chain, storage, source, clock }: RollbackParts,
  to: bigint,
  commitId: string,
): Promise<RollbackPlan> {
  const head = await chain.at({ kind: 'head' })
  const version = await madeBy(chain, head, commitId)
  if (version !== undefined) return { kind: 'done', version }
  if (to >= head.number)
    throw new LakeError('request.invalid', `version ${to} is not older than the head, version ${head.number}`)
  const target = await chain.at({ kind: 'number', number: to })
  if (!(await isKept(storage, chain.pipeline, target, clock)))
    throw new LakeError('rollback.not_kept', `the tables of version ${to} are no longer kept`, {
      context: { version: String(to), head: String(head.number) },
      fix: 'Choose a younger version: all of the last hour are kept, then one a minute for 24 hours.',
    })
  // Other code may read other topics.
  const [lost] = await lostRanges(source, target, isOtherCode(head, target) ? undefined : definition)
  if (lost === undefined) return { kind: 'to', target }
  const [partition, { from, until }] = lost
  throw new LakeError(
    'rollback.offsets_expired',
    `${partition}: the log begins at ${until}, version ${to} at ${from}`,
    {
      context: { partition, position: String(from), first: String(until) },
      fix: 'Choose a version whose positions the log still holds.',
    },
  )
}

/**
 * Adds a version that stands where `target` stood. With the same code it is paused, since that would make of the log what
 * it made before: what came after is read again when somebody resumes the pipeline. With other code it is let go, so that
 * a process of that code goes on at once; only what a person had paused stays so. Resolves with undefined when another
 * process moved the pipeline meanwhile, and with what is there when another one did the same.
 */
export async function rollBack(
  { chain, storage, writer }: RollbackParts,
  head: Version,
  target: Version,
  commitId: string,
): Promise<Version | undefined> {
  const { tables, positions, origins, clocksMs, watermarksMs, watermarkMs, topicIds, tails, holes } = target
  const there = await madeBy(chain, head, commitId)
  if (there !== undefined) return there
  const isOther = isOtherCode(head, target)
  const reason = rollbackReason(target)
  const content: VersionContent = {
    kind: 'rollback',
    writer,
    tables,
    positions,
    origins,
    clocksMs,
    watermarksMs,
    watermarkMs,
    topicIds,
    tails,
    holes,
    // What was sent was sent: it counts along the chain.
    published: head.published,
    paused: isOther ? (head.paused?.reason === reason ? undefined : head.paused) : { reason },
    released: isOther,
    fork: undefined,
  }
  // On maintenance alone the chain would build again; what is built here does not depend on it.
  const result = await chain.append(head, { commitId, build: () => Promise.resolve(content) })
  if (result.kind !== 'committed') return undefined
  await writeVersionHints(storage, Object.values(tables))
  return result.version
}

/** The version that a commit of this id made, if it is the head or one of those that the head remembers. */
async function madeBy(chain: Chain, head: Version, commitId: string): Promise<Version | undefined> {
  if (head.commitId === commitId) return head
  if (!head.recentCommits.includes(commitId)) return undefined
  const versions = await chain.versions(head.recentCommits.length, head.number)
  return versions.find((version) => version.commitId === commitId)
}

export function rollbackReason({ number }: Version): string {
  return `rolled back to version ${number}`
}

/** Whether tables of two versions were made by other code. One that was left out of the definition is of none. */
function isOtherCode({ tables: head }: Version, { tables: target }: Version): boolean {
  const codes = (name: string) =>
    [head, target].map((tables) => (Object.hasOwn(tables, name) ? tables[name]!.code : ''))
  return [...new Set([...Object.keys(head), ...Object.keys(target)])]
    .map(codes)
    .some(([a, b]) => a !== b && a !== LEFT_BEHIND && b !== LEFT_BEHIND)
}
