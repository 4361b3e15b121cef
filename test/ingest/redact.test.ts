import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { defineLake, json, protobuf, raw, t, table, type TableDefinition } from '../../src/define.ts'
import { assertSalts, type Redaction } from '../../src/define-redact.ts'
import { ExtraText } from '../../src/ingest/decode/extra-text.ts'
import { OwnText } from '../../src/ingest/decode/column-builder.ts'
import { RedactedRecord } from '../../src/ingest/decode/redacted-record.ts'
import { jsonRules, textRule } from '../../src/ingest/decode/redact-text.ts'
import { checkPipelines } from '../../src/define-check.ts'
import { codeHash } from '../../src/define-code.ts'

const SALT = 'a salt of some length'
const digest = (text: string): string => createHash('sha256').update(SALT).update(text).digest('hex')
const bytes = (text: string): Buffer => Buffer.from(text)

const of = (redact: Readonly<Record<string, Redaction>>, more: object = {}): TableDefinition =>
  table('people', {
    from: { topic: 'people', value: json() },
    columns: { id: t.string().required(), email: t.string(), age: t.int(), at: t.timestamptz() },
    redact,
    ...more,
  })

describe('a definition', () => {
  test('names columns and other fields, in any order', () => {
    expect(of({ email: 'mask', age: 'drop' }).redact).toEqual([
      ['age', 'drop'],
      ['email', 'mask'],
    ])
    expect(codeHash(of({ email: 'mask', ssn: 'drop' }))).toBe(codeHash(of({ ssn: 'drop', email: 'mask' })))
    expect(codeHash(of({ email: 'mask' }))).not.toBe(codeHash(of({ email: { hash: 'people' } })))
    expect(of({}).redact).toBeUndefined()
    expect(codeHash(of({}))).toBe(codeHash(of({}, { redact: undefined })))
  })

  test('is the same in YAML', () => {
    const fields = {
      from: { topic: 'people' },
      columns: { id: 'string required', email: 'string', age: 'int', at: 'timestamptz' },
      redact: { email: { hash: 'people' }, ssn: 'drop' },
    }
    const lake = checkPipelines({ p: { tables: { people: fields } } }, [])
    expect(lake.pipelines[0]!.tables[0]).toEqual(of({ email: { hash: 'people' }, ssn: 'drop' }))
  })

  const PERSON = 'syntax = "proto3"; message Person { string id = 1; string ssn = 2; }'
  const MESSAGES = { topic: 'people', value: protobuf({ schema: PERSON, message: 'Person' }) }

  test.each([
    [{ id: 'drop' }, {}, /"id" is required/],
    [{ id: 'mask' }, { key: ['id'] }, /part of the key/],
    [{ at: 'drop' }, { eventTime: { column: 'at' } }, /the event time/],
    [{ age: 'drop' }, { key: ['id'], version: 'age' }, /the version/],
    [{ age: 'mask' }, {}, /of type int/],
    [{ _offset: 'drop' }, {}, /column of the system/],
    [{ ssn: 'drop' }, { unknown: 'fail' }, /unknown: fail/],
    [{ ssn: 'drop' }, { unknown: 'extra', from: MESSAGES, columns: { id: t.string() } }, /in _extra/],
    [{ email: 'gone' }, {}, /must be drop or mask/],
    [{ email: { hash: 'Not a name' } }, {}, /not a name/],
  ] as const)('%o with %o is refused', (redact, more, message) => {
    expect(() => of(redact as any, more)).toThrow(message)
  })

  test('nothing is redacted of what is computed, or raw', () => {
    const computed = { columns: { id: t.string(), upper: t.string().as('upper(id)') } }
    expect(() => of({ upper: 'drop' }, computed)).toThrow(/is computed/)
    expect(() => table('r', { from: { topic: 'x', value: raw() }, redact: { a: 'drop' } })).toThrow(/as they are/)
  })

  test('an archive would keep what is redacted', () => {
    const tables = {
      people: { from: { topic: 'people' }, columns: { id: 'string', email: 'string' }, redact: { email: 'drop' } },
      orders: { from: { topic: 'orders' }, columns: { id: 'string' } },
    }
    expect(() => checkPipelines({ p: { tables, archive: 'kept' } }, [])).toThrow(/as they are/)
    expect(() => checkPipelines({ p: { tables, archive: { orders: 'kept' } } }, [])).not.toThrow()
  })

  test('needs its salts', () => {
    const lake = defineLake({ p: [of({ email: { hash: 'people' } })] })
    expect(() => assertSalts(lake, {})).toThrow(/salts\.people: is missing/)
    expect(() => assertSalts(lake)).toThrow(/people/)
    expect(() => assertSalts(lake, { people: SALT })).not.toThrow()
  })
})

describe('texts', () => {
  test('are hashed as SQL would: salt, then text', () => {
    const rule = textRule({ hash: 'people' }, { people: SALT })!
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 3_000 }), { maxLength: 5 }), (texts) => {
        for (const text of texts) expect(Buffer.from(rule(bytes(text))).toString()).toBe(digest(text))
      }),
    )
  })

  test('a salt that nobody gave is named', () => {
    expect(() => textRule({ hash: 'people' }, {})).toThrow(/salts\.people/)
    expect(() => textRule({ hash: 'constructor' }, {})).toThrow(/salts\.constructor/)
  })
})

