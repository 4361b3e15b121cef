import {
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampTZValue,
  type DuckDBValue,
} from '@duckdb/node-api'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LakeError } from '../../src/error.ts'
import { arrowBatch, arrowEnd, arrowSchema } from '../../src/query/binary/arrow.ts'
import { ColumnBuilder, packBits, type Column } from '../../src/query/binary/columns.ts'
import { flatBuffer, int16, int64, int8, pairs, table, tables, text } from '../../src/query/binary/flatbuffer.ts'
import { leavesOf, levelBytes, type Leaf } from '../../src/query/binary/levels.ts'
import { ParquetWriter } from '../../src/query/binary/parquet.ts'
import { binary, bool, i32, i64, list, struct, thriftBytes } from '../../src/query/binary/thrift.ts'
import type { BinaryType } from '../../src/query/binary/types.ts'

function column(type: BinaryType, values: readonly DuckDBValue[]): Column {
  const builder = new ColumnBuilder({ name: 'c', type })
  for (const value of values) builder.append(value)
  return builder.take()
}

/** Types of the leaves that the properties use, and values of them. */
const LEAVES: readonly { readonly type: BinaryType; readonly value: fc.Arbitrary<DuckDBValue> }[] = [
  { type: { kind: 'integer', bits: 32, isSigned: true }, value: fc.integer() },
  { type: { kind: 'text' }, value: fc.string({ unit: 'grapheme', maxLength: 5 }) },
  { type: { kind: 'boolean' }, value: fc.boolean() },
]

interface Typed {
  readonly type: BinaryType
  readonly value: fc.Arbitrary<DuckDBValue>
}

const nullable = (value: fc.Arbitrary<DuckDBValue>): fc.Arbitrary<DuckDBValue> =>
  fc.option(value, { nil: null, freq: 3 })

/** A type of some depth, and values of it. */
const typed: fc.Arbitrary<Typed> = fc.letrec<{ any: Typed; leaf: Typed; list: Typed; struct: Typed; map: Typed }>(
  (tie) => ({
    any: fc.oneof({ maxDepth: 3, depthSize: 'small' }, tie('leaf'), tie('list'), tie('struct'), tie('map')),
    leaf: fc.constantFrom(...LEAVES),
    list: tie('any').map(({ type, value }) => ({
      type: { kind: 'list', item: type } as const,
      value: fc.array(nullable(value), { maxLength: 4 }).map((items) => new DuckDBListValue(items)),
    })),
    struct: fc.array(tie('any'), { minLength: 1, maxLength: 3 }).map((fields) => ({
      type: { kind: 'struct', fields: fields.map(({ type }, index) => ({ name: `f${index}`, type })) } as const,
      value: fc
        .tuple(...fields.map(({ value }) => nullable(value)))
        .map((items) => new DuckDBStructValue(Object.fromEntries(items.map((item, index) => [`f${index}`, item])))),
    })),
    map: fc.tuple(fc.constantFrom(...LEAVES), tie('any')).map(([key, { type, value }]) => ({
      type: { kind: 'map', key: key.type, value: type } as const,
      value: fc
        .array(fc.record({ key: key.value, value: nullable(value) }), { maxLength: 3 })
        .map((entries) => new DuckDBMapValue(entries)),
    })),
  }),
).any

const batch = typed.chain(({ type, value }) =>
  fc.array(nullable(value), { maxLength: 12 }).map((values) => ({ type, values })),
)

/** A value as nothing but lists, entries, leaves and null; `{}` without fields never occurs. */
function plain(value: DuckDBValue | undefined): unknown {
  if (value instanceof DuckDBListValue) return value.items.map(plain)
  if (value instanceof DuckDBStructValue) return Object.values(value.entries).map(plain)
  if (value instanceof DuckDBMapValue) return value.entries.map((entry) => [plain(entry.key), plain(entry.value)])
  return value ?? null
}

