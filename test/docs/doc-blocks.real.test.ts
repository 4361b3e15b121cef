import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineLake, open, tumbling, type Lake } from '../../src/index.ts'
import { shopDefinition } from '../../src/ingest/shop-ledger.ts'
import { listen, type Listening } from '../../src/server/listen.ts'
import { blocksIn, blocksOf, runBlock, type Place } from '../support/doc-blocks.ts'
import { boundedShop, shopSettings, trustStore } from '../support/shop-store.ts'
import { READERS } from '../interop/readers.ts'
import { DOCS } from './docs.ts'

// What README and documentation tell people to type, typed: over the demo's shop with a window, without keys, as on the
// machine of somebody who tries it out.

const LIMIT_MS = 180_000
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-docs-'))
let lake: Lake
let server: Listening
let place: Place

beforeAll(async () => {
  const { tables } = shopDefinition.pipelines[0]!
  const [orders] = tables
  const revenue = tumbling('revenue', orders!, {
    size: '1h',
    groupBy: ['status'],
    select: ({ count, sum }) => ({ n: count(), revenue: sum('amount') }),
  })
  const store = { url: `file:${folder}/lake` }
  await trustStore(store)
  const http = { host: '127.0.0.1', port: 0 }
  const settings = { ...shopSettings(store, boundedShop(330), folder), lanes: 1, http }
  lake = await open(defineLake({ shop: [...tables, revenue] }), settings)
  await lake.pipelines[0]!.flush()
  server = await listen(lake.http(), http)
  const { host } = new URL(server.url)
  place = { folder, env: { KAPPALAKE_URL: server.url }, instead: { 'localhost:7780': host } }
}, LIMIT_MS)

afterAll(async () => {
  await server?.close()
  await lake?.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Spark and Trino, which are large and slow to start, only where they are asked for. */
const isWanted = (as: string) =>
  as === 'trino' ? process.env['KAPPALAKE_TRINO'] === '1' : as !== 'spark' || READERS.includes('spark')
const blocks = DOCS.flatMap((file) => blocksOf(file)).flatMap((block) =>
  block.mark?.kind === 'run' && isWanted(block.mark.as) ? [[`${block.file}:${block.line}`, block] as const] : [],
)

test.each(blocks)('%s', async (_, block) => void (await runBlock(block, place)), LIMIT_MS)

test('there are as many as there were', () => {
  expect(blocks.length).toBeGreaterThanOrEqual(8)
})

describe('a block fails', () => {
  const block = (mark: string, language: string, text: string) =>
    blocksIn('x.md', `<!-- ${mark} -->\n\`\`\`${language}\n${text}\n\`\`\``)[0]!

  test.each([
    [
      'when a request is refused',
      block('run', 'sh', "curl -s 'localhost:7780/v1/query?q=from+nowhere'"),
      /Command failed/,
    ],
    [
      'when a command in the middle fails',
      block('run', 'sh', 'kappalake snapshots nothing\necho done'),
      /table\.unknown/,
    ],
    [
      'when it prints something else',
      block('run /unpaid/', 'sh', 'kappalake tables'),
      /prints nothing like \/unpaid\//,
    ],
    ['when its SQL fails', block('run', 'sql', "select * from iceberg_scan('lake/tables/nothing')"), /Error/],
    ['when its Python fails', block('run', 'python', '1 / 0'), /ZeroDivisionError/],
    ['when its settings are none', block('run', 'yaml', 'pipelines: { shop: { table: {} } }'), /tables/],
  ])(
    '%s',
    async (_, wrong, said) => {
      await expect(runBlock(wrong, place)).rejects.toThrow(said)
    },
    LIMIT_MS,
  )
})
