// What the tables must hold at the positions of a version, and how that differs from what a reader found.
import { ChangeStream, keyText } from './stream.mjs'
import { TABLES } from './tables.mjs'

export class Ledger {
  #options
  #partitions
  #streams

  /** @param {{ partitions: number, seed: number, keys: number }} options */
  constructor({ partitions, ...options }) {
    this.#options = options
    this.#partitions = partitions
    this.#begin()
  }

  #begin() {
    this.#streams = new Map(
      TABLES.flatMap((table) =>
        Array.from({ length: this.#partitions }, (_, partition) => [
          `${table.topic}/${partition}`,
          { table, partition, stream: new ChangeStream(table, partition, this.#options) },
        ]),
      ),
    )
  }

  /** Goes to `positions`, an object of next offsets by `topic/partition`; forward is cheap, backward starts again. */
  moveTo(positions) {
    const at = (id) => Number(positions[id] ?? 0)
    if ([...this.#streams].some(([id, { stream }]) => stream.offset > at(id))) this.#begin()
    for (const [id, { stream }] of this.#streams) stream.skipTo(at(id))
  }

  /** Rows of a table with their place in the log, by key; the very objects of the ledger, not to be changed. */
  rows(table) {
    const all = new Map()
    for (const { partition, stream } of this.#of(table))
      for (const [id, { values, offset }] of stream.rows) all.set(id, { values, partition, offset })
    return all
  }

  /** `partition,offset` of each record that must be a dead letter. */
  deadLetters(table) {
    return this.#of(table).flatMap(({ partition, stream }) =>
      stream.deadLetters.map((offset) => `${partition},${offset}`),
    )
  }

  #of(table) {
    return [...this.#streams.values()].filter((entry) => entry.table.name === table.name)
  }
}

/**
 * Compares rows as the HTTP API prints them with those of the ledger, cell by cell. Answers counts, all 0 when they are
 * equal, and the first difference as text.
 */
export function compareRows(table, expected, found) {
  const counts = { missing: 0, twice: 0, extra: 0, cells: 0 }
  let first
  const differs = (what, text) => {
    counts[what]++
    first ??= `${table.name}: ${what}: ${text}`
  }
  const seen = new Set()
  for (const row of found) {
    const id = keyText(table, row)
    if (seen.has(id)) differs('twice', id)
    seen.add(id)
    const ledger = expected.get(id)
    if (ledger === undefined) {
      differs('extra', `${id} of ${row._kafka_partition}@${row._offset}`)
      continue
    }
    const wanted = { ...ledger.values, _kafka_partition: ledger.partition, _offset: String(ledger.offset) }
    for (const [name, value] of Object.entries(wanted))
      if (row[name] !== value)
        differs('cells', `${id}.${name} is ${JSON.stringify(row[name])} instead of ${JSON.stringify(value)}`)
  }
  for (const [id, { partition, offset }] of expected)
    if (!seen.has(id)) differs('missing', `${id} of ${partition}@${offset}`)
  return { ...counts, first }
}