describe('_extra', () => {
  const rules = jsonRules(
    [
      ['gone', 'drop'],
      ['hashed', { hash: 'people' }],
      ['masked', 'mask'],
    ],
    { people: SALT },
  )
  const extraOf = (fields: readonly (readonly [string, unknown])[]): unknown => {
    const [extra, own] = [new ExtraText(rules), new OwnText()]
    extra.begin()
    for (const [key, value] of fields) extra.add(bytes(JSON.stringify(key)), bytes(JSON.stringify(value)))
    const at = extra.finish(own)
    return at < 0 ? undefined : JSON.parse(Buffer.from(own.bytes.subarray(at, own.used)).toString())
  }

  test('has what stands for a field', () => {
    const text = 'x@y "z" \u00e4'
    expect(
      extraOf([
        ['a', 1],
        ['gone', text],
        ['hashed', text],
        ['masked', { deep: 1 }],
        ['b', null],
      ]),
    ).toEqual({
      a: 1,
      hashed: digest(text),
      masked: '****',
      b: null,
    })
    expect(
      extraOf([
        ['hashed', null],
        ['masked', null],
      ]),
    ).toEqual({ hashed: null, masked: null })
    expect(extraOf([['hashed', [1, 2]]])).toEqual({ hashed: digest('[1,2]') })
    expect(extraOf([['gone', 1]])).toBeUndefined()
  })

  test('names count as they are meant, and only at the top; below a redacted column nothing is kept', () => {
    const [extra, own] = [new ExtraText(rules), new OwnText()]
    extra.begin()
    extra.add(bytes('"g\\u006fne"'), bytes('"secret"'))
    extra.enter(bytes('"address"'))
    extra.add(bytes('"gone"'), bytes('1'))
    extra.leave()
    extra.enter(bytes('"masked"'))
    extra.add(bytes('"inner"'), bytes('"secret"'))
    extra.leave()
    const at = extra.finish(own)
    expect(Buffer.from(own.bytes.subarray(at, own.used)).toString()).toBe('{"address":{"gone":1}}')
  })
})

describe('a dead letter', () => {
  const kept = (text: string, definition = of({ email: { hash: 'people' }, ssn: 'drop' })): string | undefined => {
    const around = bytes(`..${text}..`)
    const found = RedactedRecord.of(definition)!.bytes(around, 2, around.length - 2)
    return found === undefined ? undefined : Buffer.from(found).toString()
  }

  test('has all of the record but what is redacted, wherever that stands', () => {
    const [name, value] = [fc.constantFrom('a', 'email', 'ssn', 'b "c"', '\u00e4'), fc.constantFrom(1, 'x', null, true)]
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof({ depthSize: 'small' }, value, fc.array(tie('tree'), { maxLength: 3 }), tie('object')),
      object: fc.dictionary(name, tie('tree'), { maxKeys: 4 }),
    }))
    const without = (node: unknown): unknown => {
      if (Array.isArray(node)) return node.map(without)
      if (typeof node !== 'object' || node === null) return node
      const entries = Object.entries(node).filter(([key]) => key !== 'email' && key !== 'ssn')
      return Object.fromEntries(entries.map(([key, inner]) => [key, without(inner)]))
    }
    fc.assert(
      fc.property(
        fc.oneof(fc.dictionary(name, tree), fc.array(tree)),
        fc.constantFrom(undefined, 2),
        (record, space) => {
          expect(JSON.parse(kept(JSON.stringify(record, undefined, space))!)).toEqual(without(record))
        },
      ),
    )
  })

  test('keeps numbers and texts as they are written', () => {
    expect(kept('{"n": 1.50e3, "email" : "x" , "big":123456789012345678901, "t":"\\u0041" }')).toBe(
      '{"n":1.50e3,"big":123456789012345678901,"t":"\\u0041"}',
    )
    expect(kept('{"em\\u0061il":1,"email":2}')).toBe('{}')
  })

  test.each(['', '{"email":"x"', 'email=x', '"x@y"', '17', '{"a":1}x', '\ufeff{}', '[1,]', '['.repeat(200)])(
    'of %j has no bytes',
    (text) => expect(kept(text)).toBeUndefined(),
  )

  test('of bytes that are not UTF-8 has none', () => {
    const found = RedactedRecord.of(of({ email: 'drop' }))!.bytes(Buffer.from([123, 34, 0xff, 34, 58, 49, 125]), 0, 7)
    expect(found).toBeUndefined()
  })

  test('of a change event has rows without it, and none that is a text', () => {
    const changes = of({ email: 'drop' }, { from: { topic: 'p', value: 'debezium' } })
    expect(kept('{"before":null,"after":{"id":"a","email":"x"},"op":"c"}', changes)).toBe(
      '{"before":null,"after":{"id":"a"},"op":"c"}',
    )
    expect(kept('{"payload":{"after":"{\\"email\\":1}","op":"c"}}', changes)).toBe('{"payload":{"op":"c"}}')
  })

  test('of a table that redacts nothing is left alone', () => {
    expect(RedactedRecord.of(of({}))).toBeUndefined()
  })
})
