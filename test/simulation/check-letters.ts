import { parsePartitionId } from '../../src/log.ts'
import type { Version } from '../../src/version.ts'
import { atOf, type Fail, type TableStep } from './check-tables.ts'
import { mended } from './letters.ts'
import type { SimRow } from './row-encoder.ts'

/**
 * Dead letters that people settle. At every version each poison record is exactly one of pending, resolved and discarded,
 * and has a row when it is resolved, and only then. What changes, the version that changes it names, and no job changes
 * one twice.
 */
export class LetterFold {
  readonly #table: string
  readonly #fail: Fail
  #letters: ReadonlyMap<string, SimRow> = new Map()
  /** Jobs and the places that they have settled. */
  readonly #settled = new Set<string>()

  constructor(table: string, fail: Fail) {
    this.#table = table
    this.#fail = fail
  }

  /**
   * Takes the rows of settled records out of `rows`, those that the version added to the table; gives dead letters of
   * records that were read for the first time.
   */
  async step(
    version: Version,
    { live }: TableStep,
    rows: Map<string, SimRow>,
  ): Promise<Pick<TableStep, 'gained' | 'lost'>> {
    const what = `v${version.number} of ${this.#table}`
    const before = this.#letters
    const now = live === undefined ? before : this.#standing(what, await live())
    const settled = this.#settledBy(version)
    for (const at of settled) this.#checkSettled(`${what}: ${at}`, version, before.get(at), now.get(at), rows.get(at))
    for (const at of settled) rows.delete(at)
    for (const [at, letter] of before)
      if (!settled.has(at) && textOf(now.get(at)) !== textOf(letter))
        this.#fail('I18', `${what}: the dead letter ${at} was ${textOf(letter)} and is ${textOf(now.get(at))}`)
    const gained = new Map([...now].filter(([at]) => !before.has(at)))
    for (const [at, letter] of gained)
      if (letter.s !== undefined || letter.attempts !== undefined)
        this.#fail('I18', `${what}: ${at} comes as ${textOf(letter)}`)
    this.#letters = now
    return { gained, lost: [] }
  }

  #standing(what: string, live: readonly SimRow[]): ReadonlyMap<string, SimRow> {
    const standing = new Map<string, SimRow>()
    for (const letter of live) {
      const at = atOf(letter)
      if (standing.has(at)) this.#fail('I18', `${what}: ${at} is a dead letter twice`)
      standing.set(at, letter)
    }
    return standing
  }

  /** Places that the version says it settled. */
  #settledBy({ kind, retried, number }: Version): ReadonlySet<string> {
    const places = new Set<string>()
    if (kind !== 'repair') return places
    for (const [id, ranges] of Object.entries(retried!.positions[this.#table] ?? {}))
      for (const range of ranges) {
        const [first, last = first] = range.split('-').map(BigInt)
        const { partition } = parsePartitionId(id as `${string}/${number}`)
        for (let offset = first!; offset <= last!; offset++) {
          const at = `${partition}@${offset}`
          places.add(at)
          const once = `${retried!.job} ${at}`
          if (this.#settled.has(once)) this.#fail('X2', `v${number}: a job settles ${this.#table} ${at} once more`)
          this.#settled.add(once)
        }
      }
    return places
  }

  #checkSettled(
    what: string,
    { retried }: Version,
    before: SimRow | undefined,
    now: SimRow | undefined,
    row: SimRow | undefined,
  ): void {
    if (before === undefined || before.s !== undefined)
      return this.#fail('X2', `${what} is settled, and it was ${textOf(before)}`)
    const v = retried!.kind === 'retry' ? mended(before.v) : undefined
    const attempts = retried!.kind === 'retry' ? { attempts: (before.attempts ?? 0) + 1 } : {}
    const status =
      retried!.kind === 'discard' ? ('discarded' as const) : v === undefined ? undefined : ('resolved' as const)
    const wanted = { ...before, ...(status === undefined ? {} : { s: status }), ...attempts }
    if (textOf(now) !== textOf(wanted)) this.#fail('X2', `${what} is ${textOf(now)}, not ${textOf(wanted)}`)
    if (row?.v !== v) this.#fail('X2', `${what} has the row ${row?.v}, not ${v}`)
  }
}

function textOf(letter: SimRow | undefined): string {
  if (letter === undefined) return 'none'
  const { v, s = 'pending', attempts = 0 } = letter
  return `${s} after ${attempts}: ${v}`
}
