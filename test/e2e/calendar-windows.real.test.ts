import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { defineLake, open, table, tumbling, type Lake } from '../../src/index.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Settings } from '../../src/settings.ts'
import type { Version } from '../../src/version.ts'
import { ReaderProcess, type Reader } from '../interop/readers.ts'
import { startKafka, type TestKafka } from '../support/kafka.ts'
import { record } from '../support/log.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'

// Windows of a wall clock, and rows that go when they are old: from a broker through a lake of its own processes to
// engines that we did not write.

const JUDGES: readonly Reader[] = ['pyiceberg', 'duckdb']
const HOUR_MS = 3_600_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-calendar-'))
const opened: Lake[] = []
let kafka: TestKafka
let readers: readonly ReaderProcess[] = []
beforeAll(async () => {
  readers = JUDGES.map((reader) => new ReaderProcess(reader))
  kafka = await startKafka()
})
afterEach(async () => {
  for (const lake of opened.splice(0)) await lake.close()
})
afterAll(async () => {
  await kafka?.stop()
  await Promise.all(readers.map((reader) => reader.close()))
  rmSync(folder, { recursive: true, force: true })
})

const visits = table('visits', {
  from: { topic: 'visits' },
  columns: { at: 'timestamptz required' },
  eventTime: { column: 'at', outOfOrderness: '0s' },
})
const berlin = { timeZone: 'Europe/Berlin', select: { n: 'count()' } } as const
const byHour = tumbling('by_hour', visits, { size: '1h', ...berlin })
const byDay = tumbling('by_day', visits, { size: '1 day', ...berlin })
const byMonth = tumbling('by_month', visits, { size: '1 month', ...berlin })
const recent = tumbling('recent', visits, { size: '1 day', ...berlin, retain: '2d' })
const definition = defineLake({ calendar: [visits, byHour, byDay, byMonth, recent] })

/** In UTC, around the nights in which the clocks of Berlin are changed. */
const SPRING = ['03-28T22:30', '03-28T23:30', '03-29T00:30', '03-29T01:30', '03-29T21:30', '03-29T22:30', '03-31T21:30']
const AUTUMN = ['10-24T21:30', '10-24T22:30', '10-25T00:30', '10-25T01:30', '10-25T22:30', '10-25T23:30', '10-31T22:30']
const LAST = ['10-31T23:30', '11-01T10:00', '11-03T10:00', '11-03T10:30']

/** Start, end and count, in UTC: a day of 23 hours, one of 25, months that begin at 22 and at 23 o'clock. */
const DAYS = [
  '03-27T23 03-28T23 1',
  '03-28T23 03-29T22 4',
  '03-29T22 03-30T22 1',
  '03-30T22 03-31T22 1',
  '10-23T22 10-24T22 1',
  '10-24T22 10-25T23 4',
  '10-25T23 10-26T23 1',
  '10-30T23 10-31T23 1',
  '10-31T23 11-01T23 2',
  '11-02T23 11-03T23 2',
]
const MONTHS = ['02-28T23 03-31T22 7', '09-30T22 10-31T23 7', '10-31T23 11-30T23 4']
/** What was three o'clock follows on one at once in spring; in autumn one hour is two. */
const HOURS_OF_CHANGE = ['03-29T00 03-29T01 1', '03-29T01 03-29T02 1', '10-25T00 10-25T02 2']

async function start(store: Settings['store'], at: string): Promise<Lake> {
  const settings: Settings = {
    ...shopSettings(store, boundedShop(0), at),
    source: { kind: 'kafka', kafka: { brokers: kafka.brokers } },
  }
  const lake = await open(definition, settings)
  opened.push(lake)
  return lake
}

/** Resolves when it is committed. */
async function produce(lake: Lake, times: readonly string[]): Promise<Version> {
  const instants = times.map((time) => `2026-${time}:00Z`)
  await kafka.produce(
    'visits',
    0,
    instants.map((at) => record(JSON.stringify({ at }), undefined, Date.parse(at))),
  )
  return lake.pipelines[0]!.flush()
}

/** As `DAYS` has them, of our queries. */
async function rowsOf(lake: Lake, name: string): Promise<string[]> {
  const short = (column: string) => `strftime(${column}, '%m-%dT%H')`
  const sql = `SELECT ${short('window_start')} || ' ' || ${short('window_end')} || ' ' || n AS text FROM ${name} ORDER BY window_start`
  return (await lake.sql<{ text: string }>(sql)).map(({ text }) => text)
}

/** The same, of engines that read the files. */
async function judge(version: Version, store: string, name: string): Promise<void> {
  const storage = await openStorage({ url: `file:${store}` }, systemClock)
  const { metadata } = version.tables[name]!
  const { fields } = (await openTable(storage, metadata)).schema
  await storage.close()
  const job = {
    table: name,
    metadata: `file://${store}/${metadata}`,
    fields,
    key: 'window_start',
    predicates: [],
    snapshots: [],
    lineage: false,
    isHistoryGone: true,
  }
  for (const reader of readers) {
    const { rows, count, error, problems } = await reader.ask(job)
    const text = (value: unknown) => String(value).slice(5, 13)
    const found = rows.map((row) => `${text(row['window_start'])} ${text(row['window_end'])} ${String(row['n'])}`)
    const wanted = EXPECTED[name]!
    expect([reader.reader, name, error, problems]).toEqual([reader.reader, name, undefined, []])
    expect([found.toSorted(), count]).toEqual([wanted, wanted.length])
  }
}

// C is 3 November 10:30 less a millisecond; what ended more than two days before that is gone.
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  by_day: DAYS,
  by_month: MONTHS,
  recent: DAYS.slice(-2),
}

test('days and months of Berlin, and rows that are kept for two days, as every reader sees them', async () => {
  await kafka.createTopic('visits', 1)
  const at = mkdtempSync(path.join(folder, 'lake-'))
  const store = { url: `file:${at}/lake` }
  await trustStore(store)
  let lake = await start(store, at)
  await produce(lake, SPRING)
  expect(await rowsOf(lake, 'by_day')).toEqual(DAYS.slice(0, 4))
  // C is 31 March 21:30; the 29th ended at 22 o'clock on the 29th.
  expect(await rowsOf(lake, 'recent')).toEqual(expect.arrayContaining(DAYS.slice(1, 4)))
  await lake.close()

  lake = await start(store, at)
  // What became final with one record goes with the commit after it.
  let version = await produce(lake, AUTUMN)
  for (const time of LAST) version = await produce(lake, [time])
  expect(version.watermarkMs).toBe(Date.parse('2026-11-03T10:30Z') - 1)
  expect(await rowsOf(lake, 'by_day')).toEqual(DAYS)
  expect(await rowsOf(lake, 'by_month')).toEqual(MONTHS)
  expect(await rowsOf(lake, 'by_hour')).toEqual(expect.arrayContaining(HOURS_OF_CHANGE))
  // Exactly those that ended before C − 2 days, and nothing of the source.
  const cutMs = version.watermarkMs! - 48 * HOUR_MS
  expect(await rowsOf(lake, 'recent')).toEqual(
    DAYS.filter((row) => Date.parse(`2026-${row.slice(9, 17)}:00Z`) >= cutMs),
  )
  expect(await lake.sql('SELECT count(*) AS n FROM visits')).toEqual([{ n: 18n }])
  for (const name of Object.keys(EXPECTED)) await judge(version, `${at}/lake`, name)
})
