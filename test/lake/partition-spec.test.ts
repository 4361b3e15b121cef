import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { decodeDeleteManifest, decodeManifest, encodeDeleteManifest, encodeManifest } from '../../src/lake/manifest.ts'
import { avroName, partitionSpec, summarise, tupleTypes } from '../../src/lake/partition-spec.ts'
import { schemaOf } from '../../src/lake/schema.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { createTable, type PartitionValue } from '../../src/lake/table.ts'

const { schema } = schemaOf([
  { name: 'at', type: { kind: 'timestamptz' } },
  { name: 'at_day', type: { kind: 'string' } },
  { name: '名前-x', type: { kind: 'string' } },
  { name: '1st', type: { kind: 'decimal', precision: 9, scale: 2 } },
  { name: 'small', type: { kind: 'decimal', precision: 2, scale: 0 } },
  { name: 'id', type: { kind: 'uuid' } },
  { name: 'rate', type: { kind: 'double' } },
  { name: 'raw', type: { kind: 'binary' } },
  { name: 'day', type: { kind: 'date' } },
])

const namesOf = (texts: readonly string[]) => partitionSpec('t', texts, schema).fields.map(({ name }) => name)

describe('a partition spec', () => {
  test('takes any column name, and gives none that is taken', () => {
    expect(namesOf(['day(at)', 'bucket(4, 名前-x)', 'truncate(2, 1st)', 'at_day'])).toEqual([
      'at_day_2',
      '名前-x_bucket',
      '1st_trunc',
      'at_day',
    ])
  })

  test.each([
    [['year(at)', 'day(at)'], 'divided by at_year already'],
    [['bucket(4, id)', 'bucket(8, id)'], 'divided by id_bucket already'],
    [['id'], 'identity cannot be applied to a column of type uuid'],
    [['rate'], 'identity cannot be applied to a column of type double'],
    [['truncate(98, small)'], 'take a width that fits'],
    [['nope'], 'take one of at, at_day'],
    [['bucket(99999999999, id)'], 'write a column'],
  ])('%j is refused with a reason', async (partitionBy, reason) => {
    expect(() => partitionSpec('t', partitionBy, schema)).toThrow(
      expect.objectContaining({ code: 'config.invalid', message: expect.stringContaining(reason) }),
    )
    const columns = [{ name: 'a', type: { kind: 'int' } }] as const
    const created = createTable(
      new MemoryStorage('spec'),
      { name: 't', columns, partitionBy, formatVersion: 2 },
      systemClock,
    )
    await expect(created).rejects.toMatchObject({ code: 'config.invalid' })
  })

  test('Avro names are those of Java', () => {
    expect(['a_1', '1st', 'a-b', '名'].map(avroName)).toEqual(['a_1', '_1st', 'a_x2Db', '_x540D'])
  })
})

describe('a partition tuple', () => {
  const texts = ['at', 'at_day', '名前-x', '1st', 'bucket(7, id)', 'raw', 'day']
  const spec = partitionSpec('t', texts, schema)
  const shape = { formatVersion: 3, schema, spec } as const

  test('of every type comes back from a manifest', () => {
    const tuples: readonly (readonly PartitionValue[])[] = [
      [-1n, '', '名', -999_999_999n, 6, Buffer.of(0, 255), -719_162],
      [2n ** 62n, '\u{10ffff}', 'x', 1n, 0, Buffer.alloc(0), 2_932_896],
      texts.map(() => null),
    ]
    const entries = tuples.map((partition, index) => ({
      status: index === 0 ? ('added' as const) : ('existing' as const),
      snapshotId: 2n ** 63n - 1n,
      sequenceNumber: index === 0 ? undefined : 7n,
      fileSequenceNumber: index === 0 ? undefined : 8n,
      firstRowId: index === 0 ? undefined : 9_007_199_254_740_993n,
      path: `file:///t/${index}.parquet`,
      file: { key: `t/${index}.parquet`, recordCount: 1, fileSizeBytes: 2 ** 33, partition, metrics: new Map() },
    }))
    expect(decodeManifest(shape, 'm', encodeManifest(shape, entries), (uri) => uri.slice(8))).toEqual(entries)
    // A deletion vector stands under the tuple of its data file.
    const vectors = entries.map(({ status, snapshotId, sequenceNumber, fileSequenceNumber, path, file }, index) => ({
      status,
      snapshotId,
      sequenceNumber,
      fileSequenceNumber,
      path: 'file:///t/d.puffin',
      fileSizeBytes: 2 ** 33,
      dataFile: path,
      partition: file.partition,
      offset: 2 ** 32 + index,
      length: 40 + index,
      count: 1 + index,
    }))
    expect(decodeDeleteManifest(shape, 'm', encodeDeleteManifest(shape, vectors))).toEqual(vectors)
  })

  test('is summed up by its least and greatest values, texts by bytes', () => {
    const types = tupleTypes(partitionSpec('t', ['at_day', '1st'], schema), schema)
    const tuples = [
      ['😀', -128n],
      ['～', 127n],
      [null, 1n],
    ] as const
    expect(summarise(types, tuples)).toEqual([
      {
        contains_null: true,
        contains_nan: { boolean: false },
        lower_bound: { bytes: Buffer.from('～') },
        upper_bound: { bytes: Buffer.from('😀') },
      },
      {
        contains_null: false,
        contains_nan: { boolean: false },
        lower_bound: { bytes: Buffer.of(0x80) },
        upper_bound: { bytes: Buffer.of(0x7f) },
      },
    ])
  })
})
