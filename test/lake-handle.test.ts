import { describe, expect, test } from 'vitest'
import { defineLake, json, t, table, tumbling } from '../src/define.ts'
import { open } from '../src/index.ts'
import { waitCancelled } from '../src/ingest/supervise-errors.ts'
import { waitFor } from '../src/lake-handle.ts'
import { partitionId } from '../src/log.ts'
import type { Version } from '../src/version.ts'

const orders = table('orders', {
  from: { topic: 'shop.orders', value: json() },
  columns: { orderId: t.string(), at: t.timestamptz() },
  eventTime: { column: 'at' },
})
const perMinute = tumbling('per_minute', orders, { size: '1m', select: ({ count }) => ({ n: count() }) })

describe('what a program in JavaScript may give', () => {
  test.each([undefined, orders, [orders], {}])('open of %o says what it takes', async (given) => {
    await expect(open(given as never, { store: 'file:./lake' } as never)).rejects.toMatchObject({
      code: 'config.invalid',
      fix: expect.stringContaining('defineLake'),
    })
  })

  test('an offset that is a number is refused before anything waits for it', async () => {
    const at = { partition: 0, offset: 12 as never }
    await expect(waitFor(defineLake({ shop: [orders] }), [], orders, at)).rejects.toMatchObject({
      code: 'request.invalid',
      fix: expect.stringContaining('1234n'),
    })
  })

  test('a window without its table names the table', () => {
    expect(() => defineLake({ shop: [perMinute] })).toThrow(
      expect.objectContaining({ code: 'config.invalid', fix: 'Put "orders" into it, which "per_minute" reads.' }),
    )
  })
})

test('a wait that was given up says how far each partition was', () => {
  const positions = new Map([
    [partitionId('a', 0), 13n],
    [partitionId('a', 9), 4n],
  ])
  const head = { positions: new Map([[partitionId('a', 0), 10n]]) } as unknown as Version
  const { code, message } = waitCancelled(positions, head)
  expect([code, message]).toEqual([
    'sql.cancelled',
    'the wait was cancelled: a/0 is to pass offset 12 and stands at 10, a/9 is to pass offset 3 and is not read yet',
  ])
})
