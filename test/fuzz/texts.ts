import { z } from 'zod'
import { settingsOf, type SettingsInput } from '../../src/config.ts'
import { parseYaml } from '../../src/config-file.ts'
import { checkPipelines } from '../../src/define-check.ts'
import { expressionProblem } from '../../src/define-sql-tokens.ts'
import { readWindowSql } from '../../src/define-sql.ts'
import { parseColumn } from '../../src/define-type.ts'
import { parseAvro } from '../../src/avro-schema.ts'
import { readProtobuf } from '../../src/protobuf-text.ts'
import { decodeRecordSet, scanRecordSet } from '../../src/ingest/record-set.ts'
import { parseAsOf } from '../../src/query/as-of.ts'
import { decodeCursor, encodeCursor } from '../../src/server/page.ts'
import { records } from '../support/log.ts'
import { encodeBatch, sealBatch } from '../support/record-batch.ts'
import type { Target } from './fuzz.ts'
import { agreed } from './store-files.ts'

// What people write, what clients send, and what a broker answers.

export function textTargets(): readonly Target[] {
  return [
    text('columns', TYPES, WORDS, (input) => void parseColumn('c', input)),
    text('expression', EXPRESSIONS, WORDS, (input) => void expressionProblem(input)),
    text('window-sql', WINDOWS, WORDS, (input) => void readWindowSql(input)),
    text('avro-schema', SCHEMAS, ['"record"', '"fields"', '"null"', '"name":"r"'], (input) => void parseAvro(input)),
    text('protobuf-schema', PROTOS, PROTO_WORDS, (input) => void readProtobuf(input, undefined)),
    text('definition', DEFINITIONS, YAML_WORDS, (input) => void checkPipelines(yamlOf(input), [])),
    text('settings', SETTINGS, YAML_WORDS, (input) => {
      const content = yamlOf(input)
      // A file that is no object is refused before anybody asks for settings.
      if (typeof content === 'object' && content !== null && !Array.isArray(content))
        settingsOf(content as SettingsInput)
    }),
    text(
      'as-of',
      ['12', 'shop@12,web@7', '2026-11-21T10:00:00Z', 'shop.orders/0@1234'],
      ['@', '/', '9'.repeat(30)],
      (input) => void parseAsOf(input),
    ),
    text('cursor', [encodeCursor({ after: 'x' })], ['e30', 'bnVsbA'], (input) => void decodeCursor(input, CURSOR)),
    recordSets(),
  ]
}

const CURSOR = z.object({ after: z.string() })

/** What it refuses is refused with the code of whoever wrote it. */
function text(name: string, seeds: readonly string[], words: readonly string[], read: (input: string) => void): Target {
  return {
    name,
    seeds: seeds.map((seed) => Buffer.from(seed)),
    words: words.map((word) => Buffer.from(word)),
    read: (inputs) => {
      for (const input of inputs)
        try {
          read(Buffer.from(input).toString('utf8'))
        } catch (error) {
          agreed(error, ['config.invalid', 'config.unknown_key', 'config.unsupported', 'request.invalid'])
        }
    },
  }
}

/** YAML as the files of definitions and settings are read. */
function yamlOf(input: string): unknown {
  return parseYaml('fuzz.yaml', input).content
}

/** A broker's answer whose checksum is right all the same: a checksum is no proof against whoever writes batches. */
function recordSets(): Target {
  const place = { topic: 't', partition: 0, topicId: 'id', position: 0n, leaderEpoch: -1, end: 1_000n, aborted: [] }
  const codecs = ['none', 'gzip', 'snappy', 'lz4'] as const
  return {
    name: 'record-set',
    seeds: codecs.map((compression) => encodeBatch(records('r', 5), { compression })),
    words: [],
    read: (inputs) => {
      for (const input of inputs) {
        const bytes = Buffer.from(input)
        if (bytes.length > 61) sealBatch(bytes)
        try {
          scanRecordSet(bytes, 0n, -1)
          for (const batch of decodeRecordSet({ ...place, bytes }))
            for (let i = 0; i < batch.count; i++) batch.headers(i)
        } catch (error) {
          agreed(error, ['kafka.corrupt'])
        }
      }
    },
  }
}

const WORDS = [
  '(',
  ')',
  '<',
  '>',
  ',',
  "'",
  '"',
  '--',
  '/*',
  '*/',
  ';',
  '$1',
  'SELECT',
  'required',
  'as',
  '\u0000',
  '(('.repeat(200),
]
const TYPES = [
  'decimal(12,2) required',
  'list<struct<a:int,b:string required>>',
  'map<enum(a,b)>',
  "string as 'lower(x)'",
  'timestamptz(ms)',
]
const EXPRESSIONS = [
  "status <> 'test' AND amount > 1.5",
  "coalesce(a, 'x') LIKE '%''%'",
  'CASE WHEN a THEN b END',
  '"a b" || $$x$$',
]
const WINDOWS = [
  "SELECT status, window_start, count(*) AS n, sum(amount) AS total FROM TUMBLE(orders, updatedAt, INTERVAL '1 minute') GROUP BY status, window_start",
  "SELECT window_end, max(x) FROM HOP(TABLE orders, DESCRIPTOR(t), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE) WHERE x > 1 GROUP BY window_end",
]
const SCHEMAS = [
  '{"type":"record","name":"r","fields":[{"name":"a","type":["null","long"],"default":null},{"name":"b","type":{"type":"array","items":"string"}}]}',
  '{"type":"enum","name":"e","symbols":["A","B"]}',
]
const PROTOS = [
  'syntax = "proto3"; package a.b; message M { optional int64 x = 1; repeated string s = 2; map<string, N> m = 3; oneof o { N n = 4; } } message N {} enum E { A = 0; }',
  'syntax = "proto2"; message M { required int32 a = 1 [default = 5]; extensions 100 to 199; reserved 3, 4; }',
]
const PROTO_WORDS = [
  'message',
  'group',
  'oneof',
  'map<',
  'import "x";',
  '{',
  '}',
  '=',
  ';',
  'extend',
  'option',
  '[',
  ']',
  '"',
  "'",
  '/*',
  '//',
]
const DEFINITIONS = [
  `shop:
  tables:
    orders: { from: { topic: shop.orders }, key: [id], version: at, columns: { id: string, amount: "decimal(12,2)", at: timestamp }, eventTime: { column: at, outOfOrderness: 5s }, where: "id <> 'x'", partitionBy: ["day(at)"] }
  windows:
    w: { source: orders, tumbling: { size: 1m }, groupBy: [id], select: { n: count(), s: sum(amount) } }
`,
]
const SETTINGS = [
  'kafka: { brokers: [localhost:9092] }\nstore: { url: file:./lake }\ncommit: { minInterval: 500ms, microBatch: { bytes: 32MiB } }\nlanes: 2\nhttp: { host: 127.0.0.1, port: 7780 }\nquery: { rows: 1000 }\n',
]
const YAML_WORDS = [
  ': ',
  '- ',
  '{',
  '}',
  '[',
  ']',
  '&a',
  '*a',
  '!!binary',
  '!!js/function',
  '|',
  '>',
  '"',
  "'",
  '#',
  '---',
  '? ',
  '<<: ',
  'null',
  '~',
  '1e999',
  '0x7f',
  '__proto__: ',
  'constructor: ',
]
