import {
  isAggregate,
  isSign,
  NO_ALIAS,
  refused,
  SqlReader,
  type SqlCall,
  type SqlColumn,
  type SqlTable,
} from './define-sql-reader.ts'
import { isWord, type SqlToken } from './define-sql-tokens.ts'
import type { AggregateDefinition } from './define-window.ts'
import type { KindFields } from './define-window-fields.ts'

/** A windowed aggregate as SQL says it. Names are as written, and known to no table yet. */
export interface SqlWindow {
  readonly from: SqlColumn
  /** What the SQL takes as event time. */
  readonly time: SqlColumn
  readonly kind: KindFields
  readonly groupBy: readonly SqlColumn[]
  readonly select: readonly SqlAggregate[]
  readonly where: string | undefined
}

export interface SqlAggregate extends AggregateDefinition {
  /** Where the column stands in the text, or the aggregate. */
  readonly at: number
}

/**
 * Reads one windowed aggregate, in the SQL of Flink: group windows (`GROUP BY TUMBLE(time, INTERVAL '1' HOUR)`) and
 * window tables (`FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(time), INTERVAL '1' HOUR))`). Throws `config.unsupported`
 * for every other form, with line:column and the reason; `config.invalid` for texts that do not end.
 */
export function readWindowSql(text: string): SqlWindow {
  const reader = new SqlReader(text)
  reader.start()
  const items = reader.list(() => readItem(reader))
  reader.expectWord('FROM')
  const table = reader.table()
  const condition = reader.accept('WHERE') ? reader.condition() : undefined
  if (!reader.accept('GROUP'))
    throw reader.unexpected('an aggregate needs GROUP BY with its window', 'Add GROUP BY TUMBLE(…), for example.')
  reader.expectWord('BY')
  const groups = reader.list(() => readGroup(reader, table))
  reader.finish()

  const call = windowCall(reader, groups, table)
  checkAuxiliaries(reader, items, call, table)
  const groupBy = groups.flatMap((group) => (group.kind === 'column' ? [unqualified(reader, group.column, table)] : []))
  checkPartition(reader, call, groupBy, table)
  return {
    from: table.name,
    time: unqualified(reader, call.time, table),
    kind: call.kind,
    groupBy,
    select: readSelect(reader, items, groupBy, table),
    where: condition === undefined ? undefined : reader.textOf(condition, table),
  }
}

type Item = { readonly at: SqlToken; readonly alias: SqlToken | undefined } & (
  | { readonly kind: 'column'; readonly column: SqlColumn }
  | { readonly kind: 'auxiliary'; readonly part: string; readonly call: SqlCall }
  | {
      readonly kind: 'aggregate'
      readonly fn: AggregateDefinition['fn']
      readonly column: SqlColumn | undefined
      readonly filter: readonly SqlToken[] | undefined
    }
)

type Group =
  | { readonly kind: 'column'; readonly column: SqlColumn }
  | { readonly kind: 'call'; readonly call: SqlCall }
  | { readonly kind: 'bound'; readonly name: string }

const AUXILIARY = /^(TUMBLE|HOP|SESSION)_(START|END|ROWTIME|PROCTIME)$/
const BOUNDS: readonly string[] = ['window_start', 'window_end', 'window_time']

function readItem(reader: SqlReader): Item {
  const at = reader.peek()
  if (isSign(at, '*')) throw reader.unexpected('SELECT * names no result', 'Name the group columns and the aggregates.')
  if (!reader.isCall()) {
    const column = reader.column('a column, an aggregate or a bound of the window')
    return { kind: 'column', at, column, alias: reader.alias(ITEM_END) }
  }
  const auxiliary = AUXILIARY.exec(at.value.toUpperCase())
  if (auxiliary !== null) {
    reader.next()
    const call = reader.groupWindow(auxiliary[1]!, at)
    return { kind: 'auxiliary', at, part: auxiliary[2]!, call, alias: reader.alias(ITEM_END) }
  }
  if (!isAggregate(at))
    throw reader.unexpected(
      `${at.value}() is none of the aggregates`,
      'Write COUNT SUM AVG MIN MAX FIRST_VALUE LAST_VALUE VAR_SAMP; compute columns in the table.',
    )
  const aggregate = reader.aggregate()
  const filter = reader.accept('FILTER') ? reader.filter() : undefined
  if (isWord(reader.peek(), 'OVER')) throw reader.unexpected('windows of rows (OVER) are no event-time windows')
  return { kind: 'aggregate', at, ...aggregate, filter, alias: reader.alias(ITEM_END) }
}

const ITEM_END = 'expressions over results are not in this release'

function readGroup(reader: SqlReader, table: SqlTable): Group {
  const at = reader.peek()
  const word = at.value.toUpperCase()
  if (['GROUPING', 'ROLLUP', 'CUBE'].includes(word) && at.kind === 'word')
    throw reader.unexpected(`${word} makes several groupings`, 'Define one window for each.')
  if (reader.isCall()) {
    if (!['TUMBLE', 'HOP', 'SESSION'].includes(word))
      throw reader.unexpected(
        `${at.value}() computes a group`,
        'Add a computed column to the table, and group by that.',
      )
    reader.next()
    return { kind: 'call', call: reader.groupWindow(word, at) }
  }
  if (at.kind === 'number') throw reader.unexpected('a number names no group', 'Write the name of the column.')
  const column = reader.column('a column or a window')
  if (table.call !== undefined && BOUNDS.includes(column.name)) return { kind: 'bound', name: column.name }
  return { kind: 'column', column }
}

