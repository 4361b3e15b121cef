import { aggregatesOver, type Aggregate, type Aggregates } from './define-aggregate.ts'
import { columnsAs, conditionText, type Condition } from './define-expression.ts'
import { invalidField, type FieldPath } from './define-fields.ts'
import type { ColumnKinds, NamesOf, PrimitiveKind, TableOf } from './define-kinds.ts'
import { withLate, type Window } from './define-reference.ts'
import type { AnyRow } from './define-row.ts'
import type { Results, WindowRow } from './define-window-row.ts'
import type { TableDefinition } from './define.ts'
import { writtenTopic, type TopicOptions } from './define-topic.ts'
import { specText, type TypeSpec } from './define-type.ts'
import { checkWindow, windowOverWindow } from './define-window-check.ts'
import type { KIND_KEYS } from './define-window-fields.ts'
import type { WindowDefinition } from './define-window.ts'

export type { Aggregate, Aggregates } from './define-aggregate.ts'

/** What every window may have. YAML takes the same keys and texts; defaults are filled in. Durations: `500ms 5s 10m 1h 7d`. */
export interface CommonWindowOptions {
  /** How long after the end of a window a record still counts, by the clock of its own partition. Default: 0s. */
  readonly allowedLateness?: string
  /** Default: `rows` over keyed tables, `events` over the others. */
  readonly input?: WindowDefinition['input']
  readonly emit?: WindowDefinition['emit']
  /** Of `emit: update`: how often open rows are written at most. Default: with each commit. */
  readonly early?: string
  readonly openRowsMax?: number
  /** With `input: rows`: keys whose old values may be held. Default: 10 million. */
  readonly oldValuesMax?: number
  /** Rows whose window ended so long before the watermark are deleted. Default: never. */
  readonly retain?: string
  /** What it was called before: its rows stay, and are found by the new name. */
  readonly renamedFrom?: string
  /** Where committed changes are published. */
  readonly to?: TopicOptions
}

/**
 * What is grouped and aggregated. `K`: kinds of the source's columns, `R`: its rows, `G`: the columns of `groupBy`,
 * `S`: results, `U`: what becomes of groups that are null.
 */
export interface WindowOptions<
  K extends ColumnKinds = ColumnKinds,
  R = any,
  G extends NamesOf<K, PrimitiveKind> = NamesOf<K, PrimitiveKind>,
  S extends Results = Results,
  U extends WindowDefinition['nullGroup'] = WindowDefinition['nullGroup'],
> extends CommonWindowOptions {
  readonly groupBy?: readonly G[]
  readonly nullGroup?: U
  /** Row-wise over the source's columns: other rows do not count. */
  readonly where?: Condition<R>
  /**
   * Results by name: `({ count, sum }) => ({ n: count(), revenue: sum('amount') })`, or their text forms. What is computed
   * from them has a type, as columns of tables have: `mean: t.double().as('revenue / n')`.
   */
  readonly select: ((aggregates: Aggregates<K, R>) => S) | S
}

type CalendarSize = `1 ${'day' | 'week' | 'month' | 'quarter' | 'year'}`

export interface TumblingOptions<
  K extends ColumnKinds = ColumnKinds,
  R = any,
  G extends NamesOf<K, PrimitiveKind> = NamesOf<K, PrimitiveKind>,
  S extends Results = Results,
  U extends WindowDefinition['nullGroup'] = WindowDefinition['nullGroup'],
> extends WindowOptions<K, R, G, S, U> {
  /** A duration, or a calendar unit of the time zone, `1 day`. */
  readonly size: CalendarSize | (string & {})
  readonly offset?: string
  /** Windows begin at wall-clock times of this zone, `Europe/Berlin`. */
  readonly timeZone?: string
}

export interface HoppingOptions<
  K extends ColumnKinds = ColumnKinds,
  R = any,
  G extends NamesOf<K, PrimitiveKind> = NamesOf<K, PrimitiveKind>,
  S extends Results = Results,
  U extends WindowDefinition['nullGroup'] = WindowDefinition['nullGroup'],
> extends WindowOptions<K, R, G, S, U> {
  readonly size: string
  readonly slide: string
  readonly offset?: string
}

export interface CumulateOptions<
  K extends ColumnKinds = ColumnKinds,
  R = any,
  G extends NamesOf<K, PrimitiveKind> = NamesOf<K, PrimitiveKind>,
  S extends Results = Results,
  U extends WindowDefinition['nullGroup'] = WindowDefinition['nullGroup'],
> extends WindowOptions<K, R, G, S, U> {
  readonly step: string
  readonly max: string
  readonly offset?: string
}

export interface SessionOptions<
  K extends ColumnKinds = ColumnKinds,
  R = any,
  G extends NamesOf<K, PrimitiveKind> = NamesOf<K, PrimitiveKind>,
  S extends Results = Results,
  U extends WindowDefinition['nullGroup'] = WindowDefinition['nullGroup'],
> extends WindowOptions<K, R, G, S, U> {
  /** What is not further apart is one session. */
  readonly gap: string
}

