import type { ColumnType } from '../batch.ts'
import { LakeError } from '../error.ts'
import { quoted } from '../sql-text.ts'
import type { AggregateSql } from './aggregate.ts'
import { EXACT } from './exact-names.ts'
import { countPartial, type Operand, sumPartial } from './operand.ts'

/** Digits of a DECIMAL, and of one whose values are stored in 64 bits. */
const DIGITS_MAX = 38
const LONG_DIGITS = 18
/** Numbers whose squares have 64 bits. */
const INT_DIGITS = 9
/** Squares of so many digits can be added up 10^14 times. */
const WHOLE_SQUARE_DIGITS = 12

/** The greatest number of which the square is a HUGEINT. */
const ROOT_MAX = 13_043_817_825_332_782_212n

/** Whether the square of a value can be held, as SQL that is never null; undefined: any can. */
export function squareFits(value: string, type: ColumnType): string | undefined {
  if (type.kind !== 'decimal' || 10n ** BigInt(type.precision) <= ROOT_MAX) return undefined
  const digits = String(ROOT_MAX).padStart(type.scale + 1, '0')
  const point = digits.length - type.scale
  const limit = `${digits.slice(0, point)}${type.scale === 0 ? '' : `.${digits.slice(point)}`}`
  const bound = (sign: string): string => `CAST('${sign}${limit}' AS DECIMAL(${DIGITS_MAX}, ${type.scale}))`
  return `(${value} BETWEEN ${bound('-')} AND ${bound('')}) IS NOT FALSE`
}

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
 * (n·Σx² − (Σx)²) / (n(n − 1)), rounded once. Squares of many digits are added up in halves of 64 bits, so that the sum
 * of any number of longs fits; other halves are then 0.
 */
export function exactVariance(operand: Operand): AggregateSql {
  const { name, column, value, input } = operand
  const scale = scaleOf(operand)
  const digits = digitsOf(column.type)
  const integer = `CAST(${integerOf(value, column.type)} AS ${digits <= INT_DIGITS ? 'BIGINT' : 'HUGEINT'})`
  const square = `(${integer} * ${integer})`
  const add = (part: string, summand: string) => sumPartial(name, part, summand, 0, input)
  const count = countPartial(name, 'count', `(${value}) IS NOT NULL`, input)
  const sum = add('sum', integer)
  const squares =
    digits <= WHOLE_SQUARE_DIGITS
      ? [add('squares', square)]
      : [add('high', `(${square} >> 64)`), add('low', `(${square} & 18446744073709551615)`)]
  const names = squares.map((partial) => quoted(partial.column.name))
  const [high, low] = names.length === 1 ? ['0', names[0]] : names
  return {
    result: { name, type: { kind: 'double' } },
    partials: [count, sum, ...squares],
    detail: undefined,
    finish: `${EXACT.variance}(${quoted(count.column.name)}, ${quoted(sum.column.name)}, ${high}, ${low}, ${scale})`,
  }
}

function sumAndCount(operand: Operand) {
  const { name, value, input } = operand
  return {
    sum: sumPartial(name, 'sum', value, scaleOf(operand), input),
    count: countPartial(name, 'count', `(${value}) IS NOT NULL`, input),
  }
}

function scaleOf({ name, column: { type } }: Operand): number {
  if (type.kind === 'int' || type.kind === 'long') return 0
  if (type.kind === 'decimal') return type.scale
  throw new LakeError('internal', `${name}: ${type.kind} is no exact number`)
}

function digitsOf(type: ColumnType): number {
  if (type.kind === 'decimal') return type.precision
  return type.kind === 'int' ? INT_DIGITS : DIGITS_MAX
}

/** An exact number without its point. DuckDB multiplies what is in 64 bits in 64 bits. */
function integerOf(value: string, type: ColumnType): string {
  if (type.kind !== 'decimal' || type.scale === 0) return value
  const { precision, scale } = type
  if (precision + scale > DIGITS_MAX) return `CAST(replace(CAST(${value} AS VARCHAR), '.', '') AS HUGEINT)`
  const factor = precision + scale < LONG_DIGITS ? value : `CAST(${value} AS DECIMAL(38, ${scale}))`
  return `(${factor} * CAST(1${'0'.repeat(scale)} AS DECIMAL(${scale + 1}, 0)))`
}
