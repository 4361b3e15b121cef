import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import type { Chain } from '../lake/chain.ts'
import { dataFiles } from '../lake/scan.ts'
import { openTable, type DataFile, type IcebergType, type LakeTable, type Storage } from '../lake/table.ts'
import type { QuerySettings } from '../settings.ts'
import type { Version } from '../version.ts'
import { parseAsOf, type AsOf } from './as-of.ts'
import type { ResolvedTables, TableResolver } from './engine.ts'
import { FileCache } from './file-cache.ts'
import type { View } from './messages.ts'

export interface ResolverOptions {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly settings: QuerySettings
  readonly clock: Clock
}

/** Metadata files and file lists that are kept: they never change. */
const TABLES_KEPT = 256
const LISTS_KEPT = 64

/**
 * Pins every pipeline that a query touches at one version, and gives the files of its tables there. Which table belongs
 * to which pipeline is what the newest versions say. `asOf` is described at `parseAsOf`; a snapshot stands for the
 * version that made it.
 */
export function lakeResolver(options: ResolverOptions): TableResolver {
  return new LakeResolver(options)
}

class LakeResolver implements TableResolver {
  readonly #options: ResolverOptions
  readonly #cache: FileCache
  /** Pipeline of each table, as last seen. A table never changes its pipeline. */
  readonly #owners = new Map<string, string>()
  readonly #tables = new Recent<LakeTable>(TABLES_KEPT)
  readonly #lists = new Recent<readonly DataFile[]>(LISTS_KEPT)

  constructor(options: ResolverOptions) {
    this.#options = options
    const { storage, clock, settings } = options
    this.#cache = new FileCache({ storage, clock, folder: settings.cacheDir, bytesMax: settings.cacheBytesMax })
  }

  get cacheBytes(): number {
    return this.#cache.bytes
  }

  async resolve(names: readonly string[], asOf: string | undefined, signal: AbortSignal): Promise<ResolvedTables> {
    const when = parseAsOf(asOf)
    const byPipeline = await this.#group(names)
    const versions = new Map(
      await Promise.all(
        [...byPipeline].map(
          async ([pipeline, tables]) =>
            [pipeline, await this.#version(pipeline, tables, when, byPipeline.size)] as const,
        ),
      ),
    )
    const found = await Promise.all(
      [...byPipeline].flatMap(([pipeline, tables]) =>
        tables.map((name) => this.#table(name, versions.get(pipeline)!, pipeline)),
      ),
    )
    const release: (() => void)[] = []
    try {
      const views: View[] = []
      for (const table of found) {
        signal.throwIfAborted()
        const files = await this.#files(table)
        if (this.#options.storage.isLocal)
          views.push(
            viewOf(
              table,
              files.map(({ key }) => this.#pathOf(key)),
            ),
          )
        else {
          const leased = await this.#cache.lease(files, signal)
          release.push(leased.release)
          views.push(viewOf(table, leased.paths))
        }
      }
      return {
        views,
        versions: new Map([...versions].map(([pipeline, { number }]) => [pipeline, number])),
        release: () => release.splice(0).forEach((each) => each()),
      }
    } catch (error) {
      for (const each of release) each()
      throw error
    }
  }

  async #group(names: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> {
    if (names.some((name) => !this.#owners.has(name))) await this.#refreshOwners()
    const groups = new Map<string, string[]>()
    for (const name of names) {
      const pipeline = this.#owners.get(name)
      if (pipeline === undefined) throw unknownTable(name, [...this.#owners.keys()])
      groups.set(pipeline, [...(groups.get(pipeline) ?? []), name])
    }
    return groups
  }

  async #refreshOwners(): Promise<void> {
    await Promise.all(
      [...this.#options.chains].map(async ([pipeline, chain]) => {
        for (const name of Object.keys((await chain.head())?.tables ?? {})) this.#owners.set(name, pipeline)
      }),
    )
  }

  async #version(pipeline: string, tables: readonly string[], when: AsOf, pipelines: number): Promise<Version> {
    const chain = this.#options.chains.get(pipeline)!
    switch (when.kind) {
      case 'head':
      case 'time':
        return chain.at(when)
      case 'pinned': {
        const number = when.versions.get(pipeline)
        return number === undefined ? chain.at({ kind: 'head' }) : chain.at({ kind: 'number', number })
      }
      case 'offset': {
        const head = await chain.at({ kind: 'head' })
        if (head.positions.has(when.partition)) return chain.at(when)
        throw new LakeError('request.invalid', `the pipeline ${pipeline} does not read ${when.partition}`, {
          fix: 'Name a partition that all tables of the query are fed by.',
        })
      }
      case 'number': {
        const head = await chain.at({ kind: 'head' })
        if (when.number > head.number) return this.#versionOf(when.number, head, tables, pipelines)
        if (pipelines === 1) return chain.at(when)
        throw new LakeError('request.invalid', `version ${when.number} could be of ${pipelines} pipelines`, {
          fix: `Write the pipeline too: ${pipeline}@${when.number}.`,
        })
      }
    }
  }

  /** The version that made a snapshot of one of the tables: their summaries name it, the version file confirms it. */
  async #versionOf(snapshot: bigint, head: Version, tables: readonly string[], pipelines: number): Promise<Version> {
    for (const name of tables) {
      const table = await this.#table(name, head, '')
      const info = table.snapshots.find(({ id }) => id === snapshot)
      const number = info?.summary['kappalake.version']
      if (number === undefined || pipelines > 1) continue
      const chain = this.#options.chains.get(this.#owners.get(name)!)!
      const version = await chain.at({ kind: 'number', number: BigInt(number) })
      if (version.tables[name]?.snapshot === snapshot) return version
    }
    throw new LakeError('snapshot.expired', `${snapshot} is neither a version nor a snapshot that is kept`, {
      fix: 'List /v1/tables/{table}/snapshots or /v1/pipelines/{pipeline}/versions.',
    })
  }

  async #table(name: string, version: Version, pipeline: string): Promise<LakeTable> {
    const metadata = version.tables[name]?.metadata
    if (metadata === undefined)
      throw new LakeError('table.unknown', `${name} was not there yet at version ${version.number} of ${pipeline}`)
    return this.#tables.get(metadata, () => openTable(this.#options.storage, metadata))
  }

  #files(table: LakeTable): Promise<readonly DataFile[]> {
    return this.#lists.get(table.metadata, () => dataFiles(this.#options.storage, table))
  }

  /** The URI of a local store is its path: roots that would need escapes are refused. */
  #pathOf(key: string): string {
    return `${this.#options.storage.url.slice('file://'.length)}/${key}`
  }
}

