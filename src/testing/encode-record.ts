import { parseAvro, type AvroSchema } from '../avro-schema.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { LogRecord } from '../ingest/memory-log.ts'
import { avroOf } from './encode-avro.ts'
import { jsonOf } from './encode-json.ts'
import type { LabRegistry, Registered } from './lab-registry.ts'

/** What is produced of a table: a row, a change event `{op, before?, after?}` of a change stream, or null, a tombstone. */
export type Produced = Readonly<Record<string, unknown>> | null

/** The key of a record: text or bytes as they are, an object as JSON. */
export type ProducedKey = string | Uint8Array | Readonly<Record<string, unknown>>

export interface Encoded extends Omit<LogRecord, 'timestampMs'> {
  /** When the row happened, as its column of event time says; undefined when it does not. */
  readonly eventMs: number | undefined
  /** What tells the partition: the record's key, or that of the row. */
  readonly routing: Uint8Array | undefined
}

/** A zero, and the id of a schema that nobody asks for. */
const FRAME = Buffer.from([0, 0, 0, 0, 1])

/** Makes records of the rows of one table, as its producers would. Throws `config.unsupported`, `request.invalid`. */
export class RecordEncoder {
  readonly #definition: TableDefinition
  readonly #registry: LabRegistry | undefined
  /** Of a change stream that is ordered by a field of its source: what comes later counts more. */
  #changes = 0

  constructor(definition: TableDefinition, registry?: LabRegistry) {
    this.#definition = definition
    this.#registry = registry
  }

