import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { systemClock } from '../../src/clock.ts'
import { deadLetterTable } from '../../src/define.ts'
import { deadLetterSql, ledgerSql, shopDefinition, shopLedger, type TableLedger } from '../../src/ingest/shop-ledger.ts'
import { openChain } from '../../src/lake/chain.ts'
import { readDeletedRows, storedFiles } from '../../src/lake/scan.ts'
import { openStorage } from '../../src/lake/storage/open.ts'
import { verdictKey, type Verdict } from '../../src/lake/storage/race.ts'
import { openTable, type Storage, type StoredFile } from '../../src/lake/table.ts'
import { MAINTENANCE, type Settings, type ShopSettings, type StoreSettings } from '../../src/settings.ts'
import type { Version } from '../../src/version.ts'

/** A shop whose log is complete from the first moment. */
export function boundedShop(recordsPerTopic: number): ShopSettings {
  const epochMs = 1_700_000_000_000
  return { seed: 7, epochMs, untilMs: epochMs, recordsPerSecond: 1, recordsAtStart: recordsPerTopic }
}

/** Small batches and no pauses, so that a short log makes many versions. */
export function shopSettings(store: StoreSettings, shop: ShopSettings, folder: string): Settings {
  return {
    writer: 'one',
    source: { kind: 'shop', shop },
    store,
    commit: {
      minIntervalMs: 30,
      heartbeatMs: 60_000,
      microBatch: { bytesMax: 1 << 20, recordsMax: 60, ageMsMax: 50 },
    },
    lanes: 2,
    takeoverAfterMs: 2_000,
    maintenance: MAINTENANCE,
    http: { host: '127.0.0.1', port: 0 },
    query: {
      children: 1,
      queueMax: 10,
      rowsMax: 10_000,
      bytesMax: 1 << 24,
      timeoutMs: 60_000,
      memoryBytesMax: 1 << 28,
      cacheDir: path.join(folder, 'cache'),
      cacheBytesMax: 1 << 28,
    },
    log: { level: 'silent' },
  }
}

/** Spares a new store the races of its creates, which take longer than a short test. */
export async function trustStore(settings: StoreSettings): Promise<void> {
  const storage = await openStorage(settings, systemClock)
  const verdict: Verdict = {
    formatVersion: 1,
    store: storage.url,
    rounds: 1_000,
    racers: 1_000,
    checkedAt: '2026-01-01T00:00:00.000Z',
  }
  await storage.put(verdictKey, Buffer.from(JSON.stringify(verdict)))
  await storage.close()
}

/** What else a lake has been through. */
interface Allowed {
  /** Records, `topic/partition@offset`, that must be dead letters. */
  readonly fatal?: readonly string[]
  /** Whether versions have been let go. */
  readonly isThinned?: boolean
  /** How many times exactly it went back, and other tables took the place of its own. */
  readonly rollbacks?: number
  readonly cutovers?: number
}

/**
 * What is wrong with a shop's lake at its head: a chain that is not dense or has two histories, positions that go back,
 * objects that are referred to and missing, rows that differ from the generator's ledger. Empty when all is right.
 */
export async function shopFaults(
  store: StoreSettings,
  shop: ShopSettings,
  { fatal = [], isThinned = false, rollbacks = 0, cutovers = 0 }: Allowed = {},
): Promise<string[]> {
  const storage = await openStorage(store, systemClock)
  try {
    const chain = openChain(storage, 'shop', systemClock)
    const versions = (await chain.versions(100_000)).toReversed()
    if (versions.length === 0) return ['no version']
    return [
      ...chainFaults(versions, isThinned, { rollback: rollbacks, cutover: cutovers }),
      ...(await referenceFaults(storage, versions)),
      ...(await rowFaults(storage, versions.at(-1)!, shopLedger(shop, versions.at(-1)!.positions, new Set(fatal)))),
    ]
  } finally {
    await storage.close()
  }
}

function chainFaults(
  versions: readonly Version[],
  isThinned: boolean,
  jumps: Readonly<Record<'rollback' | 'cutover', number>>,
): string[] {
  const faults: string[] = []
  for (const [jump, wanted] of Object.entries(jumps)) {
    const found = versions.filter(({ kind }) => kind === jump).length
    if (found !== wanted) faults.push(`${found} versions are of kind ${jump}, not ${wanted}`)
  }
  const ids = new Set<string>()
  for (const [index, version] of versions.entries()) {
    const before = versions[index - 1]
    const isNext = version.number === (before?.number ?? 0n) + 1n
    if (!isNext && !isThinned) faults.push(`version ${index + 1} is number ${version.number}`)
    if (isNext && version.parent !== (before?.commitId ?? ''))
      faults.push(`version ${version.number} has another parent`)
    if (ids.has(version.commitId)) faults.push(`version ${version.number} repeats a commit`)
    ids.add(version.commitId)
    for (const [id, position] of before?.positions ?? [])
      if (!Object.hasOwn(jumps, version.kind) && (version.positions.get(id) ?? -1n) < position)
        faults.push(`version ${version.number}: ${id} goes back`)
    if (version.holes.size > 0) faults.push(`version ${version.number} has a hole`)
    if (isNext && version.kind === 'maintenance' && !isSamePlace(before!, version))
      faults.push(`version ${version.number} is maintenance and moves`)
  }
  return faults
}

