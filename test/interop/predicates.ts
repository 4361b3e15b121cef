import { compareValues, type IcebergField, type PartitionValue } from '../../src/lake/table.ts'
import type { Predicate } from './readers.ts'
import type { Written } from './tables.ts'
import { canonical, type Row } from './value.ts'

/** A predicate with the keys that it must find, and those that it may find because engines differ about NaN. */
export interface Expected {
  readonly predicate: Predicate
  readonly must: ReadonlySet<string>
  readonly may: ReadonlySet<string>
  /** Keys of the rows where the column is null. */
  readonly nulls: ReadonlySet<string>
}

const VALUES_COMPARED = 2

/** For each primitive column: every value by equality, some by order, and nulls. A full scan would not prune at all. */
export function expectations({ table, key, rows }: Written): Expected[] {
  const isPartitioned = new Set(table.spec.fields.map((field) => field['source-id']))
  const fields = table.schema.fields.filter(
    ({ id, type }) => typeof type === 'string' && (isPartitioned.size === 0 || isPartitioned.has(id)),
  )
  return fields.flatMap((field) => ofColumn(field, key, rows))
}

function ofColumn(field: IcebergField, key: string, rows: readonly Row[]): Expected[] {
  const { name: column, type } = field
  const isFloat = type === 'float' || type === 'double'
  const values = rows.map((row) => row[column] as PartitionValue)
  const distinct = new Map(values.map((value) => [JSON.stringify(canonical(type, value)), value]))
  const numbers = [...distinct.values()].filter((value) => value !== null && !Number.isNaN(value))
  const where = (holds: (value: PartitionValue) => boolean) =>
    new Set(rows.filter((_, index) => holds(values[index]!)).map((row) => String(row[key])))
  const nulls = where((value) => value === null)
  const nans = where((value) => Number.isNaN(value))
  const none = new Set<string>()
  const expected = (op: Predicate['op'], value: PartitionValue, must: Set<string>, may = none): Expected => ({
    predicate: { column, op, value: value === null ? null : canonical(type, value) },
    must,
    may,
    nulls,
  })
  const compared = (value: PartitionValue, holds: (order: number) => boolean) =>
    where((other) => other !== null && !Number.isNaN(other) && holds(compareValues(other, value!)))
  return [
    expected(
      'isNull',
      null,
      where((value) => value === null),
    ),
    expected(
      'notNull',
      null,
      where((value) => value !== null),
    ),
    ...(isFloat ? [expected('isNaN', null, nans)] : []),
    ...numbers.map((value) =>
      expected(
        'eq',
        value,
        compared(value, (order) => order === 0),
      ),
    ),
    // Engines agree on which UUIDs are equal only.
    ...(type === 'boolean' || type === 'uuid' ? [] : spread(numbers, VALUES_COMPARED)).flatMap((value) => [
      expected(
        'lt',
        value,
        compared(value, (order) => order < 0),
      ),
      expected(
        'gteq',
        value,
        compared(value, (order) => order >= 0),
        nans,
      ),
    ]),
  ]
}

function spread<T>(items: readonly T[], count: number): T[] {
  const step = Math.max(1, Math.floor(items.length / count))
  return items.filter((_, index) => index % step === 0).slice(0, count)
}
