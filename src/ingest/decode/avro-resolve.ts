import { sizeMin, type AvroRecord, type AvroSchema } from '../../avro-schema.ts'
import type { ColumnType, TimeUnit } from '../../batch.ts'
import { fieldOf } from '../../define-avro.ts'
import type { PlanNode } from './plan.ts'

/**
 * How values that a schema describes become columns: the plan of a generated reader. The columns are the reader's
 * schema, and what Avro calls schema resolution happens here, once for each schema of a writer, and not per value.
 */
export type AvroRead =
  /** No bytes; the column is null. */
  | { readonly kind: 'null'; readonly node: PlanNode }
  /** A branch of a union that the column cannot take: records that have it do not fit. */
  | { readonly kind: 'misfit'; readonly node: PlanNode }
  | { readonly kind: 'scalar'; readonly node: PlanNode; readonly scalar: ScalarRead }
  | { readonly kind: 'union'; readonly node: PlanNode; readonly branches: readonly AvroRead[] }
  | { readonly kind: 'struct'; readonly node: PlanNode; readonly record: RecordRead }
  /** Of a map `item` is the value. */
  | {
      readonly kind: 'list' | 'map'
      readonly node: PlanNode
      readonly item: AvroRead
      /** Bytes that an item, with the key of a map, takes at least. */
      readonly itemBytesMin: number
    }

/** The fields of a record in the writer's order, and the columns that it does not have. */
export interface RecordRead {
  readonly fields: readonly FieldRead[]
  readonly absent: readonly PlanNode[]
}

export type FieldRead =
  | { readonly kind: 'column'; readonly name: string; readonly read: AvroRead }
  /** No column has it. */
  | { readonly kind: 'unknown'; readonly name: string; readonly schema: AvroSchema }

export type ScalarRead =
  | { readonly from: 'boolean' }
  | { readonly from: 'integer'; readonly is32Bit: boolean; readonly to: IntegerTarget }
  | { readonly from: 'float' | 'double'; readonly to: 'float' | 'double' }
  /** Bytes with their length before them, or, of a fixed, so many. */
  | { readonly from: 'bytes'; readonly size: number | undefined; readonly to: BytesTarget }
  /** Per symbol of the writer the text that the column gets; undefined where it has none. */
  | { readonly from: 'enum'; readonly symbols: readonly (string | undefined)[] }
  /** A record of `scale` and `value`: a decimal that brings its scale along. */
  | { readonly from: 'variable' }

export type IntegerTarget =
  | { readonly kind: 'int' | 'long' | 'float' | 'double' | 'decimal' | 'date' }
  | { readonly kind: 'instant'; readonly unit: TimeUnit | 'ns' }

export type BytesTarget =
  | { readonly kind: 'string' | 'binary' | 'enum' | 'uuid' | 'uuid-bytes' | 'date' | 'instant' }
  /** JSON text of a list, a map or a struct: so change streams write what databases keep as JSON. */
  | { readonly kind: 'json' }
  /** Big endian, two's complement; into a decimal, an integer or, as digits, a string. */
  | { readonly kind: 'unscaled'; readonly scale: number }

export type Resolved =
  | { readonly kind: 'resolved'; readonly record: RecordRead }
  /** Why the columns cannot be filled from this schema, a sentence for each. */
  | { readonly kind: 'incompatible'; readonly problems: readonly string[] }

/** Parts of a resolved schema: unions in unions of one another would multiply. */
const PARTS_MAX = 20_000
/** What is told of them. */
const PROBLEMS_MAX = 10

/**
 * How records of a schema fill the columns. `isChange`: they are rows of a change stream. `declared`: the columns that
 * take the value of a field which was called so before; default: all.
 */
export function resolveAvro(
  root: readonly PlanNode[],
  schema: AvroSchema,
  isChange = false,
  declared?: ReadonlySet<string>,
): Resolved {
  if (schema.kind !== 'record')
    return { kind: 'incompatible', problems: [`the schema is of type ${schema.kind}, and a row is a record`] }
  const resolver = new Resolver(isChange, declared)
  const record = resolver.record(root, schema)
  const { problems } = resolver
  if (problems.length === 0) return { kind: 'resolved', record }
  return { kind: 'incompatible', problems: problems.slice(0, PROBLEMS_MAX) }
}

