import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import type { TableDefinition } from '../../src/define.ts'
import type { LakeEvent } from '../../src/event.ts'
import { LanePool } from '../../src/ingest/lane-pool.ts'
import type { LaneTask } from '../../src/ingest/lanes.ts'
import { shopDefinition, shopEnds } from '../../src/ingest/shop-ledger.ts'
import { openSource } from '../../src/ingest/source.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { DeletedRows, type DataFile } from '../../src/lake/table.ts'
import type { SourceSettings } from '../../src/settings.ts'
import { definition, tablePlan } from '../support/lake-table.ts'
import { cursorsAt } from '../support/log.ts'
import { mutatedBundle, type MutatedBundle } from '../support/mutated-bundle.ts'
import { PlainWriter } from '../support/plain-rows.ts'
import { boundedShop } from '../support/shop-store.ts'
import { alive } from '../support/stored-keys.ts'
import { until } from '../support/processes.ts'

const TABLE = definition({ columns: [{ name: 'k', type: { kind: 'string' }, required: true }], key: ['k'] })
const PLAN = tablePlan(TABLE)
const ROWS = Array.from({ length: 9_000 }, (_, k) => [`key number ${k}`, 0, BigInt(k), null])
const SHOP = shopDefinition.pipelines[0]!.tables[0]!
const BOUNDED = boundedShop(2_000)
const SOURCE: SourceSettings = { kind: 'shop', shop: BOUNDED }
const RECORDS = [...shopEnds(BOUNDED, BOUNDED.untilMs!)]
  .filter(([id]) => id.startsWith(`${SHOP.topic}/`))
  .reduce((sum, [, end]) => sum + Number(end), 0)
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-jobs-'))
const waiting = path.join(folder, 'waiting')
const goOn = path.join(folder, 'go-on')
const closing: (() => Promise<unknown>)[] = []
let bundle: MutatedBundle
let storage: LocalStorage
let writer: PlainWriter

beforeAll(async () => {
  storage = await LocalStorage.open(path.join(folder, 'lake'))
  writer = await PlainWriter.open()
  const text = 'await perform(await this.#tableWork(run, tables, onStep), call)'
  bundle = await mutatedBundle('jobs', [
    {
      file: 'src/lane-child.ts',
      text,
      replacement: `await (async () => {
        const { existsSync, writeFileSync } = await import('node:fs')
        if (call.method === 'fill') { die(); for (;;); }
        if (call.method === 'readKeys' && !existsSync('${goOn}')) {
          writeFileSync('${waiting}', String(process.pid))
          await new Promise(() => {})
        }
        return perform(await this.#tableWork(run, tables, onStep), call)
      })()`,
    },
  ])
})
afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  bundle?.remove()
  writer?.close()
  rmSync(folder, { recursive: true, force: true })
})

function newPool(lanes: number) {
  const events: LakeEvent[] = []
  const pool = new LanePool({
    lanes,
    childPath: path.join(bundle.folder, 'lane-child.js'),
    settings: {
      source: SOURCE,
      store: { url: storage.url },
      memoryBytesMax: 1 << 28,
    },
    microBatch: { bytesMax: 1 << 20, recordsMax: 100, ageMsMax: 50 },
    clock: systemClock,
    observer: (event) => events.push(event),
  })
  closing.push(() => pool.close())
  return { pool, died: () => events.filter((each) => each.kind === 'lane' && each.what === 'died').length }
}

/** All of a topic of the shop, into a table that nobody else has. */
async function taskOver(table: TableDefinition): Promise<LaneTask> {
  const source = openSource(SOURCE, systemClock)
  const from = await cursorsAt(source, table.topic)
  await source.close()
  return { from, tables: [tablePlan(table)] }
}

