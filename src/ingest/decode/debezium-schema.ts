import type { Plan, PlanNode } from './plan.ts'

/**
 * How the values of one column are written, as the schema beside them says. `plain`: as the column's own type has them
 * in JSON. Without a schema nothing is known, and the form of a value has to tell.
 */
export type Encoding =
  | { readonly kind: 'plain' }
  /** Base64 of the unscaled value, big endian, two's complement. */
  | { readonly kind: 'decimal'; readonly scale: number }
  /** Since 1970; a number. */
  | { readonly kind: 'instant'; readonly unit: 'ms' | 'us' | 'ns' }
  | { readonly kind: 'days' }

export interface Encodings {
  readonly of: ReadonlyMap<PlanNode, Encoding>
  /** Whether the columns alone, read without a schema, mean the same: the fast reader may be asked. */
  readonly agrees: boolean
}

const PLAIN: Encoding = { kind: 'plain' }

/**
 * What a Kafka Connect schema says of a plan's columns: `part` is the field that describes the row (`after`, `before`), undefined
 * when the schema itself does. Undefined when it says nothing: what is no such schema is as good as none.
 */
export function encodingsOf(
  schemaText: string,
  part: 'after' | 'before' | undefined,
  plan: Plan,
): Encodings | undefined {
  const schema: unknown = JSON.parse(schemaText)
  const row = part === undefined ? schema : fieldsOf(schema).get(part)
  if (row === undefined) return undefined
  const of = new Map<PlanNode, Encoding>()
  collect(plan.root, row, of)
  return { of, agrees: [...of].every(([node, encoding]) => isAgreed(node, encoding)) }
}

function collect(nodes: readonly PlanNode[], schema: unknown, of: Map<PlanNode, Encoding>): void {
  const fields = fieldsOf(schema)
  for (const node of nodes) {
    const field = fields.get(node.name)
    if (field !== undefined) describe(node, field, of)
  }
}

function describe(node: PlanNode, schema: unknown, of: Map<PlanNode, Encoding>): void {
  of.set(node, encodingOf(schema))
  const element = node.children[0]
  if (node.type.kind === 'struct') collect(node.children, schema, of)
  else if (node.type.kind === 'list' && element !== undefined) describe(element, property(schema, 'items'), of)
  else if (node.type.kind === 'map' && element !== undefined) describe(element, property(schema, 'values'), of)
}

const INSTANTS: ReadonlyMap<unknown, 'ms' | 'us' | 'ns'> = new Map([
  ['io.debezium.time.Timestamp', 'ms'],
  ['io.debezium.time.MicroTimestamp', 'us'],
  ['io.debezium.time.NanoTimestamp', 'ns'],
  ['org.apache.kafka.connect.data.Timestamp', 'ms'],
])
const DAYS: ReadonlySet<unknown> = new Set(['io.debezium.time.Date', 'org.apache.kafka.connect.data.Date'])

function encodingOf(schema: unknown): Encoding {
  const name = property(schema, 'name')
  const unit = INSTANTS.get(name)
  if (unit !== undefined) return { kind: 'instant', unit }
  if (DAYS.has(name)) return { kind: 'days' }
  if (name !== 'org.apache.kafka.connect.data.Decimal') return PLAIN
  const scale = Number(property(property(schema, 'parameters'), 'scale') ?? 0)
  return Number.isInteger(scale) && Math.abs(scale) <= SCALE_MAX ? { kind: 'decimal', scale } : PLAIN
}

/** No database has decimals of more digits behind the point. */
export const SCALE_MAX = 20_000

/** Numbers of instants are read at a glance in the unit of the column, text of string columns as it stands. */
function isAgreed({ type }: PlanNode, encoding: Encoding): boolean {
  if (type.kind === 'string' || type.kind === 'enum') return encoding.kind !== 'decimal'
  if ((type.kind !== 'timestamp' && type.kind !== 'timestamptz') || type.unit === undefined) return true
  return encoding.kind === 'plain' || (encoding.kind === 'instant' && encoding.unit === type.unit)
}

/** Fields of a struct's schema by name. */
function fieldsOf(schema: unknown): ReadonlyMap<string, unknown> {
  const fields = property(schema, 'fields')
  if (!Array.isArray(fields)) return new Map()
  return new Map(
    fields.flatMap((field: unknown) => {
      const name = property(field, 'field')
      return typeof name === 'string' ? [[name, field] as const] : []
    }),
  )
}

function property(value: unknown, name: string): unknown {
  if (value === null || typeof value !== 'object' || !Object.hasOwn(value, name)) return undefined
  return (value as Readonly<Record<string, unknown>>)[name]
}
