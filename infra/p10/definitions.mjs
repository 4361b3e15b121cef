// The pipelines of the run, and what their code is changed to: cancelled orders no longer count, a window comes over
// records that were read long ago, a table gets another key, a column another type.
import { tableConfig, TABLES } from '../cdc/tables.mjs'
import { pipelineConfig, WINDOWS } from '../windows/pipelines.mjs'

const KEPT = "status <> 'cancelled'"
const isKept = ({ status }) => status !== null && status !== 'cancelled'

const revenue = WINDOWS.find(({ name }) => name === 'revenue')

/** Nobody had asked for it when its records were read. */
const BY_STATUS = {
  ...revenue,
  name: 'revenue_by_status',
  groupBy: 'status',
  config: { ...revenue.config, groupBy: ['status'] },
}

/** The windows that the new code makes, for the recomputation. */
export const NEW_WINDOWS = [
  ...WINDOWS.map((window) => (window.source === 'orders' ? withoutCancelled(window) : window)),
  BY_STATUS,
]
export const OLD_WINDOWS = WINDOWS

/** What the new code leaves alone, and a replay shares. */
export const SHARED = ['orders', 'events', 'metrics', 'processed_events']

/** `pipelines` of a configuration, before and after. */
export const OLD = { flow: pipelineConfig(), cdc: { tables: cdcTables(tableConfig) } }
export const NEW = {
  flow: { ...pipelineConfig(), windows: Object.fromEntries(NEW_WINDOWS.map(({ name, config }) => [name, config])) },
  cdc: { tables: cdcTables(changed) },
}

/** With the raw log of every topic kept beside the tables. */
export function archived(pipelines) {
  return Object.fromEntries(Object.entries(pipelines).map(([name, one]) => [name, { ...one, archive: `${name}_log` }]))
}

function withoutCancelled(window) {
  const { sql, ...config } = window.config
  const changedConfig =
    sql === undefined ? { ...config, where: KEPT } : { ...config, sql: sql.replace('FROM orders', `$& WHERE ${KEPT}`) }
  return { ...window, where: isKept, config: changedConfig }
}

function cdcTables(configOf) {
  return Object.fromEntries(TABLES.map((table) => [table.name, configOf(table)]))
}

/** The tables say the same as before, column by column: the ledger knows them as they are. */
function changed(table) {
  const config = tableConfig(table)
  // The numbers of a partition never meet those of another, whatever the region.
  if (table.name === 'entries') return { ...config, key: ['seq'], columns: { ...config.columns, region: 'string' } }
  return { ...config, columns: { ...config.columns, tag: 'string' } }
}
