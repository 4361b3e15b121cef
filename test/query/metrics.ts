import {
  compareValues,
  lowerBound,
  singleValue,
  upperBound,
  type ColumnMetrics,
  type PartitionValue,
} from '../../src/lake/table.ts'

type Value = Exclude<PartitionValue, null>

/** What a manifest says of these values: bounds cut as the encoder cuts them, and none above a NaN. */
export function metricsOf(type: string, rows: readonly PartitionValue[]): ColumnMetrics {
  const values = rows.filter((value): value is Value => value !== null)
  const isFloat = type === 'float' || type === 'double'
  const real = values.filter((value) => !Number.isNaN(value)).toSorted(compareValues)
  const [least, greatest] = [real[0], real.at(-1)]
  const nanCount = values.length - real.length
  const upper = greatest === undefined || nanCount > 0 ? undefined : upperBound(type, singleValue(type, greatest))
  return {
    sizeBytes: 1,
    valueCount: rows.length,
    nullCount: rows.length - values.length,
    ...(isFloat && nanCount === 0 ? { nanCount } : {}),
    ...(least === undefined ? {} : { lower: lowerBound(type, singleValue(type, least)) }),
    ...(upper === undefined ? {} : { upper }),
  }
}
