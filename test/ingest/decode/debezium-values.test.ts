import { afterAll, beforeAll, expect, test } from 'vitest'
import { ParquetReader } from '../../support/parquet.ts'
import { changeTable, decoded } from './debezium-capture.ts'
import type { Plain } from './reference.ts'

let reader: ParquetReader
beforeAll(async () => {
  reader = await ParquetReader.open()
})
afterAll(() => reader.close())

/** What becomes of a value in a column: itself as plain text, or the code of a dead letter. */
async function outcome(type: string, json: string, schema?: object): Promise<Plain> {
  const event = `{"before":null,"after":{"v":${json}},"source":{},"op":"c"}`
  const row = { type: 'struct', fields: [{ ...schema, field: 'v' }], field: 'after' }
  const value =
    schema === undefined ? event : `{"schema":${JSON.stringify({ type: 'struct', fields: [row] })},"payload":${event}}`
  const { rows, dead } = await decoded(changeTable('t', { v: type }), [{ key: null, value }], reader)
  return dead.get('0') ?? rows.get('0')!['v']!
}

const named = (type: string, name: string, parameters?: object) => ({ type, name, version: 1, parameters })
const decimal = (scale: number) => named('bytes', 'org.apache.kafka.connect.data.Decimal', { scale: String(scale) })
const micro = named('int64', 'io.debezium.time.MicroTimestamp')
const milli = named('int64', 'io.debezium.time.Timestamp')
const nano = named('int64', 'io.debezium.time.NanoTimestamp')
const date = named('int32', 'io.debezium.time.Date')
const text = { type: 'string' }

type Case = readonly [type: string, json: string, expected: Plain, schema: object | undefined]

