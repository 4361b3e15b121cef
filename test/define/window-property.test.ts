import { expect, test } from 'vitest'
import { table, tumbling } from '../../src/define.ts'
import { storedWindow, WINDOW_PROPERTY, windowProperties } from '../../src/window-property.ts'

const orders = table('orders', {
  from: { topic: 'shop.orders' },
  columns: { id: 'long', amount: 'decimal(12,2)', at: 'timestamptz(ms)' },
  eventTime: { column: 'at' },
})
const revenue = tumbling('revenue', orders, {
  size: '1m',
  groupBy: ['id'],
  select: ({ sum }) => ({ total: sum('amount') }),
})

test('a window that was written as a property is the same window', () => {
  const stored = { definition: revenue, topic: 'shop.orders', outOfOrdernessMs: 5_000, columns: orders.columns }
  // What is undefined is not there.
  expect(storedWindow({ other: '1', ...windowProperties(stored) })).toEqual(stored)
})

test('tables of other kinds have none, and what is no window is told', () => {
  expect(storedWindow({ 'kappalake.format': '1' })).toBe(undefined)
  for (const text of ['', '{', '{}', 'null', '{"definition":{"kind":"table"}}'])
    expect(() => storedWindow({ [WINDOW_PROPERTY]: text })).toThrow(
      expect.objectContaining({ code: 'store.corrupt' }) as Error,
    )
})
