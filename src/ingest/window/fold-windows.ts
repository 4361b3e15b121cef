import type { FoldDatabase } from './fold-database.ts'
import { END, list, MIN_END, PART, partOf, partsOf, type Relations, same, START } from './fold-relations.ts'
import type { ResultOptions, UsePart } from './fold-results.ts'
import { divide, spanOf, type CellSpan, type Division, type WindowRange } from './slice-plan.ts'
import { mergeSql } from '../../window/sql.ts'

// Where cells are slices: windows that became final, put together from all of their slices (rules S1 to S3). They are made
// in parts of bounded size: some of the groups at a time, and of these the windows as `divide` says. Relations: `chosen`
// (windows that were final and have a slice that changed), `touched_slices` (slices of their groups), and for each step of
// `divide` `base_<depth>` (what counts for all of its windows, merged) and `edge_<depth>` (what counts for some of them).

/** Values that are added up with the results, and not before, take a little memory each: so many for each row. */
const ADDED_SHARE = 4

/** Gives result rows of all windows that became final, and of those that were and changed, the oldest first. */
export async function eachFinalWindow(
  database: FoldDatabase,
  relations: Relations,
  options: ResultOptions,
  use: UsePart,
): Promise<void> {
  const { finalUntil, finalBefore, goneUntil } = options
  if (finalUntil === undefined) return
  const { cells } = relations
  const from = greatest(finalBefore, goneUntil)
  // Until then none was final.
  const before = finalBefore ?? -Number.MAX_SAFE_INTEGER
  if ((await chooseCorrected(database, relations, before, goneUntil)) > 0) {
    const { groups } = relations
    await database.temporary(
      'touched_slices',
      `SELECT c.* FROM ${cells} c SEMI JOIN (SELECT ${list([...groups, 'true AS __any'])} FROM chosen) k ON ${same('c', 'k', groups)}`,
    )
    await makeWindows(database, relations, {
      from: 'touched_slices',
      after: goneUntil,
      until: before,
      isChosen: true,
      use,
    })
    await database.run('DROP TABLE touched_slices')
  }
  await database.run('DELETE FROM chosen')
  if (from === undefined || finalUntil > from)
    await makeWindows(database, relations, { from: cells, after: from, until: finalUntil, isChosen: false, use })
}

/** Windows whose rows may have to be written again; a window of which nothing is left has a stored row that goes. */
async function chooseCorrected(
  database: FoldDatabase,
  { groups, slices }: Relations,
  finalBefore: number,
  goneUntil: number | undefined,
): Promise<number> {
  const end = `(__window + ${slices!.sizeMs})`
  await database.temporary(
    'chosen',
    `SELECT DISTINCT ${list([...groups, `__window AS ${START}`, `${end} AS ${END}`, '__window AS __to'])}
FROM (SELECT *, unnest(${slices!.windowStarts(START)}) AS __window FROM changed WHERE ${PART} = 0 AND ${START} < ${finalBefore})
WHERE ${counts(end)} AND ${end} <= ${finalBefore} AND ${goneUntil === undefined ? 'true' : `${end} > ${goneUntil}`}`,
  )
  const [count] = await database.numbers('SELECT count(*) FROM chosen')
  return count!
}

interface Windows {
  readonly from: string
  /** Windows that end behind it, up to `until`. */
  readonly after: number | undefined
  readonly until: number
  /** Only those in `chosen`: of others some slices may have left. */
  readonly isChosen: boolean
  readonly use: UsePart
}

/** Some of the groups. */
interface Walk extends Windows {
  /** SQL over group columns. */
  readonly isOurs: string
}

interface Node {
  readonly range: WindowRange
  readonly spans: readonly CellSpan[]
  /** The relation that its cells are in, and the range above, for all of which some of these were merged into `base`. */
  readonly from: string
  readonly above: WindowRange | undefined
  readonly base: { readonly name: string; readonly rows: number } | undefined
  readonly depth: number
}

