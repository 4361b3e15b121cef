import { LakeError } from '../error.ts'
import type { Lake } from '../index.ts'
import type { ReplayDifference, ReplayProgress } from '../replay-status.ts'
import type { Clock } from '../clock.ts'
import { DEMO_WINDOW } from './demo-lake.ts'
import { percentOf } from './replay-screen.ts'

/** What the tour did, and whether it came out as it must. */
export interface TourStep {
  readonly step: (typeof STEPS)[number]
  readonly ok: boolean
  readonly found: string
}

type TourLake = Pick<Lake, 'pipelines' | 'sql' | 'replay' | 'close'>

export interface TourOptions {
  /** The lake of the old definition, which goes on. */
  readonly lake: TourLake
  /** Opens the one of the changed definition, over the same store and log. */
  readonly openChanged: () => Promise<TourLake>
  readonly say: (line: string) => void
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Nothing is produced any more, so that figures before and after can be compared. */
  readonly isStill: boolean
}

const STATE_MS_MAX = 60_000
const LOOK_EVERY_MS = 100

/**
 * Changes an aggregate, replays, looks at the difference, cuts over and rolls back: while the old process runs, as
 * anybody would do it. Ends at the first step that does not come out as it must.
 */
export async function runTour(options: TourOptions): Promise<readonly TourStep[]> {
  const steps: TourStep[] = []
  const { say } = options
  const done = (step: TourStep['step'], ok: boolean, found: string): boolean => {
    // A demo that is ended in the middle has found nothing out.
    if (options.signal.aborted && !options.isStill) return false
    steps.push({ step, ok, found })
    say(`${ok ? '✓' : '✗'} ${found}`)
    return ok
  }
  say(`tour: ${DEMO_WINDOW} is changed: revenue without cancelled orders, and an average`)
  const before = await figures(options)
  const changed = await options.openChanged()
  try {
    await walk(options, changed, before, done)
  } catch (error) {
    if (options.signal.aborted || !(error instanceof LakeError)) throw error
    done(STEPS[steps.length]!, false, `${error.code}: ${error.message}`)
  } finally {
    await changed.close()
  }
  return steps
}

/** In their order: all of them, when all comes out as it must. */
export const STEPS = ['change', 'replay', 'difference', 'cutover', 'rollback'] as const

async function walk(
  options: TourOptions,
  changed: TourLake,
  before: string,
  done: (step: TourStep['step'], ok: boolean, found: string) => boolean,
): Promise<void> {
  const { lake, say, signal, isStill } = options
  const isKept = (now: string) => !isStill || now === before
  const waits = await reaches(options, changed, 'superseded')
  const reason = changed.pipelines[0]!.status().reason
  if (!done('change', waits, `the new definition waits beside the old one: ${reason?.code ?? stateOf(changed)}`)) return

  const replay = await changed.replay('shop', { from: 'earliest' })
  let told = ''
  let last: ReplayProgress | undefined
  for await (const progress of replay.progress({ signal })) {
    last = progress
    const quarter = `${progress.phase} ${Math.floor(progress.percent / 25)}`
    if (quarter !== told) say(`  ${progress.phase} ${percentOf(progress.percent)} %`)
    told = quarter
  }
  const { rebuilt, shared, version } = await replay.status()
  const isReady = last?.phase === 'ready' && rebuilt.join() === DEMO_WINDOW
  const what = `rebuilt ${rebuilt.join(', ')} from ${last?.total} offsets beside version ${version}, shared ${shared.join(', ')}`
  if (!done('replay', isReady, what)) return

  const difference = await replay.difference({ signal })
  if (!done('difference', isExpected(difference), differenceText(difference))) return

  const { cutover } = await replay.cutOver({ approve: difference.id, signal })
  const isOver = (await reaches(options, changed, 'running')) && (await reaches(options, lake, 'superseded'))
  const average = await count(lake, 'average')
  const isNew = isOver && average > 0n && isKept(await figures(options))
  const over = `version ${cutover?.version} has the new window, with ${average} averages; the old process is ${stateOf(lake)}`
  if (!done('cutover', isNew, over)) return

  await replay.rollBack({ signal })
  const isBack = (await reaches(options, lake, 'running')) && (await reaches(options, changed, 'superseded'))
  const now = await figures(options)
  done('rollback', isBack && isKept(now), `rolled back: the old process is ${stateOf(lake)}, its window holds ${now}`)
}

/** Of what both definitions say alike: windows, orders, and the revenue of what was not cancelled. */
async function figures({ lake }: TourOptions): Promise<string> {
  const [row] = await lake.sql<{ text: string }>(
    `SELECT concat(count(*), ' rows of ', coalesce(sum(n), 0), ' orders, revenue ',
       coalesce(sum(revenue) FILTER (WHERE status <> 'cancelled'), 0)) AS text FROM ${DEMO_WINDOW}`,
  )
  return row!.text
}

async function count(lake: TourLake, column: string): Promise<bigint> {
  const [row] = await lake.sql<{ n: bigint | string }>(`SELECT count("${column}") AS n FROM ${DEMO_WINDOW}`)
  return BigInt(row!.n)
}

/** The window has a column more, and rows of cancelled orders that say something else; nothing else differs. */
function isExpected({ tables, isEqual }: ReplayDifference): boolean {
  const window = tables.find(({ table }) => table === DEMO_WINDOW)
  const others = tables.filter(({ table }) => table !== DEMO_WINDOW)
  return (
    !isEqual &&
    window?.kind === 'different' &&
    window.columns.added.join() === 'average' &&
    window.columns.removed.length + window.columns.retyped.length === 0 &&
    [window.added, window.removed].every((rows) => rows === '0') &&
    BigInt(window.changed) > 0n &&
    window.rowsBefore === window.rowsAfter &&
    others.every(({ kind }) => kind === 'equal')
  )
}

function differenceText({ id, tables }: ReplayDifference): string {
  const texts = tables
    .filter(({ kind }) => kind !== 'equal')
    .map(
      ({ table, rowsAfter, added, removed, changed, columns }) =>
        `${table}: ${[...columns.added.map((name) => `column ${name} is new`), `of ${rowsAfter} rows ${added} added, ${removed} removed, ${changed} changed`].join(', ')}`,
    )
  return `difference ${id.slice(0, 8)}: ${texts.length === 0 ? 'none' : texts.join('; ')}`
}

/** Waits until the pipeline is in a state; false when it does not come to it. */
async function reaches({ clock, signal }: TourOptions, lake: TourLake, state: string): Promise<boolean> {
  const sinceMs = clock.monotonicMs()
  while (stateOf(lake) !== state) {
    if (signal.aborted || clock.monotonicMs() - sinceMs > STATE_MS_MAX) return false
    await clock.sleep(LOOK_EVERY_MS, signal)
  }
  return true
}

function stateOf(lake: TourLake): string {
  return lake.pipelines[0]!.status().state
}