export interface SqlWindowOptions extends CommonWindowOptions {
  readonly nullGroup?: WindowDefinition['nullGroup']
  /** Of tumbling windows. */
  readonly timeZone?: string
}

/**
 * Windows of one size, one after the other. Like the other kinds: pure; throws LakeError `config.invalid`,
 * `config.unknown_key` or `config.unsupported` with the path of the field and what to write instead.
 */
export function tumbling<
  K extends ColumnKinds,
  R,
  const G extends NamesOf<K, PrimitiveKind> = never,
  const S extends Results = Results,
  const U extends WindowDefinition['nullGroup'] = 'late',
>(name: string, source: TableOf<K, R>, options: TumblingOptions<K, R, G, S, U>): Window<WindowRow<K, R, G, S, U>, R> {
  return windowOf(name, source, 'tumbling', options)
}

/** Windows of one size that begin every `slide`. */
export function hopping<
  K extends ColumnKinds,
  R,
  const G extends NamesOf<K, PrimitiveKind> = never,
  const S extends Results = Results,
  const U extends WindowDefinition['nullGroup'] = 'late',
>(name: string, source: TableOf<K, R>, options: HoppingOptions<K, R, G, S, U>): Window<WindowRow<K, R, G, S, U>, R> {
  return windowOf(name, source, 'hopping', options)
}

/** Windows of one start that end every `step`, up to `max`. */
export function cumulate<
  K extends ColumnKinds,
  R,
  const G extends NamesOf<K, PrimitiveKind> = never,
  const S extends Results = Results,
  const U extends WindowDefinition['nullGroup'] = 'late',
>(name: string, source: TableOf<K, R>, options: CumulateOptions<K, R, G, S, U>): Window<WindowRow<K, R, G, S, U>, R> {
  return windowOf(name, source, 'cumulate', options)
}

/** Windows of what is not further apart than `gap`, per group. */
export function session<
  K extends ColumnKinds,
  R,
  const G extends NamesOf<K, PrimitiveKind> = never,
  const S extends Results = Results,
  const U extends WindowDefinition['nullGroup'] = 'late',
>(name: string, source: TableOf<K, R>, options: SessionOptions<K, R, G, S, U>): Window<WindowRow<K, R, G, S, U>, R> {
  return windowOf(name, source, 'session', options)
}

/** A window that SQL defines: one SELECT … GROUP BY with TUMBLE, HOP, CUMULATE or SESSION, as docs/windows.md says. */
export function windowSql(name: string, source: TableDefinition, sql: string, options: SqlWindowOptions = {}): Window {
  return withLate(over(name, source, { ...options, sql }))
}

/** Keys of the kinds, which YAML has inside `tumbling: {…}` and the like. */
const IN_KIND = ['size', 'slide', 'step', 'max', 'gap', 'offset']

function windowOf<R, S>(
  name: string,
  source: TableDefinition,
  kind: (typeof KIND_KEYS)[number],
  options: object,
): Window<R, S> {
  // In plain JavaScript there may be none.
  const { select, where, ...rest } = (options ?? {}) as Partial<WindowOptions>
  const entries = Object.entries(rest)
  const inKind = Object.fromEntries(entries.filter(([key]) => IN_KIND.includes(key)))
  const others = Object.fromEntries(entries.filter(([key]) => !IN_KIND.includes(key)))
  const typeOf = (column: string) => source?.columns?.find((each) => each.name === column)?.type
  const results: unknown = typeof select === 'function' ? select(aggregatesOver(typeOf)) : select
  const filter = where === undefined ? {} : { where: conditionText(where, columnsAs<AnyRow>(typeOf)) }
  return withLate(
    over(name, source, { ...others, ...filter, [kind]: inKind, select: selectTexts(results, [name, 'select']) }),
  )
}

/** Both forms as texts, which is what is checked. */
function selectTexts(results: unknown, at: FieldPath): unknown {
  if (typeof results !== 'object' || results === null)
    throw invalidField(at, 'is missing', 'Write select: ({ count }) => ({ n: count() }).')
  return Object.fromEntries(
    Object.entries(results).map(([name, one]) => [name, typeof one === 'object' && one !== null ? textOf(one) : one]),
  )
}

function textOf(one: Aggregate | TypeSpec): string {
  return 'text' in one ? one.text : specText(one)
}

function over(name: string, source: TableDefinition, options: Readonly<Record<string, unknown>>): WindowDefinition {
  const at = [name]
  if ((source as { readonly kind?: string } | undefined)?.kind === 'window') throw windowOverWindow([name, 'source'])
  if ((source as { readonly kind?: string } | undefined)?.kind !== 'table')
    throw invalidField([name, 'source'], 'must be a table', 'Give the table that table(…) made.')
  if ('source' in options) throw invalidField([name, 'source'], 'stands twice', 'The second argument is the source.')
  const to = 'to' in options ? { to: writtenTopic(options['to']) } : {}
  return checkWindow(name, { ...options, ...to, source: source.name }, () => source, at)
}
