// The pipelines of the run: what stands in the configuration, and what each window means in plain code.
import { average, exactSum } from './exact.mjs'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
/** So long that no partition is idle: then nothing that was final is ever written again. */
const IDLE_AFTER = '10m'

const at = (outOfOrderness) => ({
  column: 'timestamp',
  unit: 'ms',
  outOfOrderness,
  idleAfter: IDLE_AFTER,
  maxFutureSkew: '5m',
})

/** Topics with their tables; `spanMs` is how much event time the records go through, up to the start of the run. */
export const SOURCES = {
  orders: {
    topic: 'orders',
    key: 'order_id',
    outOfOrdernessMs: 5_000,
    spanMs: 12 * HOUR,
    latestMs: 3 * HOUR,
    config: {
      from: { topic: 'orders' },
      key: ['order_id'],
      columns: {
        order_id: 'string required',
        customer_id: 'string',
        amount: 'double',
        timestamp: 'long',
        status: 'string',
      },
      eventTime: at('5s'),
    },
  },
  events: {
    topic: 'events',
    outOfOrdernessMs: 10 * MINUTE,
    spanMs: 4 * HOUR,
    latestMs: 20 * MINUTE,
    config: {
      from: { topic: 'events' },
      columns: { user_id: 'string', type: 'string', amount: 'double', timestamp: 'long' },
      eventTime: at('10m'),
    },
  },
  metrics: {
    topic: 'metrics',
    outOfOrdernessMs: 5_000,
    spanMs: 3 * HOUR,
    latestMs: 15 * MINUTE,
    config: {
      from: { topic: 'metrics' },
      columns: { sensor_id: 'string', value: 'double', timestamp: 'long' },
      eventTime: at('5s'),
    },
  },
  // So short that a minute of it has some fifty errors of the busiest services.
  processed_events: {
    topic: 'processed-events',
    outOfOrdernessMs: 5_000,
    spanMs: 20 * MINUTE,
    latestMs: 5 * MINUTE,
    config: {
      from: { topic: 'processed-events' },
      columns: { user_id: 'string', event_type: 'string', timestamp: 'long', service_name: 'string' },
      eventTime: at('5s'),
    },
  },
}

const SELECT_REVENUE = {
  order_count: { type: 'bigint', of: (rows) => BigInt(rows.length) },
  total_amount: { type: 'double', of: (rows) => exactSum(valuesOf(rows, 'amount')) },
}

const REVENUE_SQL = `SELECT customer_id, TUMBLE_START(timestamp, INTERVAL '1' HOUR) AS window_start,
  COUNT(*) AS order_count, SUM(amount) AS total_amount
FROM orders GROUP BY customer_id, TUMBLE(timestamp, INTERVAL '1' HOUR)`

