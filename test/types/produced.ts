import { avro, debezium, defineLake, json, raw, t, table } from '../../src/index.ts'
import { testLake, type Lab, type LookupRows } from '../../src/testing.ts'
import { log, orders, revenue, same } from './rows.ts'

// What the compiler knows of what is produced. Read by tsc and run by nobody.

const from = { topic: 'o' }
const columns = { id: t.string(), n: t.long().required(), kind: t.enum('a', 'b'), at: t.timestampMs() }
const strict = table('strict', { from, columns, key: ['id'], unknown: 'fail' })
const extra = table('extra', { from: { ...from, value: json() }, columns, unknown: 'extra' })
const mapped = table('mapped', { from, columns, map: (row) => ({ id: row['key'] }) })
const filed = table('filed', { from, columns, map: './clean.ts' })
const changes = table('changes', { from: { ...from, value: debezium() }, columns, key: ['id'] })
const binary = table('binary', { from: { ...from, value: avro({ schema: '{}' }) }, columns })
const grown = table('grown', { from: { ...from, value: avro() } })
const texts = table('texts', {
  from,
  columns: { id: 'string required', amount: 'decimal(9,2)', total: 'double = amount * 2', at: 'timestamptz(ms)' },
  unknown: 'ignore',
})

same<
  typeof strict.$input,
  {
    readonly id: string
    readonly n: bigint | number | Date
    readonly kind?: 'a' | 'b' | null | undefined
    readonly at?: Date | bigint | number | string | null | undefined
  }
>()
same<
  typeof texts.$input,
  {
    readonly id: string
    readonly amount?: string | number | bigint | null | undefined
    readonly at?: Date | bigint | number | string | null | undefined
  }
>()

export const taken = async (lab: Lab): Promise<void> => {
  await lab.produce(strict, [{ id: 'a', n: 1 }, { id: 'b', n: 2n, kind: null, at: new Date(0) }, null], { key: 'c' })
  await lab.produce(extra, [{ n: 1, more: { of: ['anything'] } }])
  await lab.produce(mapped, [{ anything: 1 }])
  await lab.produce(filed, [{ anything: 1 }])
  await lab.produce(changes, [
    { id: 'a', n: 1 },
    { op: 'u', before: { id: 'a' }, after: { id: 'a', n: 2, kind: 'b' }, source: { lsn: 3 } },
    { op: 'd', before: { id: 'a' } },
  ])
  await lab.produce(binary, [{ n: 1, field: 'of the schema alone' }])
  await lab.produce(grown, [{ anything: 1 }])
  await lab.produce(log, [{ key: 'k', value: { is: 'json' }, headers: [{ key: 'h', value: 'v' }] }])
  await lab.produce(orders, [
    {
      orderId: 'a',
      quantity: 1,
      shippedAt: new Date(0),
      amount: '1.50',
      tags: ['x'],
      lines: [{ sku: 's', price: 1.5 }],
      attributes: { a: 1n },
      blob: 'AAAA',
      // Computed, so what a record says of it is one more field.
      total: false,
    },
  ])
  // What does not fit: by the name of the table.
  await lab.produce('strict', [{ id: 7, more: true }])
}

export const refused = (lab: Lab) => [
  // @ts-expect-error a required column
  lab.produce(strict, [{ id: 'a' }]),
  // @ts-expect-error the key
  lab.produce(strict, [{ n: 1 }]),
  // @ts-expect-error a text is no int64
  lab.produce(strict, [{ id: 'a', n: '1' }]),
  // @ts-expect-error no row has that symbol
  lab.produce(strict, [{ id: 'a', n: 1, kind: 'c' }]),
  // @ts-expect-error a required column is never null
  lab.produce(strict, [{ id: 'a', n: null }]),
  // @ts-expect-error unknown fields do not fit
  lab.produce(strict, [{ id: 'a', n: 1, more: 1 }]),
  // @ts-expect-error a field of the wrong type, where unknown ones are kept
  lab.produce(extra, [{ n: 1, kind: 7 }]),
  // @ts-expect-error inside of a list
  lab.produce(orders, [{ orderId: 'a', quantity: 1, shippedAt: 0, lines: [{ price: 1 }] }]),
  // @ts-expect-error there is no such change
  lab.produce(changes, [{ op: 'x', after: { id: 'a', n: 1 } }]),
  // @ts-expect-error the row after a change
  lab.produce(changes, [{ op: 'u', after: { id: 'a', n: 'one' } }]),
  // @ts-expect-error a computed column is not read
  lab.produce(texts, [{ id: 'a', total: 1 }]),
  // @ts-expect-error a record of raw bytes has no such field
  lab.produce(table('r', { from: { topic: 'r', value: raw() } }), [{ payload: 'x' }]),
]

const lake = defineLake({ p: [strict] })
export const looked = [
  testLake(lake, {
    lookups: [
      { table: strict, at: 4, rows: [{ id: 'a', n: 1 }] },
      { table: texts, rows: [{ id: 'a' }] },
    ],
  }),
  // @ts-expect-error a row of another table
  testLake(lake, { lookups: [{ table: strict, rows: [{ id: 'a', amount: 1 }] }] }),
  // @ts-expect-error windows have no topic
  testLake(lake, { lookups: [{ table: revenue, rows: [] }] }),
]
export const listed: readonly LookupRows[] = [{ table: strict, rows: [{ anything: 1 }] }]
