import type { Column } from '../batch.ts'
import { quoted } from '../sql-text.ts'
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
  /** The bucket of `pieceColumns`, in the same way as the value; undefined where rows have no pieces. */
  readonly bucket: string | undefined
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
 * The sum of integers or of decimals of this scale; 0 or null when there is none. DuckDB adds up in 128 bits, which are
 * more than 38 digits: a sum beyond them is an error that `isOverflow` knows.
 */
export function sumPartial(name: string, part: string, value: string, scale: number, input: WindowInput): PartialSql {
  const column: Column = { name: `${name}__${part}`, type: { kind: 'decimal', precision: 38, scale } }
  const those = (sign: string): string => `coalesce(sum(${value}) FILTER (WHERE ${SIGN} ${sign} 0), 0)`
  const sum = input === 'events' ? `sum(${value})` : `${those('>')} - ${those('<')}`
  // DuckDB takes long to make a HUGEINT of a decimal.
  const ofRows = scale === 0 ? `CAST(CAST(${sum} AS HUGEINT) AS DECIMAL(38, 0))` : checkedDigits(sum, scale)
  return { column, ofRows, ofPartials: checkedDigits(`sum(${quoted(column.name)})`, scale) }
}

/** A sum of decimals of this scale: DuckDB looks at the digits of a cast, and of an addition, but not of a sum. */
export function checkedDigits(sum: string, scale: number): string {
  return `(${sum} + CAST(0 AS DECIMAL(38, ${scale})))`
}
