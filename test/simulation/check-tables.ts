import type { Storage } from '../../src/lake/storage/storage.ts'
import type { Version } from '../../src/version.ts'
import { TableReader, type ListedFile, type ReadTable } from './reader.ts'
import type { SimRow } from './row-encoder.ts'

export type Fail = (invariant: string, what: string) => void

/** What a version did to a table. */
export interface TableStep {
  /** Rows of the files that it added, less those of the files that it took out, by `partition@offset`. */
  readonly gained: Map<string, SimRow>
  /** Rows that were in files that it took out, and are in none that it added. */
  readonly lost: readonly string[]
  /** Undefined: the table is as it was. */
  readonly live: (() => Promise<readonly SimRow[]>) | undefined
}

interface Standing {
  readonly metadata: string
  readonly read: ReadTable
  readonly files: ReadonlyMap<string, ListedFile>
}

/** Follows the tables of a chain from version to version by their metadata files. */
export class TableWatch {
  readonly #reader: TableReader
  readonly #fail: Fail
  readonly #tables = new Map<string, Standing>()
  /** The table that each data file was ever in. */
  readonly owners = new Map<string, string>()

  constructor(storage: Storage, fail: Fail) {
    this.#reader = new TableReader(storage)
    this.#fail = fail
  }

  get tables(): ReadonlyMap<string, Standing> {
    return this.#tables
  }

  async step(version: Version, name: string): Promise<TableStep> {
    const gained = new Map<string, SimRow>()
    const named = version.tables[name]
    if (named === undefined) {
      this.#fail('K1', `v${version.number} does not name ${name}`)
      return { gained, lost: [], live: undefined }
    }
    const before = this.#tables.get(name)
    if (before?.metadata === named.metadata) return { gained, lost: [], live: undefined }
    const read = await this.#reader.table(named.metadata)
    this.#checkMetadata(version, name, before?.read, read)
    const files = new Map(read.files.map((file) => [file.key, file]))
    if (files.size !== read.files.length) this.#fail('I2', `v${version.number} lists a file of ${name} twice`)
    this.#tables.set(name, { metadata: named.metadata, read, files })
    const fresh = read.files.filter(({ key }) => before?.files.has(key) !== true)
    const gone = [...(before?.files.values() ?? [])].filter(({ key }) => !files.has(key))
    for (const file of fresh) await this.#take(version, name, file, gained)
    const lost: string[] = []
    for (const file of gone) {
      // A dead row may be carried along: what killed it may have come after the files were read.
      const live = new Set(await this.#reader.liveRows(file))
      for (const row of await this.#reader.rows(file))
        if (!gained.delete(atOf(row)) && live.has(row)) lost.push(atOf(row))
    }
    const live = async () => (await Promise.all(read.files.map((file) => this.#reader.liveRows(file)))).flat()
    return { gained, lost, live }
  }

  async #take(version: Version, name: string, file: ListedFile, rows: Map<string, SimRow>): Promise<void> {
    const owner = this.owners.get(file.key)
    if (owner !== undefined) this.#fail('I2', `${file.key} is in ${owner} and in ${name}`)
    this.owners.set(file.key, name)
    for (const row of await this.#reader.rows(file)) {
      const at = atOf(row)
      if (rows.has(at)) this.#fail('I2', `v${version.number} adds ${name} ${at} twice`)
      rows.set(at, row)
    }
  }

  /** I16 for the metadata of one table; K2 for what a stranger is told in it. */
  #checkMetadata(version: Version, name: string, before: ReadTable | undefined, now: ReadTable): void {
    const at = `v${version.number} of ${name}`
    if (now.snapshot !== version.tables[name]!.snapshot)
      this.#fail('K1', `${at} names another snapshot than its metadata`)
    if (before === undefined) return
    const isEmpty = before.snapshot === undefined && now.snapshot === undefined
    // Nothing had been read: another definition begins anew.
    if (version.kind === 'cutover' && before.uuid !== now.uuid && isEmpty) return
    if (before.uuid !== now.uuid) this.#fail('I16', `${at} is another table`)
    if (now.sequenceNumber <= before.sequenceNumber)
      this.#fail('I16', `${at} has the sequence number ${now.sequenceNumber}`)
    if (now.parent !== before.snapshot) this.#fail('I16', `${at} has the parent snapshot ${now.parent}`)
    if (now.summary['kappalake.commit'] !== version.commitId)
      this.#fail('K2', `${at} names another commit in its summary`)
  }
}

export function atOf({ p, o }: SimRow): string {
  return `${p}@${o}`
}
