import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { decodeVersion } from '../version-json.ts'
import type { Version } from '../version.ts'
import { decodeContainer } from './avro.ts'
import { readableVersions, storeNowMs, versionFiles, type VersionFile } from './expire-versions.ts'
import { folderOf } from './lake-table.ts'
import { decodeMetadata, type TableMetadata } from './metadata.ts'
import type { Storage } from './storage/storage.ts'

/** What the tables of a pipeline need of the store. */
export interface Reachable {
  /** Folders of the tables that its readable versions name. */
  readonly tables: readonly string[]
  /** Keys of all objects that must stay. */
  readonly keys: ReadonlySet<string>
}

/** So many versions of a chain, the newest, can be read at every snapshot that they keep, not only at the current one. */
const WHOLE = 2n
const READS_AT_ONCE = 16
/** Iceberg's status of a manifest entry that tells of a file that has left. */
const LEFT = 2

/**
 * Everything that the readable versions of a pipeline refer to. A version counts with the snapshot that it stands at;
 * the newest two of a chain, and what readers by path are pointed to, with all that their metadata keeps. Throws
 * `store.corrupt` when something is missing that must be there: then nothing is known.
 */
export async function reachable(storage: Storage, files: readonly VersionFile[], nowMs: number): Promise<Reachable> {
  const newest = new Map<string, bigint>()
  for (const { chain, number } of files) if (number > (newest.get(chain) ?? 0n)) newest.set(chain, number)
  const search = new Search(storage)
  // The newest first: their metadata tells of the versions before them too.
  const roots = readableVersions(files, nowMs).toSorted((a, b) => (a.number > b.number ? -1 : 1))
  const isNew = ({ chain, number }: VersionFile) => number > newest.get(chain)! - WHOLE
  const versions = await inBatches(roots, (file) => readVersion(storage, file.key))
  for (const [index, version] of versions.entries()) await search.version(version, isNew(roots[index]!))
  await search.finish()
  return { tables: [...search.tables].toSorted(), keys: search.keys }
}

/** Throws `store.corrupt` when it is not there. */
export async function readVersion(storage: Storage, key: string): Promise<Version> {
  return decodeVersion((await storage.get(key)) ?? missing(key), key)
}

/** A version that is about to leave the readable ones is not gone back to. */
const MARGIN_MS = 600_000

/**
 * Whether a version of the main chain of a pipeline can be gone back to: nothing of what its tables need as they stand
 * in it is missing, nor will be for as long as that takes.
 */
export async function isKept(storage: Storage, pipeline: string, version: Version, clock: Clock): Promise<boolean> {
  const nowMs = await storeNowMs(storage, pipeline, clock)
  const readable = readableVersions(await versionFiles(storage, pipeline), nowMs + MARGIN_MS)
  const isReadable = readable.some(
    ({ chain, number }) => chain === `pipelines/${pipeline}/` && number === version.number,
  )
  return isReadable && (await isWhole(storage, version))
}

/** Whether everything is there that is needed to read the tables of a version as they stand in it. */
export async function isWhole(storage: Storage, version: Version): Promise<boolean> {
  const search = new Search(storage)
  try {
    await search.version(version, false)
    await search.current()
  } catch (error) {
    if (error instanceof LakeError && error.code === 'store.corrupt') return false
    throw error
  }
  const there = new Set<string>()
  for (const table of search.tables) for await (const { key } of storage.list(`tables/${table}/`)) there.add(key)
  return [...search.keys].every((key) => there.has(key))
}

class Search {
  readonly keys = new Set<string>()
  readonly tables = new Set<string>()
  readonly #storage: Storage
  readonly #read = new Set<string>()
  /** Manifest lists by table and snapshot: one metadata file tells of a hundred versions before it. */
  readonly #lists = new Map<string, string>()
  readonly #required = new Set<string>()
  /** Manifest lists of snapshots that nobody stands at; they may be gone already. */
  readonly #optional = new Set<string>()

  constructor(storage: Storage) {
    this.#storage = storage
  }

