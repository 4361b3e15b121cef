import type { Clock } from '../clock.ts'
import { didYouMean } from '../define-fields.ts'
import { LakeError } from '../error.ts'
import type { Chain } from '../lake/chain.ts'
import { compareFiles, openTable, type LakeTable, type Storage } from '../lake/table.ts'
import type { QuerySettings } from '../settings.ts'
import type { Version } from '../version.ts'
import { parseAsOf, type AsOf } from './as-of.ts'
import { CHANGE_TABLES, type ChangesRequest, type ResolvedTables, type TableResolver } from './engine.ts'
import type { TableUse } from './messages.ts'
import { openWindowsOf } from './open-windows.ts'
import { Recent } from './recent.ts'
import { TableFiles, type LeasedView, type Scan } from './table-files.ts'
import { viewOf } from './view-columns.ts'
import { stateView } from './view-sql.ts'

export interface ResolverOptions {
  readonly storage: Storage
  readonly chains: ReadonlyMap<string, Chain>
  readonly settings: QuerySettings
  readonly clock: Clock
  /** How files and their deleted rows are found; the lake's own way by default. */
  readonly scan?: Scan
  /** As in `TableFilesOptions`. */
  readonly besideRowsMin?: number | undefined
}

/** Metadata files that are kept: they never change. */
const TABLES_KEPT = 256

/**
 * Pins every pipeline that a query touches at one version, and gives the files of its tables there that it needs. Which table belongs
 * to which pipeline is what the newest versions say. `asOf` is described at `parseAsOf`; a snapshot stands for the
 * version that made it.
 */
export function lakeResolver(options: ResolverOptions): TableResolver {
  return new LakeResolver(options)
}

class LakeResolver implements TableResolver {
  readonly #options: ResolverOptions
  readonly #files: TableFiles
  /** Pipeline of each table, as last seen. A table never changes its pipeline. */
  readonly #owners = new Map<string, string>()
  readonly #tables = new Recent<LakeTable>(TABLES_KEPT)

  constructor(options: ResolverOptions) {
    this.#options = options
    this.#files = new TableFiles(options)
  }

  get cacheBytes(): number {
    return this.#files.cacheBytes
  }

