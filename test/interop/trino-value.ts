import type { IcebergType } from '../../src/lake/table.ts'
import { canonical, type Canonical } from './value.ts'

/** A cell of Trino's JSON in the forms of ./value.ts. */
export function ofTrino(type: IcebergType, value: unknown): Canonical {
  if (value === null) return null
  if (typeof type !== 'string') return nested(type, value)
  switch (type) {
    case 'long':
      return String(value)
    case 'float':
    case 'double':
      // NaN and infinities are texts.
      return canonical(type, Number(value))
    case 'binary':
      return `x${Buffer.from(value as string, 'base64').toString('hex')}`
    case 'timestamp':
    case 'timestamptz':
      return (value as string).replace(' ', 'T').replace(' UTC', '+00:00')
    default:
      return value as Canonical
  }
}

function nested(type: Exclude<IcebergType, string>, value: unknown): Canonical {
  if (type.type === 'list') return (value as readonly unknown[]).map((item) => ofTrino(type.element, item))
  if (type.type === 'map') {
    const pairs = Object.entries(value as object).map(([key, item]) => [key, ofTrino(type.value, item)] as const)
    return pairs.toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  }
  const items = value as readonly unknown[]
  return Object.fromEntries(type.fields.map((field, index) => [field.name, ofTrino(field.type, items[index])]))
}

/** What our own HTTP API answers, as rows of cells in the order of the columns. */
export async function answered(url: string, key: string, sql: string): Promise<readonly (readonly unknown[])[]> {
  const response = await fetch(`${url}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  const { columns, rows } = JSON.parse(text) as {
    readonly columns: readonly { readonly name: string }[]
    readonly rows: readonly Readonly<Record<string, unknown>>[]
  }
  return rows.map((row) => columns.map(({ name }) => row[name]))
}

const TIME = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d{6})(?: UTC)?$/

/** A cell of either answer as the same text: their JSON differs in structs, in integers and in times. */
export function textOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(textOf)
  if (typeof value === 'object' && value !== null) return Object.values(value).map(textOf)
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' ? value.replace(TIME, '$1T$2Z') : value
}