test('work on files is done by lanes as it is done here; one that is killed at it costs nothing', async () => {
  const here = await openTableWork({ tables: [TABLE], storage, clock: systemClock })
  closing.push(() => here.close())
  const { pool, died } = newPool(2)
  const { work } = pool.open('shop', [TABLE])
  const file = await writer.write(storage, PLAN.data, ROWS)
  const deleted = new DeletedRows(ROWS.length)
  for (let row = 0; row < ROWS.length; row += 3) deleted.add(row)
  const input = { file: file, firstRowId: 5n, sequenceNumber: 1n, deleted }
  const joined = await work.concatenate(PLAN.data, [input, { ...input, deleted: new DeletedRows(ROWS.length) }])
  expect(joined.recordCount).toBe(15_000)
  const side = (of: DataFile) => ({ plan: PLAN.data, rows: [{ file: of, deleted: new DeletedRows(of.recordCount) }] })
  const request = { columns: ['k'], key: ['k'], group: ['k'], samplesMax: 3, groupsMax: 3 }
  const states = { ...request, before: side(file), after: side(joined) }
  const compared = await work.compare(states)
  expect(compared).toMatchObject({ rowsBefore: 9_000n, rowsAfter: 15_000n, added: 6_000n, groupsDifferent: 6_000 })
  expect(compared).toEqual(await here.compare(states))

  const some = [input, alive(joined)]
  const [keys, ofFile] = [work.readKeys(PLAN, some), work.readKeys(PLAN, [alive(file)])]
  const pid = await until('a lane at work', () => existsSync(waiting) && pool.pids[0]!)
  writeFileSync(goOn, '')
  for (const each of pool.pids) process.kill(each, 'SIGKILL')
  expect(await keys).toEqual(await here.readKeys(PLAN, some))
  expect(await ofFile).toEqual(await here.readKeys(PLAN, [alive(file)]))
  expect(died()).toBe(2)
  expect(pool.pids).not.toContain(pid)
  expect(readdirSync(storage.scratch)).toEqual([])
})

test('work that kills every lane is given up, while other work goes on', async () => {
  const { pool, died } = newPool(2)
  const { work } = pool.open('shop', [TABLE])
  const file = await writer.write(storage, PLAN.data, ROWS.slice(0, 2))
  const filling = [{ row: 0, columns: ['k'], from: { key: file.key, row: 1 } }]
  const deadly = work.fill(PLAN.data, file, filling)
  const input = { file, firstRowId: undefined, sequenceNumber: 1n, deleted: new DeletedRows(2) }
  const harmless = work.concatenate(PLAN.data, [input, input])
  await expect(deadly).rejects.toMatchObject({ code: 'lane.failed', retryable: true, context: { deaths: 3 } })
  expect(await harmless).toMatchObject({ recordCount: 4 })
  expect(died()).toBe(3)
  expect(await work.concatenate(PLAN.data, [input])).toMatchObject({ recordCount: 2 })
})

/** Stages the whole topic, with work beside it that kills lanes or without. */
async function staged(isDisturbed: boolean) {
  const { pool, died } = newPool(2)
  const lanes = pool.open('shop', [SHOP])
  lanes.assign(await taskOver(SHOP))
  const file = await writer.write(storage, PLAN.data, ROWS.slice(0, 2))
  const filling = [{ row: 0, columns: ['k'], from: { key: file.key, row: 1 } }]
  const deadly = Promise.allSettled(isDisturbed ? [0, 1].map(() => lanes.work.fill(PLAN.data, file, filling)) : [])
  const counts = { records: 0, rows: 0, deadLetters: 0 }
  await until('all records', async () => {
    const answer = await lanes.next(500)
    if (answer.kind !== 'staged') return false
    counts.records += answer.staged.records
    for (const each of answer.staged.tables.flatMap((table) => [...table.counts.values()])) {
      counts.rows += each.rows
      counts.deadLetters += each.deadLetters
    }
    return counts.records >= RECORDS
  })
  const results = await deadly
  expect(results.map(({ status }) => status)).toEqual(results.map(() => 'rejected'))
  expect(died()).toBe(3 * results.length)
  await pool.close()
  return counts
}

test('work that kills its lanes makes no record a dead letter', async () => {
  const undisturbed = await staged(false)
  expect(undisturbed.rows).toBeGreaterThan(1_000)
  expect(await staged(true)).toEqual(undisturbed)
})

test('the end of a pipeline, and of the pool, ends its work', async () => {
  rmSync(goOn, { force: true })
  const { pool } = newPool(1)
  const { work } = pool.open('shop', [TABLE])
  const file = await writer.write(storage, PLAN.data, ROWS.slice(0, 2))
  const lanes = pool.open('other', [TABLE])
  const open = [work.readKeys(PLAN, [alive(file)]), lanes.work.readKeys(PLAN, [alive(file)])].map((each) =>
    each.catch((error: unknown) => error),
  )
  await lanes.close()
  expect(await open[1]).toMatchObject({ code: 'lane.failed' })
  await pool.close()
  expect(await open[0]).toMatchObject({ code: 'lane.failed', retryable: true })
})
