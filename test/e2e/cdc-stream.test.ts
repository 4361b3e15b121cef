import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareRows, Ledger } from '../../infra/cdc/ledger.mjs'
import { ChangeStream, keyText } from '../../infra/cdc/stream.mjs'
import { TABLES, type StreamTable } from '../../infra/cdc/tables.mjs'

// The proof itself: that what the generator says of its tables is what its records say.

const UNAVAILABLE = '__debezium_unavailable_value'

/** Folds envelopes without a look at the generator: rows as they stand on the wire, and offsets of dead letters. */
class Fold {
  readonly rows = new Map<string, { after: Record<string, unknown>; offset: number }>()
  readonly deadLetters: number[] = []
  readonly #table: StreamTable

  constructor(table: StreamTable) {
    this.#table = table
  }

  take(offset: number, record: { readonly key: string | null; readonly value: string | null }): void {
    if (record.key === null) return
    const id = keyText(this.#table, this.#payload(record.key))
    if (record.value === null) return void this.rows.delete(id)
    let change: Record<string, any>
    try {
      change = this.#payload(record.value)
    } catch {
      return void this.deadLetters.push(offset)
    }
    if (change['op'] === 'd') return void this.rows.delete(id)
    const after = { ...change['after'] }
    if (after['doc'] === UNAVAILABLE) {
      const stored = this.rows.get(id)
      if (stored === undefined) return void this.deadLetters.push(offset)
      after['doc'] = stored.after['doc']
    }
    if (typeof after['active'] === 'object' && after['active'] !== null) return void this.deadLetters.push(offset)
    const base = change['op'] === 'u' ? this.rows.get(id)?.after : undefined
    this.rows.set(id, { after: { ...base, ...after }, offset })
  }

  #payload(text: string): Record<string, unknown> {
    const parsed = JSON.parse(text)
    expect('schema' in parsed).toBe(this.#table.isWrapped)
    return this.#table.isWrapped ? parsed.payload : parsed
  }
}

test.each(TABLES.flatMap((table) => [false, true].map((isPartial) => ({ name: table.name, table, isPartial }))))(
  'the rows of $name are those that its records tell, at every offset, partial: $isPartial',
  ({ table, isPartial }) => {
    const stream = new ChangeStream(table, 1, { seed: 5, keys: 40, isPartial })
    const fold = new Fold(table)
    const seen = { r: 0, c: 0, u: 0, d: 0, null: 0 }
    for (let offset = 0; offset < 1_500; offset++) {
      const { key, value } = stream.next()
      fold.take(offset, { key, value })
      seen[(/"op":"([rcud])"/.exec(value ?? '')?.[1] ?? 'null') as 'r']++
      expect([...stream.rows.keys()].toSorted()).toEqual([...fold.rows.keys()].toSorted())
    }
    for (const [id, { values, offset }] of stream.rows) {
      const told = fold.rows.get(id)!
      expect(told.offset).toBe(offset)
      for (const name of ['name', 'active', 'score', 'created', 'tag', 'bits', 'doc'])
        expect(told.after[name]).toBe(values[name])
      expect(decimalOf(told.after['balance'], 4)).toBe(values['balance'])
      const rate = told.after['rate'] as { scale: number; value: string } | null
      expect(rate === null ? null : Number(decimalOf(rate.value, rate.scale))).toBe(
        values['rate'] === null ? null : Number(values['rate']),
      )
    }
    expect(stream.deadLetters).toEqual(fold.deadLetters)
    expect(stream.deadLetters.length).toBeGreaterThan(0)
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(10)
  },
)

test('a ledger moved there in any steps holds the same rows', () => {
  const options = { partitions: 2, seed: 3, keys: 20 }
  const offsets = fc.array(fc.tuple(fc.nat(400), fc.nat(400)), { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(offsets, (stops) => {
      const stepped = new Ledger(options)
      for (const stop of stops) stepped.moveTo(positionsOf(stop))
      const fresh = new Ledger(options)
      fresh.moveTo(positionsOf(stops.at(-1)!))
      for (const table of TABLES) {
        expect(new Map([...stepped.rows(table)].toSorted())).toEqual(new Map([...fresh.rows(table)].toSorted()))
        expect(stepped.deadLetters(table)).toEqual(fresh.deadLetters(table))
      }
    }),
    { numRuns: 10 },
  )
})

test('a comparison sees every kind of difference', () => {
  const table = TABLES[0]!
  const ledger = new Ledger({ partitions: 1, seed: 1, keys: 10 })
  ledger.moveTo({ [`${table.topic}/0`]: '60' })
  const expected = ledger.rows(table)
  const found = [...expected.values()].map(({ values, partition, offset }) => ({
    ...values,
    _kafka_partition: partition,
    _offset: String(offset),
  }))
  const none = { missing: 0, twice: 0, extra: 0, cells: 0 }
  expect(compareRows(table, expected, found)).toEqual({ ...none, first: undefined })
  expect(compareRows(table, expected, found.slice(1))).toMatchObject({ ...none, missing: 1 })
  expect(compareRows(table, expected, [...found, found[0]!])).toMatchObject({ ...none, twice: 1 })
  expect(compareRows(table, expected, [...found, { ...found[0]!, id: '-5' }])).toMatchObject({ ...none, extra: 1 })
  const [first, ...others] = found
  expect(compareRows(table, expected, [{ ...first!, doc: UNAVAILABLE }, ...others])).toMatchObject({
    ...none,
    cells: 1,
  })
  expect(compareRows(table, expected, [{ ...first!, _offset: '1000' }, ...others])).toMatchObject({ ...none, cells: 1 })
})

function positionsOf([first, second]: readonly [number, number]): Record<string, string> {
  return Object.fromEntries(
    TABLES.flatMap(({ topic }) => [
      [`${topic}/0`, String(first)],
      [`${topic}/1`, String(second)],
    ]),
  )
}

function decimalOf(base64: unknown, scale: number): string | null {
  if (base64 === null) return null
  const bytes = Buffer.from(String(base64), 'base64')
  const unscaled = BigInt.asIntN(8 * bytes.length, BigInt(`0x${bytes.toString('hex')}`))
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  const point = digits.length - scale
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, point)}${scale === 0 ? '' : `.${digits.slice(point)}`}`
}
