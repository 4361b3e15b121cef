import { NOTHING_SETTLED, type Retried } from '../../dead-letters.ts'
import { deadLetterTable } from '../../define.ts'
import { asLakeError } from '../../error.ts'
import type { Chain, CommitResult } from '../../lake/chain.ts'
import { openTable, writePlan, type LakeTable, type TableChange } from '../../lake/table.ts'
import type { Version } from '../../version.ts'
import type { Settled } from '../next-version.ts'
import { filesOf, positionsOf, withRows } from './letter-files.ts'
import type { FoundLetter, LetterWork } from './letters.ts'
import { rowsOf } from './reading-again.ts'
import type { SettlingParts } from './settling.ts'

/** Dead letters that are looked at, of one table. Beyond, they are pending again after a replay. */
const CARRIED_MAX = 1_000_000
/** What was before the cut-over may be kept no longer. */
const GONE: ReadonlySet<string> = new Set(['store.corrupt', 'version.unknown', 'snapshot.expired'])

/**
 * What was discarded stays discarded when a replay has rebuilt its table: by position, in a version of its own, the first
 * thing that is done after the cut-over. Whether it is still to be done, the last jump of the chain says, and this version
 * is the next one. Undefined: there is nothing to carry.
 */
export async function carryDiscarded(parts: SettlingParts, signal: AbortSignal): Promise<CommitResult | undefined> {
  const { chain, committer } = parts
  const { letters } = parts.lanes
  const cut = letters === undefined ? undefined : await lastCutover(chain, committer.head)
  if (cut === undefined) return undefined
  const settled = await unlessGone(() => carried(parts, letters!, cut))
  if (settled === undefined) return undefined
  if (committer.hasPending) {
    const first = await committer.commit({}, signal)
    if (first.kind !== 'committed') return first
  }
  const result = await committer.settle(settled, undefined, signal)
  return result.kind === 'baseless' ? undefined : result
}

async function unlessGone<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (GONE.has(asLakeError(error).code)) return undefined
    throw error
  }
}

/** The cut-over of a replay that nothing but ingestion and maintenance came after, and the version before it. */
async function lastCutover(
  chain: Chain,
  { jump }: Version,
): Promise<{ readonly version: Version; readonly before: Version } | undefined> {
  if (jump === undefined) return undefined
  return unlessGone(async () => {
    const version = await chain.at({ kind: 'number', number: jump })
    if (version.kind !== 'cutover' || version.fork === undefined) return undefined
    return { version, before: await chain.at({ kind: 'number', number: jump - 1n }) }
  })
}

async function carried(
  parts: SettlingParts,
  work: LetterWork,
  { version, before }: { readonly version: Version; readonly before: Version },
): Promise<Settled | undefined> {
  const { definition, storage, committer } = parts
  const fork = version.fork!
  const letters = new Map<string, TableChange>()
  const positions: Record<string, ReturnType<typeof positionsOf>> = {}
  let count = 0
  let behind: Retried['behind'] | undefined
  for (const table of definition.tables.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = deadLetterTable(table.name)
    const old = Object.hasOwn(before.tables, name) ? before.tables[name]! : undefined
    if (old === undefined || !fork.rebuilt.includes(name)) continue
    const discarded = await find(parts, work, await openTable(storage, old.metadata, name), 'discarded')
    if (discarded.length === 0) continue
    const places = new Set(discarded.map(({ partition, offset }) => `${partition}@${offset}`))
    const now = committer.tables.get(name)!
    const pending = await find(parts, work, now, 'pending')
    const again = pending.filter(({ partition, offset }) => places.has(`${partition}@${offset}`))
    const last = again.at(-1)
    if (last === undefined) continue
    const files = await filesOf(storage, now)
    const byKey = new Map(files.map(({ file }) => [file.key, file]))
    const file = await work.settle(writePlan(now), rowsOf(again, byKey), 'discarded')
    const deletes = withRows(
      files.map((each) => ({ file: each.file, rows: each.deleted })),
      again,
    )
    letters.set(name, { kind: 'write', added: [file], deletes, removed: [] })
    positions[table.name] = positionsOf(table.topic, again)
    behind = { table: table.name, partition: last.partition, offset: String(last.offset) }
    count += again.length
  }
  if (behind === undefined) return undefined
  const counts = { ...NOTHING_SETTLED, discarded: count }
  return { letters, retried: { job: fork.id, kind: 'discard', behind, counts, positions } }
}

async function find(
  { storage }: SettlingParts,
  work: LetterWork,
  table: LakeTable,
  status: 'pending' | 'discarded',
): Promise<readonly FoundLetter[]> {
  const files = await filesOf(storage, table)
  return work.find(writePlan(table), {
    files,
    status,
    where: {},
    behind: undefined,
    limit: CARRIED_MAX,
    bytesMax: Infinity,
    isReadAgain: false,
  })
}