async function makeWindows(database: FoldDatabase, relations: Relations, windows: Windows): Promise<void> {
  const { from, after, until } = windows
  const { window } = relations.definition
  const { groups, slices } = relations
  if (window.kind !== 'hopping') return
  const isReached = `${START} < ${until}${after === undefined ? '' : ` AND ${START} > ${after - slices!.sizeMs}`}`
  const found = await database.rows(
    `SELECT ${START}, ${MIN_END}, count(*) FROM ${from} WHERE ${isReached} GROUP BY ${START}, ${MIN_END}`,
  )
  const all = found.map(([start, minEnd, rows]): CellSpan => {
    const span = spanOf(window, Number(start), minEnd === null ? undefined : Number(minEnd))
    return { ...span, rows: Number(rows) }
  })
  const step = slices!.slideMs
  const first = all.reduce((least, { firstEnd }) => Math.min(least, firstEnd), Infinity)
  const phase = (((until - first) % step) + step) % step
  const lastEnd = until - phase
  // Ends lie as far from each other as slides are.
  const firstEnd =
    after === undefined ? first : Math.max(first, first + (Math.floor((after - first) / step) + 1) * step)
  if (!(firstEnd <= lastEnd)) return
  const range = { firstEnd, lastEnd }
  const rows = all.reduce((sum, span) => sum + span.rows, 0)
  const parts = await countParts(database, relations, `${from} WHERE ${isReached}`, rows)
  for (let k = 0; k < parts; k++) {
    const walk = { ...windows, isOurs: partOf(groups, k, parts) }
    const spans = all.map((span) => ({ ...span, rows: Math.ceil(span.rows / parts) }))
    await descend(database, relations, walk, { range, spans, from, above: undefined, base: undefined, depth: 0 })
  }
}

/** A window may have a row of every group: in so many parts they are few enough. */
async function countParts(database: FoldDatabase, { groups }: Relations, from: string, rows: number): Promise<number> {
  if (partsOf(groups, rows, database.rowsMax) === 1) return 1
  const [least] = await database.numbers(`SELECT approx_count_distinct(hash(${list(groups)})) FROM ${from}`)
  return partsOf(groups, least!, database.rowsMax)
}

async function descend(database: FoldDatabase, relations: Relations, walk: Walk, node: Node): Promise<void> {
  const { rowsMax } = database
  const { base, depth } = node
  const step = divide(node.range, node.spans, base?.rows ?? 0, relations.slices!.slideMs, rowsMax)
  if (step === undefined) return
  if (step.halves === undefined) return makeAtOnce(database, relations, walk, { ...node, range: step.range }, step.rows)
  const merged = step.hasWhole ? await mergeWhole(database, relations, walk, node, step) : base
  const edge = `edge_${depth}`
  await database.temporary(edge, restSql(relations, walk, node, step))
  const below = { spans: step.partial, from: edge, above: step.range, base: merged, depth: depth + 1 }
  for (const range of step.halves) await descend(database, relations, walk, { ...below, range })
  await database.run(`DROP TABLE ${edge}`)
  if (step.hasWhole) await database.run(`DROP TABLE ${merged!.name}`)
}

/** What counts for all windows of the range, as one cell of each group, without a place in time. */
async function mergeWhole(
  database: FoldDatabase,
  relations: Relations,
  { isOurs }: Walk,
  { from, above, base, depth }: Node,
  { range }: Division,
): Promise<{ readonly name: string; readonly rows: number }> {
  const name = `base_${depth}`
  const whole = `SELECT ${placed(relations, '0', '0')} FROM ${from} WHERE ${isOurs} AND ${coversAll(relations, range)} AND ${isLeft(relations, above)}`
  const both = base === undefined ? whole : `${whole} UNION ALL FROM ${base.name}`
  await database.temporary(name, mergeSql(relations.shape, `(${both})`))
  const [rows] = await database.numbers(`SELECT count(*) FROM ${name}`)
  return { name, rows: rows! }
}

/** The cells that count for some windows of the range and not for all. */
function restSql(relations: Relations, { isOurs }: Walk, { from, above }: Node, { range }: Division): string {
  return `SELECT * FROM ${from} WHERE ${isOurs} AND ${reaches(relations, range)} AND NOT ${coversAll(relations, range)} AND ${isLeft(relations, above)}`
}

