import type { ColumnType } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import { quoted } from '../decode/sql-text.ts'
import type { AggregateSql } from './aggregate.ts'
import { EXACT } from './exact-names.ts'
import { countPartial, type Operand, sumPartial } from './operand.ts'

/** Digits of a DECIMAL. */
const DIGITS_MAX = 38

/** Integers and decimals: their sum, in 38 digits. */
export function exactSum(operand: Operand): AggregateSql {
  const { sum, count } = sumAndCount(operand)
  const finish = `CASE WHEN ${quoted(count.column.name)} > 0 THEN ${quoted(sum.column.name)} END`
  const result = { name: operand.name, type: sum.column.type }
  return { result, partials: [sum, count], detail: undefined, finish }
}

/** sum / count, rounded once. */
export function exactAverage(operand: Operand): AggregateSql {
  const { sum, count } = sumAndCount(operand)
  const scale = scaleOf(operand)
  const digits = integerOf(quoted(sum.column.name), { kind: 'decimal', precision: DIGITS_MAX, scale })
  const quotient = `${EXACT.quotient}(CAST(${digits} AS DECIMAL(38, 0)), ${quoted(count.column.name)}, ${scale})`
  return {
    result: { name: operand.name, type: { kind: 'double' } },
    partials: [sum, count],
    detail: undefined,
    finish: `CASE WHEN ${quoted(count.column.name)} > 0 THEN ${quotient} END`,
  }
}

/**
 * (n·Σx² − (Σx)²) / (n(n − 1)), rounded once. A square of 64 bits has 128, so that squares are added up in halves: the
 * sum of any number of longs fits.
 */
export function exactVariance(operand: Operand): AggregateSql {
  const { name, column, value, input } = operand
  const scale = scaleOf(operand)
  const integer = `CAST(${integerOf(value, column.type)} AS HUGEINT)`
  const square = `(${integer} * ${integer})`
  const count = countPartial(name, 'count', `(${value}) IS NOT NULL`, input)
  const sums = [
    sumPartial(name, 'sum', integer, 0, input),
    sumPartial(name, 'high', `(${square} >> 64)`, 0, input),
    sumPartial(name, 'low', `(${square} & 18446744073709551615)`, 0, input),
  ]
  const names = [count, ...sums].map((partial) => quoted(partial.column.name))
  return {
    result: { name, type: { kind: 'double' } },
    partials: [count, ...sums],
    detail: undefined,
    finish: `${EXACT.variance}(${names.join(', ')}, ${scale})`,
  }
}

function sumAndCount(operand: Operand) {
  const { name, column, value, input } = operand
  const scale = scaleOf(operand)
  const wide = column.type.kind === 'decimal' ? `DECIMAL(38, ${scale})` : 'HUGEINT'
  // The least long has no negative of its own size.
  const summed = input === 'events' ? value : `CAST(${value} AS ${wide})`
  return {
    sum: sumPartial(name, 'sum', summed, scale, input),
    count: countPartial(name, 'count', `(${value}) IS NOT NULL`, input),
  }
}

function scaleOf({ name, column: { type } }: Operand): number {
  if (type.kind === 'int' || type.kind === 'long') return 0
  if (type.kind === 'decimal') return type.scale
  throw new LakeError('internal', `${name}: ${type.kind} is no exact number`)
}

/** The digits of an exact number without its point. Products of decimals of 64 bits would have no more. */
function integerOf(value: string, type: ColumnType): string {
  if (type.kind !== 'decimal' || type.scale === 0) return value
  const { precision, scale } = type
  if (precision + scale <= DIGITS_MAX)
    return `(CAST(${value} AS DECIMAL(38, ${scale})) * CAST(1${'0'.repeat(scale)} AS DECIMAL(${scale + 1}, 0)))`
  return `CAST(replace(CAST(${value} AS VARCHAR), '.', '') AS HUGEINT)`
}
