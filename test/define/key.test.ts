import { describe, expect, test } from 'vitest'
import { APPEND, debezium, defineLake, json, t, table, tableNames } from '../../src/define.ts'
import { codeHash } from '../../src/define-code.ts'
import { checkTable } from '../../src/define-check.ts'
import { tableColumns } from '../../src/ingest/decode/columns.ts'
import { LakeError } from '../../src/error.ts'

const columns = {
  orderId: t.string(),
  line: t.int(),
  state: t.enum('a', 'b'),
  ref: t.uuid(),
  updatedAt: t.timestamptz(),
}
const from = { topic: 'shop.orders' }

describe('the key of a table', () => {
  test('an append table has what it always had', () => {
    expect(table('o', { from, columns })).toMatchObject(APPEND)
    expect(table('o', { from: { topic: 't', value: debezium() }, columns })).toMatchObject({
      ...APPEND,
      value: 'debezium',
    })
  })

  test('YAML and TypeScript say the same, and columns of the key are required', () => {
    const given = table('o', {
      from: { topic: 'shop.orders', value: json(), key: 'json' },
      columns,
      key: ['orderId', 'line'],
      version: 'updatedAt',
      missing: 'keep',
    })
    const texts = {
      from: { topic: 'shop.orders', key: 'json' },
      columns: { orderId: 'string required', line: 'int', state: 'enum(a,b)', ref: 'uuid', updatedAt: 'timestamptz' },
      key: ['orderId', 'line'],
      version: 'updatedAt',
      missing: 'keep',
    }
    expect(codeHash(checkTable('o', texts, ['o']))).toBe(codeHash(given))
    expect(given.columns.map((column) => column.required === true)).toEqual([true, true, false, false, false])
    expect(tableNames(given)).toEqual(['o', 'o__dlq', 'o__deletes'])
  })

  test.each([
    [['orderId'], 'json', 'string'],
    [['state'], 'json', 'string'],
    [['ref'], 'json', 'string'],
    [['line'], 'json', 'json'],
    [['orderId', 'line'], 'json', 'json'],
    [['orderId'], 'debezium', 'debezium'],
  ] as const)('records of a table by %j of %s have keys of %s', (key, value, recordKey) => {
    expect(table('o', { from: { topic: 't', value }, columns, key })).toMatchObject({ key, recordKey })
  })

  test('what YAML reads as null is the text null', () => {
    for (const missing of [null, 'null', undefined])
      expect(checkTable('o', { from, columns: { id: 'int' }, key: ['id'], missing }, ['o']).missing).toBe('null')
  })

  test('a column that rows keep says nothing of their partition', () => {
    const given = { from, columns, key: ['orderId'], version: 'updatedAt', missing: 'keep' } as const
    const partitionBy = ['bucket(4, orderId)', 'day(updatedAt)', '_kafka_partition', 'state'] as const
    expect(() => table('o', { ...given, partitionBy })).toThrow(/o\.partitionBy\[3\]: "state" may be kept/)
    expect(table('o', { ...given, partitionBy: partitionBy.slice(0, 3) }).partitionBy).toHaveLength(3)
    expect(table('o', { ...given, missing: 'null', partitionBy }).partitionBy).toHaveLength(4)
  })

  test('a version of the source has a column of its own', () => {
    const given = table('o', {
      from: { topic: 't', value: debezium() },
      columns,
      key: ['orderId'],
      version: 'source.lsn',
    })
    expect(given).toMatchObject({ version: 'source.lsn', missing: 'null' })
    expect(
      tableColumns(given)
        .slice(5)
        .map(({ name }) => name),
    ).toEqual(['_extra', '_version', '_kafka_partition', '_offset', '_timestamp'])
  })

  test('a truncate event has no version, so both together are refused', () => {
    const from = { topic: 't', value: debezium() }
    const given = { from, columns, key: ['orderId'], version: 'source.lsn', onTruncate: 'apply' } as const
    expect(() => table('o', given)).toThrow(/o\.onTruncate: a truncate event has no version/)
  })

  test('tables over one topic have one key, or a version', () => {
    const a = table('a', { from, columns, key: ['orderId', 'line'] })
    const same = table('b', { from, columns, key: ['line', 'orderId'] })
    const versioned = table('c', { from, columns, key: ['ref'], version: 'updatedAt' })
    const other = table('d', { from, columns, key: ['ref'] })
    const elsewhere = table('e', { from: { topic: 'elsewhere' }, columns, key: ['ref'] })
    const append = table('f', { from, columns })
    expect(defineLake({ p: [a, same, versioned, elsewhere, append] }).pipelines).toHaveLength(1)
    expect(defineLake({ p: [a], q: [other] }).pipelines).toHaveLength(2)
    const failing = (): unknown => defineLake({ p: [a, other] })
    expect(failing).toThrow(LakeError)
    expect(failing).toThrow(/p\.tables\.d\.version: is missing.*"a"/)
  })
})