  async version(version: Version, isWhole: boolean): Promise<void> {
    for (const { metadata, snapshot } of Object.values(version.tables)) {
      const table = folderOf(metadata)
      this.tables.add(table)
      this.keys.add(metadata)
      if (isWhole) await this.#metadata(table, metadata, true)
      if (snapshot === undefined) continue
      const name = `${table}/${snapshot}`
      if (!this.#lists.has(name)) await this.#metadata(table, metadata, false)
      this.#required.add(this.#lists.get(name) ?? missing(`snapshot ${snapshot} of ${metadata}`))
    }
  }

  async current(): Promise<void> {
    await inBatches([...this.#required], (list) => this.#list(list, true))
  }

  async finish(): Promise<void> {
    await this.current()
    // What readers by path find, which may be behind the head.
    for (const table of this.tables) {
      const hint = await this.#storage.get(`tables/${table}/metadata/version-hint.text`)
      const metadata = `tables/${table}/metadata/v${Buffer.from(hint ?? []).toString('latin1')}.metadata.json`
      if (!/\/v\d+-[\w-]+\.metadata\.json$/.test(metadata) || (await this.#storage.head(metadata)) === undefined)
        continue
      this.keys.add(metadata)
      await this.#metadata(table, metadata, true)
    }
    await inBatches([...this.#optional], (list) => this.#list(list, false))
  }

  async #metadata(table: string, key: string, isWhole: boolean): Promise<void> {
    const metadata = decodeMetadata(key, (await this.#storage.get(key)) ?? missing(key))
    for (const snapshot of metadata.snapshots) {
      this.#lists.set(`${table}/${snapshot['snapshot-id']}`, snapshot['manifest-list'])
      if (isWhole) this.#optional.add(snapshot['manifest-list'])
    }
    if (!isWhole) return
    for (const uri of besideOf(metadata)) this.#keep(uri)
  }

  async #list(uri: string, mustBe: boolean): Promise<void> {
    const records = await this.#records(uri, mustBe)
    for (const { manifest_path: manifest } of records)
      for (const { status, data_file: file } of await this.#records(pathIn(uri, manifest), mustBe))
        if (status !== LEFT) this.#keep(pathIn(manifest, file?.file_path))
  }

  /** Records of an Avro file that was not read before. */
  async #records(uri: string, mustBe: boolean): Promise<readonly any[]> {
    const key = this.#keep(uri)
    if (key === undefined || this.#read.has(key)) return []
    const bytes = await this.#storage.get(key)
    if (bytes === undefined) return mustBe ? missing(key) : []
    this.#read.add(key)
    return decodeContainer(key, bytes).records
  }

  /** Undefined: it stands in another store, where we delete nothing. */
  #keep(uri: string): string | undefined {
    if (!uri.startsWith(`${this.#storage.url}/`)) return undefined
    const key = uri.slice(this.#storage.url.length + 1)
    this.keys.add(key)
    return key
  }
}

/** Files beside the snapshots that readers of the metadata ask for: what it was before, and statistics. */
function besideOf(metadata: TableMetadata): readonly string[] {
  const { statistics = [], 'partition-statistics': partitions = [] } = metadata as TableMetadata & {
    readonly statistics?: readonly { readonly 'statistics-path': string }[]
    readonly 'partition-statistics'?: readonly { readonly 'statistics-path': string }[]
  }
  return [
    ...metadata['metadata-log'].map((entry) => entry['metadata-file']),
    ...[...statistics, ...partitions].map((each) => each['statistics-path']),
  ]
}

/** What an Avro file of the store names; without it nothing is known of what must be kept. */
function pathIn(uri: string, path: unknown): string {
  if (typeof path === 'string') return path
  throw new LakeError('store.corrupt', `${uri} names no files`, { context: { key: uri } })
}

function missing(what: string): never {
  throw new LakeError('store.corrupt', `${what} is missing`, {
    context: { key: what },
    fix: 'A version refers to it. Restore it from a copy of the store; until then no file is deleted.',
  })
}

async function inBatches<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let start = 0; start < items.length; start += READS_AT_ONCE)
    results.push(...(await Promise.all(items.slice(start, start + READS_AT_ONCE).map(work))))
  return results
}
