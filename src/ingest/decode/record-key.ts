import { isUtf8 } from 'node:buffer'
import type { Column } from '../../batch.ts'
import type { TableDefinition } from '../../define.ts'
import type { KeyEncoder, KeyHasher } from '../key-hash.ts'
import type { Reason } from './codes.ts'
import { OWN_SEGMENT, OwnText } from './column-builder.ts'
import { JsonReader } from './json-reader.ts'
import { planOf, type Plan } from './plan.ts'
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
  readonly #forms: readonly Form[]
  #form: Form | undefined
  #rows: readonly RowKeys[] = []

  constructor(definition: TableDefinition) {
    const columns = definition.key.map((name) => definition.columns.find((column) => column.name === name)!)
    const json = jsonForm(columns, this.#own)
    this.#forms =
      definition.recordKey === 'string'
        ? [textForm(columns[0]!)]
        : definition.recordKey === 'debezium'
          ? [json, wrappedForm(columns, this.#own)]
          : [json]
  }

  useHasher(hasher: KeyHasher, encoder: KeyEncoder): void {
    this.#rows = this.#forms.map(({ plan }) => new RowKeys(hasher, encoder, keyBuilders(plan), this.#own))
  }

  /** Reads a record's key, [start, end) of `bytes`. The reason when it does not name a row: `key.unmappable`. */
  read(bytes: Uint8Array, start: number, end: number): Reason | undefined {
    let first: Reason | undefined
    for (const form of this.#forms) {
      this.#own.used = 0
      const reason = form.read(bytes, start, end)
      this.#form = form
      if (reason === undefined) return undefined
      first ??= reason
    }
    return { code: 'key.unmappable', message: `the record's key: ${first!.message}` }
  }

  /** Hash of the key that was read last, from these bytes. */
  hash(bytes: Uint8Array, out: Uint32Array, at: number): void {
    const rows = this.#rows[this.#forms.indexOf(this.#form!)]!
    rows.open(bytes)
    rows.hash(0, out, at)
  }
}

const SEGMENT = OWN_SEGMENT + 1

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

/** The same inside of `payload`, beside its schema. */
function wrappedForm(columns: readonly Column[], own: OwnText): Form {
  const plan = planOf([{ name: 'payload', type: { kind: 'struct', fields: columns }, required: true }])
  const json = new JsonReader(plan, own, 'ignore')
  return { plan, read: (bytes, start, end) => json.record(bytes, SEGMENT, start, end, 0) }
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

function keyBuilders(plan: Plan): Plan['builders'] {
  const [first] = plan.builders
  return first?.layout === 'struct' ? first.children : plan.builders
}
