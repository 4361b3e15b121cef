import { fileURLToPath } from 'node:url'
import { systemClock, type Clock } from './clock.ts'
import { settingsOf, type SettingsInput } from './config.ts'
import { Cores } from './cores.ts'
import type { LakeDefinition, PipelineDefinition } from './define.ts'
import { checkRegistry } from './define-avro.ts'
import { assertSalts } from './define-redact.ts'
import { LakeError } from './error.ts'
import type { LakeEvent, Observer } from './event.ts'
import { Changes } from './ingest/changes.ts'
import { archivesOf, remoteIndex, type Archive } from './ingest/archive/archive.ts'
import { withArchives } from './ingest/archive-source.ts'
import { runJobs } from './ingest/job-runner.ts'
import { LanePool, type LanePoolOptions } from './ingest/lane-pool.ts'
import { lanesOnDemand, type LanesOnDemand } from './ingest/lanes-on-demand.ts'
import { openRegistry } from './ingest/registry.ts'
import { openSink, openSource } from './ingest/source.ts'
import { Supervisor } from './ingest/supervise.ts'
import { startFold } from './ingest/window/fold-pool.ts'
import type { Jobs } from './jobs.ts'
import { readingOf, waitFor, type Lake, type LakeEvents } from './lake-handle.ts'
import { Listeners } from './listeners.ts'
import { openChain, type Chain } from './lake/chain.ts'
import { watchedChain } from './lake/watched-chain.ts'
import { openJobs } from './lake/job-store.ts'
import { openStorage } from './lake/storage/open.ts'
import { assertConditionalWrites } from './lake/storage/race.ts'
import { expire, keepExpiring } from './lake/upkeep.ts'
import { COMPACTION, type Storage } from './lake/table.ts'
import type { Source } from './log.ts'
import { withMaps } from './map-bundle.ts'
import { Parts, until } from './parts.ts'
import { openEngine, type Engine } from './query/engine.ts'
import { lakeResolver } from './query/view.ts'
import { findReplay, startReplay } from './replay-handle.ts'
import { openReplays } from './replay/replays.ts'
import { runReplays } from './replay/run-replays.ts'
import { verify } from './replay/verify.ts'
import { createApp } from './server/app.ts'
import { createMetrics } from './server/metrics.ts'
import type { Settings } from './settings.ts'
import type { PipelineControl } from './status.ts'
import type { Version } from './version.ts'

export {
  avro,
  cumulate,
  debezium,
  defineLake,
  hopping,
  json,
  protobuf,
  raw,
  session,
  t,
  table,
  tumbling,
  windowSql,
} from './define.ts'
export type { LakeDefinition, PipelineOptions, TableDefinition, TableOptions, TypeSpec } from './define.ts'
export type { TableOf } from './define-kinds.ts'
export type { ChangeInput, RawInput } from './define-produced.ts'
export type { Table, TableReference, Window } from './define-reference.ts'
// Types of tables and windows are made of these: who exports one from a library must be able to name them.
export type { ColumnKind, ColumnKinds, KindsOf } from './define-kinds.ts'
export type { AnyRow, DeadLetterRow, Decimal, LateRow, RawRow, SystemRow, WindowBounds } from './define-row.ts'
export type { Condition, Expression, Expressions } from './define-expression.ts'
export type { LookupOptions, MapFunction, Redaction, TopicOptions } from './define.ts'
export type { WindowDefinition } from './define-window.ts'
export type {
  Aggregate,
  Aggregates,
  CumulateOptions,
  HoppingOptions,
  SessionOptions,
  SqlWindowOptions,
  TumblingOptions,
  WindowOptions,
} from './define-window-options.ts'

