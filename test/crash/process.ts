import { open } from '../../src/index.ts'
import { shopDefinition, shopEnds } from '../../src/ingest/shop-ledger.ts'
import type { Settings } from '../../src/settings.ts'

// A whole lake over the shop's bounded log, from settings in its environment: ends by itself when all is committed and
// what was asked for is done, or lets itself be told to, as by an operator, after some versions.

const { settings, endAfterVersions, chore } = JSON.parse(process.env['LAKE']!) as {
  settings: Settings
  endAfterVersions?: number
  chore?: Chore
}
/**
 * What is asked of the pipeline when all is committed: everything compacted, everything old let go, gone back, or all
 * built anew by other code.
 */
export type Chore = 'compact' | 'expire' | 'rollback' | 'replay'

if (settings.source.kind !== 'shop') throw new Error('this process reads the shop only')
const ends = shopEnds(settings.source.shop, settings.source.shop.untilMs!)
let lake = await open(shopDefinition, settings, { onOutput: (text) => process.stderr.write(text) })
let pipeline = lake.pipelines[0]!
process.on('SIGTERM', () => void lake.close())
if (await drained()) {
  if (chore === 'compact') for (const table of ['orders', 'customers']) await pipeline.compact(table)
  if (chore === 'expire') {
    // Nothing else is written meanwhile: by the clock of this store it would be old at once.
    await pipeline.pause('expiry')
    for (const table of ['orders', 'customers', 'page_views']) await pipeline.expire(table)
  }
  if (chore === 'rollback') await pipeline.rollback(3n, 'c4a11e4e-0000-4000-8000-000000000001')
  if (chore === 'replay') await reprocess()
  else await pipeline.resume()
  await drained()
}
await lake.close()

/** Waits until all is committed, or the pipeline stands still; false when it was told to end. */
async function drained(): Promise<boolean> {
  for (;;) {
    const { head, reason, state } = pipeline.status()
    // Before a replay, the tables may be those of its code already.
    if (chore === 'replay' && state === 'superseded') return true
    if (reason !== undefined && state !== 'paused') process.stderr.write(`${reason.code}: ${reason.message}\n`)
    if (state === 'paused' || (head !== undefined && [...ends].every(([id, end]) => head.positions.get(id) === end)))
      return true
    if (endAfterVersions !== undefined && head !== undefined && head.number >= endAfterVersions) {
      process.kill(process.pid, 'SIGTERM')
      return false
    }
    await new Promise((done) => setTimeout(done, 10))
  }
}

/** Closes the lake and opens it with other code, whose tables say the same: one has other folders, one a column more. */
async function reprocess(): Promise<void> {
  await lake.close()
  const [shop] = shopDefinition.pipelines
  const tables = shop!.tables.map((table) => {
    if (table.name === 'orders') return { ...table, partitionBy: [] }
    if (table.name !== 'page_views') return table
    return { ...table, columns: [...table.columns, { name: 'remark', type: { kind: 'string' } as const }] }
  })
  const definition = { ...shopDefinition, pipelines: [{ ...shop!, tables }] }
  lake = await open(definition, settings, { onOutput: (text) => process.stderr.write(text) })
  pipeline = lake.pipelines[0]!
  const { id } = await lake.replays.start('shop', { autoCutover: 'always' }, 'crash')
  for await (const { state, error } of lake.replays.watch(id))
    if (state === 'failed') process.stderr.write(`${error?.code}: ${error?.message}\n`)
  while (pipeline.status().state !== 'running') await new Promise((done) => setTimeout(done, 10))
}