const given: readonly (readonly [string, string, Plain, object?])[] = [
  // Decimals: the scale of the schema, else that of the column.
  ['decimal(12,2)', '"/w=="', '-1'],
  ['decimal(12,2)', '"BNI="', '1234'],
  ['decimal(12,2)', '"BNI="', '12340', decimal(1)],
  ['decimal(12,2)', '"BNI="', 'decode.range', decimal(3)],
  ['decimal(12,2)', '"BNI="', '123400', decimal(0)],
  ['decimal(12,2)', '"BNI="', 'decode.range', decimal(-9)],
  ['decimal(4,2)', '"J0Q="', 'decode.range', decimal(0)],
  ['decimal(4,0)', '"Jw8="', '9999'],
  ['decimal(4,0)', '"JxA="', 'decode.range'],
  ['decimal(38,0)', '"f////////////////////w=="', 'decode.range'],
  ['decimal(38,0)', '"SztMqFqGxHoJiiI//////w=="', '99999999999999999999999999999999999999'],
  ['decimal(38,0)', '"SztMqFqGxHoJiiJAAAAAAA=="', 'decode.range'],
  ['decimal(20,0)', '"AP//////////"', '18446744073709551615'],
  ['decimal(12,2)', '12.34', '1234'],
  ['decimal(12,2)', '12.345', 'decode.range'],
  ['decimal(12,2)', '"12.34"', '1234'],
  ['decimal(12,2)', '"-0.01"', '-1'],
  ['decimal(12,2)', '"123"', '12300'],
  ['decimal(12,2)', '"1234"', 'decode.type'],
  ['decimal(12,2)', '"1E+3"', 'decode.type'],
  ['decimal(12,2)', '"1234"', '123400', text],
  ['decimal(12,2)', '"1234"', '-2658824', decimal(2)],
  ['decimal(12,2)', '""', 'decode.type'],
  ['decimal(12,2)', '"NaN"', 'decode.type'],
  ['decimal(12,2)', '{"scale":1,"value":"BNI="}', '12340'],
  ['decimal(12,2)', '{"value":"BNI=","scale":0}', '123400'],
  ['decimal(12,2)', '{"scale":-2,"value":"Ag=="}', '20000'],
  ['decimal(12,2)', '{"scale":3,"value":"BNI="}', 'decode.range'],
  ['decimal(12,2)', '{"scale":20000,"value":"AA=="}', '0'],
  ['decimal(12,2)', '{"scale":-20000,"value":"AQ=="}', 'decode.range'],
  ['decimal(12,2)', '{"scale":1e9,"value":"AQ=="}', 'decode.type'],
  ['decimal(12,2)', '{"scale":1}', 'decode.type'],
  ['decimal(12,2)', '{}', 'decode.json'],
  ['decimal(12,2)', '{"scale":1,"scale":1,"value":"AQ=="}', 'decode.duplicate_key'],
  ['string', '{"scale":3,"value":"BNI="}', '1.234'],
  ['string', '{"scale":0,"value":"/w=="}', '-1'],
  ['string', '{"scale":5,"value":"/w=="}', '-0.00001'],
  ['string', '{"scale":-2,"value":"BQ=="}', '500'],
  ['string', '"BNI="', '12.34', decimal(2)],
  ['string', '"BNI="', 'BNI='],
  // Unsigned 64-bit integers.
  ['long', '"AP//////////"', 'decode.range'],
  ['long', '"f/////////8="', '9223372036854775807'],
  ['long', '"gAAAAAAAAAA="', '-9223372036854775808'],
  ['long', '-9223372036854775808', '-9223372036854775808'],
  ['int', '"AIAAAAA="', 'decode.range'],
  ['int', '"f////w=="', '2147483647'],
  ['int', '"AQ=="', 'decode.type', text],
  // Days and instants.
  ['date', '20512', '20512'],
  ['date', '-719528', '-719528'],
  ['date', '-622191234', 'decode.range'],
  ['date', '1.5', 'decode.type'],
  ['date', '"2026-02-28"', '20512'],
  ['date', '"2026-02-28Z"', '20512'],
  ['date', '"2026-02-29"', 'decode.type'],
  ['date', '5', 'decode.type', micro],
  ['timestamp(us)', '-1', '-1'],
  ['timestamp(ms)', '-1', '-1000'],
  ['timestamp', '-1', 'decode.type'],
  ['timestamp', '-1', '-1', micro],
  ['timestamp', '-1', '-1000', milli],
  ['timestamp', '-1', '-1', nano],
  ['timestamp', '1999', '1', nano],
  ['timestamp(ms)', '1999', '1999', micro],
  ['timestamptz(us)', '1767225600123', '1767225600123000', milli],
  ['timestamp(ms)', '5', 'decode.type', date],
  ['timestamp(us)', '9223372036854775807', 'decode.range'],
  ['timestamp', '-9223372036832400000', 'decode.range', milli],
  ['timestamptz', '"2026-10-24T23:30:00.000001Z"', '1792884600000001'],
  ['timestamptz', '"0000-01-01T00:00:00.000000Z"', '-62167219200000000'],
  // What is not a number in JSON, and truth as a number.
  ['double', '"NaN"', 'NaN'],
  ['double', '"-Infinity"', '-Infinity'],
  ['float', '"Infinity"', 'Infinity'],
  ['double', '"1.5"', 'decode.type'],
  ['double', '0.1', '0.1'],
  ['boolean', '0', 'false'],
  ['boolean', '1', 'true'],
  ['boolean', '2', 'decode.type'],
  ['boolean', '10', 'decode.type'],
  ['boolean', 'true', 'true'],
  // Nested values, as JSON or as its text.
  [
    'map<string,string>',
    '{"k":"v","n":null}',
    [
      ['k', 'v'],
      ['n', null],
    ] as unknown as Plain,
  ],
  [
    'map<string,string>',
    '"{\\"k\\":\\"v\\",\\"n\\":null}"',
    [
      ['k', 'v'],
      ['n', null],
    ] as unknown as Plain,
  ],
  ['map<string,string>', '"{\\"k\\":\\"a\\\\n\\\\u00e9\\"}"', [['k', 'a\né']] as unknown as Plain],
  ['list<int>', '"[1, 2]"', ['1', '2']],
  ['struct<a:int>', '"{\\"a\\":1}"', ['1']],
  ['struct<a:int>', '"null"', null],
  ['struct<a:int>', '"{\\"a\\":"', 'decode.type'],
  ['struct<a:int>', '"{} x"', 'decode.type'],
  ['struct<a:int>', '"\\"{}\\""', 'decode.type'],
  ['list<decimal(8,2)>', '["bg==","ANw=",null]', ['110', '220', null]],
  ['list<decimal(8,2)>', '["bg=="]', ['1100'], { type: 'array', items: decimal(1) }],
  ['binary', '"3q2+7w=="', 'deadbeef'],
  ['uuid', '"3f333df6-90a4-4fda-8dd3-9485d27cee36"', '3f333df6-90a4-4fda-8dd3-9485d27cee36'],
]

const cases = given.map(([type, json, expected, schema]): Case => [type, json, expected, schema])

test.each(cases)('%s from %s is %j', async (type, json, expected, schema) => {
  expect(await outcome(type, json, schema)).toEqual(expected)
})
