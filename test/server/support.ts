import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../../src/clock.ts'
import type { LakeDefinition } from '../../src/define.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import type { DataFile, IcebergField, LakeTable, SnapshotInfo, Storage } from '../../src/lake/table.ts'
import type { PartitionId } from '../../src/log.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { lakeResolver, type TableReader } from '../../src/query/view.ts'
import type { Settings } from '../../src/settings.ts'
import type { Version } from '../../src/version.ts'
import { CHILD_PATH, querySettings, writeParquet } from '../query/support.ts'

const FIELDS: readonly IcebergField[] = [
  { id: 1, name: 'id', required: true, type: 'long' },
  { id: 2, name: 'amount', required: false, type: 'decimal(12, 2)' },
  { id: 3, name: '_partition', required: true, type: 'int' },
  { id: 4, name: '_offset', required: true, type: 'long' },
]
const COLUMNS = [
  { fieldId: 1, name: 'id', type: 'BIGINT' },
  { fieldId: 2, name: 'amount', type: 'DECIMAL(12,2)' },
  { fieldId: 3, name: '_partition', type: 'INTEGER' },
  { fieldId: 4, name: '_offset', type: 'BIGINT' },
]

/** A small lake: real Parquet files and a real chain of versions, tables kept in memory instead of Iceberg metadata. */
export interface TestLake {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly tables: TableReader
  readonly folder: string
  readonly cacheDir: string
  /** Adds `rows` rows to each table of a pipeline (one partition each) and commits them. */
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
  const states = new Map<string, { table: LakeTable; files: readonly DataFile[] }>()
  const latest = new Map<string, { table: LakeTable; files: readonly DataFile[] }>()
  let unique = 0

  const grow = async (name: string, number: bigint, from: number, rows: number) => {
    const before = latest.get(name)
    const metadata = `tables/${name}/metadata/${++unique}.json`
    let files = before?.files ?? []
    const snapshots: SnapshotInfo[] = [...(before?.table.snapshots ?? [])]
    if (rows > 0) {
      const local = path.join(folder, `${unique}.parquet`)
      const select = `SELECT range::BIGINT AS id, (range * 1.5)::DECIMAL(12,2) AS amount, 0::INTEGER AS _partition,
        range::BIGINT AS _offset FROM range(${from}, ${from + rows})`
      await writeParquet(local, COLUMNS, select)
      const fileSizeBytes = (await stat(local)).size
      const key = `tables/${name}/data/${unique}.parquet`
      await storage.putFile(key, local)
      files = [...files, { key, fileSizeBytes, recordCount: rows, partition: [], metrics: new Map() }]
      snapshots.push({
        id: 9_000_000_000_000_000_000n + BigInt(unique),
        parentId: snapshots.at(-1)?.id,
        sequenceNumber: BigInt(snapshots.length + 1),
        timeMs: systemClock.nowMs(),
        operation: 'append',
        summary: {
          'added-records': String(rows),
          'total-records': String(from + rows),
          'kappalake.version': String(number),
          'kappalake.ranges': `${name}:0=${from}-${from + rows}`,
        },
      })
    }
    const table: LakeTable = {
      name,
      metadata,
      snapshot: snapshots.at(-1)?.id,
      uuid: `uuid-of-${name}`,
      formatVersion: 2,
      schema: { type: 'struct', 'schema-id': 0, fields: FIELDS },
      spec: { 'spec-id': 0, fields: [{ 'source-id': 1, 'field-id': 1000, name: 'id_b', transform: 'bucket[16]' }] },
      properties: {},
      totalRecords: BigInt(from + rows),
      totalFiles: BigInt(files.length),
      totalBytes: files.reduce((sum, file) => sum + BigInt(file.fileSizeBytes), 0n),
      snapshots,
    }
    latest.set(name, { table, files })
    states.set(metadata, { table, files })
    return { metadata, snapshot: table.snapshot, code: 'c0de' }
  }

  return {
    storage,
    chains,
    folder,
    cacheDir: path.join(folder, 'cache'),
    tables: {
      open: (_storage, metadata) => Promise.resolve(states.get(metadata)!.table),
      files: (_storage, table) => Promise.resolve(states.get(table.metadata)!.files),
    },
    async commit(pipeline, rows) {
      const chain = chains.get(pipeline)!
      const base = await chain.head()
      const result = await chain.append(base, {
        commitId: systemClock.uuid(),
        build: async (head, number) => {
          const id: PartitionId = `${pipeline}.topic/0`
          const from = Number(head?.positions.get(id) ?? 0n)
          const tables = pipelines[pipeline]!.map(async (name) => [name, await grow(name, number, from, rows)] as const)
          return {
            kind: 'ingest',
            writer: 'test',
            tables: Object.fromEntries(await Promise.all(tables)),
            positions: new Map([[id, BigInt(from + rows)]]),
            clocksMs: {},
            watermarkMs: undefined,
            topicIds: {},
            tails: new Map(),
            holes: new Map(),
            paused: undefined,
            released: false,
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
  commit: { minIntervalMs: 500, microBatch: { bytesMax: 1, recordsMax: 1, ageMsMax: 1 }, heartbeatMs: 60_000 },
  lanes: 1,
  takeoverAfterMs: 90_000,
  http: { host: '127.0.0.1', port: 0 },
  query: querySettings(),
  log: { level: 'info' },
}
