import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { MemoryStorage } from '../../src/lake/storage/memory.ts'
import { createTable, DeletedRows, type Storage, type StoredFile } from '../../src/lake/table.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import type { Scan } from '../../src/query/table-files.ts'
import { lakeResolver } from '../../src/query/view.ts'
import type { Version } from '../../src/version.ts'
import { metricsOf } from './metrics.ts'
import { CHILD_PATH, querySettings, writeParquet } from './support.ts'

const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
  { name: 'note', type: { kind: 'string' } },
  { name: '_partition', type: { kind: 'int' } },
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

/** A lake of one keyed table: real files and versions; file lists and deleted rows are kept here. */
export interface KeyedLake {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly cacheDir: string
  readonly scan: Scan
  /** Rows by key as each version should have them. */
  readonly states: Map<bigint, ReadonlyMap<bigint, KeyedRow>>
  /** Files as each version has them. */
  readonly files: Map<string, readonly StoredFile[]>
  /** One file of the rows, in order; what they replace is deleted. */
  commit(changes: readonly Change[]): Promise<Version>
  openEngine(given?: Parameters<typeof querySettings>[0]): Promise<Engine>
  close(): Promise<void>
}

export async function makeKeyedLake(kind: 'local' | 'memory' = 'local'): Promise<KeyedLake> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-keyed-'))
  const storage: Storage =
    kind === 'local' ? await LocalStorage.open(path.join(folder, 'store')) : new MemoryStorage('test')
  const chain = openChain(storage, 'shop', systemClock)
  const vectors = new Map<string, DeletedRows>()
  const deleted = new Map<string, DeletedRows>()
  const places = new Map<bigint, { file: string; row: number }>()
  const lake: KeyedLake = {
    storage,
    chains: new Map([['shop', chain]]),
    cacheDir: path.join(folder, 'cache'),
    states: new Map(),
    files: new Map(),
    scan: {
      storedFiles: async (_, table) => lake.files.get(table.metadata)!,
      readDeletedRows: async (_, { deletes }) => vectors.get(`${deletes!.key}@${deletes!.offset}`)!,
    },
    commit,
    openEngine(given = {}) {
      const settings = querySettings({ cacheDir: lake.cacheDir, ...given })
      return openEngine({
        settings,
        resolve: lakeResolver({ storage, chains: lake.chains, scan: lake.scan, settings, clock: systemClock }),
        clock: systemClock,
        childPath: CHILD_PATH,
      })
    },
    async close() {
      await storage.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
  let [files, state, offset]: [readonly StoredFile[], ReadonlyMap<bigint, KeyedRow>, bigint] = [[], new Map(), 0n]

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
    const all = rows.length === 0 ? files : [...files, await store(key, rows)]
    const puffin = systemClock.uuid()
    files = all.map((file, index) => {
      if (!touched.has(file.key)) return file
      const rowsOfFile = deleted.get(file.key)!
      vectors.set(`${puffin}@${index}`, rowsOfFile.clone())
      return { ...file, deletes: { key: puffin, offset: index, length: 1, count: rowsOfFile.count } }
    })
    state = next
    return append()
  }

  async function store(key: string, rows: readonly KeyedRow[]): Promise<StoredFile> {
    const local = path.join(folder, 'next.parquet')
    const values = rows.map(
      ({ id, amount, note, offset: at }) =>
        `(${id}, ${amount}::DECIMAL(14,2) / 100, ${note === null ? 'NULL' : `'${note}'`}, ${at})`,
    )
    const select = `SELECT id::BIGINT AS id, amount::DECIMAL(12,2) AS amount, note::VARCHAR AS note,
      0::INTEGER AS _partition, o::BIGINT AS _offset FROM (VALUES ${values.join(', ')}) v(id, amount, note, o)`
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
    const inherited = { sequenceNumber: 0n, firstRowId: undefined, deletes: undefined }
    return { key, fileSizeBytes, recordCount: rows.length, partition: [], metrics, ...inherited }
  }

  async function append(): Promise<Version> {
    const spec = { name: 'orders', columns: COLUMNS, partitionBy: [], formatVersion: 3 } as const
    const { metadata: bare } = await createTable(storage, spec, systemClock)
    const text = Buffer.from((await storage.get(bare))!).toString('utf8')
    const metadata = bare.replace(/v0-/, 'v1-')
    await storage.put(
      metadata,
      Buffer.from(text.replace('"schema-id": 0,', '"schema-id": 0, "identifier-field-ids": [1],')),
    )
    lake.files.set(metadata, files)
    const result = await chain.append(await chain.head(), {
      commitId: systemClock.uuid(),
      build: async () => ({
        kind: 'ingest',
        writer: 'test',
        tables: { orders: { metadata, snapshot: undefined, code: 'c0de' } },
        positions: new Map([['shop.orders/0', offset]]),
        clocksMs: {},
        watermarkMs: undefined,
        topicIds: {},
        tails: new Map(),
        holes: new Map(),
        paused: undefined,
        released: false,
      }),
    })
    if (result.kind !== 'committed') throw new Error(result.kind)
    lake.states.set(result.version.number, state)
    return result.version
  }

  return lake
}
