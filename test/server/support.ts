import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import type { LakeDefinition } from '../../src/define.ts'
import type { Jobs } from '../../src/jobs.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { openJobs } from '../../src/lake/job-store.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { appendFiles, createTable, openTable, type DataFile, type Storage } from '../../src/lake/table.ts'
import type { PartitionId } from '../../src/log.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { lakeResolver } from '../../src/query/view.ts'
import { createApp } from '../../src/server/app.ts'
import { createMetrics } from '../../src/server/metrics.ts'
import { MAINTENANCE, type Settings } from '../../src/settings.ts'
import type { Version } from '../../src/version.ts'
import { CHILD_PATH, querySettings, writeParquet } from '../query/support.ts'
import { FakeReplays } from '../support/fake-replays.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
  { name: '_kafka_partition', type: { kind: 'int' }, required: true },
  { name: '_offset', type: { kind: 'long' }, required: true },
]
const PARQUET = COLUMNS.map(({ name }, index) => ({ fieldId: index + 1, name, type: '' }))

/** A small lake: real tables, real Parquet files, a real chain of versions; only nobody reads a log. */
export interface TestLake {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly jobs: Jobs
  readonly replays: FakeReplays
  readonly folder: string
  readonly cacheDir: string
  /** Adds `rows` rows to each table of a pipeline (all of one partition of the log) and commits them. */
  commit(pipeline: string, rows: number): Promise<Version>
  close(): Promise<void>
}

export async function makeLake(
  pipelines: Readonly<Record<string, readonly string[]>>,
  kind: 'local' | 'memory' = 'local',
): Promise<TestLake> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-server-'))
  const storage: Storage =
    kind === 'local' ? await LocalStorage.open(path.join(folder, 'store')) : new MemoryStorage('test')
  const chains = new Map(Object.keys(pipelines).map((name) => [name, openChain(storage, name, systemClock)]))

  const fileOf = async (name: string, from: number, rows: number): Promise<DataFile> => {
    const unique = systemClock.uuid()
    const local = path.join(folder, `${unique}.parquet`)
    const select = `SELECT range::BIGINT AS id, (range * 1.5)::DECIMAL(12,2) AS amount, 0::INTEGER AS _kafka_partition,
      range::BIGINT AS _offset FROM range(${from}, ${from + rows})`
    await writeParquet(local, PARQUET, select)
    const fileSizeBytes = (await stat(local)).size
    const key = `tables/${name}/data/${unique}.parquet`
    await storage.putFile(key, local)
    return { key, fileSizeBytes, recordCount: rows, partition: [], metrics: new Map() }
  }

  return {
    storage,
    chains,
    jobs: openJobs(storage, systemClock),
    replays: new FakeReplays(),
    folder,
    cacheDir: path.join(folder, 'cache'),
    async commit(pipeline, rows) {
      const chain = chains.get(pipeline)!
      const id: PartitionId = `${pipeline}.topic/0`
      const commitId = systemClock.uuid()
      const result = await chain.append(await chain.head(), {
        commitId,
        build: async (head, version) => {
          const from = Number(head?.positions.get(id) ?? 0n)
          const grow = async (name: string) => {
            const before = head?.tables[name]?.metadata
            const table =
              before === undefined
                ? await createTable(storage, { name, columns: COLUMNS, partitionBy: [], formatVersion: 2 }, systemClock)
                : await openTable(storage, before)
            const files = rows === 0 ? [] : [await fileOf(name, from, rows)]
            const stamp = { commitId, version, ranges: `${pipeline}.topic:0=${from}-${from + rows}` }
            const { metadata, snapshot } = await appendFiles(storage, table, files, stamp, systemClock)
            return [name, { metadata, snapshot, code: 'c0de' }] as const
          }
          return {
            kind: 'ingest',
            writer: 'test',
            tables: Object.fromEntries(await Promise.all(pipelines[pipeline]!.map(grow))),
            positions: new Map([[id, BigInt(from + rows)]]),
            ...NOTHING_ELSE,
          }
        },
      })
      if (result.kind !== 'committed') throw new Error(result.kind)
      return result.version
    },
    async close() {
      await storage.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export function openLakeEngine(lake: TestLake, given: Parameters<typeof querySettings>[0] = {}): Promise<Engine> {
  const settings = querySettings({ cacheDir: lake.cacheDir, ...given })
  return openEngine({
    settings,
    resolve: lakeResolver({ ...lake, settings, clock: systemClock }),
    clock: systemClock,
    childPath: CHILD_PATH,
  })
}

export const definition: LakeDefinition = { pipelines: [] }

export const settings: Settings = {
  writer: 'test',
  source: {
    kind: 'kafka',
    kafka: { brokers: ['localhost:9092'], sasl: { mechanism: 'plain', username: 'u', password: 'hidden-1' } },
  },
  store: { url: 's3://bucket/prefix', endpoint: 'http://me:hidden-2@localhost:1', secretAccessKey: 'hidden-3' },
  salts: { people: 'hidden-4, as long as a salt is' },
  commit: { minIntervalMs: 500, microBatch: { bytesMax: 1, recordsMax: 1, ageMsMax: 1 }, heartbeatMs: 60_000 },
  lanes: 1,
  takeoverAfterMs: 90_000,
  maintenance: MAINTENANCE,
  http: { host: '127.0.0.1', port: 0 },
  query: querySettings(),
  log: { level: 'info' },
}

/** The API over a lake whose routes run no SQL, and how to ask it: a body is posted as JSON. */
export function appOver(lake: TestLake, given: LakeDefinition = definition) {
  const app = createApp({
    ...lake,
    engine: undefined as unknown as Engine,
    definition: given,
    settings,
    metrics: createMetrics(),
    clock: systemClock,
    pipelines: [],
  })
  const ask = async (path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await app.request(path, {
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
      headers: { host: 'localhost', 'content-type': 'application/json', ...headers },
    })
    const location = response.headers.get('location')
    return { status: response.status, body: (await response.json()) as any, headers: response.headers, location }
  }
  return { app, ask }
}
