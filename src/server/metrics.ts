import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { LakeEvent, Observer } from '../event.ts'
import { parsePartitionId } from '../log.ts'
import type { EngineStats } from '../query/engine.ts'
import type { PipelineStatus } from '../status.ts'
import { softwareVersion } from './software.ts'

/** What is asked for when somebody looks, because no event tells it. */
export interface Scrape {
  readonly nowMs: number
  readonly engine: EngineStats
  readonly pipelines: readonly PipelineStatus[]
}

export interface Metrics {
  /** Counts an event. Never throws. */
  readonly observe: Observer
  readonly registry: Registry
  /** The exposition, with the gauges of this moment. */
  scrape(now: Scrape): Promise<string>
}

const COMMIT_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const QUERY_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const NANOS_PER_S = 1e9

/** Metrics of one lake, in a registry of their own. Names: docs/http.md. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const meters = makeMeters(registry)
  const eventLoop = monitorEventLoopDelay({ resolution: 20 })
  eventLoop.enable()
  return {
    registry,
    observe: (event) => count(meters, event),
    scrape: (now) => {
      look(meters, now)
      meters.eventLoopDelay.set(eventLoop.percentile(99) / NANOS_PER_S)
      meters.memory.set(process.memoryUsage.rss())
      eventLoop.reset()
      return registry.metrics()
    },
  }
}

type Meters = ReturnType<typeof makeMeters>

function makeMeters(registry: Registry) {
  const registers = [registry]
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Counter({ name: `kappalake_${name}`, help, labelNames, registers })
  const gauge = <Label extends string>(name: string, help: string, labelNames: Label[]) =>
    new Gauge({ name: name.includes('kafka_') ? name : `kappalake_${name}`, help, labelNames, registers })
  const histogram = <Label extends string>(name: string, help: string, labelNames: Label[], buckets: number[]) =>
    new Histogram({ name: `kappalake_${name}`, help, labelNames, buckets, registers })
  gauge('build_info', 'The running software', ['version']).set({ version: softwareVersion() }, 1)
  return {
    records: counter('records_total', 'Records committed, by what became of them', ['pipeline', 'table', 'result']),
    groupLag: gauge('kafka_consumergroup_lag', 'Records behind the end of the log', [
      'consumergroup',
      'topic',
      'partition',
    ]),
    groupLagSum: gauge('kafka_consumergroup_lag_sum', 'Records behind the end of the log', ['consumergroup']),
    lag: gauge('lag_records', 'Records behind the end of the log', ['pipeline', 'topic', 'partition']),
    held: gauge('partition_held', '1 for a partition that waits for a person', [
      'pipeline',
      'topic',
      'partition',
      'code',
    ]),
    freshness: gauge('freshness_seconds', 'Age of the newest version of the table', ['pipeline', 'table']),
    state: gauge('pipeline_state', '1 for the state that the pipeline is in', ['pipeline', 'state']),
    staged: counter('staged_records_total', 'Records that lanes have staged', ['pipeline']),
    encode: counter('encode_seconds_total', 'Time that lanes decoded and encoded', ['pipeline']),
    lanes: counter('lane_events_total', 'Lanes started, died, hung and restarted', ['what']),
    commits: counter('commits_total', 'Commits by outcome', ['pipeline', 'outcome']),
    commitDuration: histogram('commit_duration_seconds', 'Time of a commit', ['pipeline'], COMMIT_BUCKETS_S),
    files: counter('files_total', 'Data files committed', ['table', 'kind']),
    bytes: counter('bytes_written_total', 'Bytes of committed data files', ['pipeline', 'table']),
    compactions: counter('compactions_total', 'Compactions by outcome', ['pipeline', 'table', 'outcome']),
    compactedRows: counter('compacted_rows_total', 'Rows that compactions wrote again', ['pipeline', 'table']),
    keys: gauge('keys', 'Keys in the index', ['pipeline', 'table']),
    keyBytes: gauge('key_index_bytes', 'Memory of the key index', ['pipeline', 'table']),
    storedRows: gauge('stored_rows', 'Rows of data files, deleted ones included', ['pipeline', 'table']),
    deadRows: gauge('dead_rows', 'Rows of data files that are deleted', ['pipeline', 'table']),
    stale: counter('stale_versions_total', 'Records that lost against a later version of their key', [
      'pipeline',
      'table',
    ]),
    unordered: counter('tombstones_unordered_total', 'Tombstones without a version for rows of other partitions', [
      'pipeline',
      'table',
    ]),
    watermark: gauge('watermark_timestamp_seconds', 'Combined watermark of the source of a window table', [
      'pipeline',
      'table',
    ]),
    openRows: gauge('open_rows', 'Cells of a window table that are not settled', ['pipeline', 'table']),
    windowStateBytes: gauge('window_state_bytes', 'What they take, in memory and spilled', ['pipeline', 'table']),
    late: counter('late_records_total', 'Records that were late for all their windows', ['pipeline', 'table']),
    lateAssignments: counter('late_assignments_total', 'Pairs of a record and a window that it was late for', [
      'pipeline',
      'table',
    ]),
    failedExpressions: counter('expression_failed_total', 'Records on which an expression of a window failed', [
      'pipeline',
      'table',
    ]),
    corrected: counter('corrected_rows_total', 'Rows that were final and were written again', ['pipeline', 'table']),
    retractOfUnknown: counter('retract_of_unknown_total', 'Retractions of rows that nobody knows', [
      'pipeline',
      'table',
    ]),
    futureEvents: counter('future_events_total', 'Events too far ahead of their record to move the clock', [
      'pipeline',
      'table',
    ]),
    expired: counter('expired_files_total', 'Files deleted because they are kept no longer', ['pipeline', 'kind']),
    expiredBytes: counter('expired_bytes_total', 'Bytes of these files', ['pipeline']),
    expiryFailures: counter('expiry_failures_total', 'Runs of expiry that failed', ['pipeline']),
    published: counter('published_total', 'Records sent to change topics', ['pipeline', 'table']),
    publishLag: gauge('publish_lag_versions', 'Versions whose changes are still to be sent', ['pipeline', 'table']),
    publishFailures: counter('publish_failures_total', 'Attempts to send that failed', ['pipeline', 'table', 'code']),
    replayProgress: gauge('replay_progress_ratio', 'What of a replay is rebuilt, from 0 to 1', ['pipeline', 'replay']),
    replayLag: gauge('replay_lag_records', 'Records that a replay is behind the end of the log', [
      'pipeline',
      'replay',
    ]),
    refused: counter('http_refused_total', 'Requests without a key, a right, or beyond a limit', ['status']),
    queries: histogram('query_duration_seconds', 'Time of a query', ['format', 'outcome'], QUERY_BUCKETS_S),
    queriesRunning: gauge('query_running', 'Queries that run', []),
    queriesQueued: gauge('query_queued', 'Queries that wait for a process', []),
    queryRestarts: gauge('query_child_restarts_total', 'Query processes replaced', []),
    cacheBytes: gauge('cache_bytes', 'Bytes of store objects kept on this machine', []),
    eventLoopDelay: gauge('event_loop_delay_seconds', '99th percentile since the last look', []),
    memory: gauge('process_resident_memory_bytes', 'Memory of the main process', []),
  }
}

function count(meters: Meters, event: LakeEvent): void {
  switch (event.kind) {
    case 'staged':
      meters.staged.inc({ pipeline: event.pipeline }, event.records)
      meters.encode.inc({ pipeline: event.pipeline }, event.encodeMs / 1_000)
      return
    case 'commit':
      return countCommit(meters, event)
    case 'progress':
      return showLag(meters, event.pipeline, event.partition, event.end - event.position)
    case 'compaction': {
      const { pipeline, table, rowsOut, error } = event
      meters.compactions.inc({ pipeline, table, outcome: error === undefined ? 'ok' : 'failed' })
      meters.compactedRows.inc({ pipeline, table }, rowsOut)
      return
    }
    case 'keys':
      return showKeys(meters, event)
    case 'windows':
      return showWindows(meters, event)
    case 'lane':
      meters.lanes.inc({ what: event.what })
      return
    case 'expired': {
      const { pipeline, versions, files, bytes, error } = event
      meters.expired.inc({ pipeline, kind: 'version' }, versions)
      meters.expired.inc({ pipeline, kind: 'file' }, files)
      meters.expiredBytes.inc({ pipeline }, bytes)
      if (error !== undefined) meters.expiryFailures.inc({ pipeline })
      return
    }
    case 'published': {
      const { pipeline, table, records, lagVersions, error } = event
      meters.published.inc({ pipeline, table }, records)
      meters.publishLag.set({ pipeline, table }, lagVersions)
      if (error !== undefined) meters.publishFailures.inc({ pipeline, table, code: error.code })
      return
    }
    case 'replay':
      return showReplay(meters, event)
    case 'refused':
      return meters.refused.inc({ status: String(event.status) })
    case 'query':
      meters.queries.observe({ format: event.format, outcome: event.outcome }, event.durationMs / 1_000)
      return
    case 'held':
    case 'state':
    // The scrape shows them.
  }
}

function countCommit(meters: Meters, event: Extract<LakeEvent, { kind: 'commit' }>): void {
  const { pipeline, outcome } = event
  meters.commits.inc({ pipeline, outcome })
  meters.commitDuration.observe({ pipeline }, event.durationMs / 1_000)
  if (outcome !== 'ok') return
  for (const [table, counts] of Object.entries(event.tables)) {
    meters.records.inc({ pipeline, table, result: 'ok' }, counts.rows)
    meters.records.inc({ pipeline, table, result: 'dlq' }, counts.deadLetters)
    meters.records.inc({ pipeline, table, result: 'tombstone' }, counts.tombstones)
    meters.records.inc({ pipeline, table, result: 'filtered' }, counts.skipped + (counts.filtered ?? 0))
    meters.files.inc({ table, kind: 'data' }, counts.files)
    meters.bytes.inc({ pipeline, table }, counts.bytes)
    if (counts.futureEvents !== undefined) meters.futureEvents.inc({ pipeline, table }, counts.futureEvents)
  }
}

function showKeys(meters: Meters, event: Extract<LakeEvent, { kind: 'keys' }>): void {
  const labels = { pipeline: event.pipeline, table: event.table }
  meters.keys.set(labels, event.keys)
  meters.keyBytes.set(labels, event.indexBytes)
  meters.storedRows.set(labels, event.rows)
  meters.deadRows.set(labels, event.deadRows)
  meters.stale.inc(labels, event.stale)
  meters.unordered.inc(labels, event.unordered)
}

function showWindows(meters: Meters, event: Extract<LakeEvent, { kind: 'windows' }>): void {
  const labels = { pipeline: event.pipeline, table: event.table }
  if (event.watermarkMs !== undefined) meters.watermark.set(labels, event.watermarkMs / 1_000)
  meters.openRows.set(labels, event.openRows)
  meters.windowStateBytes.set(labels, event.stateBytes)
  meters.late.inc(labels, event.late)
  meters.lateAssignments.inc(labels, event.lateAssignments)
  meters.failedExpressions.inc(labels, event.failed)
  meters.corrected.inc(labels, event.corrected)
  meters.retractOfUnknown.inc(labels, event.retractOfUnknown)
}

function showReplay(meters: Meters, { pipeline, id, ratio, lag }: Extract<LakeEvent, { kind: 'replay' }>): void {
  const labels = { pipeline, replay: id }
  if (ratio === undefined) meters.replayProgress.remove(labels)
  else meters.replayProgress.set(labels, ratio)
  if (lag === undefined) meters.replayLag.remove(labels)
  else meters.replayLag.set(labels, Number(max(lag)))
}

function look(meters: Meters, { nowMs, engine, pipelines }: Scrape): void {
  meters.queriesRunning.set(engine.running)
  meters.queriesQueued.set(engine.queued)
  meters.queryRestarts.set(engine.restarts)
  meters.cacheBytes.set(engine.cacheBytes)
  // Partitions and tables that are no longer ours must not stand still in the graphs.
  const { lag, groupLag, groupLagSum, freshness, state, held } = meters
  for (const gauge of [lag, groupLag, groupLagSum, freshness, state, held]) gauge.reset()
  for (const status of pipelines) {
    meters.state.set({ pipeline: status.name, state: status.state }, 1)
    if (status.lastCommitMs !== undefined)
      for (const table of status.tables)
        meters.freshness.set({ pipeline: status.name, table }, Math.max(0, nowMs - status.lastCommitMs) / 1_000)
    let sum = 0n
    for (const { partition, position, end, held } of status.partitions) {
      const code = held?.reason.code
      if (code !== undefined) meters.held.set({ pipeline: status.name, ...parsePartitionId(partition), code }, 1)
      if (end === undefined) continue
      sum += max(end - position)
      showLag(meters, status.name, partition, end - position)
    }
    meters.groupLagSum.set({ consumergroup: groupOf(status.name) }, Number(sum))
  }
}

function showLag(meters: Meters, pipeline: string, id: PipelineStatus['partitions'][number]['partition'], lag: bigint) {
  const { topic, partition } = parsePartitionId(id)
  const value = Number(max(lag))
  meters.lag.set({ pipeline, topic, partition }, value)
  meters.groupLag.set({ consumergroup: groupOf(pipeline), topic, partition }, value)
}

function max(lag: bigint): bigint {
  return lag < 0n ? 0n : lag
}

function groupOf(pipeline: string): string {
  return `kappalake-${pipeline}`
}
