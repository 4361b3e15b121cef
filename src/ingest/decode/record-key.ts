import { isUtf8 } from 'node:buffer'
import type { Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import { keyColumns } from '../../define-record-key.ts'
import type { KeyEncoder, KeyHasher } from '../key-hash.ts'
import type { Schemas } from './avro-schemas.ts'
import type { Reason } from './codes.ts'
import { OWN_SEGMENT, OwnText } from './column-builder.ts'
import { ChangeKey } from './debezium.ts'
import { AvroChange } from './debezium-avro.ts'
import { ChangeEnvelope, type Change } from './debezium-envelope.ts'
import { frameEnd } from './framing.ts'
import { JsonReader } from './json-reader.ts'
import { planOf, type Plan } from './plan.ts'
import { AvroKey } from './record-key-avro.ts'
import { ProtobufKey } from './record-key-protobuf.ts'
import { RowKeys } from './row-keys.ts'
import { parseUuid } from './text.ts'

/** A form of record keys: reads one into the builders of its plan, at row 0. The reason when it cannot. */
interface Form {
  readonly plan: Plan
  read(bytes: Uint8Array, start: number, end: number): Reason | undefined
}

/**
 * Reads the keys of records whose value is null: the key columns, as their table's `recordKey` says. What the bytes say
 * goes through the same builders and hash as the rows, so a tombstone finds the row that its key names.
 */
export class RecordKeys {
  readonly #own = new OwnText()
  readonly #form: Form
  readonly #changeKey: ChangeKey
  readonly #avroKey: AvroKey
  readonly #changePlan: Plan
  /** Whether a zero and the id of a schema stand before each key. */
  readonly #isFramed: boolean
  #formRows: RowKeys | undefined
  #changeRows: RowKeys | undefined
  /** Those of the key that was read last. */
  #rows: RowKeys | undefined

  constructor(definition: TableDefinition, schemas: Schemas) {
    const { key, recordKey, framing, value } = definition
    this.#isFramed = framing !== undefined && value !== 'protobuf' && (recordKey === 'json' || recordKey === 'debezium')
    this.#changePlan = planOf(keyColumns(definition), { key })
    this.#changeKey = new ChangeKey(this.#changePlan, this.#own)
    this.#avroKey = new AvroKey(definition, this.#changePlan, this.#own, schemas)
    this.#form = this.#formOf(definition, schemas)
  }

  #formOf(definition: TableDefinition, schemas: Schemas): Form {
    const [plan, own, columns] = [this.#changePlan, this.#own, keyColumns(definition)]
    switch (definition.recordKey) {
      case 'string':
        return textForm(columns[0]!)
      case 'debezium':
        return changeForm(this.#changeKey, plan)
      case 'avro':
        return changeForm(this.#avroKey, plan)
      case 'protobuf':
        return changeForm(new ProtobufKey(definition, definition.keyFormat ?? {}, plan, own, schemas), plan)
      case 'json':
      case 'none':
        return jsonForm(columns, own)
    }
  }

  useHasher(hasher: KeyHasher, encoder: KeyEncoder): void {
    this.#formRows = new RowKeys(hasher, encoder, this.#form.plan.builders, this.#own)
    this.#changeRows = new RowKeys(hasher, encoder, this.#changePlan.builders, this.#own)
  }

  /** Reads a record's key, [start, end) of `bytes`. The reason when it does not name a row: `key.unmappable`. */
  read(bytes: Uint8Array, start: number, end: number): Reason | undefined {
    this.#own.used = 0
    this.#rows = this.#formRows
    const from = this.#isFramed ? frameEnd(bytes, start, end) : start
    const reason = from < 0 ? NO_KEY_FRAME : this.#form.read(bytes, from, end)
    return reason && { code: 'key.unmappable', message: `the record's key: ${reason.message}` }
  }

  /** Reads the key of the row before a change. The reason when it has none. */
  readBefore(bytes: Uint8Array, change: Change): Reason | undefined {
    this.#own.used = 0
    this.#rows = this.#changeRows
    if (change instanceof ChangeEnvelope) return this.#changeKey.readBefore(bytes, SEGMENT, change)
    if (!(change instanceof AvroChange) || change.beforeSchema === undefined) return NO_BEFORE
    return this.#avroKey.readBefore(bytes, SEGMENT, change.beforeSchema, change.before)
  }

  /** The key that was read last, from these bytes: row 0. */
  keys(bytes: Uint8Array): RowKeys {
    this.#rows!.open(bytes)
    return this.#rows!
  }
}

const SEGMENT = OWN_SEGMENT + 1
const NO_KEY_FRAME: Reason = {
  code: 'key.unmappable',
  message: 'it does not begin with a zero and the id of a schema',
}
const NO_BEFORE: Reason = { code: 'key.null', message: 'a delete without a key and without the row before it' }

/** An object with the key columns; of one column also its bare value. */
function jsonForm(columns: readonly Column[], own: OwnText): Form {
  const plan = planOf(columns)
  const json = new JsonReader(plan, own, 'ignore')
  return {
    plan,
    read: (bytes, start, end) =>
      columns.length === 1
        ? json.recordOrValue(bytes, SEGMENT, start, end, 0)
        : json.record(bytes, SEGMENT, start, end, 0),
  }
}

/** The same as a change stream writes it, bare or beside its schema, in Avro, or as a message. */
function changeForm(key: Pick<ChangeKey, 'read'>, plan: Plan): Form {
  return { plan, read: (bytes, start, end) => key.read(bytes, SEGMENT, start, end) }
}

/** The text of one column of string, enum or uuid. */
function textForm(column: Column): Form {
  const plan = planOf([column])
  const builder = plan.builders[0]!
  const { type } = column
  return {
    plan,
    read: (bytes, start, end) => {
      if (type.kind === 'uuid')
        return parseUuid(bytes, start, end, builder.u8, 0) ? undefined : unmappable('expected a UUID')
      if (!isUtf8(bytes.subarray(start, end))) return unmappable('not UTF-8')
      if (type.kind === 'enum' && !type.symbols.includes(Buffer.from(bytes.subarray(start, end)).toString('utf8')))
        return unmappable('none of the symbols')
      builder.setText(0, bytes, SEGMENT, start, end)
      return undefined
    },
  }
}

function unmappable(message: string): Reason {
  return { code: 'key.unmappable', message }
}
