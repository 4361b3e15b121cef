import { Random } from './random.ts'

/** One way in which the same records may reach the same tables. */
export interface Variation {
  /** From 1; the first is what the others are compared with. */
  readonly run: number
  readonly seed: number
  readonly lanes: number
  /** Records of a micro-batch, and offsets of one read. */
  readonly recordsMax: number
  readonly offsetsMax: number
  readonly order: 'as produced' | 'shuffled'
  /** Each batch is a version, or all of them are one. */
  readonly commits: 'each batch' | 'at the end'
  /** At which versions the process dies: before it is written, and again after it. */
  readonly crashes: 'never' | 'some' | 'every'
  readonly isCompacting: boolean
}

/** Micro-batches of one run, as many as a test has time for; of the one in which each of them costs three lives. */
const BATCHES_MAX = 6
const BATCHES_MAX_DYING = 4

/** The plain run, then one that dies at every commit, then what the seed gives. */
export function variationOf(run: number, seed: number, records: number): Variation {
  const plain = { run, seed, lanes: 1, isCompacting: false, order: 'as produced' } as const
  if (run === 1) return { ...plain, recordsMax: 10_000, offsetsMax: 1_000, commits: 'at the end', crashes: 'never' }
  const random = new Random(seed, `variation ${run}`)
  const least = Math.max(1, Math.ceil(records / (run === 2 ? BATCHES_MAX_DYING : BATCHES_MAX)))
  const recordsMax = run === 2 ? least : least * random.pick([1, 1, 2, 3, 5, 100])
  return {
    run,
    seed,
    lanes: run === 2 ? 2 : 1 + random.int(3),
    recordsMax,
    offsetsMax: random.pick([1, 2, Math.max(1, recordsMax >> 1), recordsMax]),
    order: 'shuffled',
    commits: run === 2 || random.chance(0.7) ? 'each batch' : 'at the end',
    crashes: run === 2 ? 'every' : random.pick(['never', 'some', 'some']),
    isCompacting: random.chance(0.3),
  }
}

/** In words, for whoever is to find out what it was. */
export function variationText(variation: Variation): string {
  const { lanes, recordsMax, offsetsMax, order, commits, crashes, isCompacting } = variation
  const parts = [
    `${lanes} ${lanes === 1 ? 'lane' : 'lanes'}`,
    `batches of up to ${recordsMax} ${recordsMax === 1 ? 'record' : 'records'}`,
    order === 'shuffled' ? `partitions interleaved anew, up to ${offsetsMax} at a time` : 'in the order of production',
    commits === 'each batch' ? 'a version for each batch' : 'one version',
    ...(crashes === 'never'
      ? []
      : [crashes === 'every' ? 'a crash before and after every commit' : 'crashes at some commits']),
    ...(isCompacting ? ['files put together all the time'] : []),
  ]
  return parts.join(', ')
}
