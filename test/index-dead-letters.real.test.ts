import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, type Lake } from '../src/index.ts'
import { shopDefinition } from '../src/ingest/shop-ledger.ts'
import { until } from './support/processes.ts'
import { boundedShop, shopSettings, trustStore } from './support/shop-store.ts'

// Dead letters of a whole lake, with lanes in processes of their own: asked over HTTP, done by the pipeline.

const LIMIT_MS = 90_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-letters-'))
let lake: Lake
beforeAll(async () => {
  const store = { url: `file:${folder}/lake` }
  await trustStore(store)
  lake = await open(shopDefinition, { ...shopSettings(store, boundedShop(400), folder), lanes: 1 })
  await lake.pipelines[0]!.flush()
}, LIMIT_MS)
afterAll(async () => {
  await lake?.close()
  rmSync(folder, { recursive: true, force: true })
})

const headers = { host: 'localhost', 'content-type': 'application/json' }

async function ask(path: string, body?: unknown): Promise<any> {
  const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
  return (await lake.http().request(path, { ...init, headers })).json()
}

async function done(kind: 'retry' | 'discard', body: unknown): Promise<any> {
  const asked = await ask(`/v1/dlq/shop/${kind}`, body)
  let job = asked
  await until('the job is over', async () => {
    job = await ask(`/v1/jobs/${asked.id}`)
    return job.ended !== null
  })
  expect(job).toMatchObject({ state: 'done', error: null })
  return job.result
}

async function pending(): Promise<readonly any[]> {
  return (await ask('/v1/dlq/shop?status=pending&limit=1000')).items
}

test('what fails again stays, what is discarded is left alone', { timeout: LIMIT_MS }, async () => {
  const before = await pending()
  expect(before.length).toBeGreaterThan(1)
  expect(before.every(({ attempts }) => attempts === 0)).toBe(true)
  const tables = new Set(before.map(({ table }) => table))
  const settle = (id: string, request: object) =>
    lake.pipelines[0]!.settle(id, { kind: 'retry', pipeline: 'shop', where: {}, ...request })
  expect(await settle('dry', { dryRun: true })).toMatchObject({ resolved: 0, failed: before.length })
  expect(await pending()).toEqual(before)
  expect(await done('retry', {})).toMatchObject({ resolved: 0, failed: before.length, undecided: 0 })
  const after = await pending()
  expect(after).toEqual(before.map((each) => ({ ...each, attempts: 1 })))
  const [table] = [...tables]
  const ofTable = before.filter((each) => each.table === table)
  expect(await done('discard', { where: { table } })).toEqual({ discarded: ofTable.length, dryRun: false })
  expect(await pending()).toEqual(after.filter((each) => each.table !== table))
  expect(await settle('none', { where: { table } })).toMatchObject({ resolved: 0, failed: 0 })
  const settled = await settle('one', { kind: 'discard', limit: 1 })
  expect(settled.discarded).toBe(before.length > ofTable.length ? 1 : 0)
})
