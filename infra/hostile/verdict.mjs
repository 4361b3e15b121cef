// What must be in the tables, from the producer's records alone, against what the service gives.
import { pipelineOf, rowsOf } from '../p10/lake.mjs'
import { PIPELINES, TOPICS } from './definitions.mjs'

const COLUMNS = {
  clicks: ['id', 'n', 'status', 'amount', 'epoch_ms("at")', 'note', '_extra'],
  accounts: ['id', 'n', 'note'],
  orders: ['id', 'n', 'status', 'amount', '_extra'],
}

/** Rows and dead letters of a table: places that are missing, there twice, or hold something else. */
export async function judge(lake, table, records) {
  const pipeline = PIPELINES[table]
  const { version } = await pipelineOf(lake, pipeline)
  const ask = (sql) => rowsOf(lake, sql, pipeline, version)
  const columns = COLUMNS[table].map((sql, i) => `${sql} AS c${i}`).join(', ')
  const rows = await ask(`SELECT _kafka_partition AS p, _offset AS o, ${columns} FROM ${table}`)
  const letters = await ask(
    `SELECT _kafka_partition AS p, _offset AS o, _topic, code, "key", "value", status, attempts FROM ${table}__dlq`,
  )
  const own = records.filter((record) => record.table === table)
  return {
    rows: compared(expectedRows(table, own), found(rows), ({ row }, columns) =>
      isSame(
        row,
        [...COLUMNS[table].keys()].map((i) => columns[`c${i}`]),
      ),
    ),
    letters: compared(
      own.filter(({ codes }) => codes !== undefined),
      found(letters),
      isLetterOf(TOPICS[table]),
    ),
  }
}

function found(lines) {
  return lines.map((line) => {
    const { p, o, ...columns } = JSON.parse(line)
    return { place: `${p}/${o}`, columns }
  })
}

/** Of a table with a key, the last record of each that stood. */
function expectedRows(table, records) {
  const good = records.filter(({ codes }) => codes === undefined)
  if (table !== 'accounts') return good
  return [...new Map(good.map((record) => [record.id, record])).values()].filter(({ row }) => row !== undefined)
}

function compared(wanted, rows, isEqual) {
  const places = new Map(wanted.map((record) => [`${record.partition}/${record.offset}`, record]))
  const seen = new Set()
  const [twice, extra, wrong] = [[], [], []]
  for (const { place, columns } of rows) {
    const record = places.get(place)
    if (record === undefined) extra.push({ place, ...columns })
    else if (seen.has(place)) twice.push({ place })
    else if (!isEqual(record, columns)) wrong.push({ place, wanted: record.row ?? record.codes, ...columns })
    seen.add(place)
  }
  const missing = wanted.filter(({ partition, offset }) => !seen.has(`${partition}/${offset}`))
  const count = missing.length + twice.length + extra.length + wrong.length
  const samples = JSON.parse(
    JSON.stringify({
      missing: missing.slice(0, 2).map(({ partition, offset, codes, row }) => ({ partition, offset, codes, row })),
      twice: twice.slice(0, 2),
      extra: extra.slice(0, 2),
      wrong: wrong.slice(0, 3),
    }).slice(0, 4_000_000),
  )
  return { count, wanted: wanted.length, missing: missing.length, twice: twice.length, samples }
}

const isSame = (wanted, columns) =>
  wanted.every((value, i) => value === columns[i] || (value !== null && value === String(columns[i])))

/** Bytes as they came, the topic, one of the codes, and that nobody has touched it. */
const isLetterOf =
  (topic) =>
  ({ key, value, codes }, letter) =>
    letter._topic === topic &&
    codes.includes(letter.code) &&
    letter.key === base64(key) &&
    letter.value === (codes.includes('decode.too_large') ? null : base64(value)) &&
    letter.status === 'pending' &&
    letter.attempts === 0

const base64 = (bytes) => (bytes === null ? null : Buffer.from(bytes).toString('base64'))

/** Where a secret stands among what was printed and answered. */
export function shown(secrets, texts) {
  const places = []
  for (const [where, text] of Object.entries(texts))
    for (const [name, secret] of Object.entries(secrets)) if (text.includes(secret)) places.push(`${name} in ${where}`)
  return places
}
