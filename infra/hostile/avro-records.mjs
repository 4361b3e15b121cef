// Records in Avro behind the ids of a registry, written as a producer's serializer writes them.
import avsc from 'avsc'
import { STATUSES } from './definitions.mjs'
import { decimal, pick } from './json-records.mjs'

const fields = [
  { name: 'id', type: 'string' },
  { name: 'n', type: 'long' },
  { name: 'status', type: { type: 'enum', name: 'Status', symbols: STATUSES } },
  { name: 'amount', type: { type: 'bytes', logicalType: 'decimal', precision: 12, scale: 2 } },
]
const note = { name: 'note', type: ['null', 'string'], default: null }
/** What producers come to write one after the other: the same, and one with a field more, in another order. */
export const SCHEMAS = [
  { type: 'record', name: 'Order', fields },
  { type: 'record', name: 'Order', fields: [note, ...fields.toReversed()] },
]
const TYPES = SCHEMAS.map((schema) => avsc.Type.forSchema(schema))
/** Below it no registry has an id. */
const UNKNOWN_FROM = 900_000

/** A zero, the id in four bytes, and the datum. */
function framed(id, datum) {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, datum])
}

/** Two's complement, big endian. */
function unscaled(cents) {
  const bytes = Buffer.alloc(6)
  bytes.writeIntBE(cents, 0, 6)
  return bytes
}

/** A row of `orders`, by the newest schema that producers have: `ids` are those of the first so many. */
export function order(random, k, ids) {
  const [status, cents] = [pick(random, STATUSES), Math.floor(random() * 1e7)]
  const last = ids.length - 1
  const schema = random() < 0.5 ? last : 0
  const value = { id: `o${k}`, n: k, status, amount: unscaled(cents), note: `n${k % 11}` }
  const extra = schema === 0 ? null : JSON.stringify({ note: value.note })
  return {
    value: framed(ids[schema], TYPES[schema].toBuffer(value)),
    row: [`o${k}`, String(k), status, decimal(cents), extra],
  }
}

/** Parts of a datum of the first schema. */
const text = (length, bytes) => Buffer.concat([avsc.Type.forSchema('long').toBuffer(length), Buffer.from(bytes)])
const datum = (id, n, status, amount) => Buffer.concat([id, Buffer.from(n), Buffer.from(status), amount])
const ID = text(1, 'p')
const AMOUNT = text(1, [7])

const POISON = [
  (good) => [good.subarray(0, -1), 'decode.avro'],
  (good) => [Buffer.concat([good, Buffer.from([0])]), 'decode.avro'],
  (good) => [good.subarray(0, 5), 'decode.avro'],
  () => [Buffer.from('{"id":"no frame"}'), 'decode.avro'],
  () => [Buffer.alloc(0), 'decode.avro'],
  () => [Buffer.from([0, 0, 0]), 'decode.avro'],
  (_, id) => [framed(id, datum(text(1_000_000_000, 'p'), [2], [0], AMOUNT)), 'decode.avro'],
  (_, id) => [framed(id, datum(text(-3, 'p'), [2], [0], AMOUNT)), 'decode.avro'],
  (_, id) => [framed(id, datum(ID, Array(11).fill(0xff), [0], AMOUNT)), 'decode.avro'],
  (_, id) => [framed(id, datum(ID, [2], [100], AMOUNT)), 'decode.avro'],
  (_, id) => [framed(id, datum(text(2, [0xc0, 0x80]), [2], [0], AMOUNT)), 'decode.utf8'],
  (_, id) => [framed(id, datum(ID, [2], [0], text(9, Array(9).fill(0x7f)))), 'decode.range'],
  (good) => [framed(UNKNOWN_FROM, good.subarray(5)), 'schema.unknown'],
  (good) => [framed(UNKNOWN_FROM + 1, good.subarray(5)), 'schema.unknown'],
]

export function badOrder(random, k, i, ids) {
  // Of the first schema, which is known from the start.
  const good = order(random, k, ids.slice(0, 1)).value
  const [value, code] = POISON[i % POISON.length](good, ids[0])
  return { value, codes: [code] }
}