export interface OpenOptions {
  /** Closes the lake when it aborts. */
  readonly signal?: AbortSignal
  readonly observer?: Observer
  readonly clock?: Clock
  /** Receives what child processes print; never data. */
  readonly onOutput?: (text: string) => void
  /**
   * Where the definition is not the one that made the tables, rows are made by it from here on; those that are there stay
   * (docs/code-changes.md). Pipelines where that cannot be say so, `code.not_continuable`, and ingest nothing.
   */
  readonly acceptCode?: boolean
  /** Reads and writes nothing: no lanes are started, and pipelines follow what other processes commit. */
  readonly readOnly?: boolean
}

/** A last commit at a stop may take so long before it is abandoned; the next start finds out what became of it. */
const CLOSE_MS_MAX = 8_000
/** … and so long when no pipeline has anything to commit. */
const CLOSE_IDLE_MS_MAX = 500
/** Niceness of the processes of replays: nobody waits for them. */
const REPLAY_PRIORITY = 10
/**
 * Of query processes: whoever asks, and whatever is asked, tables stay fresh, and queries have what is left. Where nothing
 * is left, as while a backlog is read, or history, a query gets a third of what a lane gets: somebody waits for it.
 */
const TAKEN_QUERY_PRIORITY = 5
/** What a replay has not committed at a stop within this is read again. */
const CLOSE_REPLAYS_MS_MAX = 1_500
const LANE_MEMORY_BYTES_MAX = 512 * 1024 * 1024
/** What is open beyond it is written to the scratch folder. */
const FOLD_MEMORY_BYTES_MAX = 512 * 1024 * 1024

/**
 * Opens a lake: checks the store, starts lanes and query processes, and ingests. Resolves when it is ready to be
 * asked; pipelines may still be starting. Throws LakeError `config.*` or `store.*`.
 */
export async function open(
  definition: LakeDefinition,
  written: (SettingsInput & Pick<OpenOptions, 'signal'>) | Settings,
  options: OpenOptions = {},
): Promise<Lake> {
  const parts = new Parts()
  try {
    assertDefinition(definition)
    const lake = await withMaps(definition, process.cwd())
    if ('source' in written) return await assemble(lake, written, options, parts)
    const { signal, ...settings } = written
    const all = { ...(signal === undefined ? {} : { signal }), ...options }
    return await assemble(lake, settingsOf(settings), all, parts)
  } catch (error) {
    await parts.close().catch(() => undefined)
    throw error
  }
}

/** Programs in JavaScript may give anything. */
function assertDefinition(given: { readonly pipelines?: unknown } | undefined): void {
  if (Array.isArray(given?.pipelines)) return
  throw new LakeError('config.invalid', 'the first argument of open is no definition of a lake', {
    fix: 'Give what defineLake returns, such as open(defineLake({ shop: [orders] }), settings).',
  })
}

