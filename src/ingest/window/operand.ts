import type { Column } from '../../batch.ts'
import { quoted } from '../decode/sql-text.ts'
import { type PartialSql, SIGN_COLUMN } from './aggregate.ts'

/** Whether rows of the source count once, or stand in a keyed table and may be taken back. */
export type WindowInput = 'events' | 'rows'

/** What an aggregate of a column is made of. */
export interface Operand {
  /** Of the result; partials are called `<name>__<part>`. */
  readonly name: string
  readonly column: Column
  /** SQL of the column where the aggregate's `where` is true, else null: all functions of a column ignore null. */
  readonly value: string
  readonly input: WindowInput
}

export const SIGN = quoted(SIGN_COLUMN)

/** How many rows there are of which something is true. */
export function countPartial(name: string, part: string, isCounted: string, input: WindowInput): PartialSql {
  const column: Column = { name: `${name}__${part}`, type: { kind: 'long' } }
  const counted = input === 'events' ? 'count(*)' : `sum(${SIGN})`
  const ofRows = `CAST(coalesce(${counted} FILTER (WHERE ${isCounted}), 0) AS BIGINT)`
  return { column, ofRows, ofPartials: `CAST(sum(${quoted(column.name)}) AS BIGINT)` }
}

/**
 * The sum of numbers that are a HUGEINT, or smaller, or a DECIMAL of this scale; null when there is none. DuckDB adds
 * up in 128 bits, which is more than 38 digits: a sum beyond them is an error that `isOverflow` knows.
 */
export function sumPartial(name: string, part: string, value: string, scale: number, input: WindowInput): PartialSql {
  const column: Column = { name: `${name}__${part}`, type: { kind: 'decimal', precision: 38, scale } }
  const signed = input === 'events' ? value : `CASE WHEN ${SIGN} < 0 THEN -(${value}) ELSE ${value} END`
  return { column, ofRows: total(signed, scale), ofPartials: total(quoted(column.name), scale) }
}

/** DuckDB looks at the digits of a cast, and of an addition, but not of a sum. */
function total(value: string, scale: number): string {
  if (scale === 0) return `CAST(CAST(sum(${value}) AS HUGEINT) AS DECIMAL(38, 0))`
  return `(sum(${value}) + CAST(0 AS DECIMAL(38, ${scale})))`
}