/** The same of one column whose value stands alone, as a record's key may. */
export function resolveAvroValue(node: PlanNode, schema: AvroSchema): AvroRead | readonly string[] {
  const resolver = new Resolver(false, undefined)
  const read = resolver.value(node, schema)
  return read === undefined || resolver.problems.length > 0 ? resolver.problems : read
}

class Resolver {
  readonly problems: string[] = []
  readonly #isChange: boolean
  readonly #declared: ReadonlySet<string> | undefined
  #parts = 0

  constructor(isChange: boolean, declared: ReadonlySet<string> | undefined) {
    this.#isChange = isChange
    this.#declared = declared
  }

  record(nodes: readonly PlanNode[], schema: AvroRecord): RecordRead {
    const found = nodes.map(({ name, path }) => fieldOf(name, schema, this.#hasAliases(path)))
    const fields = schema.fields.flatMap((field): FieldRead[] => {
      const k = found.indexOf(field)
      if (k < 0) return [{ kind: 'unknown', name: field.name, schema: field.type }]
      const read = this.value(nodes[k]!, field.type)
      return read === undefined ? [] : [{ kind: 'column', name: field.name, read }]
    })
    const absent = nodes.filter((_, k) => found[k] === undefined)
    for (const { path, isRequired, isKept } of absent)
      if (isRequired && !isKept) this.#problem(`${path}: the schema lacks it, and the column is required`)
    return { fields, absent }
  }

  /** Undefined, and a problem more, when the column cannot take such values. */
  value(node: PlanNode, schema: AvroSchema): AvroRead | undefined {
    if (++this.#parts > PARTS_MAX) return this.#problem(`${node.path}: the schema has too many parts`)
    const { type } = node
    switch (schema.kind) {
      case 'null':
        if (node.isRequired) return this.#problem(`${node.path}: it is always null, and the column is required`)
        return { kind: 'null', node }
      case 'union':
        return this.#union(node, schema.branches)
      case 'array': {
        if (type.kind !== 'list') return this.#mismatch(node, 'an array')
        const item = this.value(node.children[0]!, schema.items)
        return item && { kind: 'list', node, item, itemBytesMin: sizeMin(schema.items) }
      }
      case 'map': {
        if (type.kind !== 'map') return this.#mismatch(node, 'a map')
        const item = this.value(node.children[0]!, schema.values)
        return item && { kind: 'map', node, item, itemBytesMin: sizeMin(schema.values) + 1 }
      }
      case 'record': {
        if (type.kind === 'struct') return { kind: 'struct', node, record: this.record(node.children, schema) }
        if (isVariable(schema) && takesUnscaled(type)) return { kind: 'scalar', node, scalar: { from: 'variable' } }
        return this.#mismatch(node, 'a record')
      }
      default: {
        const isNested = type.kind === 'list' || type.kind === 'map' || type.kind === 'struct'
        if (isNested && schema.kind === 'string' && this.#isChange)
          return { kind: 'scalar', node, scalar: { from: 'bytes', size: undefined, to: { kind: 'json' } } }
        const scalar = scalarOf(type, schema)
        return scalar === undefined ? this.#mismatch(node, described(schema)) : { kind: 'scalar', node, scalar }
      }
    }
  }

  /** The branches of a union that the column takes; others are for the records that have them. */
  #union(node: PlanNode, branches: readonly AvroSchema[]): AvroRead | undefined {
    const before = this.problems.length
    const reads = branches.map((branch): AvroRead => {
      if (branch.kind === 'null') return { kind: 'null', node }
      const known = this.problems.length
      const read = this.value(node, branch)
      if (read === undefined || this.problems.length > known) return { kind: 'misfit', node }
      return read
    })
    if (reads.every(({ kind }) => kind === 'null' || kind === 'misfit') && reads.some(({ kind }) => kind === 'misfit'))
      return undefined
    this.problems.length = before
    return { kind: 'union', node, branches: reads }
  }

  #hasAliases(path: string): boolean {
    return this.#declared === undefined || this.#declared.has(/^[^.[]*/.exec(path)![0])
  }

  #mismatch({ path, type }: PlanNode, found: string): undefined {
    const unit = type.kind === 'timestamp' || type.kind === 'timestamptz'
    const hint = unit && found === 'a long' ? `: a number without a logical type needs ${type.kind}(ms)` : ''
    return this.#problem(`${path}: the column is of type ${type.kind}, the schema has ${found}${hint}`)
  }

