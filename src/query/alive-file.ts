import type { DeletedRows } from '../lake/table.ts'
import { binary, i32, i64, list, struct, thriftBytes } from './binary/thrift.ts'

// Which rows of a data file are there, as a Parquet file of one boolean column without nulls: a page of plain booleans is
// a bit a row, so the bitmap of deleted rows is copied, turned over.

const MAGIC: Uint8Array = Buffer.from('PAR1')
/** What the column is called. */
export const ALIVE = 'alive'
const PLAIN = 0
const RLE = 3
const BOOLEAN = 0
const REQUIRED = 0
const UNCOMPRESSED = 0

/** The bytes of the file. */
export function aliveFile(deleted: DeletedRows): Uint8Array {
  const { rows, words } = deleted
  const { header, footer } = aroundOf(rows)
  const bits = new Uint8Array(bitBytes(rows))
  const turned = words.map((word) => ~word)
  bits.set(new Uint8Array(turned.buffer, 0, bits.length))
  return Buffer.concat([MAGIC, header, bits, footer])
}

/** How many they are, for a data file of so many rows. */
export function aliveFileBytes(rows: number): number {
  const { header, footer } = aroundOf(rows)
  return MAGIC.length + header.length + bitBytes(rows) + footer.length
}

function bitBytes(rows: number): number {
  return Math.ceil(rows / 8)
}

/** What stands before the bits and behind them. */
function aroundOf(rows: number): { readonly header: Uint8Array; readonly footer: Uint8Array } {
  const bytes = bitBytes(rows)
  const page = struct({ 1: i32(rows), 2: i32(PLAIN), 3: i32(RLE), 4: i32(RLE) })
  const header = thriftBytes(struct({ 1: i32(0), 2: i32(bytes), 3: i32(bytes), 5: page }))
  const size = header.length + bytes
  const column = struct({
    1: i32(BOOLEAN),
    2: list([i32(PLAIN)], 5),
    3: list([binary(ALIVE)], 8),
    4: i32(UNCOMPRESSED),
    5: i64(rows),
    6: i64(size),
    7: i64(size),
    9: i64(MAGIC.length),
  })
  const chunk = struct({ 2: i64(MAGIC.length), 3: column })
  const schema = [
    struct({ 4: binary('schema'), 5: i32(1) }),
    struct({ 1: i32(BOOLEAN), 3: i32(REQUIRED), 4: binary(ALIVE) }),
  ]
  const group = struct({ 1: list([chunk]), 2: i64(size), 3: i64(rows) })
  const metadata = thriftBytes(struct({ 1: i32(2), 2: list(schema), 3: i64(rows), 4: list([group]) }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(metadata.length)
  return { header, footer: Buffer.concat([metadata, length, MAGIC]) }
}
