import { avroText, parseAvro } from '../../../src/avro-schema.ts'
import type { Column } from '../../../src/batch.ts'
import type { TableDefinition } from '../../../src/define.ts'
import type { Schemas } from '../../../src/ingest/decode/avro-schemas.ts'
import { deadLetterColumns, tableColumns } from '../../../src/ingest/decode/columns.ts'
import type { MutableCounts } from '../../../src/ingest/decode/decoded.ts'
import { NativeText } from '../../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../../src/ingest/decode/table-decoder.ts'
import { batchOf, definition, type TestRecord } from '../../support/lake-table.ts'
import { slabRows } from '../../support/slab-rows.ts'
import type { Json } from './avro-arbitrary.ts'
import type { Plain } from './reference.ts'

export interface Verdicts {
  /** By offset: the row, or the code of the dead letter. */
  readonly of: ReadonlyMap<number, readonly Plain[] | string>
  readonly messages: ReadonlyMap<number, string>
  readonly counts: MutableCounts | undefined
}

/** What a table makes of values of one schema, which stands in its definition. */
export function decode(
  schema: Json,
  columns: readonly Column[],
  values: readonly Uint8Array[],
  parts: Partial<TableDefinition> = {},
): Verdicts {
  return decodeTable(
    definition({
      value: 'avro',
      avro: { schema: avroText(parseAvro(schema)), onIncompatible: 'stop' },
      columns,
      ...parts,
    }),
    values.map((value) => ({ value })),
  )
}

/** What a table makes of records; `schemas` are those of its registry. */
export function decodeTable(
  table: TableDefinition,
  records: readonly TestRecord[],
  schemas: Schemas = new Map(),
): Verdicts {
  const native = new NativeText()
  const all = tableColumns(table)
  const decoder = new TableDecoder(table, native, new SlabPool(), { schemas })
  try {
    const keys = { uuid: '00000000-0000-0000-0000-000000000001', baseless: new Set<string>() }
    const decoded = decoder.decode([batchOf(records)], new Set(), keys)
    const of = new Map<number, readonly Plain[] | string>()
    const messages = new Map<number, string>()
    for (const row of slabRows(decoded.rows, all)) of.set(Number(row.at(-2)), row.slice(0, -3))
    for (const row of slabRows(decoded.deadLetters, deadLetterColumns)) {
      of.set(Number(row[2]), row[8] as string)
      messages.set(Number(row[2]), row[9] as string)
    }
    return { of, messages, counts: decoded.counts.get('shop.orders/0') }
  } finally {
    native.clear()
  }
}