  #problem(problem: string): undefined {
    this.problems.push(problem)
    return undefined
  }
}

function scalarOf(type: ColumnType, schema: AvroSchema): ScalarRead | undefined {
  switch (schema.kind) {
    case 'boolean':
      return type.kind === 'boolean' ? { from: 'boolean' } : undefined
    case 'int':
    case 'long': {
      const to = integerTarget(type, schema)
      return to && { from: 'integer', is32Bit: schema.kind === 'int', to }
    }
    case 'float':
      return type.kind === 'float' || type.kind === 'double' ? { from: 'float', to: type.kind } : undefined
    case 'double':
      return type.kind === 'double' ? { from: 'double', to: 'double' } : undefined
    case 'enum':
      if (type.kind === 'string') return { from: 'enum', symbols: schema.symbols }
      if (type.kind !== 'enum') return undefined
      return { from: 'enum', symbols: schema.symbols.map((symbol) => symbolFor(type.symbols, symbol, schema.default)) }
    case 'string':
    case 'bytes':
    case 'fixed': {
      const to = bytesTarget(type, schema)
      return to && { from: 'bytes', size: schema.kind === 'fixed' ? schema.size : undefined, to }
    }
    default:
      return undefined
  }
}

/** A symbol that the column does not know is the schema's default, when the column knows that. */
function symbolFor(known: readonly string[], symbol: string, other: string | undefined): string | undefined {
  if (known.includes(symbol)) return symbol
  return other !== undefined && known.includes(other) ? other : undefined
}

function integerTarget(
  type: ColumnType,
  { logical }: Extract<AvroSchema, { readonly kind: 'int' | 'long' }>,
): IntegerTarget | undefined {
  switch (type.kind) {
    case 'int':
    case 'long':
    case 'float':
    case 'double':
    case 'decimal':
      return { kind: type.kind }
    case 'date':
      return logical?.kind === 'date' ? { kind: 'date' } : undefined
    case 'timestamp':
    case 'timestamptz': {
      const unit = logical === undefined ? type.unit : logical.kind === 'date' ? undefined : logical.unit
      return unit && { kind: 'instant', unit }
    }
    default:
      return undefined
  }
}

function bytesTarget(
  type: ColumnType,
  { kind, logical }: Extract<AvroSchema, { readonly kind: 'string' | 'bytes' | 'fixed' }>,
): BytesTarget | undefined {
  if (logical?.kind === 'decimal' && takesUnscaled(type)) return { kind: 'unscaled', scale: logical.scale }
  switch (type.kind) {
    case 'binary':
      return { kind: 'binary' }
    case 'string':
    case 'enum':
      return kind === 'fixed' ? undefined : { kind: type.kind }
    case 'uuid':
      if (kind === 'string') return { kind: 'uuid' }
      return logical?.kind === 'uuid' ? { kind: 'uuid-bytes' } : undefined
    case 'date':
      return kind === 'string' ? { kind: 'date' } : undefined
    case 'timestamp':
    case 'timestamptz':
      return kind === 'string' ? { kind: 'instant' } : undefined
    default:
      return undefined
  }
}

function takesUnscaled({ kind }: ColumnType): boolean {
  return kind === 'decimal' || kind === 'string' || kind === 'int' || kind === 'long'
}

function isVariable({ connectName, fields }: AvroRecord): boolean {
  const [scale, value] = fields
  return (
    connectName === 'io.debezium.data.VariableScaleDecimal' &&
    fields.length === 2 &&
    scale!.name === 'scale' &&
    scale!.type.kind === 'int' &&
    value!.name === 'value' &&
    value!.type.kind === 'bytes'
  )
}

function described(schema: AvroSchema): string {
  const logical = 'logical' in schema ? schema.logical : undefined
  const article = schema.kind === 'int' || schema.kind === 'enum' ? 'an' : 'a'
  return `${article} ${schema.kind}${logical === undefined ? '' : ` (${logical.kind})`}`
}
