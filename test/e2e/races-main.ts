import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { startS3 } from '../../infra/s3.mjs'
import { runRace, type RaceOptions } from './races.ts'

// `npm run races`: 8 processes with 50 commits each on one pipeline, on disk and on S3; then one reader of one version
// over 1,000 commits. One JSON line for each figure.

const { values } = parseArgs({
  options: {
    writers: { type: 'string', default: '8' },
    commits: { type: 'string', default: '50' },
    pinned: { type: 'string', default: '1000' },
    stores: { type: 'string', default: 'disk,s3' },
  },
})
const writers = Number(values.writers)
const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-races-'))
const server = values.stores.includes('s3') ? await startS3() : undefined
let isOk = true
try {
  const given = { writers, commits: Number(values.commits), compactEvery: 10, pauseMsMax: 400, factor: 240 }
  for (const kind of values.stores.split(',')) {
    const store =
      kind === 's3' ? { ...server!.settings, url: `${server!.url}/races` } : { url: `file://${folder}/lake` }
    await attempt(kind, store, { ...given, pauseMsMax: kind === 's3' ? 1_500 : 400 })
  }
  // Few writers, so that most attempts get through.
  if (Number(values.pinned) > 0)
    await attempt(
      'disk',
      { url: `file://${folder}/pinned` },
      { writers: 2, commits: Number(values.pinned) / 2, compactEvery: 20, pauseMsMax: 60, factor: 240 },
      Number(values.pinned) * 0.9,
    )
} finally {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
}
console.log(isOk ? 'PASS' : 'FAIL')
process.exit(isOk ? 0 : 1)

async function attempt(kind: string, store: { readonly url: string }, options: RaceOptions, pinnedMin = 1) {
  const { commits, faults, pinnedReads, pinnedCommits, ...more } = await runRace(store, options)
  const wanted = options.writers * options.commits
  for (const fault of faults.slice(0, 20)) console.error(fault)
  const changed = faults.filter((fault) => fault.startsWith('pinned')).length
  figure(`races.commits`, commits, `${wanted}`, commits === wanted, { kind, ...more })
  figure('races.lost', faults.length - changed, '0', faults.length === changed, { kind })
  const isPinned = changed === 0 && pinnedReads > 0 && pinnedCommits >= pinnedMin
  figure('races.pinned', changed, '0', isPinned, { kind, reads: pinnedReads, commits: pinnedCommits })
}

function figure(name: string, value: number, target: string, pass: boolean, more: object): void {
  console.log(JSON.stringify({ name, value, unit: 'count', target, ratio: null, peer: 'chain', pass, ...more }))
  isOk &&= pass
}