/** The value at an index of a column, read as Arrow's layout says. */
function valueAt(from: Column, index: number): unknown {
  if (from.valid[index] === 0) return null
  const [start, end] = [from.offsets[index]!, from.offsets[index + 1]!]
  const [first, second] = from.children
  const items = Array.from({ length: end - start || 0 }, (_, k) => start + k)
  switch (from.type.kind) {
    case 'list':
      return items.map((item) => valueAt(first!, item))
    case 'map':
      return items.map((item) => [valueAt(first!, item), valueAt(second!, item)])
    case 'struct':
      return from.children.map((child) => valueAt(child, index))
    case 'text':
      return Buffer.from(from.data.subarray(start, end)).toString()
    case 'boolean':
      return from.data[index] === 1
    default:
      return Buffer.from(from.data).readInt32LE(index * 4)
  }
}

test('columns hold what was put into them', () => {
  fc.assert(
    fc.property(batch, ({ type, values }) => {
      const built = column(type, values)
      expect(values.map((_, index) => valueAt(built, index))).toEqual(values.map(plain))
      expect(built.nulls).toBe(values.filter((value) => value === null).length)
    }),
    { numRuns: 300 },
  )
})

/** What the levels of one leaf say: the column's values with everything but this leaf left out. */
function assembled({ column: from, path, definitions, repetitions, present, definitionMax }: Leaf): unknown[] {
  const rows: { repetition: number; definition: number; value: unknown }[] = []
  let next = 0
  for (let i = 0; i < definitions.length; i++) {
    const isThere = definitions[i] === definitionMax
    rows.push({
      repetition: repetitions[i]!,
      definition: definitions[i]!,
      value: isThere ? valueAt(from, present[next++]!) : undefined,
    })
  }
  expect(next).toBe(present.length)
  return [path.slice(1), rows]
}

/** The same said by hand: Dremel's levels of a value, by walking through it. */
function levelsOf(type: BinaryType, values: readonly DuckDBValue[]): Map<string, unknown[]> {
  const out = new Map<string, unknown[]>()
  const visit = (
    at: BinaryType,
    value: DuckDBValue | undefined,
    path: string,
    d: number,
    r: number,
    lists: number,
    isEnd: boolean,
    isOptional: boolean,
  ): void => {
    const isNull = isEnd || (isOptional && (value === null || value === undefined))
    const depth = isNull ? d : d + (isOptional ? 1 : 0)
    const many = (
      items: readonly (DuckDBValue | undefined)[],
      go: (item: DuckDBValue | undefined, d: number, r: number, isEnd: boolean) => void,
    ) => {
      if (isNull || items.length === 0) return go(undefined, depth, r, true)
      items.forEach((item, index) => go(item, depth + 1, index === 0 ? r : lists + 1, false))
    }
    switch (at.kind) {
      case 'struct':
        for (const field of at.fields)
          visit(
            field.type,
            isNull ? undefined : (value as DuckDBStructValue).entries[field.name],
            `${path}.${field.name}`,
            depth,
            r,
            lists,
            isNull,
            true,
          )
        return
      case 'list':
        return many(isNull ? [] : (value as DuckDBListValue).items, (item, nextD, nextR, end) =>
          visit(at.item, item, `${path}.list.element`, nextD, nextR, lists + 1, end, true),
        )
      case 'map': {
        const entries = isNull ? [] : (value as DuckDBMapValue).entries
        many(
          entries.map(({ key }) => key),
          (item, nextD, nextR, end) =>
            visit(at.key, item, `${path}.key_value.key`, nextD, nextR, lists + 1, end, false),
        )
        return many(
          entries.map((entry) => entry.value),
          (item, nextD, nextR, end) =>
            visit(at.value, item, `${path}.key_value.value`, nextD, nextR, lists + 1, end, true),
        )
      }
      default:
        out.set(path, [
          ...(out.get(path) ?? []),
          { repetition: r, definition: depth, value: isNull ? undefined : plain(value) },
        ])
    }
  }
  for (const value of values) visit(type, value, '', 0, 0, 0, false, true)
  return out
}