/** The rows of all windows of the range. */
async function makeAtOnce(
  database: FoldDatabase,
  relations: Relations,
  walk: Walk,
  node: Node,
  count: number,
): Promise<void> {
  const { groups, shape, slices, values } = relations
  const { range, from, above, base } = node
  const { firstEnd, lastEnd } = range
  const { sizeMs, slideMs } = slices!
  const own = `FROM ${from} WHERE ${walk.isOurs} AND ${reaches(relations, range)} AND ${isLeft(relations, above)}`
  const parts: string[] = []
  if (firstEnd === lastEnd) {
    const there = placed(relations, String(firstEnd - sizeMs), String(lastEnd))
    parts.push(`SELECT ${there} ${own} AND ${counts(String(lastEnd))}`)
    if (base !== undefined) parts.push(`SELECT ${there} FROM ${base.name}`)
  } else {
    const first = `greatest(${slices!.firstEnd(START)}, ${firstEnd}) - ${sizeMs}`
    const starts = `range(${first}, least(${slices!.lastEnd(START)}, ${lastEnd}) - ${sizeMs - 1}, ${slideMs})`
    const there = placed(relations, '__window', `__window + ${sizeMs}`)
    parts.push(
      `SELECT ${there} FROM (SELECT *, unnest(${starts}) AS __window ${own}) WHERE ${counts(`(__window + ${sizeMs})`)}`,
    )
    const each = `range(${firstEnd - sizeMs}, ${lastEnd - sizeMs + 1}, ${slideMs}) AS windows(__window)`
    if (base !== undefined) parts.push(`SELECT ${there} FROM ${base.name}, ${each}`)
  }
  const all = parts.join(' UNION ALL ')
  const isOne = same('r', 'k', [...groups, START])
  const rows = walk.isChosen ? `(SELECT r.* FROM (${all}) r SEMI JOIN chosen k ON ${isOne})` : `(${all})`
  const gone = `(SELECT * FROM chosen WHERE ${walk.isOurs} AND ${END} >= ${firstEnd} AND ${END} <= ${lastEnd})`
  const addsUp = shape.aggregates.every(({ detail }) => detail === undefined || detail.addsUp)
  if (values.length === 0 || (addsUp && count <= ADDED_SHARE * database.rowsMax))
    return walk.use({ rows, gone, isMerged: false })
  // Each detail reads them once more.
  const isWritten = firstEnd < lastEnd
  if (isWritten) await database.temporary('chosen_slices', `FROM ${rows}`)
  const merged = mergeSql(shape, isWritten ? 'chosen_slices' : rows)
  await walk.use({ rows: `(${merged})`, gone, isMerged: false })
}

/** A slice counts for windows that end at its `__min_end` or later. */
function counts(end: string): string {
  return `(${MIN_END} IS NULL OR ${MIN_END} <= ${end})`
}

/** Whether a cell counts for all windows of the range: it lies within the first and the last of them. */
function coversAll({ slices }: Relations, { firstEnd, lastEnd }: WindowRange): string {
  return `(${START} >= ${lastEnd - slices!.sizeMs} AND ${START} < ${firstEnd} AND ${counts(String(firstEnd))})`
}

/** Whether it may count for one of them. */
function reaches({ slices }: Relations, { firstEnd, lastEnd }: WindowRange): string {
  return `(${START} >= ${firstEnd - slices!.sizeMs} AND ${START} < ${lastEnd} AND ${counts(String(lastEnd))})`
}

/** What counts for all of the range above was merged there. */
function isLeft(relations: Relations, above: WindowRange | undefined): string {
  return above === undefined ? 'true' : `NOT ${coversAll(relations, above)}`
}

/** The columns of a cell elsewhere in time. */
function placed({ columns, groups }: Relations, start: string, end: string): string {
  const rest = columns.filter((name) => ![...groups, START, END, MIN_END].includes(name))
  const bounds = [`CAST(${start} AS BIGINT) AS ${START}`, `CAST(${end} AS BIGINT) AS ${END}`]
  return list([...groups, ...bounds, `CAST(NULL AS BIGINT) AS ${MIN_END}`, ...rest])
}

function greatest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.max(a, b)
}
