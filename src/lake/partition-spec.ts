import { LakeError } from '../error.ts'
import type { PartitionValue } from './data-file.ts'
import { decimalOf, type IcebergSchema, type IcebergType } from './schema.ts'
import { compareValues, decimalLength, singleValue, unscaledFixed } from './single-value.ts'
import { isApplicable, resultType } from './transform.ts'

export interface PartitionField {
  readonly 'source-id': number
  readonly 'field-id': number
  readonly name: string
  readonly transform: string
}

export interface PartitionSpec {
  readonly 'spec-id': number
  readonly fields: readonly PartitionField[]
}

const FIRST_FIELD_ID = 1_000

/** `status`, `day(at)`, `bucket(16, id)`, `truncate(4, zip)` over top-level columns. Throws `config.invalid`. */
export function partitionSpec(table: string, texts: readonly string[], schema: IcebergSchema): PartitionSpec {
  const fields = texts.map((text, index): PartitionField => {
    const match = /^\s*(?:(\w+)\s*\(\s*(?:(\d+)\s*,\s*)?(\w+)\s*\)|(\w+))\s*$/.exec(text)
    const [, name, width, inner, bare] = match ?? []
    const column = schema.fields.find((field) => field.name === (bare ?? inner))
    const transform = transformText(bare === undefined ? name : 'identity', width)
    if (match === null || column === undefined || transform === undefined)
      throw invalid(table, text, 'write a column, or bucket(16, c), truncate(4, c), year(c), month(c), day(c), hour(c)')
    if (!isApplicable(transform, column.type))
      throw invalid(table, text, `${transform} cannot be applied to a column of type ${typeName(column.type)}`)
    const suffix = transform === 'identity' ? '' : `_${transform.replace(/\W.*/, '')}`
    const fieldName = `${column.name}${suffix}`
    return { 'source-id': column.id, 'field-id': FIRST_FIELD_ID + index, name: fieldName, transform }
  })
  const names = fields.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw invalid(table, twice, 'each column may be used once with the same transform')
  return { 'spec-id': 0, fields }
}

/** The Iceberg type of each value of a partition tuple. */
export function tupleTypes(spec: PartitionSpec, schema: IcebergSchema): IcebergType[] {
  return spec.fields.map((field) => {
    const source = schema.fields.find(({ id }) => id === field['source-id'])!
    return resultType(field.transform, source.type)
  })
}

/** Avro schema of a tuple's value, and its value in Avro's form. */
export function avroTupleType(type: IcebergType, fieldId: number): unknown {
  const decimal = decimalOf(type)
  if (decimal !== undefined)
    return {
      type: 'fixed',
      name: `decimal_${fieldId}`,
      size: decimalLength(decimal.precision),
      logicalType: 'decimal',
      ...decimal,
    }
  switch (type) {
    case 'date':
      return { type: 'int', logicalType: 'date' }
    case 'timestamp':
    case 'timestamptz':
      return { type: 'long', logicalType: 'timestamp-micros', 'adjust-to-utc': type === 'timestamptz' }
    case 'uuid':
      return { type: 'fixed', name: `uuid_${fieldId}`, size: 16, logicalType: 'uuid' }
    case 'binary':
      return 'bytes'
    default:
      return type
  }
}

/** The wrapped union branch that the Avro encoder expects for a tuple's value. */
export function avroTupleValue(type: IcebergType, fieldId: number, value: PartitionValue): unknown {
  if (value === null) return null
  const decimal = decimalOf(type)
  if (decimal !== undefined)
    return { [`decimal_${fieldId}`]: Buffer.from(unscaledFixed(value as bigint, decimalLength(decimal.precision))) }
  switch (type) {
    case 'date':
      return { int: value }
    case 'timestamp':
    case 'timestamptz':
      return { long: value }
    case 'uuid':
      return { [`uuid_${fieldId}`]: Buffer.from(value as Uint8Array) }
    case 'binary':
      return { bytes: Buffer.from(value as Uint8Array) }
    default:
      return { [type as string]: value }
  }
}

export function tupleValueOf(type: IcebergType, value: unknown): PartitionValue {
  if (value === null || value === undefined) return null
  const inner = Object.values(value)[0] as PartitionValue
  return decimalOf(type) !== undefined && inner instanceof Uint8Array ? signed(inner) : inner
}

/** What a manifest list says of the tuples in one manifest, per partition field: readers prune by it. */
export function summarise(types: readonly IcebergType[], tuples: readonly (readonly PartitionValue[])[]): unknown[] {
  return types.map((type, index) => {
    const values = tuples.map((tuple) => tuple[index]!).filter((value) => value !== null)
    const numbers = values.filter((value) => !Number.isNaN(value))
    const sorted = numbers.toSorted(compareValues)
    const isFloat = type === 'float' || type === 'double'
    return {
      contains_null: values.length < tuples.length,
      contains_nan: isFloat ? { boolean: numbers.length < values.length } : { boolean: false },
      lower_bound: bound(type, sorted[0]),
      upper_bound: bound(type, sorted.at(-1)),
    }
  })
}

function bound(type: IcebergType, value: PartitionValue | undefined): { readonly bytes: Buffer } | null {
  return value === undefined || value === null ? null : { bytes: Buffer.from(singleValue(type, value)) }
}

function transformText(name: string | undefined, width: string | undefined): string | undefined {
  if (name === 'bucket' || name === 'truncate')
    return width === undefined || Number(width) < 1 || Number(width) > 0x7fff_ffff ? undefined : `${name}[${width}]`
  return width === undefined && ['identity', 'year', 'month', 'day', 'hour'].includes(name ?? '') ? name : undefined
}

function signed(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
}

function typeName(type: IcebergType): string {
  return typeof type === 'string' ? type : type.type
}

function invalid(table: string, text: string, fix: string): LakeError {
  return new LakeError('config.invalid', `tables.${table}.partitionBy: "${text}" is not a partition field: ${fix}`, {
    context: { table, text },
    fix: `In ${table}.partitionBy, ${fix}.`,
  })
}
