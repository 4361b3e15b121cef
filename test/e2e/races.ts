import { fork } from 'node:child_process'
import { once } from 'node:events'
import { build } from 'esbuild'
import { systemClock as clock } from '../../src/clock.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readableVersions, storeNowMs, versionFiles } from '../../src/lake/expire-versions.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import type { Storage, StoreSettings } from '../../src/lake/storage/storage.ts'
import { expire } from '../../src/lake/upkeep.ts'
import type { Version } from '../../src/version.ts'
import { stretched } from '../simulation/stretched-storage.ts'
import { BATCH, createRace, foldUntil, liveRows, PARTITION, PIPELINE } from './races-table.ts'
import type { RaceTask } from './races-child.ts'
import type { Raced } from './races-writer.ts'

export interface RaceOptions {
  readonly writers: number
  /** Of each writer. */
  readonly commits: number
  readonly compactEvery: number
  readonly pauseMsMax: number
  /** How much faster the clock of the collector of orphans runs: its hour of grace is over after 3,600 s / factor. */
  readonly factor: number
}

export interface RaceOutcome {
  /** Acknowledged: of rows, and compactions. */
  readonly commits: number
  readonly compactions: number
  /** Attempts that lost against somebody else's commit. */
  readonly stale: number
  /** Acknowledged commits that stand in the chain never or more than once, and whatever else is wrong. */
  readonly faults: readonly string[]
  /** Files that the collector deleted meanwhile. */
  readonly collected: number
  /** How often the pinned version was read, and how many commits came after it. */
  readonly pinnedReads: number
  readonly pinnedCommits: number
}

/** Below dist/, so that the bundle finds the packages. */
const PROGRAM = 'dist/test/races-child.js'

/** Processes that commit to one pipeline at once, with a collector of orphans and a reader of one version beside them. */
export async function runRace(settings: StoreSettings, options: RaceOptions): Promise<RaceOutcome> {
  await build({
    entryPoints: ['test/e2e/races-child.ts'],
    outfile: PROGRAM,
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  })
  const storage = await openStorage(settings, clock)
  await createRace(storage, clock)
  const over = new AbortController()
  const collecting = collect(stretched(storage, options.factor), over.signal)
  const reading = readPinned(settings, options.factor, over.signal)
  const raced = await Promise.all(
    Array.from({ length: options.writers }, (_, k) => child({ ...options, settings, writer: `w${k}` })),
  ).finally(() => over.abort())
  const [collected, pinned] = await Promise.all([collecting, reading])
  const chain = (await openChain(storage, PIPELINE, clock).versions(100_000)).toReversed()
  const faults = [...pinned.faults, ...collected.faults, ...chainFaults(chain, raced)]
  const head = chain.at(-1)!
  const live = await liveRows(storage, head)
  if (String(live) !== String(foldUntil(Number(head.positions.get(PARTITION)))))
    faults.push(`the head holds ${live.length} rows that differ from the fold of its log`)
  await storage.close()
  return {
    commits: raced.reduce((sum, { commits }) => sum + commits.length, 0),
    compactions: raced.reduce((sum, { compactions }) => sum + compactions.length, 0),
    stale: raced.reduce((sum, { stale }) => sum + stale, 0),
    faults,
    collected: collected.files,
    pinnedReads: pinned.reads,
    pinnedCommits: pinned.version === undefined ? 0 : Number(head.number - pinned.version.number),
  }
}

async function child(task: RaceTask): Promise<Raced> {
  const env = { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }
  const started = fork(PROGRAM, [JSON.stringify(task)], { env, execArgv: [] })
  const exit = once(started, 'exit').then(([code]) => {
    throw new Error(`writer ${task.writer} ended with ${String(code)}`)
  })
  const answer = once(started, 'message').then(([done]) => done as Raced)
  exit.catch(() => undefined)
  return Promise.race([answer, exit])
}

/** Each acknowledged commit once, each version after the one before, and positions that nobody moved twice. */
function chainFaults(chain: readonly Version[], raced: readonly Raced[]): string[] {
  const faults: string[] = []
  const times = new Map<string, number>()
  for (const [index, version] of chain.entries()) {
    const before = chain[index - 1]
    times.set(version.commitId, (times.get(version.commitId) ?? 0) + 1)
    if (version.number !== BigInt(index + 1) || version.parent !== (before?.commitId ?? ''))
      faults.push(`version ${version.number} does not follow the one before`)
    const moved = version.positions.get(PARTITION)! - (before?.positions.get(PARTITION) ?? 0n)
    const isMoving = before !== undefined && version.kind === 'ingest'
    if (moved !== (isMoving ? BigInt(BATCH) : 0n)) faults.push(`version ${version.number} moves by ${moved}`)
  }
  const acknowledged = raced.flatMap(({ commits, compactions }) => [...commits, ...compactions])
  for (const id of acknowledged) if (times.get(id) !== 1) faults.push(`commit ${id} stands ${times.get(id) ?? 0} times`)
  if (chain.length !== acknowledged.length + 1)
    faults.push(`${chain.length} versions of ${acknowledged.length} commits`)
  return faults
}

/** Lets old versions and orphans go, again and again. */
async function collect(storage: Storage, signal: AbortSignal): Promise<{ files: number; faults: string[] }> {
  let files = 0
  const faults: string[] = []
  while (!signal.aborted) {
    await clock.sleep(500, signal)
    try {
      files += (await expire(storage, PIPELINE, 3_600_000, clock, signal)).files
    } catch (error) {
      // A table that changes while it is looked through may need another look.
      if ((error as { retryable?: boolean }).retryable !== true) faults.push(`collecting: ${String(error)}`)
    }
  }
  return { files, faults }
}

/** Reads one version again and again: the first that is sure to stay readable for a day of the collector's clock. */
async function readPinned(settings: StoreSettings, factor: number, signal: AbortSignal) {
  const faults: string[] = []
  let [reads, version, digest] = [0, undefined as Version | undefined, '']
  while (!signal.aborted || (version !== undefined && reads < 2)) {
    await clock.sleep(500, signal)
    const storage = await openStorage(settings, clock)
    version ??= await pinned(storage, factor)
    if (version !== undefined) {
      const rows = await liveRows(storage, version).then(String, String)
      if (digest === '') digest = String(foldUntil(Number(version.positions.get(PARTITION))))
      if (rows !== digest) faults.push(`pinned version ${version.number}, read ${reads}: ${rows.slice(0, 200)}`)
      reads++
    }
    await storage.close()
  }
  return { version, reads, faults }
}

async function pinned(storage: Storage, factor: number): Promise<Version | undefined> {
  const fast = stretched(storage, factor)
  const nowMs = await storeNowMs(fast, PIPELINE, clock)
  const files = await versionFiles(fast, PIPELINE)
  const later = readableVersions(files, nowMs + 2 * 3_600_000)
  // Neither of the newest two: those are readable for another reason. Its minute is over.
  const newest = files.reduce((most, { number }) => (number > most ? number : most), 0n)
  const file = later.findLast(
    ({ number, modifiedMs }) => number < newest - 2n && number > 4n && nowMs - modifiedMs > 60_000,
  )
  return file === undefined
    ? undefined
    : openChain(storage, PIPELINE, clock).at({ kind: 'number', number: file.number })
}
