// Records in JSON, good ones and such as nobody should have sent, each with what must become of it.
import { readFileSync } from 'node:fs'
import { STATUSES } from './definitions.mjs'

const fixture = (name) => new URL(`../../test/fixtures/${name}`, import.meta.url)
const NAUGHTY = JSON.parse(readFileSync(fixture('naughty-strings/blns.json'), 'utf8'))
const TEXT_FAULTS = ['decode.json', 'decode.utf8', 'decode.depth']
/** All texts that no parser of JSON may accept. */
const NO_JSON = readFileSync(fixture('json-test-suite/cases.ndjson'), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line))
  .filter(({ name }) => name.startsWith('n_'))
  .map(({ text, hex, repeat, times, then = '' }) =>
    repeat === undefined
      ? hex === undefined
        ? Buffer.from(text)
        : Buffer.from(hex, 'hex')
      : repeat.repeat(times) + then,
  )
const BEYOND_THE_LIMIT = 17 << 20

export const pick = (random, list) => list[Math.floor(random() * list.length)]
export const decimal = (cents) => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`

/** A row of `clicks`, and the texts of its columns. */
export function click(random, k) {
  const [status, cents] = [pick(random, STATUSES), Math.floor(random() * 1e7)]
  const atMs = 1_760_000_000_000 + 7 * k
  const note = random() < 0.1 ? pick(random, NAUGHTY) : random() < 0.2 ? null : `note ${k % 97}`
  const extra = random() < 0.1 ? { more: `e${k % 13}` } : undefined
  const value = {
    id: `c${k}`,
    n: k,
    status,
    // Both spellings of one value.
    amount: random() < 0.5 ? decimal(cents) : cents / 100,
    at: random() < 0.5 ? atMs : new Date(atMs).toISOString(),
    note,
    ...extra,
  }
  const row = [`c${k}`, String(k), status, decimal(cents), String(atMs), note, extra ? JSON.stringify(extra) : null]
  return { value: JSON.stringify(value), row }
}

const without = (text, field) => JSON.stringify({ ...JSON.parse(text), [field]: undefined })
const having = (text, more) => JSON.stringify({ ...JSON.parse(text), ...more })

/** What may be wrong with a click: bytes, and the codes of which one must be said. */
const CLICK_POISON = [
  (random) => [pick(random, NO_JSON), TEXT_FAULTS],
  (_, text) => [text.slice(0, -1), ['decode.json']],
  (_, text) => [`${text}{}`, ['decode.json']],
  (_, text) => [`\ufeff${text}`, ['decode.json']],
  (_, text) => [text.replace('"n":', '"n":0'), ['decode.json']],
  (_, text) => [text.replace(/"n":\d+/, '"n":NaN'), ['decode.json']],
  () => [Buffer.alloc(0), ['decode.json']],
  () => ['[1,2]', ['decode.type']],
  (_, text) => [Buffer.from(text.replace('"note"', '"né"'), 'latin1'), ['decode.utf8']],
  (_, text) => [having(text, { note: '?' }).replace('"?"', '"\\ud800"'), ['decode.utf8']],
  (_, text) => [text.replace('{', '{"id":"twice",'), ['decode.duplicate_key']],
  (_, text) => [having(text, { n: 'no number' }), ['decode.type']],
  (_, text) => [having(text, { n: 1.5 }), ['decode.type']],
  (_, text) => [text.replace(/"n":\d+/, '"n":9223372036854775808'), ['decode.range']],
  (_, text) => [having(text, { amount: '12345678901.00' }), ['decode.range']],
  (_, text) => [having(text, { amount: 0.001 }), ['decode.range', 'decode.type']],
  (_, text) => [having(text, { status: 'lost' }), ['decode.range']],
  (_, text) => [having(text, { at: 'yesterday' }), ['decode.type', 'decode.range']],
  (_, text) => [without(text, 'id'), ['decode.required']],
  (_, text) => [having(text, { n: null }), ['decode.required']],
  (_, text) => [text.replace('{', `{"deep":${'['.repeat(101)}${']'.repeat(101)},`), ['decode.depth']],
  (_, text) => [text.replace('{', `{"deep":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)},`), ['decode.depth']],
]

/** The poison number `i` in place of a click; all kinds come in turn. */
export function badClick(random, k, i) {
  const [value, codes] = CLICK_POISON[i % CLICK_POISON.length](random, click(random, k).value)
  return { value, codes }
}

/** A value of some kilobytes that unpacks to more than a record may have. Its letter has no bytes. */
export function hugeClick(k) {
  const value = `{"id":"c${k}","n":${k},"note":"${'x'.repeat(BEYOND_THE_LIMIT)}"}`
  return { value, codes: ['decode.too_large'], isPacked: true }
}

/** A row of `accounts`, whose key stays in one partition; sometimes a null value, which removes it. */
export function account(random, k, keys) {
  const number = Math.floor(random() * keys)
  const id = `a${number}`
  if (random() < 0.1) return { number, key: id, value: null, id }
  const note = `of ${k}`
  return { number, key: id, value: JSON.stringify({ id, n: k, note }), id, row: [id, String(k), note] }
}

const ACCOUNT_POISON = [
  (text) => ({ value: text.slice(0, -2), codes: ['decode.json'] }),
  (text) => ({ value: having(text, { id: null }), codes: ['key.null'] }),
  (text) => ({ value: without(text, 'id'), codes: ['key.null'] }),
  () => ({ key: null, value: null, codes: ['key.null'] }),
  () => ({ key: Buffer.from([0xff, 0xfe]), value: null, codes: ['key.unmappable'] }),
  (text) => ({ value: having(text, { id: 7 }), codes: ['decode.type'] }),
  (text) => ({ value: having(text, { n: [] }), codes: ['decode.type'] }),
]

export function badAccount(random, k, i) {
  return { key: `poison${k}`, ...ACCOUNT_POISON[i % ACCOUNT_POISON.length](JSON.stringify({ id: `p${k}`, n: k })) }
}
