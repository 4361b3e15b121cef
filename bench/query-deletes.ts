import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { Column } from '../src/batch.ts'
import { systemClock } from '../src/clock.ts'
import { openChain } from '../src/lake/chain.ts'
import { openStorage } from '../src/lake/storage/open.ts'
import {
  changeTable,
  createTable,
  DeletedRows,
  lowerBound,
  singleValue,
  upperBound,
  type DataFile,
  type FileDeletes,
  type Storage,
} from '../src/lake/table.ts'
import { openEngine, type Engine } from '../src/query/engine.ts'
import { lakeResolver } from '../src/query/view.ts'
import type { QuerySettings } from '../src/settings.ts'

/**
 * What deleted rows cost a query: a table of which 1 % is deleted, spread over all files, against a copy that never had
 * those rows, in the same process, in turns.
 */
interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: 'ms'
  readonly target: string
  readonly ratio: number
  readonly peer: { readonly name: string; readonly value: number }
  readonly pass: boolean
}

const FILES = 8
const ROWS = 250_000
/** Of so many rows one is deleted. */
const DELETED_OF = 100
const ROUNDS = 15
const COLUMNS: readonly Column[] = [
  { name: 'id', type: { kind: 'long' }, required: true },
  { name: 'amount', type: { kind: 'decimal', precision: 12, scale: 2 } },
  { name: 'status', type: { kind: 'string' } },
  { name: 'note', type: { kind: 'string' } },
]
const QUERIES = [
  {
    name: 'aggregate',
    max: 1.3,
    sql: (table: string) => `SELECT status, sum(amount), max(note) FROM ${table} GROUP BY 1`,
  },
  {
    name: 'pruned',
    max: 1.3,
    sql: (table: string) => `SELECT sum(amount), max(note) FROM ${table} WHERE id BETWEEN 600000 AND 700000`,
  },
  { name: 'count', max: 1.3, sql: (table: string) => `SELECT count(*) FROM ${table}` },
  { name: 'top', max: 2, sql: (table: string) => `SELECT * FROM ${table} ORDER BY amount DESC, id LIMIT 10` },
]

export async function measure(childPath: string): Promise<readonly Figure[]> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-bench-'))
  const storage = await openStorage({ url: `file://${folder}/lake` }, systemClock)
  const engine = await build(storage, folder, childPath)
  try {
    const figures: Figure[] = []
    for (const query of QUERIES) {
      const times: Record<'clean' | 'torn', number[]> = { clean: [], torn: [] }
      for (let round = 0; round < ROUNDS; round++)
        for (const table of ['clean', 'torn'] as const) {
          const startMs = systemClock.monotonicMs()
          await engine.rows({ sql: query.sql(table) })
          if (round > 0) times[table].push(systemClock.monotonicMs() - startMs)
        }
      const [value, peer] = [median(times.torn), median(times.clean)]
      figures.push({
        name: `query-deletes.${query.name}`,
        value: rounded(value),
        unit: 'ms',
        target: `at most ${query.max} times the clean copy`,
        ratio: rounded(value / peer),
        peer: { name: 'clean', value: rounded(peer) },
        pass: value / peer <= query.max,
      })
    }
    return figures
  } finally {
    await engine.close()
    await storage.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function build(storage: Storage, folder: string, childPath: string): Promise<Engine> {
  const chain = openChain(storage, 'bench', systemClock)
  const commitId = systemClock.uuid()
  const stamp = { commitId, version: 1n, ranges: 'bench:0=0-1' }
  const tableOf = async (name: string, isTorn: boolean) => {
    const spec = { name, columns: COLUMNS, partitionBy: [], formatVersion: 3, key: ['id'] } as const
    const added: DataFile[] = []
    for (let file = 0; file < FILES; file++) added.push(await fileOf(storage, folder, name, file, isTorn))
    const deletes = isTorn ? added.map(holes) : []
    const empty = await createTable(storage, spec, systemClock)
    const table = await changeTable(storage, empty, { kind: 'write', added, deletes, removed: [] }, stamp, systemClock)
    return { metadata: table.metadata, snapshot: table.snapshot, code: 'code' }
  }
  const tables = { clean: await tableOf('clean', false), torn: await tableOf('torn', true) }
  await chain.append(undefined, {
    commitId,
    build: async () => ({
      kind: 'ingest',
      writer: 'bench',
      tables,
      positions: new Map([['bench/0', 1n]]),
      clocksMs: {},
      watermarkMs: undefined,
      topicIds: {},
      tails: new Map(),
      holes: new Map(),
      paused: undefined,
      released: false,
    }),
  })
  const settings: QuerySettings = {
    children: 1,
    queueMax: 1,
    rowsMax: 1_000,
    bytesMax: 1 << 20,
    timeoutMs: 60_000,
    memoryBytesMax: 1 << 30,
    cacheDir: path.join(folder, 'cache'),
    cacheBytesMax: 1 << 30,
  }
  const resolve = lakeResolver({ storage, chains: new Map([['bench', chain]]), settings, clock: systemClock })
  return openEngine({ settings, resolve, clock: systemClock, childPath })
}

async function fileOf(
  storage: Storage,
  folder: string,
  name: string,
  file: number,
  isTorn: boolean,
): Promise<DataFile> {
  const local = path.join(folder, `${name}.parquet`)
  const first = file * ROWS
  const rows = `SELECT range::BIGINT AS id, (hash(range) % 1000000)::DECIMAL(12,2) AS amount,
    'status ' || (hash(range + 7) % 5) AS status, md5(range::VARCHAR) || md5((range + 1)::VARCHAR) AS note
    FROM range(${first}, ${first + ROWS}) ${isTorn ? '' : `WHERE range % ${DELETED_OF} <> 0`}`
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  const ids = COLUMNS.map((column, index) => `${column.name}: ${index + 1}`).join(', ')
  const options = `FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880, FIELD_IDS {${ids}}`
  await connection.run(`COPY (${rows}) TO '${local}' (${options})`)
  connection.closeSync()
  instance.closeSync()
  const fileSizeBytes = (await stat(local)).size
  const key = `tables/${name}/data/${systemClock.uuid()}.parquet`
  await storage.putFile(key, local)
  const recordCount = isTorn ? ROWS : ROWS - ROWS / DELETED_OF
  const [lower, upper] = [first, first + ROWS - 1].map((id) => singleValue('long', BigInt(id)))
  const bounds = { lower: lowerBound('long', lower!), upper: upperBound('long', upper!)! }
  const metrics = new Map([[1, { sizeBytes: 1, valueCount: recordCount, nullCount: 0, ...bounds }]])
  return { key, fileSizeBytes, recordCount, partition: [], metrics }
}

function holes(file: DataFile): FileDeletes {
  const rows = new DeletedRows(file.recordCount)
  for (let row = 0; row < file.recordCount; row += DELETED_OF) rows.add(row)
  return { file, rows }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

function rounded(value: number): number {
  return Number(value.toFixed(3))
}