/** Each: its configuration, and for the recomputation `windowsOf`, `where`, `groupBy`, `select`. */
export const WINDOWS = [
  {
    // P1
    name: 'revenue',
    source: 'orders',
    input: 'events',
    groupBy: 'customer_id',
    windowsOf: (ms) => hops(ms, HOUR, HOUR),
    where: () => true,
    select: SELECT_REVENUE,
    config: {
      source: 'orders',
      tumbling: { size: '1h' },
      input: 'events',
      groupBy: ['customer_id'],
      select: { order_count: 'count()', total_amount: 'sum(amount)' },
    },
  },
  {
    // P1-rows
    name: 'revenue_rows',
    source: 'orders',
    input: 'rows',
    groupBy: 'customer_id',
    windowsOf: (ms) => hops(ms, HOUR, HOUR),
    where: () => true,
    select: SELECT_REVENUE,
    config: {
      source: 'orders',
      tumbling: { size: '1h' },
      input: 'rows',
      groupBy: ['customer_id'],
      select: { order_count: 'count()', total_amount: 'sum(amount)' },
    },
  },
  {
    // P1-SQL
    name: 'revenue_sql',
    source: 'orders',
    input: 'events',
    groupBy: 'customer_id',
    windowsOf: (ms) => hops(ms, HOUR, HOUR),
    where: () => true,
    select: SELECT_REVENUE,
    config: { source: 'orders', input: 'events', sql: REVENUE_SQL },
  },
  {
    // P2-alert
    name: 'alerts',
    source: 'processed_events',
    input: 'events',
    groupBy: 'service_name',
    windowsOf: (ms) => hops(ms, MINUTE, MINUTE),
    where: () => true,
    select: {
      errors: { type: 'bigint', of: (rows) => BigInt(errorsOf(rows)) },
      message: {
        type: 'varchar',
        of: (rows) => (errorsOf(rows) > 50 ? `High error rate: ${errorsOf(rows)} errors in 60s` : null),
      },
    },
    // What its users read on the topic, of a row as it was published.
    sentence: ({ errors, message }) => message === `High error rate: ${errors} errors in 60s` && Number(errors) > 50,
    config: {
      source: 'processed_events',
      tumbling: { size: '60s' },
      input: 'events',
      groupBy: ['service_name'],
      select: {
        errors: "count() where event_type = 'error'",
        message: "string = CASE WHEN errors > 50 THEN 'High error rate: ' || errors || ' errors in 60s' END",
      },
      to: {
        topic: 'alerts',
        where: 'errors > 50',
        select: {
          service_name: 'service_name',
          window_start: 'window_start',
          errors: 'errors',
          message: "string = 'High error rate: ' || errors || ' errors in 60s'",
        },
      },
    },
  },
  {
    // P3
    name: 'aggregated_transactions',
    source: 'events',
    input: 'events',
    groupBy: 'user_id',
    windowsOf: (ms) => hops(ms, MINUTE, MINUTE),
    where: ({ type, amount }) => type === 'transaction' && amount !== null && amount > 0,
    select: {
      transactions: { type: 'bigint', of: (rows) => BigInt(rows.length) },
      total: { type: 'double', of: (rows) => exactSum(valuesOf(rows, 'amount')) },
      mean: { type: 'double', of: (rows) => average(valuesOf(rows, 'amount')) },
      least: { type: 'double', of: (rows) => Math.min(...valuesOf(rows, 'amount')) },
      greatest: { type: 'double', of: (rows) => Math.max(...valuesOf(rows, 'amount')) },
    },
    config: {
      source: 'events',
      tumbling: { size: '1m' },
      input: 'events',
      where: "type = 'transaction' AND amount > 0",
      groupBy: ['user_id'],
      select: {
        transactions: 'count()',
        total: 'sum(amount)',
        mean: 'avg(amount)',
        least: 'min(amount)',
        greatest: 'max(amount)',
      },
      to: { topic: 'aggregated-transactions' },
    },
  },
  {
    // P4: slices, of which foreign engines see the final windows only.
    name: 'sensor_load',
    source: 'metrics',
    input: 'events',
    isSliced: true,
    groupBy: 'sensor_id',
    windowsOf: (ms) => hops(ms, 10 * MINUTE, MINUTE),
    where: () => true,
    select: { load: { type: 'double', of: (rows) => exactSum(valuesOf(rows, 'value')) } },
    config: {
      source: 'metrics',
      hopping: { size: '10m', slide: '1m' },
      input: 'events',
      groupBy: ['sensor_id'],
      select: { load: 'sum(value)' },
    },
  },
]

/** What stands in `pipelines` of a configuration. */
export function pipelineConfig(names = WINDOWS.map(({ name }) => name), format = 'json') {
  const windows = WINDOWS.filter(({ name }) => names.includes(name))
  return {
    tables: Object.fromEntries(Object.entries(SOURCES).map(([name, source]) => [name, tableConfig(source, format)])),
    windows: Object.fromEntries(windows.map(({ name, config }) => [name, config])),
  }
}

/** In Avro the records of the table with a key, whose fields are always there. */
export const AVRO = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'status', type: { type: 'enum', name: 'Status', symbols: ['created', 'paid', 'cancelled'] } },
    { name: 'timestamp', type: 'long' },
    { name: 'amount', type: 'double' },
    { name: 'customer_id', type: ['null', 'string'] },
    { name: 'order_id', type: 'string' },
  ],
}

function tableConfig({ config, key }, format) {
  if (format !== 'avro' || key === undefined) return config
  return { ...config, from: { ...config.from, value: { format, schema: AVRO }, key: 'string' } }
}

/** Starts and ends of the windows that an instant belongs to, the earliest first (rules W1, W2). */
function hops(ms, size, slide) {
  const found = []
  for (let start = Math.floor(ms / slide) * slide; start > ms - size; start -= slide)
    found.unshift([start, start + size])
  return found
}

function errorsOf(rows) {
  return rows.filter(({ event_type: type }) => type === 'error').length
}

function valuesOf(rows, name) {
  return rows.map((row) => row[name]).filter((value) => value !== null)
}
