import type { Plan, SimTable, SimWindow, TopicPlan } from './plan.ts'
import type { Random } from './random.ts'

/** Some seeds have a window or two; none over a table that is truncated, whose rows may be gone before they are seen. */
export function withWindows(
  tables: readonly SimTable[],
  topics: readonly TopicPlan[],
  random: Random,
): readonly SimTable[] {
  if (!random.chance(0.35)) return tables
  const fit = tables.filter(({ topic }) => !topics.find((each) => each.topic === topic)!.isTruncated)
  if (fit.length === 0) return tables
  const chosen = random.pick(fit)
  const boundMs = random.pick([0, 500, 2_000])
  const windows = windowsOf('events', boundMs, random)
  const idleAfterMs = random.pick([1_000, 5_000, NEVER_MS])
  return tables.map((table) => (table === chosen ? { ...table, windows, idleAfterMs } : table))
}

/** So have more over the rows of a keyed table, perhaps the same; each of its keys stays in one partition. */
export function withRowWindows(
  tables: readonly SimTable[],
  topics: readonly TopicPlan[],
  random: Random,
): readonly SimTable[] {
  if (!random.chance(0.35)) return tables
  const hasOwnKeys = ({ topic }: SimTable) => topics.find((each) => each.topic === topic)!.hasOwnKeys
  const fit = tables.filter((table) => table.keyed !== undefined && hasOwnKeys(table))
  if (fit.length === 0) return tables
  const chosen = random.pick(fit)
  const boundMs = chosen.windows[0]?.boundMs ?? random.pick([0, 500, 2_000])
  const windows = [...chosen.windows, ...windowsOf('rows', boundMs, random)]
  const idleAfterMs = chosen.windows.length > 0 ? chosen.idleAfterMs : random.pick([1_000, 5_000, NEVER_MS])
  return tables.map((table) => (table === chosen ? { ...table, windows, idleAfterMs } : table))
}

/** Whether no partition of the table is ever idle, or comes later than others: then nothing final changes. */
export function isSteady({ rates }: Plan, { idleAfterMs }: SimTable): boolean {
  return rates.K12 === 0 && idleAfterMs >= NEVER_MS
}

/** Longer than any run. */
const NEVER_MS = 3_600_000

function windowsOf(input: SimWindow['input'], boundMs: number, random: Random): SimWindow[] {
  const kinds = random.pick<readonly SimWindow['kind'][]>([['tumbling'], ['session'], ['tumbling', 'session']])
  return kinds.map((kind) => ({
    name: input === 'events' ? `w_${kind}` : `w_${kind}_${input}`,
    kind,
    input,
    sizeMs: random.pick(kind === 'session' ? [50, 400] : [500, 3_000]),
    latenessMs: random.pick([0, 0, 1_000]),
    boundMs,
  }))
}
