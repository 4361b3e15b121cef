import type { ColumnType } from './batch.ts'
import type { AnyRow } from './define-row.ts'

/** From a value as queries give it to what the table's `$row` says; undefined: they are the same. */
type Change = ((value: unknown) => unknown) | undefined

/** Makes Dates of the instants of columns in milliseconds, in place; undefined when there are none. */
export function rowChange(
  columns: readonly { readonly name: string; readonly type: ColumnType }[],
): ((row: Record<string, unknown>) => AnyRow) | undefined {
  const changes = columns.flatMap(({ name, type }) => {
    const change = changeOf(type)
    return change === undefined ? [] : [{ name, change }]
  })
  if (changes.length === 0) return undefined
  return (row) => {
    for (const { name, change } of changes) if (row[name] !== undefined) row[name] = change(row[name])
    return row
  }
}

function changeOf(type: ColumnType): Change {
  switch (type.kind) {
    case 'timestamp':
    case 'timestamptz':
      return type.unit === 'ms' ? dateOf : undefined
    case 'list': {
      const change = changeOf(type.element)
      return change && ((value) => (Array.isArray(value) ? value.map(change) : value))
    }
    case 'map': {
      const change = changeOf(type.value)
      return change && ((value) => (isObject(value) ? mapped(value, () => change) : value))
    }
    case 'struct': {
      const changes = new Map(type.fields.map((field) => [field.name, changeOf(field.type)]))
      const isSame = [...changes.values()].every((change) => change === undefined)
      return isSame ? undefined : (value) => (isObject(value) ? mapped(value, (name) => changes.get(name)) : value)
    }
    default:
      return undefined
  }
}

/** A table of other code than ours may hold something else there. */
function dateOf(value: unknown): unknown {
  if (typeof value !== 'bigint') return value
  const below = value % 1_000n
  // Down to the millisecond, also before 1970.
  return new Date(Number(value / 1_000n - (below < 0n ? 1n : 0n)))
}

function mapped(value: object, changeFor: (name: string) => Change): object {
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, changeFor(name)?.(item) ?? item]))
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
