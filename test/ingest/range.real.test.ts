import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock as clock } from '../../src/clock.ts'
import { table, type PipelineDefinition } from '../../src/define.ts'
import { withoutRange } from '../../src/ingest/pipeline.ts'
import { openTableWork } from '../../src/ingest/table-work.ts'
import { openTable } from '../../src/lake/table.ts'
import type { Positions } from '../../src/log.ts'
import type { TableVersion, Version } from '../../src/version.ts'
import { beginFork } from '../support/fork.ts'
import { runOnce } from '../support/fork-lake.ts'
import { Lakes, type Lake } from '../support/window-lake.ts'

// Rule R3, with real Parquet: rows of a range leave an append table, and the same log puts the same rows back.

let lakes: Lakes
beforeAll(async () => {
  lakes = await Lakes.open()
})
afterAll(() => lakes.close())

const columns = { at: 'long', g: 'string' } as const
const definition: PipelineDefinition = {
  name: 'p',
  onDataLoss: 'stop',
  windows: [],
  tables: [table('t', { from: { topic: 'c' }, columns, partitionBy: ['g'] })],
}
const HOW = { lanes: 2, recordsMax: 4, offsetsMax: 5 } as const

async function rowsOf(lake: Lake, tables: Readonly<Record<string, TableVersion>>): Promise<string[][]> {
  const rows: string[][] = []
  for (const name of ['t', 't__dlq']) {
    const { fields } = (await openTable(lake.storage, tables[name]!.metadata)).schema
    const names = fields.map((field) => `"${field.name}"`).join(', ')
    const all = await lake.rows({ tables } as unknown as Version, name, names)
    rows.push(all.map((row) => row.map(String).join(' | ')).toSorted())
  }
  return rows
}

test('a range leaves, and what is read of it again is what it was', { timeout: 120_000 }, async () => {
  const lake = await lakes.create(definition, 2)
  const { storage, log } = lake
  for (let k = 0; k < 40; k++) {
    const value = k % 9 === 4 ? '{"at": "no"' : JSON.stringify({ at: k, g: `g${k % 3}` })
    log.append('c', k % 2, [{ timestampMs: 1_000 + k, key: undefined, value: Buffer.from(value) }])
  }
  const base = await runOnce({ storage, log, chain: lake.chain, definition, ...HOW })
  const before = await rowsOf(lake, base.tables)
  const from: Positions = new Map([
    ['c/0', 3n],
    ['c/1', 7n],
  ])
  const until: Positions = new Map([
    ['c/0', 12n],
    ['c/1', 8n],
  ])
  const work = await openTableWork({ tables: definition.tables, storage, clock })
  let rest: Readonly<Record<string, TableVersion>>
  try {
    const parts = { storage, clock, work, version: base.number }
    rest = await withoutRange(definition.tables[0]!, base.tables, { from, until }, parts)
    const other = table('t', { from: { topic: 'c' }, columns: { ...columns, at: 'string' }, partitionBy: ['g'] })
    const whole = table('t', { from: { topic: 'c' }, columns })
    for (const changed of [other, whole])
      await expect(withoutRange(changed, base.tables, { from, until }, parts)).rejects.toMatchObject({
        code: 'config.unsupported',
      })
  } finally {
    await work.close()
  }
  const left = await rowsOf(lake, rest)
  expect(before.flat().length - left.flat().length).toBe(9 + 1)
  expect(before[1]!.length).toBeGreaterThan(left[1]!.length)
  expect(await rowsOf(lake, base.tables)).toEqual(before)

  const fork = await beginFork({ storage, definition, rebuilt: new Set(['t']), base, from, until, tables: rest })
  const { chain, run, part } = fork
  const head = await runOnce({ storage, log, chain, definition: part.definition, fork: run, until: fork.until, ...HOW })
  expect(await rowsOf(lake, head.tables)).toEqual(before)
})
