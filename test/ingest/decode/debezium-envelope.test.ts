import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { OwnText } from '../../../src/ingest/decode/column-builder.ts'
import { ChangeEnvelope } from '../../../src/ingest/decode/debezium-envelope.ts'
import { JsonText, MISFIT } from '../../../src/ingest/decode/json-text.ts'
import { mutated } from './arbitrary.ts'
import { capture } from './debezium-capture.ts'

const own = new OwnText()

interface Seen {
  readonly kind: string
  readonly after?: unknown
  readonly before?: unknown
  readonly lsn?: bigint | undefined
}

function read(value: Uint8Array, envelope = new ChangeEnvelope(own, 'lsn')): Seen {
  // In the middle of a buffer, between bytes that are no part of it.
  const bytes = Buffer.concat([Buffer.from('"}'), value, Buffer.from('{"')])
  const reason = envelope.read(bytes, 1, 2, 2 + value.length)
  if (reason !== undefined) return { kind: reason.code }
  const { kind, after, before, version } = envelope
  const part = ({ start, end }: { start: number; end: number }): unknown =>
    start < 0 ? null : JSON.parse(bytes.subarray(start, end).toString())
  return { kind, after: kind === 'upsert' ? part(after) : null, before: part(before), lsn: version }
}

/** The same by building the whole value, of texts that are JSON. */
function judged(text: string): Seen {
  const outer: unknown = JSON.parse(text)
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isObject(outer)) return { kind: 'decode.debezium' }
  const isWrapped = 'payload' in outer
  const event = isWrapped ? outer['payload'] : outer
  if (isWrapped && event === null) return { kind: 'tombstone', after: null, before: null, lsn: undefined }
  if (!isObject(event)) return { kind: 'decode.debezium' }
  const { op, after, before, source } = event
  const lsn = isObject(source) && Number.isInteger(source['lsn']) ? BigInt(source['lsn'] as number) : undefined
  const rest = { before: isObject(before) ? before : null, lsn }
  if (op === 'c' || op === 'r' || op === 'u')
    return isObject(after) ? { kind: 'upsert', after, ...rest } : { kind: 'decode.debezium' }
  const kind = op === 'd' ? 'delete' : op === 't' ? 'truncate' : op === 'm' ? 'message' : undefined
  return kind === undefined ? { kind: 'decode.debezium' } : { kind, after: null, ...rest }
}

const row = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { noNullPrototype: true }),
  },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 1 }) },
)
const source = fc.oneof(
  fc.record(
    { lsn: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(null, '5', {}, 1.5)), table: fc.string() },
    { requiredKeys: [] },
  ),
  fc.jsonValue({ maxDepth: 1 }),
)
const envelope = fc.record(
  {
    op: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom('c', 'r', 'u', 'd', 't', 'm') },
      { weight: 1, arbitrary: fc.jsonValue() },
    ),
    before: row,
    after: row,
    source,
    transaction: fc.constant(null),
    schema: fc.jsonValue({ maxDepth: 1 }),
    Op: fc.string(),
  },
  { requiredKeys: [] },
)
const value = fc.oneof(
  envelope,
  fc.record(
    {
      schema: fc.jsonValue({ maxDepth: 2 }),
      payload: fc.oneof({ weight: 6, arbitrary: envelope }, { weight: 1, arbitrary: fc.jsonValue() }),
      op: fc.constantFrom('c', 'd'),
    },
    { requiredKeys: ['payload'] },
  ),
  fc.jsonValue({ maxDepth: 2 }),
)

/** The text of a value, its keys in any order and with white space here and there. */
const text = fc.tuple(value, fc.infiniteStream(fc.nat(9))).map(([given, chance]): string => {
  const blank = () => ['', '', '', ' ', '\n\t'][chance.next().value! % 5]!
  const write = (v: unknown): string => {
    if (typeof v !== 'object' || v === null || Array.isArray(v)) return JSON.stringify(v)
    const fields = Object.entries(v).toSorted(() => (chance.next().value! < 5 ? -1 : 1))
    return `{${fields.map(([k, x]) => `${blank()}${JSON.stringify(k)}${blank()}:${blank()}${write(x)}${blank()}`).join(',')}}`
  }
  return `${blank()}${write(given)}${blank()}`
})

test('an envelope is found as one that builds the whole value finds it', () => {
  const reader = new ChangeEnvelope(own, 'lsn')
  fc.assert(
    fc.property(text, (given) => {
      expect(read(Buffer.from(given), reader)).toEqual(judged(given))
    }),
    { numRuns: Number(process.env['RUNS'] ?? 1_000) },
  )
})

const captured = [
  ...capture('postgres/json-plain.ndjson.gz'),
  ...capture('postgres/json-schema.ndjson.gz').slice(0, 40),
  ...capture('mariadb/json-plain.ndjson.gz'),
].flatMap(({ value: bytes }) => (bytes === null || bytes.length > 12_000 ? [] : [bytes]))

/** Whether the grammar alone takes it. */
function isStrict(bytes: Uint8Array): boolean {
  const json = new JsonText(own)
  json.open(bytes, 1, 0, bytes.length)
  try {
    json.skip()
    json.finish()
    return true
  } catch (error) {
    if (error === MISFIT) return false
    throw error
  }
}

