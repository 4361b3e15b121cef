import { appendFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Version } from '../../src/version.ts'
import { LIVE_TABLES, LiveLake } from './live-lake.ts'
import { ReaderProcess, READERS, type Job } from './readers.ts'
import { canonical, type Canonical, type Row } from './value.ts'

// Engines that we did not write read versions of keyed tables while the stream, compaction and expiry go on. Whenever
// one looks, a version is what the log below its positions says.

/** Versions that are pinned, of them so many before everything that is kept no longer is deleted. */
const [PINS, PINS_BEFORE_EXPIRY] = [10, 6]
/** Between one pinned version and the next, and before the first. */
const [VERSIONS_BETWEEN, COMPACTIONS_BETWEEN] = [3n, 1]
const TIMEOUT_MS = 180_000

let folder: string
let lake: LiveLake
let readers: readonly ReaderProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kappalake-live-'))
  readers = READERS.map((reader) => new ReaderProcess(reader))
  lake = await LiveLake.start(folder)
})

afterAll(async () => {
  await lake?.close()
  await Promise.all(readers.map((reader) => reader.close()))
  await rm(folder, { recursive: true, force: true })
})

test('every reader finds the fold of the log in every version', { timeout: TIMEOUT_MS }, async () => {
  const pins: Version[] = []
  let filesBefore: readonly string[] = []
  let compactionsBefore = 0
  let [deleted, withDeletes] = [0, 0]
  while (pins.length < PINS) {
    const after = pins.at(-1)?.number ?? VERSIONS_BETWEEN
    const pin = await lake.until(after + VERSIONS_BETWEEN, lake.compactions + COMPACTIONS_BETWEEN)
    if (pins.length === 0) compactionsBefore = lake.compactions
    if (pins.length === 0) filesBefore = await lake.files()
    pins.push(pin)
    await readAll(pin, deleted > 0)
    if (await hasDeletes(pin)) withDeletes++
    if (pins.length !== PINS_BEFORE_EXPIRY) continue
    const expired = await lake.expire(filesBefore, pins[0]!.number)
    expect(expired.versions).toBeGreaterThan(0)
    expect(expired.files).toBeGreaterThan(0)
    deleted = expired.files
  }
  // Compaction has gone on since, and what stood beside the first of them is deleted.
  for (const pin of pins.filter((_, index) => index % 2 === 0)) await readAll(pin, true)

  const compactions = lake.compactions - compactionsBefore
  expect(compactions).toBeGreaterThanOrEqual(PINS - 1)
  // A compaction just before a pin leaves none.
  expect(withDeletes).toBeGreaterThanOrEqual(2)
  expect((await lake.until(0n, 0)).number).toBeGreaterThan(pins.at(-1)!.number)
})

/** Each table of a version by each reader: all columns of all rows, and how many it counts. */
async function readAll(version: Version, isHistoryGone: boolean): Promise<void> {
  for (const definition of LIVE_TABLES) {
    const { metadata } = version.tables[definition.name]!
    const { fields } = (await openTable(lake.storage, metadata)).schema
    const cells = (row: Row) => Object.fromEntries(fields.map(({ name, type }) => [name, canonical(type, row[name]!)]))
    const want = byId(lake.fold(definition, version.positions).map(cells))
    expect(want.length).toBeGreaterThan(50)
    const job: Job = {
      table: definition.name,
      metadata: `file://${folder}/${metadata}`,
      fields,
      key: 'id',
      predicates: [],
      snapshots: [],
      lineage: false,
      isHistoryGone,
    }
    await Promise.all(
      readers.map(async (process) => {
        const answer = await process.ask(job)
        const at = { reader: process.reader, table: definition.name, version: version.number }
        expect({ ...at, error: answer.error, problems: answer.problems }).toEqual({
          ...at,
          error: undefined,
          problems: [],
        })
        expect({ ...at, count: answer.count, rows: byId(answer.rows) }).toEqual({
          ...at,
          count: want.length,
          rows: want,
        })
        count(process.reader, want.length * fields.length)
      }),
    )
  }
}

async function hasDeletes(version: Version): Promise<boolean> {
  const files = await storedFiles(lake.storage, await openTable(lake.storage, version.tables['by_offset']!.metadata))
  const deleted = await Promise.all(files.map((file) => readDeletedRows(lake.storage, file)))
  return deleted.some(({ count }) => count > 0)
}

function byId(rows: readonly Readonly<Record<string, Canonical>>[]): readonly Readonly<Record<string, Canonical>>[] {
  return rows.toSorted((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1))
}

/** Figures for `npm run interop`, one JSON line each. */
function count(reader: string, value: number): void {
  const file = process.env['KAPPALAKE_FIGURES']
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what: 'live', reader, value })}\n`)
}
