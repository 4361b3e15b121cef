import { appendFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { IcebergType } from '../../src/lake/table.ts'
import { KNOWN_FAULTS, type KnownFault } from './known-faults.ts'
import { expectations, type Expected } from './predicates.ts'
import { read, READERS, type Answer, type Job, type Predicate, type Reader } from './readers.ts'
import { PLANS, writeTables, type Written } from './tables.ts'
import { canonical, type Canonical } from './value.ts'

// Every table that we write, as engines that we did not write see it: equal cell by cell, at every snapshot, and under
// predicates, which are what statistics and partition summaries can spoil.

/** Over a thousand queries by each of the engines at once, on a machine that may have two cores. */
const READ_WITHIN_MS = READERS.includes('spark') ? 1_200_000 : 600_000

let folder: string
let written: ReadonlyMap<string, Written>
const expected = new Map<string, readonly Expected[]>()
const answers = new Map<Reader, ReadonlyMap<string, Answer>>()

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kappalake-interop-'))
  const all = await writeTables(folder)
  written = new Map(all.map((one) => [one.table.name, one]))
  for (const one of all) expected.set(one.table.name, expectations(one))
  const jobs = all.map(jobOf)
  await Promise.all(READERS.map(async (reader) => answers.set(reader, byTable(await read(reader, jobs)))))
}, READ_WITHIN_MS)

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe.each(READERS)('%s', (reader) => {
  test.each(PLANS.map(({ name }) => name))('reads every cell of %s', (name) => {
    const [{ table, key, rows }, answer] = [written.get(name)!, answerOf(reader, name)]
    const want = rows.map((row) =>
      Object.fromEntries(
        table.schema.fields.map((field) => [
          field.name,
          shown(reader, field.type, canonical(field.type, row[field.name]!)),
        ]),
      ),
    )
    expect(byKey(answer.rows, key)).toEqual(byKey(want, key))
    expect(answer.count).toBe(rows.length)
    expect(answer.problems).toEqual([])
    count('cells', reader, rows.length * table.schema.fields.length)
  })

  test.each(PLANS.map(({ name }) => name))('reads every snapshot of %s', (name) => {
    const [{ snapshots }, answer] = [written.get(name)!, answerOf(reader, name)]
    for (const [id, keys] of snapshots) expect([id, sorted(answer.snapshots[id]!)]).toEqual([id, sorted(keys)])
  })

  test.each(PLANS.map(({ name }) => name))('loses no row of %s under a predicate', (name) => {
    const verdicts = verdictsOf(reader, name)
    expect(verdicts.filter(({ isRight, fault }) => !isRight && fault === undefined)).toEqual([])
    count('predicates', reader, verdicts.filter(({ isRight }) => isRight).length)
  })

  test.each(KNOWN_FAULTS.filter((fault) => fault.reader === reader))('still $why', (fault) => {
    const verdicts = PLANS.flatMap(({ name }) => verdictsOf(reader, name)).filter((one) => one.fault === fault)
    expect(verdicts.some(({ isRight }) => !isRight)).toBe(true)
  })
})

// PyIceberg has no columns of row lineage.
describe.each(READERS.filter((reader) => reader !== 'pyiceberg'))('%s', (reader) => {
  test.each(PLANS.filter(({ formatVersion }) => formatVersion === 3).map(({ name }) => name))(
    'gives each row of %s its row id and sequence number',
    (name) => {
      const { lineage } = answerOf(reader, name)
      expect(lineage).toEqual(Object.fromEntries(written.get(name)!.lineage!))
    },
  )
})

test('a table can be read by its path, by the version hint', async () => {
  const one = written.get('every_type')!
  const job = { ...jobOf(one), metadata: path.join(folder, 'tables/every_type'), predicates: [], snapshots: [] }
  const [answer] = await read('duckdb', [job])
  expect(answer!.error).toBe(undefined)
  expect(answer!.rows.length).toBe(one.rows.length)
})

interface Verdict {
  readonly table: string
  readonly predicate: Predicate
  readonly isRight: boolean
  readonly fault: KnownFault | undefined
  readonly lost: readonly string[]
  readonly gained: readonly string[]
}

function verdictsOf(reader: Reader, table: string): readonly Verdict[] {
  const answer = answerOf(reader, table)
  return expected.get(table)!.map(({ predicate, must, may, nulls }, index) => {
    // Java's generic reader takes a null for less than everything.
    const isGiven = (key: string) => reader === 'java' && predicate.op === 'lt' && nulls.has(key)
    const found = answer.predicates[index]!.filter((key) => !isGiven(key))
    const lost = [...must].filter((key) => !found.includes(key))
    const gained = found.filter((key) => !must.has(key) && !may.has(key))
    const fault = KNOWN_FAULTS.find((one) => one.reader === reader && one.matches(table, predicate))
    return { table, predicate, isRight: lost.length + gained.length === 0, fault, lost, gained }
  })
}

/** A cell as the reader is known to show it: PyIceberg gives an empty list for a null list of structs. */
function shown(reader: Reader, type: IcebergType, cell: Canonical): Canonical {
  const isStructs = typeof type === 'object' && type.type === 'list' && typeof type.element === 'object'
  return reader === 'pyiceberg' && isStructs && cell === null ? [] : cell
}

function jobOf({ table, key, snapshots, lineage }: Written): Job {
  return {
    table: table.name,
    metadata: `file://${folder}/${table.metadata}`,
    fields: table.schema.fields,
    key,
    predicates: expected.get(table.name)!.map(({ predicate }) => predicate),
    snapshots: [...snapshots.keys()],
    lineage: lineage !== undefined,
  }
}

function answerOf(reader: Reader, table: string): Answer {
  const answer = answers.get(reader)!.get(table)!
  if (answer.error !== undefined) throw new Error(`${reader} cannot read ${table}: ${answer.error}`)
  return answer
}

function byTable(list: readonly Answer[]): ReadonlyMap<string, Answer> {
  return new Map(list.map((answer) => [answer.table, answer]))
}

function byKey(rows: readonly Readonly<Record<string, Canonical>>[], key: string): unknown {
  return rows.toSorted((a, b) => (String(a[key]) < String(b[key]) ? -1 : 1))
}

function sorted(keys: readonly string[]): readonly string[] {
  return keys.toSorted()
}

/** Figures for `npm run interop`, one JSON line each. */
function count(what: string, reader: Reader, value: number): void {
  const file = process.env['KAPPALAKE_FIGURES']
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what, reader, value })}\n`)
}