  encode(row: Produced, key?: ProducedKey): Encoded {
    if (this.#definition.value === 'raw') return this.#raw(row, key)
    const change = row === null ? undefined : this.#change(row)
    const stands = change === undefined ? row : ((change['after'] ?? change['before'] ?? null) as Produced)
    const recordKey = this.#key(stands, key)
    if (row === null && recordKey === undefined && this.#definition.key.length > 0)
      throw new LakeError('request.invalid', `${this.#definition.name}: a tombstone without a key names no row`, {
        fix: "Say which: lab.produce(table, [null], { key: 'a' }). What such a record becomes: lab.produceRaw(table, [{ value: null }]).",
      })
    const routing = recordKey ?? (stands === null ? undefined : this.#keyText(stands))
    return {
      key: recordKey,
      value: row === null ? undefined : this.#value(row, change),
      eventMs: stands === null ? undefined : this.#eventMs(stands),
      routing,
    }
  }

  #value(row: NonNullable<Produced>, change: Readonly<Record<string, unknown>> | undefined): Uint8Array {
    const { value, name, framing, avro, columns, map } = this.#definition
    // What a function reads has the columns of nobody.
    const known = map === undefined ? columns : []
    switch (value) {
      case 'json': {
        const text = Buffer.from(jsonOf(this.#inUnit(row), known))
        return framing === undefined ? text : Buffer.concat([FRAME, text])
      }
      case 'avro':
        return this.#avro(avro?.schema, row)
      case 'debezium': {
        if (avro !== undefined) return this.#avro(avro.schema, change!)
        const inner = { kind: 'struct', fields: columns } as const
        const named = [
          { name: 'before', type: inner },
          { name: 'after', type: inner },
        ]
        const text = Buffer.from(jsonOf(change!, named))
        return framing === undefined ? text : Buffer.concat([FRAME, text])
      }
      default:
        throw new LakeError('config.unsupported', `${name}: a lab does not write rows as ${value}`, {
          fix: 'Give the bytes of its records: lab.produceRaw(table, [{ value }]).',
        })
    }
  }

  #avro(schema: string | undefined, row: NonNullable<Produced>): Uint8Array {
    const { name, topic } = this.#definition
    if (schema !== undefined) return avroOf(parseAvro(schema), row, name)
    return framed(this.#writing(`${topic}-value`), row, name)
  }

  #writing(subject: string): Registered {
    const found = this.#registry?.writing(subject)
    if (found !== undefined) return found
    throw new LakeError(
      'config.unsupported',
      `${this.#definition.name}: the lab's registry has no subject ${subject}`,
      {
        fix: `Open the lab with it, testLake(lake, { registry: { subjects: { '${subject}': [schema] } } }), or give the table its schema: value: avro({ schema }).`,
      },
    )
  }

  /** A key that is a record has the row's columns of its fields; any other is the one column of the key. */
  #avroKey(row: NonNullable<Produced>): Uint8Array | undefined {
    const { name, topic, key } = this.#definition
    const writing = this.#writing(`${topic}-key`)
    const value = writing.schema.kind === 'record' ? row : row[key[0]!]
    return framed(writing, value, `${name}, key`)
  }

  /** The change event that stands for a row, of a change stream. */
  #change(row: NonNullable<Produced>): Readonly<Record<string, unknown>> | undefined {
    const { value, version } = this.#definition
    if (value !== 'debezium') return undefined
    const isChange = typeof row['op'] === 'string' && ('after' in row || 'before' in row || row['op'] === 't')
    const change: Readonly<Record<string, unknown>> = isChange ? row : { op: 'c', after: row }
    const field = version?.startsWith('source.') === true ? version.slice('source.'.length) : undefined
    const source = { ...(field === undefined ? {} : { [field]: ++this.#changes }), ...(change['source'] as object) }
    return { before: null, after: null, ...change, source }
  }

  #raw(row: Produced, key: ProducedKey | undefined): Encoded {
    const { key: own, value, headers } = (row ?? {}) as Readonly<Record<string, any>>
    const recordKey = bytesOf(key ?? own)
    const given = (headers ?? []) as readonly { readonly key: string; readonly value?: unknown }[]
    return {
      key: recordKey,
      value: bytesOf(value),
      headers: given.map((header) => ({ key: header.key, value: bytesOf(header.value) })),
      eventMs: undefined,
      routing: recordKey,
    }
  }

  #key(row: Produced, key: ProducedKey | undefined): Uint8Array | undefined {
    const { recordKey, key: names, framing, value } = this.#definition
    const frame = framing !== undefined && value !== 'protobuf' ? FRAME : Buffer.alloc(0)
    if (recordKey === 'protobuf' && typeof key === 'object' && !(key instanceof Uint8Array))
      throw new LakeError('config.unsupported', `${this.#definition.name}: a lab does not write keys as protobuf`, {
        fix: "Give the key's bytes: lab.produce(table, [null], { key: bytes }).",
      })
    if (key !== undefined)
      return typeof key === 'object' && !(key instanceof Uint8Array)
        ? Buffer.concat([frame, Buffer.from(jsonOf(key, this.#definition.columns))])
        : bytesOf(key)
    if (row === null) return undefined
    switch (recordKey) {
      case 'string':
        return row[names[0]!] === undefined ? undefined : Buffer.from(String(row[names[0]!]))
      case 'json':
      case 'debezium':
        return Buffer.concat([frame, this.#keyText(row)!])
      case 'avro':
        return this.#avroKey(row)
      default:
        return undefined
    }
  }

  /** The key's columns as JSON; undefined of a table without a key. */
  #keyText(row: NonNullable<Produced>): Buffer | undefined {
    const { key, columns } = this.#definition
    if (key.length === 0) return undefined
    return Buffer.from(jsonOf(Object.fromEntries(key.map((name) => [name, row[name]])), columns))
  }

  /** A `Date` in the number column that is the event time is written in its unit. */
  #inUnit(row: NonNullable<Produced>): NonNullable<Produced> {
    const { eventTime, columns } = this.#definition
    const column = columns.find(({ name }) => name === eventTime?.column)
    const value = column?.type.kind === 'long' ? row[column.name] : undefined
    if (!(value instanceof Date)) return row
    return { ...row, [column!.name]: Math.floor((value.getTime() * PER_SECOND[eventTime!.unit]) / 1_000) }
  }

  #eventMs(row: NonNullable<Produced>): number | undefined {
    const { eventTime, columns } = this.#definition
    if (eventTime === undefined || eventTime.column === '_timestamp') return undefined
    const type = columns.find(({ name }) => name === eventTime.column)?.type
    const given = row[eventTime.column]
    const value = typeof given === 'bigint' && type?.kind === 'long' ? Number(given) : given
    const ms = instantMs(value, (type !== undefined && 'unit' in type ? type.unit : undefined) ?? eventTime.unit)
    return ms !== undefined && Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? Math.floor(ms) : undefined
  }
}

/** A value behind the id of its schema, as serializers of registries write it. */
function framed({ id, schema }: { readonly id: number; readonly schema: AvroSchema }, value: unknown, at: string) {
  const frame = Buffer.alloc(FRAME.length)
  frame.writeInt32BE(id, 1)
  return Buffer.concat([frame, avroOf(schema, value, at)])
}

const PER_SECOND = { s: 1, ms: 1_000, us: 1_000_000 }

function instantMs(value: unknown, unit: 's' | 'ms' | 'us'): number | undefined {
  if (value instanceof Date) return value.getTime()
  // Of a column of time a bigint is microseconds, whatever its producer writes.
  if (typeof value === 'bigint') return Number(value) / 1_000
  if (typeof value === 'number') return (value * 1_000) / PER_SECOND[unit]
  return typeof value === 'string' ? Date.parse(/(Z|[+-]\d\d:\d\d)$/i.test(value) ? value : `${value}Z`) : undefined
}

export function bytesOf(given: unknown): Uint8Array | undefined {
  if (given === undefined || given === null) return undefined
  return given instanceof Uint8Array ? given : Buffer.from(typeof given === 'string' ? given : JSON.stringify(given))
}
