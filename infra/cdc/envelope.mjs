// Change envelopes as Debezium's connector for PostgreSQL writes them, bare or wrapped in their schema.

/** In the place of a large value that an update left as it was. */
export const UNAVAILABLE = '__debezium_unavailable_value'

/** Value and key of one change, as texts. `before` and `after` are rows as `wireRow` makes them, or null. */
export function envelope(table, { op, key, before, after, at }) {
  const payload = {
    before,
    after,
    source: {
      version: '3.7.0.Final',
      connector: 'postgresql',
      name: 'shop',
      ts_ms: at.timeMs,
      snapshot: op === 'r' ? 'true' : 'false',
      db: 'shop',
      sequence: `[null,"${at.lsn}"]`,
      schema: 'public',
      table: table.name,
      txId: at.lsn >> 3,
      lsn: at.lsn,
      xmin: null,
    },
    transaction: null,
    op,
    ts_ms: at.timeMs + 3,
  }
  return { key: recordKey(table, key), value: table.isWrapped ? wrapped(valueSchema(table), payload) : text(payload) }
}

/** The record's key; also that of the null value after a delete. */
export function recordKey(table, key) {
  return table.isWrapped ? wrapped(keySchema(table), key) : text(key)
}

/** A row of the ledger, whose values are texts as the lake's HTTP API prints them, as it stands in an envelope. */
export function wireRow(table, row) {
  return Object.fromEntries(Object.entries(table.columns).map(([name, { lake }]) => [name, wireValue(lake, row[name])]))
}

/** Whether a decimal's base64 could be digits. */
export function isAmbiguous(value) {
  return /^\d+(?:[eE]\+?\d+)?$/.test(unscaled(value))
}

function wireValue(type, value) {
  if (value === null) return null
  if (type === 'long') return new Digits(value)
  if (type === 'date') return Date.parse(`${value}T00:00:00Z`) / 86_400_000
  if (type === 'timestamp(us)') return new Digits(microseconds(value))
  if (type === 'decimal(18,4)') return unscaled(value)
  if (type === 'decimal(38,9)') {
    // As few digits behind the point as the number needs, as for `numeric` without a scale.
    const short = value.replace(/\.?0+$/, '')
    return { scale: short.split('.')[1]?.length ?? 0, value: unscaled(short) }
  }
  return value
}

/** A whole number beyond 2^53, which JSON.stringify would round. */
class Digits {
  constructor(text) {
    this.text = text
  }

  toJSON() {
    return `\u0001${this.text}\u0001`
  }
}

function text(value) {
  return JSON.stringify(value).replace(/"\\u0001(-?\d+)\\u0001"/g, '$1')
}

function wrapped(schemaText, payload) {
  return `{"schema":${schemaText},"payload":${text(payload)}}`
}

function microseconds(value) {
  const [, seconds, fraction] = /^(.*)\.(\d{6})Z$/.exec(value)
  return String(BigInt(Date.parse(`${seconds}Z`)) * 1_000n + BigInt(fraction))
}

/** Base64 of the digits without their point: two's complement, big endian, in as few bytes as hold it. */
function unscaled(decimal) {
  const number = BigInt(decimal.replace('.', ''))
  let bytes = 1
  while (BigInt.asIntN(8 * bytes, number) !== number) bytes++
  const hex = BigInt.asUintN(8 * bytes, number)
    .toString(16)
    .padStart(2 * bytes, '0')
  return Buffer.from(hex, 'hex').toString('base64')
}

const schemas = new Map()

function keySchema(table) {
  return cached(`${table.name}.key`, () => ({
    type: 'struct',
    fields: table.key.map((name) => ({ ...table.columns[name].schema, optional: false, field: name })),
    optional: false,
    name: `shop.public.${table.name}.Key`,
  }))
}

function valueSchema(table) {
  const rowSchema = (field) => ({
    type: 'struct',
    fields: Object.entries(table.columns).map(([name, { schema }]) => ({
      ...schema,
      optional: !table.key.includes(name),
      field: name,
    })),
    optional: true,
    name: `shop.public.${table.name}.Value`,
    field,
  })
  return cached(`${table.name}.value`, () => ({
    type: 'struct',
    fields: [
      rowSchema('before'),
      rowSchema('after'),
      {
        type: 'struct',
        fields: [
          { type: 'int64', optional: false, field: 'ts_ms' },
          { type: 'int64', optional: true, field: 'lsn' },
        ],
        optional: false,
        name: 'io.debezium.connector.postgresql.Source',
        field: 'source',
      },
      { type: 'string', optional: false, field: 'op' },
      { type: 'int64', optional: true, field: 'ts_ms' },
    ],
    optional: false,
    name: `shop.public.${table.name}.Envelope`,
    version: 2,
  }))
}

function cached(name, make) {
  if (!schemas.has(name)) schemas.set(name, JSON.stringify(make()))
  return schemas.get(name)
}
