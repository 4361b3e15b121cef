// A change stream and the table that it describes: both are a function of seed, partition and offset alone, so that
// whoever knows the seed knows the table at every offset.
import { randomOf } from '../exact/random.mjs'
import { envelope, isAmbiguous, recordKey, UNAVAILABLE, wireRow } from './envelope.mjs'

const EPOCH_MS = Date.UTC(2026, 0, 1)
const LONGS = ['9223372036854775807', '-9223372036854775808', '0', '-1', '9007199254740993']
/** Some that differ only in how Unicode composes them: other bytes, other keys. */
const REGIONS = ['north', 'São Paulo', 'Sa\u0303o Paulo', 'zażółć', '🙂🙃', ' ', '"quoted\\"', 'Ω']
const WORDS = ['tea', 'zażółć gęślą', 'naïve', '🙂 🏳️‍🌈', '日本語', '', 'line\nbreak', '"', '\\u0000', '\u2028']
/** A row, poison, or what changes nothing. */
const POISON = 0.002
const KEYLESS = 0.001

/** One partition of one table, read from its first offset on. */
export class ChangeStream {
  /** The table's rows of this partition at `offset`, by `keyText`: `{values, offset}`. */
  rows = new Map()
  /** Offsets so far whose record becomes a dead letter. */
  deadLetters = []
  /** Of the next record. */
  offset = 0
  #table
  #partition
  #random
  #queue = []
  #live = []
  #dead = []
  #made = 0
  #snapshot
  #keysMax
  #isPartial

  constructor(table, partition, { seed, keys, isPartial = false }) {
    this.#table = table
    this.#partition = partition
    this.#random = randomOf(seed * 1_009 + partition * 31 + (table.isWrapped ? 7 : 13))
    this.#keysMax = keys
    this.#isPartial = isPartial
    this.#snapshot = keys >> 1
  }

  /** The record at `offset`, `{key, value}` with texts or null; `rows` then include it. */
  next() {
    return this.#advance()()
  }

  skipTo(offset) {
    if (offset < this.offset) throw new Error(`the stream is at ${this.offset} and cannot go back to ${offset}`)
    while (this.offset < offset) this.#advance()
  }

  /** Goes behind the next record; its texts are made by whoever wants them. */
  #advance() {
    if (this.#queue.length === 0) this.#act()
    const { change, record } = this.#queue.shift()
    this.#apply(change)
    this.offset++
    return record
  }

