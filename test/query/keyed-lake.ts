import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import {
  changeTable,
  createTable,
  DeletedRows,
  type DataFile,
  type LakeTable,
  type Storage,
  type StoredFile,
  type TableChange,
} from '../../src/lake/table.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import type { Scan } from '../../src/query/table-files.ts'
import { lakeResolver } from '../../src/query/view.ts'
import type { Version } from '../../src/version.ts'
import { metricsOf } from './metrics.ts'
import { CHILD_PATH, querySettings, writeParquet } from './support.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
  { name: 'note', type: { kind: 'string' } },
  { name: '_kafka_partition', type: { kind: 'int' } },
  { name: '_offset', type: { kind: 'long' } },
]
const PARQUET = COLUMNS.map(({ name }, index) => ({ fieldId: index + 1, name, type: '' }))

/** What a record says of a key; without an amount it deletes the row. */
export interface Change {
  readonly id: bigint
  readonly amount: bigint | undefined
  readonly note?: string
}

export interface KeyedRow {
  readonly id: bigint
  readonly amount: bigint
  readonly note: string | null
  readonly offset: bigint
}

/** A lake of one keyed table, written as a pipeline writes it; only nobody reads a log. */
export interface KeyedLake {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly cacheDir: string
  readonly scan: Scan
  readonly table: () => LakeTable
  /** Rows by key as each version should have them. */
  readonly states: Map<bigint, ReadonlyMap<bigint, KeyedRow>>
  /** What the lake shall say of its files at a metadata file, in the place of the truth. */
  readonly files: Map<string, readonly StoredFile[]>
  /** One file of the rows, in order; what they replace is deleted. */
  commit(changes: readonly Change[]): Promise<Version>
  openEngine(given?: Parameters<typeof querySettings>[0]): Promise<Engine>
  close(): Promise<void>
}

export async function makeKeyedLake(kind: 'local' | 'memory' = 'local', besideRowsMin?: number): Promise<KeyedLake> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-keyed-'))
  const storage: Storage =
    kind === 'local' ? await LocalStorage.open(path.join(folder, 'store')) : new MemoryStorage('test')
  const chain = openChain(storage, 'shop', systemClock)
  let table: LakeTable | undefined
  const described = new Map<string, DataFile>()
  const deleted = new Map<string, DeletedRows>()
  const places = new Map<bigint, { file: string; row: number }>()
  const lake: KeyedLake = {
    storage,
    chains: new Map([['shop', chain]]),
    cacheDir: path.join(folder, 'cache'),
    states: new Map(),
    files: new Map(),
    scan: {
      storedFiles: async (_, at) => lake.files.get(at.metadata) ?? storedFiles(storage, at),
      readDeletedRows,
    },
    table: () => table!,
    commit,
    openEngine(given = {}) {
      const settings = querySettings({ cacheDir: lake.cacheDir, ...given })
      return openEngine({
        settings,
        resolve: lakeResolver({
          storage,
          chains: lake.chains,
          scan: lake.scan,
          settings,
          clock: systemClock,
          besideRowsMin,
        }),
        clock: systemClock,
        childPath: CHILD_PATH,
      })
    },
    async close() {
      await storage.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
  let [state, offset]: [ReadonlyMap<bigint, KeyedRow>, bigint] = [new Map(), 0n]

  async function commit(changes: readonly Change[]): Promise<Version> {
    const key = `tables/orders/data/${systemClock.uuid()}.parquet`
    const next = new Map(state)
    const rows: KeyedRow[] = []
    const touched = new Set<string>()
    const kill = ({ file, row }: { file: string; row: number }) => {
      deleted.get(file)!.add(row)
      touched.add(file)
    }
    deleted.set(key, new DeletedRows(changes.filter(({ amount }) => amount !== undefined).length))
    for (const { id, amount, note = null } of changes) {
      const place = places.get(id)
      if (place !== undefined) kill(place)
      places.delete(id)
      next.delete(id)
      const row = { id, amount: amount ?? 0n, note, offset: offset++ }
      if (amount === undefined) continue
      places.set(id, { file: key, row: rows.length })
      next.set(id, row)
      rows.push(row)
    }
    const added = rows.length === 0 ? [] : [await store(key, rows)]
    for (const file of added) described.set(file.key, file)
    const deletes = [...touched].map((name) => ({ file: described.get(name)!, rows: deleted.get(name)! }))
    state = next
    return append({ kind: 'write', added, deletes, removed: [] })
  }

  async function store(key: string, rows: readonly KeyedRow[]): Promise<DataFile> {
    const local = path.join(folder, 'next.parquet')
    const values = rows.map(
      ({ id, amount, note, offset: at }) =>
        `(${id}, ${amount}::DECIMAL(14,2) / 100, ${note === null ? 'NULL' : `'${note}'`}, ${at})`,
    )
    const select = `SELECT id::BIGINT AS id, amount::DECIMAL(12,2) AS amount, note::VARCHAR AS note,
      0::INTEGER AS _kafka_partition, o::BIGINT AS _offset FROM (VALUES ${values.join(', ')}) v(id, amount, note, o)`
    await writeParquet(local, PARQUET, select)
    const fileSizeBytes = (await stat(local)).size
    await storage.putFile(key, local)
    const metrics = new Map([
      [
        1,
        metricsOf(
          'long',
          rows.map(({ id }) => id),
        ),
      ],
      [
        2,
        metricsOf(
          'decimal(12, 2)',
          rows.map(({ amount }) => amount),
        ),
      ],
      [
        3,
        metricsOf(
          'string',
          rows.map(({ note }) => note),
        ),
      ],
    ])
    return { key, fileSizeBytes, recordCount: rows.length, partition: [], metrics }
  }

  async function append(change: TableChange): Promise<Version> {
    const commitId = systemClock.uuid()
    const result = await chain.append(await chain.head(), {
      commitId,
      build: async (_head, version) => {
        const spec = { name: 'orders', columns: COLUMNS, partitionBy: [], formatVersion: 3, key: ['id'] } as const
        const before = table ?? (await createTable(storage, spec, systemClock))
        const stamp = { commitId, version, ranges: `shop.orders:0=0-${offset}` }
        table = await changeTable(storage, before, change, stamp, systemClock)
        return {
          kind: 'ingest',
          writer: 'test',
          tables: { orders: { metadata: table.metadata, snapshot: table.snapshot, code: 'c0de' } },
          positions: new Map([['shop.orders/0', offset]]),
          ...NOTHING_ELSE,
        }
      },
    })
    if (result.kind !== 'committed') throw new Error(result.kind)
    lake.states.set(result.version.number, state)
    return result.version
  }

  return lake
}
