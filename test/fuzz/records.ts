import type { Column } from '../../src/batch.ts'
import { avro, protobuf, table, type TableDefinition } from '../../src/define.ts'
import { NativeText } from '../../src/ingest/decode/native-text.ts'
import { SlabPool } from '../../src/ingest/decode/slab.ts'
import { TableDecoder } from '../../src/ingest/decode/table-decoder.ts'
import { batchOf, definition, type TestRecord } from '../support/lake-table.ts'
import type { Target } from './fuzz.ts'

// What lanes read: values and keys of records. Each is a row, a dead letter, a tombstone or a counted skip.

const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'long' } },
  { name: 's', type: { kind: 'string' } },
  { name: 'd', type: { kind: 'double' } },
  { name: 'm', type: { kind: 'decimal', precision: 20, scale: 3 } },
  { name: 'b', type: { kind: 'binary' } },
  { name: 't', type: { kind: 'timestamptz', unit: 'ms' } },
  { name: 'e', type: { kind: 'enum', symbols: ['new', 'paid'] } },
  { name: 'l', type: { kind: 'list', element: { kind: 'struct', fields: [{ name: 'x', type: { kind: 'int' } }] } } },
  { name: 'o', type: { kind: 'map', value: { kind: 'double' } } },
]
const JSON_SEEDS = [
  '{"id":1,"s":"text of more than twelve bytes","d":1.5,"m":"12.345","b":"AAE=","t":1700000000000,"e":"new","l":[{"x":1},{"x":null}],"o":{"k":1e3}}',
  '{"id":-9223372036854775808,"s":"\\u00e9\\ud83d\\ude00","unknown":{"a":[1,2,{"b":null}]},"d":0.1}',
  '{ "s" : "é", "l" : [ ], "o" : { } , "t":"2026-01-01T00:00:00.123Z" }',
  '{}',
]
const JSON_WORDS = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\\u0041',
  '\\ud800',
  '\\udc00',
  'null',
  'true',
  'false',
  '-',
  '0',
  '1e400',
  '99999999999999999999',
  '"id":',
  '"s":',
  '"l":[',
  '"o":{',
  '\u0000',
  '\ufeff',
  '"__proto__":',
  '"id":1,"id":2',
  '{"a":'.repeat(60),
  '[['.repeat(60),
]

export function recordTargets(): readonly Target[] {
  return [
    decoding('json', definition({ columns: COLUMNS, unknown: 'extra' }), JSON_SEEDS, JSON_WORDS),
    decoding('json-framed', definition({ columns: COLUMNS, framing: 'confluent' }), framed(JSON_SEEDS), JSON_WORDS),
    decoding('debezium', changes(), DEBEZIUM_SEEDS, [
      ...JSON_WORDS,
      '"op":"u"',
      '"op":"d"',
      '"after":',
      '"before":',
      '"payload":',
      '"schema":',
      '__debezium_unavailable_value',
    ]),
    decoding('keys', keyed(), KEY_SEEDS, JSON_WORDS, (input) => ({ key: input, value: null })),
    decoding('avro', avroTable(), AVRO_SEEDS, ['\u0000', '\u0001', '\u0002']),
    decoding('protobuf', protobufTable(), PROTOBUF_SEEDS, [
      Uint8Array.of(8),
      Uint8Array.of(0x12),
      Uint8Array.of(0x1a, 2),
      Uint8Array.of(0x0b),
      Uint8Array.of(0x0c),
    ]),
  ]
}

/** Reads each input as a record of the table. */
function decoding(
  name: string,
  def: TableDefinition,
  seeds: readonly (string | Uint8Array)[],
  words: readonly (string | Uint8Array)[],
  recordOf: (input: Uint8Array) => TestRecord = (value) => ({ value }),
): Target {
  const native = new NativeText()
  const decoder = new TableDecoder(def, native, new SlabPool())
  return {
    name,
    seeds: seeds.map((seed) => Buffer.from(seed as string)),
    words: words.map((word) => Buffer.from(word as string)),
    batch: 512,
    read: (inputs) => {
      try {
        const { counts } = decoder.decode([batchOf(inputs.map(recordOf))], new Set(), {
          uuid: '0f9d2a4e-7d6b-4f64-9a53-0d2c7f5b1e11',
          baseless: new Set(),
        })
        const { rows, deadLetters, tombstones, skipped } = counts.get('shop.orders/0')!
        if (rows + deadLetters + tombstones + skipped !== inputs.length)
          throw new Error(`${inputs.length} records came to ${rows} rows and ${deadLetters} dead letters`)
      } finally {
        native.clear()
      }
    },
  }
}

