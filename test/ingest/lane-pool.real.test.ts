import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { deadLetterTable } from '../../src/define.ts'
import { lateTable, type WindowDefinition } from '../../src/define-window.ts'
import { deadLetterColumns, tableColumns } from '../../src/ingest/decode/columns.ts'
import { LanePool } from '../../src/ingest/lane-pool.ts'
import { shopDefinition } from '../../src/ingest/shop-ledger.ts'
import { lateColumns } from '../../src/window/columns.ts'
import { openSource } from '../../src/ingest/source.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { createTable, writePlan } from '../../src/lake/table.ts'
import type { LaneTask } from '../../src/ingest/lanes.ts'
import type { SourceSettings } from '../../src/settings.ts'
import { cursorsAt } from '../support/log.ts'
import { mutatedBundle, type MutatedBundle } from '../support/mutated-bundle.ts'

const SOURCE: SourceSettings = {
  kind: 'shop',
  shop: { seed: 1, epochMs: Date.UTC(2026, 0, 1), recordsPerSecond: 0, recordsAtStart: 100, untilMs: 0 },
}
const [PIPELINE] = shopDefinition.pipelines
const TABLE = PIPELINE!.tables[0]!

let folder: string
let hanging: MutatedBundle

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-lane-pool-'))
  // The first batch of a process that has not seen a hang yet never ends.
  hanging = await mutatedBundle('lane-pool', [
    {
      file: 'src/lane-child.ts',
      text: 'const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs)',
      replacement: `const { existsSync, writeFileSync } = await import('node:fs')
      if (!existsSync('${folder}/hung')) {
        writeFileSync('${folder}/hung', '')
        await new Promise(() => {})
      }
      const staged = await encoder.encode(plan, batches, fatal, baseless, clocksMs)`,
    },
    { file: 'src/lane-child.ts', text: 'const STOP_MS_MAX = 120_000', replacement: 'const STOP_MS_MAX = 500' },
  ])
})
afterAll(async () => {
  hanging.remove()
  await rm(folder, { recursive: true, force: true })
})

async function taskOver(storage: LocalStorage): Promise<LaneTask> {
  const source = openSource(SOURCE, systemClock)
  const from = await cursorsAt(source, TABLE.topic)
  await source.close()
  const { name, partitionBy } = TABLE
  const columns = tableColumns(TABLE)
  const data = await createTable(storage, { name, columns, partitionBy, formatVersion: 2 }, systemClock)
  const deadLetters = await createTable(
    storage,
    { name: deadLetterTable(name), columns: deadLetterColumns, partitionBy: [], formatVersion: 3 },
    systemClock,
  )
  const plan = { table: name, topic: TABLE.topic, data: writePlan(data), deadLetters: writePlan(deadLetters) }
  return { from, tables: [plan] }
}

describe('the pool of lanes', () => {
  it('a hang in work that was replaced meanwhile does not hold up the new work for ever', async () => {
    const storage = await LocalStorage.open(path.join(folder, 'store'))
    const task = await taskOver(storage)
    const events: string[] = []
    const pool = new LanePool({
      lanes: 1,
      childPath: path.join(hanging.folder, 'lane-child.js'),
      settings: { source: SOURCE, store: { url: storage.url }, memoryBytesMax: 256 << 20 },
      microBatch: { bytesMax: 1 << 20, recordsMax: 10_000, ageMsMax: 50 },
      clock: systemClock,
      observer: (event) => void (event.kind === 'lane' && events.push(event.what)),
    })
    try {
      const lanes = pool.open(PIPELINE!.name, [TABLE])
      lanes.assign(task)
      expect(await lanes.next(3_000)).toEqual({ kind: 'idle' })
      lanes.assign(task)
      expect(await lanes.next(10_000)).toMatchObject({ kind: 'staged' })
      expect(events).toEqual(['started', 'died', 'restarted'])
    } finally {
      await pool.close()
      await storage.close()
    }
  })

  it('stages partials and late rows for windows, from the clocks of its task on', async () => {
    const storage = await LocalStorage.open(path.join(folder, 'windows'))
    const pool = poolOver(storage)
    try {
      const lanes = pool.open(PIPELINE!.name, [TABLE], [WINDOW])
      const task = await taskOver(storage)
      const columns = lateColumns(tableColumns(TABLE))
      const name = lateTable(WINDOW.name)
      const late = await createTable(storage, { name, columns, partitionBy: [], formatVersion: 2 }, systemClock)
      const tables = [{ ...task.tables[0]!, windows: [{ window: WINDOW.name, late: writePlan(late) }] }]
      lanes.assign({ ...task, tables, clocksMs: {} })
      const fresh = await lanes.next(20_000)
      // What was staged outlives its lane, whose successor clears up behind it.
      process.kill(pool.pids[0]!, 'SIGKILL')
      // With clocks in the far future everything is late.
      const farMs = Date.UTC(2200, 0, 1)
      const clocksMs = { [TABLE.name]: Object.fromEntries([...task.from.keys()].map((id) => [id, farMs])) }
      lanes.assign({ ...task, tables, clocksMs })
      const stale = await lanes.next(20_000)
      if (fresh.kind !== 'staged' || stale.kind !== 'staged') throw new Error(`${fresh.kind}, ${stale.kind}`)
      const [some] = fresh.staged.tables[0]!.windows!
      expect(existsSync(some!.partials!)).toBe(true)
      const rows = stale.staged.tables[0]!.files.reduce((sum, { recordCount }) => sum + recordCount, 0)
      expect(stale.staged.tables[0]!.windows).toMatchObject([
        { partials: undefined, late: rows, lateAssignments: rows },
      ])
    } finally {
      await pool.close()
      await storage.close()
    }
  })

  it('answers what is not row-wise before anything is read', async () => {
    const storage = await LocalStorage.open(path.join(folder, 'gate'))
    const pool = poolOver(storage)
    try {
      const lanes = pool.open(PIPELINE!.name, [{ ...TABLE, where: 'random() > 0.5' }])
      lanes.assign(await taskOver(storage))
      await expect(lanes.next(20_000)).rejects.toMatchObject({ code: 'transform.not_row_wise' })
    } finally {
      await pool.close()
      await storage.close()
    }
  })
})

function poolOver(storage: LocalStorage): LanePool {
  return new LanePool({
    lanes: 1,
    childPath: path.join(import.meta.dirname, '../../dist/lane-child.js'),
    settings: {
      source: SOURCE,
      store: { url: storage.url },
      memoryBytesMax: 256 << 20,
      partialsFolder: storage.scratch,
    },
    microBatch: { bytesMax: 1 << 20, recordsMax: 10_000, ageMsMax: 50 },
    clock: systemClock,
    observer: () => undefined,
  })
}

const WINDOW: WindowDefinition = {
  kind: 'window',
  name: 'orders_by_hour',
  source: TABLE.name,
  window: { kind: 'tumbling', sizeMs: 3_600_000, offsetMs: 0 },
  allowedLatenessMs: 0,
  input: 'events',
  groupBy: ['status'],
  nullGroup: 'keep',
  where: undefined,
  select: [{ name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined }],
  emit: 'update',
  earlyMs: 0,
  openRowsMax: 1_000,
  oldValuesMax: 1_000,
  computed: [],
  retainMs: undefined,
  to: undefined,
}