test('levels say where each value stands', () => {
  fc.assert(
    fc.property(batch, ({ type, values }) => {
      const leaves = leavesOf(column(type, values)).map(assembled)
      const expected = levelsOf(type, values)
      for (const [path, rows] of leaves as [string[], unknown[]][])
        expect(rows).toEqual(expected.get(path.map((name) => `.${name}`).join('')) ?? [])
    }),
    { numRuns: 300 },
  )
})

/** Parquet's hybrid of runs and packed bits, read back. */
function readLevels(bytes: Uint8Array, width: number, count: number): number[] {
  const levels: number[] = []
  const buffer = Buffer.from(bytes)
  expect(buffer.readUInt32LE(0)).toBe(bytes.length - 4)
  let at = 4
  while (levels.length < count) {
    let [head, shift] = [0, 0]
    for (;;) {
      const byte = buffer[at++]!
      head += (byte & 0x7f) << shift
      shift += 7
      if (byte < 0x80) break
    }
    if (head % 2 === 0) {
      for (let n = head >> 1; n > 0; n--) levels.push(buffer[at]!)
      at++
      continue
    }
    const bits = (head >> 1) * 8 * width
    for (let start = 0; start < bits; start += width) {
      let level = 0
      for (let bit = 0; bit < width; bit++)
        level |= ((buffer[at + ((start + bit) >> 3)]! >> ((start + bit) & 7)) & 1) << bit
      levels.push(level)
    }
    at += bits / 8
  }
  return levels.slice(0, count)
}

test('levels are read back, as runs and as bits', () => {
  const runs = fc.array(fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 1, max: 300 })), { maxLength: 20 })
  fc.assert(
    fc.property(
      fc.oneof(
        runs,
        runs.map((list) => list.map(([level]): [number, number] => [level, 1])),
      ),
      (list) => {
        const levels = list.flatMap(([level, count]) => Array.from({ length: count }, () => level))
        expect(readLevels(levelBytes(Uint8Array.from(levels), 5), 3, levels.length)).toEqual(levels)
      },
    ),
  )
})

test('bits, the lowest first', () => {
  expect([...packBits(Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 1, 1]))]).toEqual([0x81, 0x01])
})

test('an integer of 39 digits has no decimal', () => {
  const type = { kind: 'decimal', precision: 38, scale: 0 } as const
  expect(() => column(type, [10n ** 38n])).toThrow(LakeError)
  expect(() => column(type, [-(10n ** 38n)])).toThrow(LakeError)
  const { data } = column(type, [10n ** 38n - 1n, -1n])
  expect([...data.subarray(16)]).toEqual(Array.from({ length: 16 }, () => 255))
  const [low, high] = [Buffer.from(data).readBigUInt64LE(0), Buffer.from(data).readBigUInt64LE(8)]
  expect((high << 64n) | low).toBe(10n ** 38n - 1n)
})

/** Where field `n` of the table at `at` is; 0 when it has its default. */
const field = (buffer: Buffer, at: number, n: number): number => {
  const places = at - buffer.readInt32LE(at)
  const offset = 4 + 2 * n < buffer.readUInt16LE(places) ? buffer.readUInt16LE(places + 4 + 2 * n) : 0
  return offset === 0 ? 0 : at + offset
}
const follow = (buffer: Buffer, at: number): number => at + buffer.readUInt32LE(at)