/** The one window: of GROUP BY, or of a window table, of which the two bounds stand there. */
function windowCall(reader: SqlReader, groups: readonly Group[], table: SqlTable): SqlCall {
  const calls = groups.flatMap((group) => (group.kind === 'call' ? [group.call] : []))
  const [first, second] = table.call === undefined ? calls : [table.call, ...calls]
  if (second !== undefined) throw refused(reader.text, second.at, 'a second window', 'Define one window for each.')
  if (first === undefined)
    throw refused(
      reader.text,
      reader.peek().at,
      'GROUP BY names no window',
      'Add TUMBLE, HOP or SESSION(time, INTERVAL …), or read FROM TABLE(TUMBLE(TABLE …)).',
    )
  const isBound = (name: string) => groups.some((group) => group.kind === 'bound' && group.name === name)
  if (table.call !== undefined && !(isBound('window_start') && isBound('window_end')))
    throw refused(
      reader.text,
      reader.peek().at,
      'a window table is grouped by window_start and window_end',
      'Name both.',
    )
  return first
}

/** What is selected of the window must be this window's, and keep its name: the columns are there in any case. */
function checkAuxiliaries(reader: SqlReader, items: readonly Item[], call: SqlCall, table: SqlTable): void {
  for (const item of items) {
    if (item.kind === 'auxiliary') {
      if (table.call !== undefined || !isSame(item.call, call))
        throw refused(reader.text, item.at.at, 'it is not the window of GROUP BY', 'Give both the same arguments.')
      checkBound(reader, item, item.part === 'START' ? 'window_start' : item.part === 'END' ? 'window_end' : item.part)
    }
    if (item.kind === 'column' && BOUNDS.includes(item.column.name) && table.call !== undefined)
      checkBound(reader, item, item.column.name)
  }
}

function checkBound(reader: SqlReader, { at, alias }: Item, bound: string): void {
  if (bound === 'PROCTIME') throw refused(reader.text, at.at, 'windows are in event time alone', 'Remove it.')
  if (bound === 'ROWTIME' || bound === 'window_time')
    throw refused(
      reader.text,
      at.at,
      `the table has no column for the last instant of a window`,
      'Take window_end: it is one millisecond later.',
    )
  if (alias !== undefined && alias.value !== bound)
    throw refused(reader.text, alias.at, `the column is always ${bound}`, `Write AS ${bound}, or leave it out.`)
}

/** Keys of a session table are what it is grouped by. Without keys its sessions are those of all rows together. */
function checkPartition(reader: SqlReader, call: SqlCall, groupBy: readonly SqlColumn[], table: SqlTable): void {
  if (call.partition === undefined) {
    const [first] = groupBy
    if (table.call === undefined || call.kind.session === undefined || first === undefined) return
    throw refused(
      reader.text,
      first.at,
      `sessions of all rows together, without PARTITION BY, are not those of each "${first.name}"`,
      `Write TABLE ${table.name.name} PARTITION BY (${groupBy.map(({ name }) => name).join(', ')}).`,
    )
  }
  const keys = call.partition.map(({ name }) => name)
  if (
    keys.toSorted().join() !==
    groupBy
      .map(({ name }) => name)
      .toSorted()
      .join()
  )
    throw refused(
      reader.text,
      call.partition[0]?.at ?? call.at,
      'PARTITION BY and GROUP BY name other columns: sessions of sessions',
      'Name the same columns in both.',
    )
}

function readSelect(
  reader: SqlReader,
  items: readonly Item[],
  groupBy: readonly SqlColumn[],
  table: SqlTable,
): readonly SqlAggregate[] {
  return items.flatMap((item): SqlAggregate[] => {
    if (item.kind === 'auxiliary') return []
    if (item.kind === 'column') {
      if (table.call !== undefined && BOUNDS.includes(item.column.name)) return []
      const { name, at } = unqualified(reader, item.column, table)
      if (!groupBy.some((group) => group.name === name))
        throw refused(reader.text, at, `"${name}" is not in GROUP BY`, 'Add it there, or aggregate it.')
      if (item.alias !== undefined && item.alias.value !== name)
        throw refused(
          reader.text,
          item.alias.at,
          `a group column keeps its name`,
          `Leave AS ${item.alias.value} out, or name the column so in the table.`,
        )
      return []
    }
    if (item.alias === undefined) throw refused(reader.text, item.at.at, 'the result has no name', NO_ALIAS)
    const column = item.column === undefined ? undefined : unqualified(reader, item.column, table)
    const where = item.filter === undefined ? undefined : reader.textOf(item.filter, table)
    const at = column?.at ?? item.at.at
    return [{ name: item.alias.value, fn: item.fn, column: column?.name, n: undefined, where, at }]
  })
}

function unqualified(reader: SqlReader, column: SqlColumn, table: SqlTable): SqlColumn {
  const { qualifier } = column
  if (qualifier === undefined || qualifier === table.name.name || qualifier === table.alias) return column
  throw refused(reader.text, column.at, `"${qualifier}" is not the table that is read`, 'Write the column alone.')
}

function isSame(a: SqlCall, b: SqlCall): boolean {
  return a.time.name === b.time.name && JSON.stringify(a.kind) === JSON.stringify(b.kind)
}
