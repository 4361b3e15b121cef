import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startS3, storeOn, type S3Server } from '../support/s3-server.ts'
import { runRace } from './races.ts'

// Several processes that take themselves for the writer of one pipeline: a keyed table, compactions and the collector
// of orphans among them. `npm run races` is the same, for longer.

const folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-races-'))
let server: S3Server | undefined
afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

test.each([
  ['disk', 12, 480],
  ['S3', 3, 480],
] as const)(
  'on %s each acknowledged commit stands once',
  async (kind, commits, factor) => {
    if (kind === 'S3') server = await startS3()
    const settings = server === undefined ? { url: `file://${folder}/lake` } : storeOn(server, 'races')
    const options = { writers: 8, commits, compactEvery: 3, pauseMsMax: kind === 'S3' ? 800 : 300, factor }
    const { faults, ...outcome } = await runRace(settings, options)
    console.log(JSON.stringify({ kind, ...outcome }))
    expect(faults).toEqual([])
    expect(outcome.commits).toBe(8 * commits)
    expect(outcome.compactions).toBeGreaterThan(0)
    expect(outcome.stale).toBeGreaterThan(0)
  },
  170_000,
)