test('damaged envelopes are events, or dead letters with a code of their own', () => {
  const reader = new ChangeEnvelope(own, 'lsn')
  fc.assert(
    fc.property(mutated(fc.constantFrom(...captured)), (bytes) => {
      const before = own.used
      const reason = reader.read(bytes, 1, 0, bytes.length)
      expect(own.used).toBe(before)
      if (reason !== undefined) {
        if (reason.code === 'decode.debezium') expect(isStrict(bytes)).toBe(true)
        return
      }
      const { after, kind } = reader
      // The row is its reader's to judge, all else is strict.
      if (kind === 'upsert') {
        const around = Buffer.concat([bytes.subarray(0, after.start), Buffer.from('{}'), bytes.subarray(after.end)])
        expect(isStrict(around)).toBe(true)
      } else expect(isStrict(bytes)).toBe(true)
    }),
    { numRuns: Number(process.env['RUNS'] ?? 1_000) },
  )
})

test('a captured envelope that is cut off anywhere is a dead letter', () => {
  const reader = new ChangeEnvelope(own, 'lsn')
  for (const whole of [captured[0]!, captured[8]!, captured.at(-1)!]) {
    const bytes = Buffer.from(whole)
    for (let end = 0; end < bytes.length; end++)
      expect(['decode.json', 'decode.utf8'], `${end}`).toContain(reader.read(bytes, 1, 0, end)?.code)
    expect(reader.read(bytes, 1, 0, bytes.length)).toBeUndefined()
  }
})

test.each([
  ['{"op":"c","after":{},"op":"d"}', 'decode.duplicate_key'],
  ['{"op":"c","after":{},"x":1,"x":1}', 'decode.duplicate_key'],
  ['{"op":"c","after":{},"\\u006fp":"c"}', 'decode.duplicate_key'],
  ['{"\\u006fp":"c","after":{}}', 'upsert'],
  ['{"op":"d","after":{"a":1,"a":2}}', 'decode.duplicate_key'],
  ['{"op":"d","before":{"a":1,"b":0,"a":2}}', 'decode.duplicate_key'],
  ['{"op":"u","after":{},"before":{"a":1,"\\u0061":2}}', 'decode.duplicate_key'],
  ['{"op":"u","after":{},"source":{"lsn":1,"x":{},"lsn":1}}', 'decode.duplicate_key'],
  [
    `{"op":"u","after":{},"before":{${Array.from({ length: 70 }, (_, k) => `"k${k % 69}":0`).join(',')}}}`,
    'decode.duplicate_key',
  ],
  [`{"op":"u","after":{},"before":{${Array.from({ length: 70 }, (_, k) => `"k${k}":0`).join(',')}}}`, 'upsert'],
  ['{"op":"c","after":{"a":1}}}', 'decode.json'],
  ['{"op":"c","after":{"a":1}', 'decode.json'],
  ['{"op":"c","after":{"a":"}}', 'decode.json'],
  ['{"op":"cc","after":{}}', 'decode.debezium'],
  ['{"op":"C","after":{}}', 'decode.debezium'],
  ['{"op":"u","after":null}', 'decode.debezium'],
  ['{"id":1}', 'decode.debezium'],
  ['{"schema":null,"payload":null}', 'tombstone'],
  ['{"op":"c","after":{},"payload":null}', 'tombstone'],
  ['[]', 'decode.debezium'],
  ['', 'decode.json'],
  [`{"op":"d","before":${'['.repeat(100)}${']'.repeat(100)}}`, 'decode.depth'],
])('%s is %s', (given, kind) => {
  expect(read(Buffer.from(given)).kind).toBe(kind)
})

test('bytes that are no UTF-8', () => {
  expect(read(Buffer.from('{"op":"d","before":{"a":"\xe9"}}', 'latin1')).kind).toBe('decode.utf8')
})

test('versions are exact, and only integers of 64 bits', () => {
  const lsn = (text: string) => read(Buffer.from(`{"op":"d","source":{"lsn":${text}}}`)).lsn
  expect(lsn('9007199254740993')).toBe(9007199254740993n)
  expect(lsn('-9223372036854775808')).toBe(-9223372036854775808n)
  expect(lsn('9223372036854775808')).toBeUndefined()
  expect(lsn('1e3')).toBeUndefined()
  expect(lsn('null')).toBeUndefined()
})

test('a schema is known again, and a new one is another', () => {
  const reader = new ChangeEnvelope(own)
  const wrapped = (schema: string) => read(Buffer.from(`{"schema":${schema},"payload":{"op":"d"}}`), reader).kind
  expect(wrapped('{"a":1}')).toBe('delete')
  const first = reader.schema
  expect(reader.schemaText).toBe('{"a":1}')
  wrapped('{"a":1}')
  expect(reader.schema).toBe(first)
  // The known schema is only the beginning of what stands there.
  expect(wrapped('{"a":1}}')).toBe('decode.json')
  wrapped('{"a":2}')
  expect(reader.schema).not.toBe(first)
  expect(reader.schemaText).toBe('{"a":2}')
  read(Buffer.from('{"op":"d"}'), reader)
  expect(reader.schema).toBe(0)
})
