import type { TableDefinition } from '../../../src/define.ts'
import type { Schemas } from '../../../src/ingest/decode/avro-schemas.ts'
import { NativeText } from '../../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../../src/ingest/decode/table-decoder.ts'
import { batchOf, type TestRecord } from '../../support/lake-table.ts'

/** What records do to keys: their hashes, or nothing where they are none. */
export function operations(
  def: TableDefinition,
  records: readonly TestRecord[],
  schemas: Schemas = new Map(),
): { readonly hashes: readonly string[]; readonly deadLetters: number } {
  const native = new NativeText()
  try {
    const keys = { uuid: '0f9d2a4e-7d6b-4f64-9a53-0d2c7f5b1e11', baseless: new Set<string>() }
    const decoder = new TableDecoder(def, native, new SlabPool(), { schemas })
    const { operations: done, counts } = decoder.decode([batchOf(records)], new Set(), keys)
    const hashes = Array.from({ length: done!.count }, (_, k) => done!.hashes.slice(4 * k, 4 * k + 4).join(' '))
    return { hashes, deadLetters: counts.get('shop.orders/0')!.deadLetters }
  } finally {
    native.clear()
  }
}
