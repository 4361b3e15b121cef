import type { Column, ColumnType } from '../batch.ts'

/**
 * A row as the JSON that a producer would write: what a program holds where its column is a time (Date, bigint of
 * microseconds) becomes what the column reads, int64 and decimals stay exact, bytes are base64.
 */
export function jsonOf(row: Readonly<Record<string, unknown>>, columns: readonly Column[]): string {
  const types = new Map(columns.map(({ name, type }) => [name, type]))
  return objectText(Object.entries(row), (name) => types.get(name))
}

function objectText(
  entries: readonly (readonly [string, unknown])[],
  typeOf: (name: string) => ColumnType | undefined,
): string {
  const fields = entries.filter(([, value]) => value !== undefined)
  return `{${fields.map(([name, value]) => `${JSON.stringify(name)}:${valueText(value, typeOf(name))}`).join(',')}}`
}

function valueText(value: unknown, type: ColumnType | undefined): string {
  if (value === null || value === undefined) return 'null'
  if (value instanceof Date) return instantText(BigInt(value.getTime()) * 1_000n, type)
  if (typeof value === 'bigint') return isTime(type) ? instantText(value, type) : String(value)
  if (value instanceof Uint8Array) return JSON.stringify(Buffer.from(value).toString('base64'))
  if (Array.isArray(value)) {
    const element = type?.kind === 'list' ? type.element : undefined
    return `[${value.map((item) => valueText(item, element)).join(',')}]`
  }
  if (typeof value !== 'object') return JSON.stringify(value)
  const entries = value instanceof Map ? [...value].map(([key, item]) => [String(key), item] as const) : undefined
  return objectText(entries ?? Object.entries(value), (name) =>
    type?.kind === 'map'
      ? type.value
      : type?.kind === 'struct'
        ? type.fields.find((field) => field.name === name)?.type
        : undefined,
  )
}

function isTime(type: ColumnType | undefined): boolean {
  return type?.kind === 'timestamp' || type?.kind === 'timestamptz'
}

/** As the column reads it: a number in its unit, or RFC 3339. */
function instantText(us: bigint, type: ColumnType | undefined): string {
  const unit = type?.kind === 'timestamp' || type?.kind === 'timestamptz' ? type.unit : undefined
  if (type?.kind === 'long') return String(us / 1_000n)
  if (unit !== undefined) return String(us / { s: 1_000_000n, ms: 1_000n, us: 1n }[unit])
  return JSON.stringify(rfc3339(us))
}

/** With microseconds, in UTC. */
export function rfc3339(us: bigint): string {
  const below = BigInt.asIntN(64, ((us % 1_000n) + 1_000n) % 1_000n)
  const text = new Date(Number((us - below) / 1_000n)).toISOString()
  return below === 0n ? text : text.replace('Z', `${String(below).padStart(3, '0')}Z`)
}
