import type { TableDefinition } from '../../define.ts'
import type { RecordBatch } from '../../log.ts'
import { buildersOf, OWN_SEGMENT, OwnText, VECTOR_ROWS, type ColumnBuilder } from './column-builder.ts'
import { deletesColumns } from './columns.ts'
import type { NativeText } from './native-text.ts'
import { setTimestamp } from './raw.ts'
import type { RowKeys } from './row-keys.ts'
import { seal, type Slab, type SlabPool } from './slab.ts'

/** Rows of `<table>__deletes`, one for each delete of a table with a version column, as they come up. */
export class DeleteMarkers {
  readonly #native: NativeText
  readonly #pool: SlabPool
  readonly #own = new OwnText()
  readonly #builders: readonly ColumnBuilder[]
  readonly #keys: readonly ColumnBuilder[]
  #slabs: Slab[] = []
  #row = 0

  constructor(definition: TableDefinition, native: NativeText, pool: SlabPool) {
    this.#native = native
    this.#pool = pool
    this.#builders = buildersOf(deletesColumns(definition))
    this.#keys = this.#builders.slice(0, definition.key.length)
  }

  /** The key is that of row 0 of `keys`. Without a `version` it is filled in later. */
  add(batch: RecordBatch, i: number, keys: RowKeys, version: bigint | undefined): void {
    const to = this.#row++
    const [own, partition, offset, timestamp] = this.#builders.slice(this.#keys.length) as [
      ColumnBuilder,
      ColumnBuilder,
      ColumnBuilder,
      ColumnBuilder,
    ]
    keys.copyTo(0, this.#keys, to, this.#own)
    if (version === undefined) own.setNull(to)
    else if (own.width === 4) own.i32[to] = Number(version)
    else own.i64[to] = version
    partition.i32[to] = batch.partition
    offset.i64[to] = batch.offsets[i]!
    setTimestamp(timestamp, to, batch.timestampsMs[i]!)
    if (this.#row === VECTOR_ROWS) this.#flush()
  }

  /** All markers since `clear`. */
  finish(): readonly Slab[] {
    this.#flush()
    return this.#slabs
  }

  clear(): void {
    this.#slabs = []
    this.#row = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }

  #flush(): void {
    if (this.#row === 0) return
    const bases: number[] = []
    bases[OWN_SEGMENT] = this.#native.put(this.#own.bytes.subarray(0, this.#own.used))
    this.#slabs.push(seal(this.#builders, this.#row, bases, this.#pool))
    this.#row = 0
    this.#own.used = 0
    for (const builder of this.#builders) builder.clear()
  }
}