/** Puts the lake together; each part that must be ended goes to `parts` as soon as it is there. */
async function assemble(
  definition: LakeDefinition,
  settings: Settings,
  options: OpenOptions,
  parts: Parts,
): Promise<Lake> {
  const { clock = systemClock, signal, readOnly: isReadOnly = false } = options
  checkRegistry(definition, settings)
  if (!isReadOnly) assertSalts(definition, settings.salts)
  const storage = parts.add(await openStorage(settings.store, clock))
  const metrics = createMetrics()
  const cores = new Cores()
  parts.add(until(clock, CLOSE_IDLE_MS_MAX, (ending) => [cores.watch(clock, ending)]))
  const replayLanes: LanesOnDemand[] = []
  const areTaken = () => isReadOnly || cores.areTaken || replayLanes.some(({ isOpen }) => isOpen)
  // Whoever looks on must not be able to stop a commit or a lane.
  const listeners = new Listeners<LakeEvents>((error) =>
    process.emitWarning(error instanceof Error ? error : String(error)),
  )
  if (options.observer !== undefined) listeners.on('event', options.observer)
  const observer = (event: LakeEvent) => {
    metrics.observe(event)
    listeners.tell('event', event)
  }
  const laneOptions: LanePoolOptions = {
    lanes: isReadOnly ? 0 : settings.lanes,
    childPath: childPath('lane-child'),
    settings: {
      source: settings.source,
      store: settings.store,
      ...(settings.registry === undefined ? {} : { registry: settings.registry }),
      memoryBytesMax: LANE_MEMORY_BYTES_MAX,
      salts: settings.salts,
      partialsFolder: storage.scratch,
    },
    microBatch: settings.commit.microBatch,
    clock,
    observer,
    onOutput: (_lane, text) => options.onOutput?.(text),
  }
  // Processes first: they take as long to start as the store takes to be checked.
  const pool = parts.add(new LanePool(laneOptions))
  const openFold = ({ tables, windows }: PipelineDefinition, priority?: number) =>
    startFold({
      tables,
      windows,
      childPath: childPath('fold-child'),
      settings: { store: settings.store, memoryBytesMax: settings.windows?.memoryBytesMax ?? FOLD_MEMORY_BYTES_MAX },
      clock,
      onOutput: (text) => options.onOutput?.(text),
      priority,
    })
  const chains = new Map(
    definition.pipelines.map(({ name }) => {
      const told = (version: Version) => listeners.tell('version', { pipeline: name, version })
      return [name, watchedChain(openChain(storage, name, clock), told)]
    }),
  )
  const opening = openEngine({
    settings: settings.query,
    resolve: lakeResolver({ storage, chains, settings: settings.query, clock }),
    clock,
    observer,
    childPath: childPath('query-child'),
    priority: () => (areTaken() ? TAKEN_QUERY_PRIORITY : 'idle'),
  })
  // Why it could not be opened is told below.
  const ended = opening.then(
    (engine) => () => engine.close(),
    () => () => Promise.resolve(),
  )
  parts.add({ close: async () => (await ended)() })
  const source = parts.add(openSource(settings.source, clock))
  const compaction = settings.maintenance.isCompacting
    ? { ...COMPACTION, ...settings.maintenance.compaction }
    : undefined
  const common = {
    source,
    storage,
    policy: { writer: settings.writer, ...settings.commit },
    takeoverAfterMs: settings.takeoverAfterMs,
    clock,
    observer,
    registry: settings.registry === undefined ? undefined : openRegistry(settings.registry, clock),
  }
  const supervisors = definition.pipelines.map(
    (pipeline) =>
      new Supervisor({
        ...common,
        definition: pipeline,
        chain: chains.get(pipeline.name)!,
        ...(compaction === undefined ? {} : { compaction }),
        upkeep: {
          expire: (table, ending) => expire(storage, pipeline.name, settings.maintenance.graceMs, clock, ending, table),
        },
        acceptCode: options.acceptCode ?? false,
        openSink: () => openSink(settings.source, clock),
        startLanes: () => Promise.resolve(pool.open(pipeline.name, pipeline.tables, pipeline.windows)),
        openFold,
      }),
  )
  if (!isReadOnly) await assertConditionalWrites(storage, clock)
  const running = supervisors.map((supervisor) => (isReadOnly ? supervisor.follow() : supervisor.run()))
  // The last part is the first to end: pipelines commit once more while everything else is still there.
  parts.add({
    close: async () => {
      const isAtWork = supervisors.some((supervisor) => supervisor.isAtWork)
      for (const supervisor of supervisors) supervisor.close()
      const timer = new AbortController()
      const limitMs = isAtWork ? CLOSE_MS_MAX : CLOSE_IDLE_MS_MAX
      await Promise.race([Promise.all(running), clock.sleep(limitMs, timer.signal)])
      timer.abort()
    },
  })
  const jobs = openJobs(storage, clock)
  if (!isReadOnly) parts.add(upkeepOf(supervisors, storage, jobs, settings, clock, observer))
  const changes = new Changes(clock)
  const replays = openReplays({ pipelines: definition.pipelines, chains, storage, jobs, clock, changes })
  if (!isReadOnly) {
    // What the lanes of a replay do is no news of the live pipeline.
    const replaying = { ...laneOptions, observer: () => undefined, priority: REPLAY_PRIORITY }
    const fold = (part: PipelineDefinition) => openFold(part, REPLAY_PRIORITY)
    const work = definition.pipelines.map((each) => {
      const main = chains.get(each.name)!
      const archives = async (number?: bigint): Promise<readonly Archive[]> => {
        const version = number === undefined ? await main.head() : await main.at({ kind: 'number', number })
        return version === undefined ? [] : archivesOf(each, version, storage)
      }
      const lanes = lanesOnDemand(replaying, archives)
      const index = (kept: readonly Archive[]) => remoteIndex((question) => lanes.lookUp(kept, question))
      return { definition: each, main, lanes, source: withArchives(source, archives, index) }
    })
    // They may have lanes left when they are no longer waited for.
    for (const { lanes } of work) replayLanes.push(parts.add(lanes))
    parts.add(
      until(clock, CLOSE_REPLAYS_MS_MAX, (ending) =>
        work.map((each) =>
          runReplays({ ...common, ...each, compaction, jobs, changes, verify, openFold: fold }, ending),
        ),
      ),
    )
  }
  const engine = await opening
  const app = createApp({
    engine,
    storage,
    chains,
    pipelines: supervisors,
    jobs,
    replays,
    definition,
    settings,
    metrics,
    clock,
  })

  let closing: Promise<void> | undefined
  const onAbort = () => void lake.close().catch(() => undefined)
  const close = (): Promise<void> => {
    signal?.removeEventListener('abort', onAbort)
    return parts.close()
  }
  const lake: Lake = {
    pipelines: supervisors,
    ...readingOf(engine, definition),
    on: (kind, listener) => listeners.on(kind, listener),
    waitFor: (table, at) => waitFor(definition, supervisors, table, at),
    replay: (pipeline, input) => startReplay(replays, clock, pipeline, input),
    findReplay: (id) => findReplay(replays, clock, id),
    replays,
    http: () => app,
    fetch: async (request) => app.fetch(request),
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => lake.close(),
  }
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted === true) onAbort()
  return lake
}

