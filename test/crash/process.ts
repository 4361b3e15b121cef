import { open } from '../../src/index.ts'
import { shopDefinition, shopEnds } from '../../src/ingest/shop-ledger.ts'
import type { Settings } from '../../src/settings.ts'

// A whole lake over the shop's bounded log, from settings in its environment: ends by itself when all is committed, or
// lets itself be told to, as by an operator, after some versions.

const { settings, endAfterVersions } = JSON.parse(process.env['LAKE']!) as {
  settings: Settings
  endAfterVersions?: number
}
if (settings.source.kind !== 'shop') throw new Error('this process reads the shop only')
const ends = shopEnds(settings.source.shop, settings.source.shop.untilMs!)
const lake = await open(shopDefinition, settings, { onOutput: (text) => process.stderr.write(text) })
process.on('SIGTERM', () => void lake.close())
for (;;) {
  const { head, reason } = lake.pipelines[0]!.status()
  if (reason !== undefined) process.stderr.write(`${reason.code}: ${reason.message}\n`)
  if (head !== undefined && [...ends].every(([id, end]) => head.positions.get(id) === end)) break
  if (endAfterVersions !== undefined && head !== undefined && head.number >= endAfterVersions) {
    process.kill(process.pid, 'SIGTERM')
    break
  }
  await new Promise((done) => setTimeout(done, 10))
}
await lake.close()
