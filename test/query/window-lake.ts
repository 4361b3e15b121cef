import { mkdtemp, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Column } from '../../src/batch.ts'
import { systemClock } from '../../src/clock.ts'
import { lateTable, stateTable, type WindowDefinition } from '../../src/define-window.ts'
import { lateColumns, partialColumns, resultColumns, type WindowShape } from '../../src/window/columns.ts'
import { openChain, type Chain } from '../../src/lake/chain.ts'
import { LocalStorage } from '../../src/lake/storage/local.ts'
import { appendFiles, createTable, openTable, type DataFile, type Storage } from '../../src/lake/table.ts'
import type { PartitionId } from '../../src/log.ts'
import { openEngine, type Engine } from '../../src/query/engine.ts'
import { lakeResolver } from '../../src/query/view.ts'
import type { Version } from '../../src/version.ts'
import { windowProperties } from '../../src/window-property.ts'
import { CHILD_PATH, querySettings, writeParquet } from './support.ts'
import { NOTHING_ELSE } from '../support/version-content.ts'

export const SOURCE: readonly Column[] = [
  { name: 'sensor', type: { kind: 'string' } },
  { name: 'value', type: { kind: 'int' } },
]

/** One window and the tables that a pipeline writes for it. */
export interface WindowTables {
  readonly definition: WindowDefinition
  readonly shape: WindowShape
}

/** What stands in the tables at the next version: SELECTs with their columns in order, and what the log is known for. */
export interface WindowRows {
  readonly rows: Readonly<Record<string, string>>
  readonly watermarkMs?: number
  readonly clocksMs?: Readonly<Record<PartitionId, number>>
}

/** A lake of a source table `metrics` without rows, and of windows over it, as a pipeline would have written them. */
export interface WindowLake {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly cacheDir: string
  commit(given: WindowRows): Promise<Version>
  openEngine(): Promise<Engine>
  close(): Promise<void>
}

export const TOPIC = 'lab.metrics'
export const OUT_OF_ORDERNESS_MS = 5_000

export async function makeWindowLake(windows: readonly WindowTables[], source = SOURCE): Promise<WindowLake> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'kappalake-windows-'))
  const storage = await LocalStorage.open(path.join(folder, 'store'))
  const chain = openChain(storage, 'lab', systemClock)
  const cacheDir = path.join(folder, 'cache')
  const columns = new Map<string, { columns: readonly Column[]; properties: Readonly<Record<string, string>> }>()
  columns.set('metrics', { columns: source, properties: {} })
  for (const { definition, shape } of windows) {
    const properties = windowProperties({
      definition,
      topic: TOPIC,
      outOfOrdernessMs: OUT_OF_ORDERNESS_MS,
      columns: source,
    })
    const { name } = definition
    columns.set(name, { columns: resultColumns(shape), properties })
    columns.set(stateTable(name), { columns: partialColumns(shape), properties })
    columns.set(lateTable(name), { columns: lateColumns(source), properties })
  }

  const fileOf = async (name: string, select: string): Promise<DataFile> => {
    const unique = systemClock.uuid()
    const local = path.join(folder, `${unique}.parquet`)
    const parquet = columns.get(name)!.columns.map((column, index) => ({
      fieldId: index + 1,
      name: column.name,
      type: '',
    }))
    const names = parquet.map((column) => `"${column.name}"`).join(', ')
    await writeParquet(local, parquet, `SELECT * FROM (${select}) AS t(${names})`)
    const fileSizeBytes = (await stat(local)).size
    const key = `tables/${name}/data/${unique}.parquet`
    await storage.putFile(key, local)
    return { key, fileSizeBytes, recordCount: 1, partition: [], metrics: new Map() }
  }

  return {
    storage,
    chains: new Map([['lab', chain]]),
    cacheDir,
    async commit({ rows, watermarkMs, clocksMs = {} }) {
      const commitId = systemClock.uuid()
      const result = await chain.append(await chain.head(), {
        commitId,
        build: async (head, version) => {
          const tables: Record<string, Version['tables'][string]> = {}
          for (const [name, spec] of columns) {
            const before = head?.tables[name]?.metadata
            const table =
              before === undefined
                ? await createTable(storage, { name, partitionBy: [], formatVersion: 3, ...spec }, systemClock)
                : await openTable(storage, before)
            const files = rows[name] === undefined ? [] : [await fileOf(name, rows[name])]
            const stamp = { commitId, version, ranges: '' }
            const { metadata, snapshot } = await appendFiles(storage, table, files, stamp, systemClock)
            tables[name] = { metadata, snapshot, code: 'c0de' }
          }
          return {
            kind: 'ingest',
            writer: 'test',
            tables,
            positions: new Map([
              ['other/0', 1n],
              [`${TOPIC}/10`, 7n],
              [`${TOPIC}/2`, 20n],
              [`${TOPIC}/0`, 90n],
            ] as const),
            ...NOTHING_ELSE,
            clocksMs: { metrics: clocksMs },
            watermarksMs: watermarkMs === undefined ? {} : { metrics: watermarkMs },
            watermarkMs,
          }
        },
      })
      if (result.kind !== 'committed') throw new Error(result.kind)
      return result.version
    },
    openEngine() {
      const settings = querySettings({ cacheDir })
      return openEngine({
        settings,
        resolve: lakeResolver({ storage, chains: new Map([['lab', chain]]), settings, clock: systemClock }),
        clock: systemClock,
        childPath: CHILD_PATH,
      })
    },
    async close() {
      await storage.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A window with every default, as a definition makes it. */
export function windowDefinition(given: Pick<WindowDefinition, 'name' | 'window'> & Partial<WindowDefinition>) {
  return {
    kind: 'window',
    source: 'metrics',
    allowedLatenessMs: 0,
    input: 'events',
    groupBy: ['sensor'],
    nullGroup: 'keep',
    where: undefined,
    select: [
      { name: 'n', fn: 'count', column: undefined, n: undefined, where: undefined },
      { name: 'total', fn: 'sum', column: 'value', n: undefined, where: undefined },
    ],
    emit: 'update',
    earlyMs: 0,
    openRowsMax: 1_000,
    oldValuesMax: 1_000,
    computed: [],
    retainMs: undefined,
    to: undefined,
    ...given,
  } as const satisfies WindowDefinition
}