function isSamePlace(a: Version, b: Version): boolean {
  return a.positions.size === b.positions.size && [...a.positions].every(([id, at]) => b.positions.get(id) === at)
}

async function referenceFaults(storage: Storage, versions: readonly Version[]): Promise<string[]> {
  const faults: string[] = []
  const seen = new Set<string>()
  for (const { number, tables } of versions)
    for (const { metadata } of Object.values(tables)) {
      if (seen.has(metadata)) continue
      seen.add(metadata)
      try {
        for (const file of await storedFiles(storage, await openTable(storage, metadata))) {
          // Vectors of a file grow from version to version: all of them are read.
          await readDeletedRows(storage, file)
          if (seen.has(file.key)) continue
          seen.add(file.key)
          const sizeBytes = (await storage.head(file.key))?.sizeBytes
          if (sizeBytes !== file.fileSizeBytes) faults.push(`version ${number}: ${file.key} has ${sizeBytes} bytes`)
        }
      } catch (error) {
        faults.push(`version ${number}: ${metadata}: ${String(error)}`)
      }
    }
  return faults
}

/** Dead letters of a table of the shop at the head. */
export async function deadLettersOf(
  store: StoreSettings,
  table: string,
): Promise<{ partition: number; offset: bigint; code: string }[]> {
  const storage = await openStorage(store, systemClock)
  const reader = await Reader.open()
  try {
    const head = await openChain(storage, 'shop', systemClock).head()
    const name = deadLetterTable(table)
    const rows = await reader.rows(
      storage,
      head!,
      name,
      `SELECT _kafka_partition, _offset, code FROM ${name} ORDER BY ALL`,
    )
    return rows.map(([partition, offset, code]) => ({
      partition: Number(partition),
      offset: BigInt(String(offset)),
      code: String(code),
    }))
  } finally {
    reader.close()
    await storage.close()
  }
}

async function rowFaults(storage: Storage, head: Version, ledger: ReadonlyMap<string, TableLedger>): Promise<string[]> {
  const faults: string[] = []
  const reader = await Reader.open()
  try {
    for (const { name } of shopDefinition.pipelines[0]!.tables) {
      const { rows, digest, deadLetters, deadLetterDigest } = ledger.get(name)!
      const [table, dead] = [name, deadLetterTable(name)]
      const found = await reader.digest(storage, head, table, ledgerSql(name))
      if (found !== `${rows} rows, digest ${digest}`) faults.push(`${table}: ${found}, not ${rows}, digest ${digest}`)
      const foundDead = await reader.digest(storage, head, dead, deadLetterSql(name))
      if (foundDead !== `${deadLetters} rows, digest ${deadLetterDigest}`)
        faults.push(`${dead}: ${foundDead}, not ${deadLetters}`)
    }
  } finally {
    reader.close()
  }
  return faults
}

/** A DuckDB that knows nothing of the lake but its files. */
class Reader {
  readonly #instance: DuckDBInstance
  readonly #folder = mkdtempSync(path.join(os.tmpdir(), 'kappalake-shop-'))

  private constructor(instance: DuckDBInstance) {
    this.#instance = instance
  }

  static async open(): Promise<Reader> {
    return new Reader(await DuckDBInstance.create(':memory:', { threads: '1' }))
  }

  async digest(storage: Storage, head: Version, table: string, sql: string): Promise<string> {
    const [row] = await this.rows(storage, head, table, sql)
    return `${String(row?.[0] ?? 0)} rows, digest ${String(row?.[1] ?? 0)}`
  }

  /** Nothing for a table without files. */
  async rows(storage: Storage, head: Version, table: string, sql: string): Promise<unknown[][]> {
    const files = await storedFiles(storage, await openTable(storage, head.tables[table]!.metadata))
    if (files.length === 0) return []
    const live = await Promise.all(files.map((file) => this.#live(storage, file)))
    const connection = await this.#instance.connect()
    try {
      await connection.run(`CREATE OR REPLACE VIEW "${table}" AS ${live.join(' UNION ALL BY NAME ')}`)
      return (await connection.runAndReadAll(sql)).getRows()
    } finally {
      connection.closeSync()
    }
  }

  /** SQL of the rows of a file that its deletion vector does not name. */
  async #live(storage: Storage, file: StoredFile): Promise<string> {
    const dead = [...(await readDeletedRows(storage, file)).positions()]
    const where = dead.length === 0 ? '' : ` WHERE file_row_number NOT IN (${dead.join(', ')})`
    return `SELECT * FROM read_parquet('${await this.#local(storage, file)}', file_row_number = true)${where}`
  }

  async #local(storage: Storage, { key }: StoredFile): Promise<string> {
    if (storage.isLocal) return `${storage.url.slice('file://'.length)}/${key}`
    const file = path.join(this.#folder, path.basename(key))
    writeFileSync(file, (await storage.get(key))!)
    return file
  }

  close(): void {
    this.#instance.closeSync()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
