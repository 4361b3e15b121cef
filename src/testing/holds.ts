import type { Clock } from '../clock.ts'
import type { PipelineDefinition } from '../define.ts'
import { asLakeError, LakeError } from '../error.ts'
import type { ReplayDifference } from '../replay-status.ts'
import { play, type Played, type PlayParts } from './play.ts'
import { rowText, unlikeRows, valueText, type Unlike } from './tables.ts'
import { variationOf, variationText, type Variation } from './variation.ts'

export interface HoldsOptions {
  /** Runs in all, the plain one included. Default: 6. */
  readonly runs?: number
  /** No run is begun later, in milliseconds of real time. Default: none is left out. */
  readonly timeMs?: number
}

/** What was tried, and held. */
export interface Held {
  readonly seed: number
  readonly records: number
  readonly runs: number
  /** Versions that were written, and processes that died at one, in all runs. */
  readonly versions: number
  readonly crashes: number
}

const RUNS = 6

export interface HoldsParts extends PlayParts {
  readonly seed: number
  /** Of this machine: for `timeMs` alone. */
  readonly realClock: Clock
  /** What is there now, against a replay of it. */
  replay(): Promise<ReplayDifference>
}

/**
 * Runs all that was produced again, in other batches, with other interleavings of the partitions (each keeps its order),
 * numbers of lanes, compactions, and crashes at commits; and as a replay. Throws `testing.does_not_hold` when a table,
 * its late records or its dead letters are others than in the plain run. The same seed, the same runs.
 */
export async function holds(parts: HoldsParts, { runs = RUNS, timeMs = Infinity }: HoldsOptions): Promise<Held> {
  const { seed, realClock, definition, log } = parts
  const topics = new Set(definition.tables.map(({ topic }) => topic))
  const records = Number([...log.ends(topics).values()].reduce((sum, end) => sum + end, 0n))
  const startMs = realClock.monotonicMs()
  const isLeft = (): boolean => realClock.monotonicMs() - startMs < timeMs
  const plain = await played(parts, variationOf(1, seed, records))
  if (isLeft()) assertReplay(parts, await replayed(parts))
  let [done, versions, crashes] = [1, plain.versions, plain.crashes]
  for (let run = 2; run <= runs && isLeft(); run++) {
    const variation = variationOf(run, seed, records)
    const varied = await played(parts, variation)
    const unlike = unlikeRows(plain.tables, varied.tables)
    if (unlike.length > 0) throw doesNotHold(definition, seed, unlike, variation)
    done++
    versions += varied.versions
    crashes += varied.crashes
  }
  return { seed, records, runs: done, versions, crashes }
}

async function played(parts: PlayParts & { readonly seed: number }, variation: Variation): Promise<Played> {
  try {
    return await play(parts, variation)
  } catch (error) {
    throw stops(parts, runText(variation), error)
  }
}

async function replayed(parts: HoldsParts): Promise<ReplayDifference> {
  try {
    return await parts.replay()
  } catch (error) {
    throw stops(parts, REPLAY, error)
  }
}

const REPLAY = 'a replay of all records, beside the tables as they are'

function runText(variation: Variation): string {
  const { run } = variation
  return `run ${run}: ${variationText(variation)}`
}

function stops(
  { definition, seed }: { readonly definition: PipelineDefinition; readonly seed: number },
  where: string,
  cause: unknown,
): LakeError {
  const { code, message, fix } = asLakeError(cause)
  return new LakeError(
    'testing.does_not_hold',
    linesOf([`the pipeline ${definition.name} stops (seed ${seed})`, where, `${code}: ${message}`], fix),
    { cause, context: { pipeline: definition.name, seed, code }, ...(fix === undefined ? {} : { fix }) },
  )
}

const FIX =
  'Rows must follow from each record and its place in the log alone: look for a function that keeps something between records, or a key whose records are ordered by nothing. Where there is neither, it is a defect of ours: report it with the seed.'

function doesNotHold(
  { name }: PipelineDefinition,
  seed: number,
  unlike: readonly Unlike[],
  variation: Variation,
): LakeError {
  const first = unlike[0]!
  const tables = new Set(unlike.map(({ table }) => table)).size
  const lines = [
    `the pipeline ${name} gives other rows for the same records (seed ${seed})`,
    runText(variation),
    `table ${first.table}, row ${first.key}: ${differenceText(first)}`,
    `${unlike.length} ${unlike.length === 1 ? 'row' : 'rows'} of ${tables} ${tables === 1 ? 'table' : 'tables'} differ`,
  ]
  return new LakeError('testing.does_not_hold', linesOf(lines, FIX), {
    context: { pipeline: name, seed, run: variation.run, table: first.table, row: first.key, columns: first.columns },
    fix: FIX,
  })
}

function differenceText({ before, after, columns }: Unlike): string {
  if (before === undefined) return `it is there now, and was not in the plain run: ${rowText(after!)}`
  if (after === undefined) return `it is missing now; in the plain run it was ${rowText(before)}`
  return columns
    .map((column) => `${column} is ${valueText(after[column])}, and was ${valueText(before[column])} in the plain run`)
    .join('; ')
}

function assertReplay({ definition, seed }: HoldsParts, { isEqual, tables }: ReplayDifference): void {
  if (isEqual) return
  const different = tables.filter(({ kind }) => kind === 'different')
  const [first] = different
  const [sample] = first!.samples
  const row = sample === undefined ? '' : `, row ${rowText(sample.key)}`
  const what =
    sample?.change === 'added'
      ? 'the replay has it, the tables do not'
      : sample?.change === 'removed'
        ? 'the tables have it, the replay does not'
        : `it was ${rowText(sample?.before ?? {})}, and is ${rowText(sample?.after ?? {})} in the replay`
  const lines = [
    `the pipeline ${definition.name} gives other rows for the same records (seed ${seed})`,
    REPLAY,
    `table ${first!.table}${row}: ${what}`,
    `${different.length} ${different.length === 1 ? 'table differs' : 'tables differ'}`,
  ]
  throw new LakeError('testing.does_not_hold', linesOf(lines, FIX), {
    context: { pipeline: definition.name, seed, table: first!.table, row: sample?.key ?? null },
    fix: FIX,
  })
}

/** Test runners show the message alone. */
function linesOf(lines: readonly string[], fix: string | undefined): string {
  return [...lines, ...(fix === undefined ? [] : [`what to do: ${fix}`])].join('\n  ')
}
