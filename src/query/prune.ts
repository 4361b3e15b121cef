import {
  applyTransform,
  compareValues,
  type ColumnMetrics,
  type DataFile,
  type IcebergField,
  type IcebergType,
  type LakeTable,
  type PartitionField,
} from '../lake/table.ts'
import { boundValue, rangeOf, type Range, type Value } from './bounds.ts'
import type { Filter, TableUse } from './messages.ts'

/**
 * The files that may hold a row that a statement asks for, judged by what the manifests say of them: bounds, numbers of
 * nulls, partition values. A file is left out only when no place of the statement can use any of its rows.
 */
export function survivors<File extends DataFile>(
  table: Pick<LakeTable, 'schema' | 'spec' | 'raw'>,
  files: readonly File[],
  { scans }: Pick<TableUse, 'scans'>,
): readonly File[] {
  const conditions = scans.map((filters) => filters.flatMap((filter) => conditionOf(table, filter)))
  if (conditions.some((all) => all.length === 0)) return files
  return files.filter((file) => conditions.some((all) => all.every((condition) => condition(file))))
}

/** Whether some row of a file may meet a filter. */
type Condition = (file: DataFile) => boolean

function conditionOf(table: Pick<LakeTable, 'schema' | 'spec' | 'raw'>, filter: Filter): readonly Condition[] {
  const { fields } = table.schema
  const named = fields.filter(({ name }) => name.toLowerCase() === filter.column)
  const isPath = fields.some(({ name }) => name.toLowerCase() === filter.qualifier)
  const [column] = named
  if (column === undefined || named.length > 1 || isPath || typeof column.type !== 'string') return []
  const ranges = filter.values.map((value) => rangeOf(column.type, value))
  const isClear = !ranges.includes(undefined)
  const byStatistics: Condition = (file) => {
    const metrics = file.metrics.get(column.id)
    return (
      metrics === undefined || mayHold(column, metrics, filter.op, isClear ? (ranges as readonly Range[]) : undefined)
    )
  }
  // Files of other specs have tuples of other shapes.
  const parts = table.raw['partition-specs'].length > 1 ? [] : table.spec.fields
  return [
    byStatistics,
    ...parts.flatMap((part, index) =>
      part['source-id'] === column.id
        ? [byTuple(column.type, part, index, filter.op, isClear ? (ranges as readonly Range[]) : undefined)]
        : [],
    ),
  ]
}

/** `ranges` are undefined when it is not known what the filter's values mean: then it is known that no null meets it. */
function mayHold(
  { type }: IcebergField,
  { nullCount, valueCount, nanCount, lower, upper }: ColumnMetrics,
  op: Filter['op'],
  ranges: readonly Range[] | undefined,
): boolean {
  if (op === 'null') return nullCount > 0
  if (nullCount === valueCount) return false
  if (op === 'not null' || ranges === undefined) return true
  const least = lower === undefined ? undefined : boundValue(type, lower)
  // NaN is above all numbers and in no bound.
  const mayBeNan = (type === 'float' || type === 'double') && nanCount !== 0
  const greatest = upper === undefined || mayBeNan ? undefined : boundValue(type, upper)
  return mayMeet(op, least, greatest, ranges)
}

function mayMeet(
  op: Exclude<Filter['op'], 'null' | 'not null'>,
  least: Value | undefined,
  greatest: Value | undefined,
  ranges: readonly Range[],
): boolean {
  const isAbove = (value: Value) => greatest !== undefined && compareValues(greatest, value) < 0
  const isBelow = (value: Value) => least !== undefined && compareValues(least, value) > 0
  const [range] = ranges
  switch (op) {
    case '<':
      return least === undefined || compareValues(least, range!.high) < 0
    case '<=':
      return !isBelow(range!.high)
    case '>':
      return greatest === undefined || compareValues(greatest, range!.low) > 0
    case '>=':
      return !isAbove(range!.low)
  }
  return ranges.some(({ low, high }) => !isAbove(low) && !isBelow(high))
}

/** All rows of a file have one partition value, so it is worth as much as two bounds of what a transform makes of them. */
function byTuple(
  type: IcebergType,
  { transform }: PartitionField,
  index: number,
  op: Filter['op'],
  ranges: readonly Range[] | undefined,
): Condition {
  const exact = ranges?.every(({ low, high }) => compareValues(low, high) === 0)
    ? ranges.map(({ low }) => comparable(applyTransform(transform, type, low) as Value))
    : undefined
  const isEquality = op === '=' || op === 'in'
  return ({ partition }) => {
    const value = partition[index]
    if (value === undefined) return true
    if (op === 'null') return value === null
    if (value === null) return false
    if (op === 'not null' || exact === undefined || !(isEquality || isMonotone(transform, type))) return true
    const own = comparable(value)
    const ends = exact.map((end) => ({ low: end, high: end }))
    // What a transform makes equal may still be less.
    const weak = transform === 'identity' ? op : op === '<' ? '<=' : op === '>' ? '>=' : op
    return mayMeet(weak, own, own, ends)
  }
}

/** Whether a greater value is never given a smaller result. The least integers wrap around when they are truncated. */
function isMonotone(transform: string, type: IcebergType): boolean {
  if (transform.startsWith('bucket')) return false
  return !(transform.startsWith('truncate') && (type === 'int' || type === 'long'))
}

function comparable(value: Value): Value {
  return typeof value === 'number' ? BigInt(value) : value
}