  #apply(change) {
    if (change === undefined) return
    if (change.kind === 'put') this.rows.set(change.id, { values: change.values, offset: this.offset })
    else if (change.kind === 'delete') this.rows.delete(change.id)
    else this.deadLetters.push(this.offset)
  }

  /** Decides what happens next; one act is one to three records. */
  #act() {
    const draw = this.#random()
    if (this.#snapshot > 0) {
      this.#snapshot--
      return this.#insert('r')
    }
    if (this.#live.length === 0) return this.#insert('c')
    if (draw < POISON) return this.#poison()
    if (draw < POISON + KEYLESS) return this.#push(() => ({ key: null, value: null }))
    if (draw < 0.68) return this.#update('u')
    if (draw < 0.7) return this.#update('r') // an incremental snapshot meets rows that are there already
    if (draw < 0.75) return this.#changeKey()
    if (draw < 0.86 || this.#live.length >= this.#keysMax) return this.#delete()
    return this.#insert('c')
  }

  #insert(op) {
    const key = this.#takeDead() ?? this.#newKey()
    this.#put(op, key, this.#values(key), null)
    this.#live.push(key)
  }

  #update(op) {
    const key = this.#live[this.#below(this.#live.length)]
    const { values } = this.rows.get(keyText(this.#table, key))
    const after = { ...values }
    const absent = new Set()
    for (const [name, value] of Object.entries(this.#values(key)))
      if (this.#random() < 0.4) after[name] = value
      else if (this.#isPartial && op === 'u' && !this.#table.key.includes(name)) absent.add(name)
    // A large value that the update left alone is not in the log; the snapshot reads all.
    const isUnavailable = op === 'u' && !absent.has('doc') && this.#random() < 0.5
    if (isUnavailable) after.doc = values.doc
    const before = op === 'u' && this.#random() < 0.3 ? values : null
    this.#put(op, key, after, before, { unavailable: isUnavailable ? { doc: UNAVAILABLE } : {}, absent })
  }

  #delete() {
    const key = this.#takeLive()
    this.#remove(key)
    this.#dead.push(key)
  }

  #changeKey() {
    const from = this.#takeLive()
    const { values } = this.rows.get(keyText(this.#table, from))
    const to = this.#newKey()
    this.#remove(from)
    this.#put('c', to, { ...values, ...keyValues(to) }, null)
    this.#dead.push(from)
    this.#live.push(to)
  }

  /** What no row can be made of: a text that is no JSON, a value of another type, a kept value without a row. */
  #poison() {
    const kind = this.#below(3)
    const key = kind === 2 ? (this.#takeDead() ?? this.#newKey()) : this.#live[this.#below(this.#live.length)]
    const values = this.#values(key)
    const record = this.#envelope('u', key, () => {
      const after = wireRow(this.#table, values)
      if (kind === 1) after.active = { not: 'a boolean' }
      if (kind === 2) after.doc = UNAVAILABLE
      return { before: null, after }
    })
    const broken = () => ({ ...record(), value: record().value.slice(0, -9) })
    this.#push(kind === 0 ? broken : record, { kind: 'dead' })
    if (kind === 2) this.#dead.push(key)
  }

  #put(op, key, values, before, { unavailable = {}, absent = new Set() } = {}) {
    const record = this.#envelope(op, key, () => {
      const after = { ...wireRow(this.#table, values), ...unavailable }
      for (const name of absent) delete after[name]
      return { before: before && wireRow(this.#table, before), after }
    })
    this.#push(record, { kind: 'put', id: keyText(this.#table, key), values })
  }

  /** A delete and the null value that follows it, which finds nothing. */
  #remove(key) {
    const record = this.#envelope('d', key, () => {
      const nothing = Object.fromEntries(Object.keys(this.#table.columns).map((name) => [name, null]))
      return { before: { ...nothing, ...key }, after: null }
    })
    this.#push(record, { kind: 'delete', id: keyText(this.#table, key) })
    this.#push(() => ({ key: recordKey(this.#table, key), value: null }))
  }

  #envelope(op, key, images) {
    const offset = this.offset + this.#queue.length
    const at = { lsn: 24_000_000 + offset * 56, timeMs: EPOCH_MS + offset }
    return () => envelope(this.#table, { op, key, ...images(), at })
  }

  #push(record, change) {
    this.#queue.push({ record, change })
  }

  /** Keys of partitions never meet: no key is in two. */
  #newKey() {
    const number = this.#made++ * 64 + this.#partition
    if (this.#table.key.length === 1) return { id: number }
    return { region: REGIONS[this.#below(REGIONS.length)], seq: number }
  }

  #takeDead() {
    if (this.#dead.length === 0 || this.#random() < 0.5) return undefined
    return take(this.#dead, this.#below(this.#dead.length))
  }

  #takeLive() {
    return take(this.#live, this.#below(this.#live.length))
  }

  /** A row of any values, as the lake's HTTP API prints them. */
  #values(key) {
    const maybe = (value) => (this.#random() < 0.1 ? null : value)
    const balance = decimal(this.#digits(14), 4)
    return {
      ...keyValues(key),
      name: maybe(`${WORDS[this.#below(WORDS.length)]} ${this.#below(1_000)}`),
      n: maybe(this.#random() < 0.2 ? LONGS[this.#below(LONGS.length)] : String(this.#below(2 ** 50))),
      active: maybe(this.#random() < 0.5),
      score: maybe(this.#random() < 0.5 ? this.#below(1_000) / 8 : -this.#random()),
      // Without a schema nobody can tell base64 of digits alone from a number's own text.
      balance: maybe(!this.#table.isWrapped && isAmbiguous(balance) ? '0.0000' : balance),
      rate: maybe(decimal(this.#digits(29), 9)),
      born: maybe(new Date((this.#below(40_000) - 12_000) * 86_400_000).toISOString().slice(0, 10)),
      seen: maybe(this.#time()),
      created: maybe(this.#time()),
      tag: maybe(this.#uuid()),
      bits: maybe(Buffer.from(this.#hex(2 * this.#below(9)), 'hex').toString('base64')),
      doc: maybe(this.#hex(20).repeat(1 + this.#below(30)) + WORDS[this.#below(WORDS.length)]),
    }
  }

  #time() {
    const ms = Date.UTC(1960, 0, 1) + this.#below(100 * 365 * 86_400) * 1_000
    return `${new Date(ms).toISOString().slice(0, 19)}.${String(this.#below(1_000_000)).padStart(6, '0')}Z`
  }

  #uuid() {
    return this.#hex(32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  }

  #hex(digits) {
    let text = ''
    while (text.length < digits) text += this.#below(0x1000000).toString(16).padStart(6, '0')
    return text.slice(0, digits)
  }

  /** A whole number of up to so many digits, either sign. */
  #digits(most) {
    let text = ''
    for (let left = 1 + this.#below(most); left > 0; left--) text += this.#below(10)
    return this.#random() < 0.3 ? -BigInt(text) : BigInt(text)
  }

  #below(limit) {
    return Math.floor(this.#random() * limit)
  }
}

/** Names a row among those of its table. */
export function keyText(table, values) {
  return JSON.stringify(table.key.map((name) => String(values[name])))
}

/** A key as it stands in a row of the ledger: a long as text. */
function keyValues({ id, ...others }) {
  return id === undefined ? others : { id: String(id) }
}

function take(list, index) {
  const taken = list[index]
  list[index] = list.at(-1)
  list.pop()
  return taken
}

function decimal(unscaled, scale) {
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0')
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}