describe('FlatBuffers', () => {
  test('numbers, texts, tables in tables, pairs, at their alignment', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 40 }),
        fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 200 }),
        (name, list) => {
          const inner = table(text(name), undefined, int8(7))
          const buffer = Buffer.from(
            flatBuffer(table(int16(-2), inner, int64(2 ** 40), pairs(list), tables([inner, inner]))),
          )
          expect(buffer.length % 8).toBe(0)
          const root = follow(buffer, 0)
          expect(buffer.readInt16LE(field(buffer, root, 0))).toBe(-2)
          expect(field(buffer, root, 2) % 8).toBe(0)
          expect(buffer.readBigInt64LE(field(buffer, root, 2))).toBe(2n ** 40n)
          const vector = follow(buffer, field(buffer, root, 3))
          expect(buffer.readUInt32LE(vector)).toBe(list.length)
          if (list.length > 0) expect((vector + 4) % 8).toBe(0)
          for (const [index, pair] of list.entries())
            expect([0, 8].map((k) => Number(buffer.readBigInt64LE(vector + 4 + index * 16 + k)))).toEqual(pair)
          const children = follow(buffer, field(buffer, root, 4))
          for (const at of [field(buffer, root, 1), children + 4, children + 8]) {
            const child = follow(buffer, at)
            expect(field(buffer, child, 1)).toBe(0)
            expect(buffer.readInt8(field(buffer, child, 2))).toBe(7)
            const letters = follow(buffer, field(buffer, child, 0))
            const length = buffer.readUInt32LE(letters)
            expect(buffer.subarray(letters + 4, letters + 4 + length).toString()).toBe(name)
            expect(buffer[letters + 4 + length]).toBe(0)
          }
        },
      ),
    )
  })

  test('a message is as long as it says, in steps of eight', () => {
    const columns = [column({ kind: 'text' }, ['a', null, 'ccc'])]
    for (const bytes of [arrowSchema([{ name: 'c', type: { kind: 'text' } }]), arrowBatch(columns)]) {
      const buffer = Buffer.from(bytes)
      expect(buffer.readUInt32LE(0)).toBe(0xffffffff)
      const metadata = buffer.subarray(8, 8 + buffer.readInt32LE(4))
      expect(metadata.length % 8).toBe(0)
      const root = follow(metadata, 0)
      const body = Number(metadata.readBigInt64LE(field(metadata, root, 3)))
      expect(8 + metadata.length + body).toBe(buffer.length)
    }
    expect([...arrowEnd()]).toEqual([255, 255, 255, 255, 0, 0, 0, 0])
  })
})

test('Thrift, byte by byte', () => {
  const value = struct({
    1: i32(-3),
    2: i64(2 ** 40),
    4: binary('é'),
    5: bool(true),
    6: undefined,
    9: list([i32(1), i32(64)], 5),
    10: struct({}),
  })
  const bytes = ['1505', '16808080808040', '2802c3a9', '11', '4925028001', '1c00', '00']
  expect(Buffer.from(thriftBytes(value)).toString('hex')).toBe(bytes.join(''))
  expect(
    [
      ...thriftBytes(
        list(
          Array.from({ length: 15 }, () => i32(0)),
          5,
        ),
      ),
    ].slice(0, 2),
  ).toEqual([0xf5, 15])
})

test('a Parquet file of no rows has a beginning and an end', () => {
  const bytes = Buffer.from(new ParquetWriter([{ name: 'c', type: { kind: 'date' } }]).end())
  expect(bytes.subarray(0, 4).toString() + bytes.subarray(-4).toString()).toBe('PAR1PAR1')
  expect(bytes.readUInt32LE(bytes.length - 8)).toBe(bytes.length - 12)
})

test('values of every width stand where they belong', () => {
  expect([...column({ kind: 'date' }, [new DuckDBDateValue(-1)]).data]).toEqual([255, 255, 255, 255])
  const instant = column({ kind: 'timestamp', unit: 'us', isUtc: true }, [new DuckDBTimestampTZValue(-2n)])
  expect(Buffer.from(instant.data).readBigInt64LE()).toBe(-2n)
  const decimal = column({ kind: 'decimal', precision: 5, scale: 2 }, [null, new DuckDBDecimalValue(-125n, 5, 2)])
  expect(Buffer.from(decimal.data).readBigInt64LE(16)).toBe(-125n)
  expect([...column({ kind: 'bytes' }, [new DuckDBBlobValue(Uint8Array.from([1, 2])), null]).offsets]).toEqual([
    0, 2, 2,
  ])
  expect([...column({ kind: 'integer', bits: 8, isSigned: false }, [255, 0]).data]).toEqual([255, 0])
})
