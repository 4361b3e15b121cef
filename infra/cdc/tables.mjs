// The two tables of the change streams: one under a single key whose records carry their schema, one under a composite
// key whose records are bare.

/** Columns of both, beside the key: the lake's type, DuckDB's type, and the field of a Connect schema. */
const COMMON = {
  name: column('string', 'varchar', { type: 'string' }),
  n: column('long', 'bigint', { type: 'int64' }),
  active: column('boolean', 'boolean', { type: 'boolean' }),
  score: column('double', 'double', { type: 'double' }),
  balance: column('decimal(18,4)', 'decimal(18,4)', {
    type: 'bytes',
    name: 'org.apache.kafka.connect.data.Decimal',
    version: 1,
    parameters: { scale: '4', 'connect.decimal.precision': '18' },
  }),
  rate: column('decimal(38,9)', 'decimal(38,9)', {
    type: 'struct',
    name: 'io.debezium.data.VariableScaleDecimal',
    version: 1,
    fields: [
      { type: 'int32', optional: false, field: 'scale' },
      { type: 'bytes', optional: false, field: 'value' },
    ],
  }),
  born: column('date', 'date', { type: 'int32', name: 'io.debezium.time.Date', version: 1 }),
  seen: column('timestamp(us)', 'timestamp', { type: 'int64', name: 'io.debezium.time.MicroTimestamp', version: 1 }),
  created: column('timestamptz', 'timestamptz', {
    type: 'string',
    name: 'io.debezium.time.ZonedTimestamp',
    version: 1,
  }),
  tag: column('uuid', 'uuid', { type: 'string', name: 'io.debezium.data.Uuid', version: 1 }),
  bits: column('binary', 'blob', { type: 'bytes' }),
  doc: column('string', 'varchar', { type: 'string' }),
}

export const TABLES = [
  {
    name: 'accounts',
    topic: 'shop.public.accounts',
    isWrapped: true,
    key: ['id'],
    columns: { id: column('long', 'bigint', { type: 'int64' }), ...COMMON },
  },
  {
    name: 'entries',
    topic: 'shop.public.entries',
    isWrapped: false,
    key: ['region', 'seq'],
    columns: {
      region: column('string', 'varchar', { type: 'string' }),
      seq: column('int', 'int', { type: 'int32' }),
      ...COMMON,
    },
  },
]

/** What stands in `tables` of a configuration. */
export function tableConfig(table, { isPartial = false } = {}) {
  const columns = Object.entries(table.columns).map(([name, { lake }]) => [
    name,
    table.key.includes(name) ? `${lake} required` : lake,
  ])
  return {
    from: { topic: table.topic, value: 'debezium' },
    key: table.key,
    columns: Object.fromEntries(columns),
    ...(isPartial ? { missing: 'keep' } : {}),
  }
}

function column(lake, duckdb, schema) {
  return { lake, duckdb, schema }
}