function framed(seeds: readonly string[]): readonly Uint8Array[] {
  return seeds.map((seed) => Buffer.concat([Uint8Array.of(0, 0, 0, 0, 7), Buffer.from(seed)]))
}

function changes(): TableDefinition {
  return definition({
    value: 'debezium',
    columns: COLUMNS.map((column) => (column.name === 'id' ? { ...column, required: true } : column)),
    key: ['id'],
    recordKey: 'debezium',
    onTruncate: 'apply',
    unknown: 'extra',
  })
}

const DEBEZIUM_SEEDS = [
  '{"before":null,"after":{"id":1,"s":"a","d":1.5,"m":"12.3"},"source":{"lsn":7},"op":"c","ts_ms":1}',
  '{"before":{"id":1},"after":null,"source":{},"op":"d"}',
  '{"schema":{"type":"struct","fields":[{"field":"after","type":"struct","fields":[{"field":"id","type":"int64"},{"field":"m","type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}}]}]},"payload":{"op":"u","after":{"id":2,"m":"AQ==","s":"__debezium_unavailable_value"}}}',
  '{"op":"t"}',
  '{"op":"m","message":{"prefix":"p","content":"AAE="}}',
]

function keyed(): TableDefinition {
  const columns: Column[] = [
    { name: 'id', type: { kind: 'long' }, required: true },
    { name: 's', type: { kind: 'string' }, required: true },
  ]
  return definition({ columns, key: ['id', 's'], recordKey: 'json' })
}

const KEY_SEEDS = ['{"id":1,"s":"a"}', '{"s":"a text of more than twelve","id":-5}', '{"id":1}', '7', '"text"', '{}']

function avroTable(): TableDefinition {
  const schema = {
    type: 'record',
    name: 'r',
    fields: [
      { name: 'id', type: 'long' },
      { name: 's', type: ['null', 'string'] },
      { name: 'd', type: 'double' },
      { name: 'm', type: { type: 'bytes', logicalType: 'decimal', precision: 20, scale: 3 } },
      {
        name: 'l',
        type: { type: 'array', items: { type: 'record', name: 'i', fields: [{ name: 'x', type: 'int' }] } },
      },
      { name: 'o', type: { type: 'map', values: 'double' } },
      { name: 'u', type: ['null', 'int', 'string'] },
    ],
  }
  return table('orders', { from: { topic: 'shop.orders', value: avro({ schema }) } })
}

const AVRO_SEEDS = [
  // id 1, s "abc", d 1.5, m 0x0102, l [{1},{2}], o {k: 0.5}, u null
  Buffer.from(
    '02' + '0206616263' + '000000000000f83f' + '040102' + '04020400' + '02026b000000000000e03f00' + '00',
    'hex',
  ),
  Buffer.from('01' + '00' + '0000000000000000' + '00' + '00' + '00' + '0202', 'hex'),
]

const PROTO = `syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message Order {
  int64 id = 1; string s = 2; double d = 3; uint64 m = 4; bytes b = 5; google.protobuf.Timestamp t = 6; State e = 7;
  repeated Item l = 8; map<string, double> o = 9; repeated sint32 packed = 10;
  oneof either { string left = 11; Item right = 12; }
  google.protobuf.Int64Value wrapped = 13;
  message Item { int32 x = 1; Item inner = 2; }
  enum State { NEW = 0; PAID = 1; }
}`

function protobufTable(): TableDefinition {
  return table('orders', { from: { topic: 'shop.orders', value: protobuf({ schema: PROTO }) } })
}

const PROTOBUF_SEEDS = [
  Buffer.from(
    '0801' + '1203616263' + '19000000000000f83f' + '2005' + '2a020001' + '320608808fe4bb0610' + '07' + '3801',
    'hex',
  ),
  Buffer.from('42020801' + '420408021200' + '4a0c0a016b11000000000000e03f' + '520301027f' + '5803', 'hex'),
  Buffer.from('5a0161' + '6204080a1200' + '6a020805' + 'fa0101ff', 'hex'),
]