export function viewOf(table: Pick<LakeTable, 'name' | 'schema'>, files: readonly string[]): View {
  return {
    name: table.name,
    columns: table.schema.fields.map(({ id, name, type }) => ({ fieldId: id, name, type: duckdbType(type) })),
    files,
  }
}

const TYPES: Readonly<Record<string, string>> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  date: 'DATE',
  time: 'TIME',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
  timestamp_ns: 'TIMESTAMP_NS',
  string: 'VARCHAR',
  uuid: 'UUID',
  binary: 'BLOB',
}

/** DuckDB's name of an Iceberg type. */
export function duckdbType(type: IcebergType): string {
  if (typeof type === 'string') {
    const named = TYPES[type] ?? (type.startsWith('fixed') ? 'BLOB' : undefined)
    const [, precision, scale] = /^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$/.exec(type) ?? []
    if (named === undefined && precision === undefined)
      throw new LakeError('store.corrupt', `a table has a column of the unknown type ${type}`)
    return named ?? `DECIMAL(${precision},${scale})`
  }
  switch (type.type) {
    case 'list':
      return `${duckdbType(type.element)}[]`
    case 'map':
      return `MAP(${duckdbType(type.key)}, ${duckdbType(type.value)})`
    case 'struct': {
      const fields = type.fields.map((field) => `"${field.name.replaceAll('"', '""')}" ${duckdbType(field.type)}`)
      return `STRUCT(${fields.join(', ')})`
    }
  }
}

function unknownTable(name: string, known: readonly string[]): LakeError {
  return new LakeError('table.unknown', `there is no table ${name}`, {
    fix:
      known.length === 0
        ? 'No pipeline has a version yet.'
        : `There are: ${known.toSorted().join(', ').slice(0, 500)}.`,
  })
}

/** The values used last, loaded once each; a failed load is forgotten. */
class Recent<Value> {
  readonly #max: number
  readonly #values = new Map<string, Promise<Value>>()

  constructor(max: number) {
    this.#max = max
  }

  get(key: string, load: () => Promise<Value>): Promise<Value> {
    const value = this.#values.get(key) ?? load()
    this.#values.delete(key)
    this.#values.set(key, value)
    value.catch(() => this.#values.delete(key))
    if (this.#values.size > this.#max) this.#values.delete(this.#values.keys().next().value!)
    return value
  }
}
