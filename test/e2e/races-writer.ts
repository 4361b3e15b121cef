import type { Clock } from '../../src/clock.ts'
import { Committer } from '../../src/ingest/committer.ts'
import { KeyedTables } from '../../src/ingest/keyed-tables.ts'
import { openTables } from '../../src/ingest/tables.ts'
import { openChain } from '../../src/lake/chain.ts'
import { storedFiles, type Storage } from '../../src/lake/table.ts'
import { DEFINITION, inputsOf, PARTITION, partsOf, PIPELINE, planOf, RaceWork, staged } from './races-table.ts'

/** What one process had acknowledged, and what came in its way. */
export interface Raced {
  readonly commits: readonly string[]
  readonly compactions: readonly string[]
  readonly stale: number
  /** Codes of errors after which the head was opened anew. */
  readonly errors: readonly string[]
}

/**
 * Commits `commits` times with the committer of production, against whoever else does: what is not committed is
 * dropped with its committer, and the head opened anew. One commit in `compactEvery` is followed by a compaction of
 * all files.
 */
export async function race(
  storage: Storage,
  writer: string,
  { commits, compactEvery, pauseMsMax }: { commits: number; compactEvery: number; pauseMsMax: number },
  clock: Clock,
): Promise<Raced> {
  const work = new RaceWork(storage, clock)
  const done = { commits: [] as string[], compactions: [] as string[], stale: 0, errors: [] as string[] }
  while (done.commits.length < commits) {
    try {
      await turn()
    } catch (error) {
      const { code = String(error) } = error as { code?: string }
      done.errors.push(code)
      if (done.errors.length > 100 * commits) throw error
    }
    await clock.sleep(clock.random() * pauseMsMax)
  }
  return done

  /** From one head, for as long as nobody else comes in between. */
  async function turn(): Promise<void> {
    const chain = openChain(storage, PIPELINE, clock)
    const head = (await chain.head())!
    const tables = await openTables(storage, head.tables)
    const plan = planOf(tables.get('race')!)
    const keyed = await KeyedTables.load([DEFINITION], tables, [plan], storage, () => work, clock)
    const committer = await Committer.open({ ...partsOf(storage, chain, writer, clock), keyed }, head, tables)
    while (done.commits.length < commits) {
      const verdict = await committer.fold(await staged(work, plan, committer.head.positions.get(PARTITION)!))
      if (verdict !== 'folded') throw new Error(`a batch at the head is ${verdict}`)
      const result = await committer.commit()
      if (result.kind !== 'committed') return void done.stale++
      done.commits.push(result.version.commitId)
      if (done.commits.length % compactEvery === 0 && !(await compact(committer))) return
      await clock.sleep(clock.random() * pauseMsMax)
    }
  }

  async function compact(committer: Committer): Promise<boolean> {
    const table = committer.tables.get('race')!
    const dead = new Map(committer.live.get('race')!.files.map(({ file, deleted }) => [file.key, deleted]))
    const inputs = inputsOf(await storedFiles(storage, table), dead)
    const isEmpty = inputs.every(({ file, deleted }) => deleted.count === file.recordCount)
    const sequenceNumber = table.raw['last-sequence-number']
    const output = isEmpty ? undefined : { ...(await work.concatenate(planOf(table).data, inputs)), sequenceNumber }
    const result = await committer.replace({ table: 'race', inputs, output, sequenceNumber })
    if (result.kind !== 'committed') done.stale++
    else done.compactions.push(result.version.commitId)
    return result.kind === 'committed'
  }
}
