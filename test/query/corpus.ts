import { readFileSync } from 'node:fs'
import path from 'node:path'

/** Statements of `test/fixtures/sql`, one a line. */
export function statements(name: 'attacks' | 'families' | 'bombs' | 'legitimate'): readonly string[] {
  return readFileSync(path.resolve(import.meta.dirname, `../fixtures/sql/${name}.sql`), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
}

/** What a statement becomes by writing it in another way, or by putting it where another one has its parts. */
type Mutation = (sql: string, pick: (below: number) => number) => string

const MUTATIONS: readonly Mutation[] = [
  (sql, pick) => outsideQuotes(sql, (text) => text.replace(/[a-z]/gi, (c) => (pick(2) ? c.toUpperCase() : c))),
  (sql, pick) =>
    outsideQuotes(sql, (text) =>
      text.replaceAll(' ', () => ['/**/', '\t', '\n-- x\n', '\u00a0', ' /* ; */ '][pick(5)]!),
    ),
  (sql) => outsideQuotes(sql, (text) => text.replace(/\b([a-z]\w*_\w+)\s*\(/gi, '"$1"(')),
  (sql) => sql.replace(/'([^'\\$]*)'/g, '$$$$$1$$$$'),
  (sql) => sql.replace(/'([^'\\$]*)'/g, '$$q$$$1$$q$$'),
  (sql) => sql.replace(/'([^'\\]+)'/g, (_, text: string) => `e'${escaped(text)}'`),
  (sql) => outsideQuotes(sql, (text) => text.replace(/\bfrom (\w+)\(/gi, 'from system.main.$1(')),
  (sql) => outsideQuotes(sql, (text) => text.replace(/\bfrom (\w+)\b(?!\()/gi, 'from memory.main.$1')),
  (sql) => `select * from (${sql})`,
  (sql) => `select (${sql})`,
  (sql) => `(((${sql})))`,
  (sql) => `with t as (${sql}) select * from t`,
  (sql) => `with t as (select 1), u as (with v as (${sql}) select * from v) select * from t`,
  (sql) => `with orders as (${sql}) select 1`,
  (sql) => `select * from orders o, lateral (${sql}) l`,
  (sql) => `select * from orders where exists (${sql})`,
  (sql) => `select 1 union all (${sql})`,
  (sql) => `(${sql}) intersect select 1`,
  (sql) => `select list_transform([1], lambda x: exists (${sql}))`,
  (sql) => `select case when false then (${sql}) end`,
  (sql) => `from orders select id order by (${sql})`,
  (sql) => `pivot (${sql}) on id using count(*)`,
  (sql) => `from (${sql}) unpivot (v for n in (id))`,
  (sql) => `explain ${sql}`,
  (sql) => `describe ${sql}`,
  (sql) => `create table x as ${sql}`,
  (sql) => `copy (${sql}) to '/dev/stdout'`,
  (sql) => `select 1; ${sql}`,
  (sql) => `${sql};`,
  (sql) => `${sql}; select 1`,
  (sql) => `;${sql}`,
  (sql) => `\ufeff${sql}`,
]

/** Statements made of others by one to three mutations; the same for the same seed. */
export function mutated(sources: readonly string[], count: number, seed: number): readonly string[] {
  const pick = picker(seed)
  // A word alone, such as `commit`, is the name of a column where an expression stands.
  const texts = sources.filter((sql) => sql.includes(' '))
  return Array.from({ length: count }, () => {
    let sql = texts[pick(texts.length)]!
    for (let left = 1 + pick(3); left > 0; left--) sql = MUTATIONS[pick(MUTATIONS.length)]!(sql, pick)
    return sql
  })
}

function outsideQuotes(sql: string, change: (text: string) => string): string {
  return sql
    .split(/('(?:[^']|'')*'|"(?:[^"]|"")*")/)
    .map((part, index) => (index % 2 === 0 ? change(part) : part))
    .join('')
}

function escaped(text: string): string {
  return [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
}

/** Numbers below a bound, by a generator of 32 bits (mulberry32). */
function picker(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
