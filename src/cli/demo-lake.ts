import { defineLake, tumbling, type LakeDefinition } from '../define.ts'
import { shopDefinition } from '../ingest/shop-ledger.ts'

/** The window that the tour changes. */
export const DEMO_WINDOW = 'revenue_1m'

/** The demo's lake: the tables of the shop, and revenue by minute and status of its orders. */
export const demoDefinition = lakeWith({ n: 'count()', revenue: 'sum(amount)' })

/** The same after somebody has thought again: what was cancelled is no revenue, and the average is of interest. */
export const changedDefinition = lakeWith({
  n: 'count()',
  revenue: "sum(amount) where status <> 'cancelled'",
  average: 'avg(amount)',
})

function lakeWith(select: Readonly<Record<string, string>>): LakeDefinition {
  const { tables } = shopDefinition.pipelines[0]!
  const orders = tables.find(({ name }) => name === 'orders')!
  const window = tumbling(DEMO_WINDOW, orders, {
    size: '1m',
    allowedLateness: '10m',
    groupBy: ['status'],
    select,
  })
  return defineLake({ shop: [...tables, window] })
}
