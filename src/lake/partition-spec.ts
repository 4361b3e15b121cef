import { LakeError } from '../error.ts'
import type { PartitionValue } from './data-file.ts'
import { decimalOf, type IcebergField, type IcebergSchema, type IcebergType } from './schema.ts'
import { compareValues, decimalLength, singleValue, unscaledFixed } from './single-value.ts'
import { applyTransform, isApplicable, resultType } from './transform.ts'

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
const TIME_TRANSFORMS = ['year', 'month', 'day', 'hour']

/** The specs of a table that another one succeeds. */
export interface SpecsBefore {
  readonly specs: readonly PartitionSpec[]
  readonly lastFieldId: number
}

/**
 * `status`, `day(at)`, `bucket(16, id)`, `truncate(4, zip)` over top-level columns. After other specs fields that one of
 * them had keep their ids. Throws `config.invalid`.
 */
export function partitionSpec(
  table: string,
  texts: readonly string[],
  schema: IcebergSchema,
  before?: SpecsBefore,
): PartitionSpec {
  const fields: PartitionField[] = []
  for (const text of texts) {
    const { column, transform } = parse(table, text, schema)
    const twin = fields.find(
      (field) => field['source-id'] === column.id && family(field.transform) === family(transform),
    )
    if (twin !== undefined) throw invalid(table, text, `leave it out: its rows are divided by ${twin.name} already`)
    const name = freeName(column.name, transform, schema, fields)
    fields.push({ 'source-id': column.id, 'field-id': FIRST_FIELD_ID + fields.length, name, transform })
  }
  return before === undefined ? { 'spec-id': 0, fields } : specAfter(fields, before)
}

function specAfter(fields: readonly PartitionField[], { specs, lastFieldId }: SpecsBefore): PartitionSpec {
  const known = specs.flatMap((spec) => spec.fields)
  let last = lastFieldId
  const numbered = fields.map((field): PartitionField => {
    const kept = known.find(
      (each) =>
        each['source-id'] === field['source-id'] && each.transform === field.transform && each.name === field.name,
    )
    return { ...field, 'field-id': kept?.['field-id'] ?? ++last }
  })
  return { 'spec-id': Math.max(...specs.map((spec) => spec['spec-id'])) + 1, fields: numbered }
}

function parse(
  table: string,
  text: string,
  schema: IcebergSchema,
): { readonly column: IcebergField; readonly transform: string } {
  const match = /^\s*(?:([a-z]+)\s*\(\s*(?:(\d{1,10})\s*,\s*)?([^\s(),]+)\s*\)|([^\s(),]+))\s*$/.exec(text)
  const [, word, width, inner, bare] = match ?? []
  const transform = transformText(bare === undefined ? word : 'identity', width)
  if (match === null || transform === undefined)
    throw invalid(table, text, 'write a column, or bucket(16, c), truncate(4, c), year(c), month(c), day(c), hour(c)')
  const column = schema.fields.find((field) => field.name === (bare ?? inner))
  if (column === undefined)
    throw invalid(table, text, `take one of ${schema.fields.map(({ name }) => name).join(', ')}`)
  if (!isApplicable(transform, column.type)) throw invalid(table, text, notApplicable(transform, column.type))
  if (!isHeld(transform, column.type))
    throw invalid(table, text, `take a width that fits into ${typeName(column.type)}`)
  return { column, transform }
}

function transformText(word: string | undefined, width: string | undefined): string | undefined {
  if (word === 'bucket' || word === 'truncate')
    return width === undefined || Number(width) < 1 || Number(width) > 0x7fff_ffff
      ? undefined
      : `${word}[${Number(width)}]`
  return width === undefined && (word === 'identity' || TIME_TRANSFORMS.includes(word ?? '')) ? word : undefined
}

/** Whether a truncated decimal still fits into the bytes of its type: it is rounded down, below the least of them. */
function isHeld(transform: string, type: IcebergType): boolean {
  const decimal = decimalOf(type)
  if (decimal === undefined || !transform.startsWith('truncate')) return true
  const least = applyTransform(transform, type, 1n - 10n ** BigInt(decimal.precision)) as bigint
  return BigInt.asIntN(8 * decimalLength(decimal.precision), least) === least
}

/** The time transforms of a column contain each other, so readers refuse two of them; of the others one is enough. */
function family(transform: string): string {
  return TIME_TRANSFORMS.includes(transform) ? 'time' : transform.replace(/\W.*/, '')
}

/** Names as other writers give them, but never that of a column or, made Avro-safe, of another field. */
function freeName(column: string, transform: string, schema: IcebergSchema, fields: readonly PartitionField[]): string {
  const kind = transform.replace(/\W.*/, '')
  const wanted = kind === 'identity' ? column : `${column}_${kind === 'truncate' ? 'trunc' : kind}`
  const taken = new Set(fields.map(({ name }) => avroName(name).toLowerCase()))
  for (const { name } of schema.fields)
    if (kind !== 'identity' || name !== column) taken.add(avroName(name).toLowerCase())
  let name = wanted
  for (let number = 2; taken.has(avroName(name).toLowerCase()); number++) name = `${wanted}_${number}`
  return name
}

/** A name as Avro allows it. Readers go by field id. */
export function avroName(name: string): string {
  return Array.from(name, (char, index) => {
    if (/[A-Za-z_]/.test(char) || (index > 0 && /\d/.test(char))) return char
    return /[0-9]/.test(char) ? `_${char}` : `_x${char.codePointAt(0)!.toString(16).toUpperCase()}`
  }).join('')
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

/**
 * What a manifest list says of the tuples in one manifest, per partition field: readers prune by it. No tuple holds a
 * floating-point number, so there is no NaN.
 */
export function summarise(types: readonly IcebergType[], tuples: readonly (readonly PartitionValue[])[]): unknown[] {
  return types.map((type, index) => {
    const values = tuples.map((tuple) => tuple[index]!).filter((value) => value !== null)
    const sorted = values.toSorted(compareValues)
    return {
      contains_null: values.length < tuples.length,
      contains_nan: { boolean: false },
      lower_bound: bound(type, sorted[0]),
      upper_bound: bound(type, sorted.at(-1)),
    }
  })
}

function bound(type: IcebergType, value: PartitionValue | undefined): { readonly bytes: Buffer } | null {
  return value === undefined || value === null ? null : { bytes: Buffer.from(singleValue(type, value)) }
}

function signed(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt.asIntN(8 * bytes.length, BigInt(`0x${Buffer.from(bytes).toString('hex')}`))
}

function notApplicable(transform: string, type: IcebergType): string {
  const takes = !TIME_TRANSFORMS.includes(transform)
    ? 'take a column of another type'
    : `take a ${transform === 'hour' ? 'timestamp' : 'date or a timestamp'}`
  return `${transform} cannot be applied to a column of type ${typeName(type)}: ${takes}`
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