/** What is done beside the pipelines that this process writes, until it is closed. */
function upkeepOf(
  supervisors: readonly Supervisor[],
  storage: Storage,
  jobs: Jobs,
  settings: Settings,
  clock: Clock,
  observer: Observer,
): { close(): Promise<void> } {
  const { maintenance, writer } = settings
  return until(clock, CLOSE_IDLE_MS_MAX, (ending) =>
    supervisors.flatMap((supervisor) => [
      runJobs(jobs, supervisor, writer, clock, ending),
      keepExpiring(storage, supervisor.name, maintenance, clock, observer, () => supervisor.isAtWork, ending),
    ]),
  )
}

/** The bundled child processes lie beside the bundle; from sources, in dist/. */
function childPath(name: string): string {
  const beside = import.meta.url.endsWith('.ts') ? `../dist/${name}.js` : `./${name}.js`
  return fileURLToPath(new URL(beside, import.meta.url))
}

export type { Lake, LakeEvents, RecordAddress } from './lake-handle.ts'
export type { Replay, ReplayInput } from './replay-handle.ts'
export type { Replays } from './replay-status.ts'
export type { ColumnFilter, RowFilter, RowsOptions } from './row-filter.ts'
export type { Rows } from './row-stream.ts'
export type { ReplayDifference, ReplayPhase, ReplayProgress, ReplayStatus } from './replay-status.ts'
export { LakeError, type LakeErrorCode } from './error.ts'
export type {
  Chain,
  Clock,
  Engine,
  LakeEvent,
  PipelineControl,
  PipelineDefinition,
  Settings,
  SettingsInput,
  Source,
  Version,
}