  async resolve(uses: readonly TableUse[], asOf: string | undefined, signal: AbortSignal): Promise<ResolvedTables> {
    const when = parseAsOf(asOf)
    const byPipeline = await this.#group(uses.map(({ name }) => name))
    const versions = new Map(
      await Promise.all(
        [...byPipeline].map(
          async ([pipeline, tables]) =>
            [pipeline, await this.#version(pipeline, tables, when, byPipeline.size)] as const,
        ),
      ),
    )
    const found = await Promise.all(
      uses.map(async (use) => {
        const pipeline = this.#owners.get(use.name)!
        const version = versions.get(pipeline)!
        return { use, version, table: await this.#table(use.name, version, pipeline) }
      }),
    )
    const leased: LeasedView[] = []
    const release = () => leased.splice(0).forEach((each) => each.release())
    try {
      for (const { use, table, version } of found) {
        signal.throwIfAborted()
        leased.push(await this.#view(table, use, version, signal))
      }
      return {
        views: leased.map(({ view }) => view),
        versions: new Map([...versions].map(([pipeline, { number }]) => [pipeline, number])),
        release,
      }
    } catch (error) {
      release()
      throw error
    }
  }

  /** A table's files, with what it takes to compute its open rows where they are in none. */
  async #view(table: LakeTable, use: TableUse, version: Version, signal: AbortSignal): Promise<LeasedView> {
    const open = openWindowsOf(table, version)
    if (open === undefined) return this.#files.view(table, use, signal)
    const own = await this.#files.view(table, { ...use, isCount: false }, signal)
    try {
      const stateUse = { name: open.state, scans: [[]], isCount: false }
      const state = await this.#files.view(await this.#table(open.state, version, ''), stateUse, signal)
      const { name, relation } = stateView(table.name)
      return {
        view: {
          ...own.view,
          open: { state: { ...state.view, name }, sql: open.sql(own.view.columns, relation) },
        },
        release: () => [own, state].forEach((each) => each.release()),
      }
    } catch (error) {
      own.release()
      throw error
    }
  }

  async changes(
    uses: readonly TableUse[],
    { table: name, from, to }: ChangesRequest,
    signal: AbortSignal,
  ): Promise<ResolvedTables> {
    for (const use of uses) if (!isChangeTable(use.name)) throw unknownTable(use.name, CHANGE_TABLES)
    const [[pipeline]] = [...(await this.#group([name]))] as [[string, readonly string[]]]
    const versions = await Promise.all([from, to].map((when) => this.#version(pipeline, [name], parseAsOf(when), 1)))
    const [before, after] = await Promise.all(versions.map((version) => this.#table(name, version, pipeline)))
    const files = await Promise.all([before, after].map((table) => this.#files.list(table!)))
    const sides = compareFiles(files[0]!, files[1]!)
    // Both have the columns of the newest version, which is the one that the statement was written for.
    const { columns } = viewOf(
      await this.#table(name, await this.#version(pipeline, [name], { kind: 'head' }, 1), pipeline),
    )
    const leased: LeasedView[] = []
    const release = () => leased.splice(0).forEach((each) => each.release())
    try {
      for (const side of CHANGE_TABLES) leased.push(await this.#files.side(columns, side, sides[side], signal))
    } catch (error) {
      release()
      throw error
    }
    return {
      views: leased.map(({ view }) => view),
      versions: new Map(CHANGE_TABLES.map((side, index) => [side, versions[index]!.number])),
      release,
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
        return number === undefined ? chain.at({ kind: 'head' }) : numbered(chain, number)
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
        if (pipelines === 1) return numbered(chain, when.number)
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
      fix: 'List them: kappalake snapshots <table> and kappalake versions <pipeline>, or GET /v1/tables/{table}/snapshots.',
    })
  }

  async #table(name: string, version: Version, pipeline: string): Promise<LakeTable> {
    const metadata = version.tables[name]?.metadata
    if (metadata === undefined)
      throw new LakeError('table.unknown', `${name} was not there yet at version ${version.number} of ${pipeline}`)
    return this.#tables.get(`${name} ${metadata}`, () => openTable(this.#options.storage, metadata, name))
  }
}

/** A version by its number. Throws `snapshot.expired` for one that was there and is no longer kept. */
async function numbered(chain: Chain, number: bigint): Promise<Version> {
  try {
    return await chain.at({ kind: 'number', number })
  } catch (error) {
    const wasThere =
      error instanceof LakeError &&
      error.code === 'version.unknown' &&
      number > 0n &&
      number <= ((await chain.head())?.number ?? 0n)
    if (!wasThere) throw error
    throw new LakeError('snapshot.expired', `version ${number} is no longer kept`, {
      cause: error,
      fix: 'List them: kappalake versions <pipeline>, or GET /v1/pipelines/{pipeline}/versions.',
      context: { version: String(number) },
    })
  }
}

function isChangeTable(name: string): boolean {
  return (CHANGE_TABLES as readonly string[]).includes(name)
}

function unknownTable(name: string, known: readonly string[]): LakeError {
  return new LakeError('table.unknown', `there is no table ${name}`, {
    fix:
      known.length === 0
        ? 'No pipeline has a version yet: its tables are there as soon as its topics can be read. Ask again then; kappalake pipelines, or the events of the lake, say what it waits for.'
        : `${meant(name, known)}There are: ${known.toSorted().join(', ').slice(0, 500)}.`,
  })
}

function meant(name: string, known: readonly string[]): string {
  const found = didYouMean(name, known)
  return found === undefined ? '' : `Did you mean ${found}? `
}
