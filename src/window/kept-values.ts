import type { Column, ColumnType } from '../batch.ts'
import { quoted } from '../sql-text.ts'
import type { AggregateSql, DetailSql, PartialSql } from './aggregate.ts'
import { type Operand, SIGN } from './operand.ts'
import { canonical } from './sql-type.ts'

/** How many values there are: each with the number of its rows, so that it goes with the last of them. */
export function distinct(operand: Operand): AggregateSql {
  const { name } = operand
  const detail = valueDetail(operand, plainValue(operand), operand.column.type, 'count(*)')
  const result: Column = { name, type: { kind: 'long' } }
  return { result, partials: [], detail, finish: `CAST(coalesce(${quoted(detail.reduced)}, 0) AS BIGINT)` }
}

/** Strings by their UTF-8 bytes, NaN above everything (rule A6). */
export function extreme(operand: Operand, fn: 'min' | 'max'): AggregateSql {
  const { type } = operand.column
  return kept(operand, plainValue(operand), type, fn, (value) => value, type)
}

/** By event time, partition and offset, which no two rows share; the value does not decide. */
export function positioned(operand: Operand, fn: 'first' | 'last'): AggregateSql {
  const { value, column } = operand
  const parts = `{'event': "__event_ms", 'partition': "_kafka_partition", 'offset': "_offset", 'value': ${value}}`
  const at = `CASE WHEN (${value}) IS NOT NULL THEN ${parts} END`
  const type: ColumnType = {
    kind: 'struct',
    fields: [
      { name: 'event', type: { kind: 'long' } },
      { name: 'partition', type: { kind: 'int' } },
      { name: 'offset', type: { kind: 'long' } },
      { name: 'value', type: column.type },
    ],
  }
  return kept(operand, at, type, fn === 'first' ? 'min' : 'max', (found) => `(${found})."value"`, column.type)
}

/** The `n` greatest values, equal ones as often as they occur; null when there is none. */
export function greatest(operand: Operand, n: number): AggregateSql {
  const { name, column, input } = operand
  const value = plainValue(operand)
  const result: Column = { name, type: { kind: 'list', element: column.type } }
  if (input === 'events') {
    const partial = `${name}__values`
    const all = `flatten(list(${quoted(partial)}) FILTER (WHERE ${quoted(partial)} IS NOT NULL))`
    const ofPartials = `list_sort(${all}, 'DESC', 'NULLS LAST')[1:${n}]`
    const values = { column: { name: partial, type: result.type }, ofRows: `max(${value}, ${n})`, ofPartials }
    return { result, partials: [values], detail: undefined, finish: quoted(partial) }
  }
  const [distinctValue, weight] = [quoted(`${name}__value`), quoted(`${name}__weight`)]
  const detail = valueDetail(operand, value, column.type, `max({'value': ${distinctValue}, 'weight': ${weight}}, ${n})`)
  const repeated = `lambda "__kept": repeat([("__kept")."value"], least(("__kept")."weight", ${n}))`
  const finish = `flatten(list_transform(${quoted(detail.reduced)}, ${repeated}))[1:${n}]`
  return { result, partials: [], detail, finish }
}

/** The least or greatest: of events it is all that must be known, rows may be taken back and give way to the next one. */
function kept(
  operand: Operand,
  value: string,
  type: ColumnType,
  pick: 'min' | 'max',
  read: (found: string) => string,
  resultType: ColumnType,
): AggregateSql {
  const { name, input } = operand
  const result: Column = { name, type: resultType }
  const column: Column = { name: `${name}__value`, type }
  const least = `${pick}(${quoted(column.name)})`
  if (input === 'rows') {
    const detail = valueDetail(operand, value, type, least)
    return { result, partials: [], detail, finish: read(quoted(detail.reduced)) }
  }
  const partial: PartialSql = { column, ofRows: `${pick}(${value})`, ofPartials: least }
  return { result, partials: [partial], detail: undefined, finish: read(quoted(column.name)) }
}

function valueDetail({ name, input }: Operand, value: string, type: ColumnType, reduce: string): DetailSql {
  const weight: Column = { name: `${name}__weight`, type: { kind: 'long' } }
  return {
    isFew: false,
    addsUp: false,
    value: { name: `${name}__value`, type },
    weight,
    ofRows: {
      value,
      weight: input === 'events' ? 'count(*)' : `sum(${SIGN})`,
      isThere: `(${value}) IS NOT NULL`,
      key: value,
    },
    reduce: `${reduce} FILTER (WHERE ${quoted(weight.name)} > 0)`,
    reduced: `${name}__reduced`,
  }
}

function plainValue({ value, column }: Operand): string {
  return canonical(`(${value})`, column.type)
}
