import { mkdir } from 'node:fs/promises'
import type { DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import { LakeError } from '../../error.ts'
import type { DataFile, WritePlan } from '../../lake/table.ts'
import type { Cursor, PartitionId, Positions, Source } from '../../log.ts'
import type { Archive } from '../archive/archive.ts'
import { copyDataFile } from '../decode/data-file-writer.ts'
import { openDuckDb } from '../decode/open-duckdb.ts'
import { openEncoder, type EncoderOptions } from '../encoder.ts'
import { stage, type Assignment, type StagedTable } from '../lane.ts'
import { withLocalFiles } from '../table-work/local-files.ts'
import { MarkedRows, Marks } from '../table-work/marked-rows.ts'
import { removePartials } from '../window/partial-files.ts'
import { AskedKeys } from './asked-keys.ts'
import { letterBatches, recordsOf } from './letter-batches.ts'
import { bytesSql, findSql, offsetsSql, positionsSql, settledSql } from './letter-sql.ts'
import {
  recordText,
  type FindRequest,
  type FoundLetter,
  type LaterAnswer,
  type LaterRequest,
  type LetterRows,
  type LetterWork,
  type Restaged,
  type RestageRequest,
} from './letters.ts'

/** What encoders are opened with, and what is read beside dead letters. DuckDB may take as much as an encoder's. */
export interface LetterWorkOptions extends Omit<EncoderOptions, 'tables' | 'windows'> {
  /** The log as lanes read it, up to `until`. Closed after use. */
  openLog(archives: readonly Archive[], until: Positions): Source
  /** Called while long work gets on. */
  readonly onStep?: () => void
}

/** Work on dead letters with DuckDBs that are gone when it is done: nobody asks often. One call at a time. */
export function letterWork(options: LetterWorkOptions): LetterWork {
  return new DuckLetterWork(options)
}

/** One micro-batch, however much there is. */
const UNLIMITED = { bytesMax: Infinity, recordsMax: Infinity, ageMsMax: Infinity }
/** Of a scan of the log, which keeps nothing. */
const SCANNED = { bytesMax: 16 * 1024 * 1024, recordsMax: 100_000, ageMsMax: 5_000 }

interface Duck {
  readonly instance: DuckDBInstance
  readonly connection: DuckDBConnection
  readonly marked: MarkedRows
}

class DuckLetterWork implements LetterWork {
  readonly #options: LetterWorkOptions

  constructor(options: LetterWorkOptions) {
    this.#options = options
  }

  find(plan: WritePlan, request: FindRequest): Promise<readonly FoundLetter[]> {
    const { files, bytesMax } = request
    if (files.length === 0) return Promise.resolve([])
    const stored = files.map(({ file }) => file)
    return this.#withDuck(({ connection, marked }) =>
      withLocalFiles(this.#options.storage, this.#options.clock, stored, async (paths) => {
        marked.feed(files.map(({ deleted }) => deleted.words))
        const rows = (await connection.runAndReadAll(findSql(plan, paths, marked.name, request))).getRows()
        const found = rows.map(([file, row, partition, offset, code, attempts, clockMs]): FoundLetter => ({
          file: stored[Number(file)]!.key,
          row: Number(row),
          partition: Number(partition),
          offset: BigInt(offset as bigint),
          code: String(code),
          attempts: Number(attempts),
          clockMs: clockMs === null ? undefined : Number(clockMs),
        }))
        if (bytesMax === Infinity) return found
        const picked = pickedOf(
          files.map(({ file }) => file),
          found,
        )
        marked.feed(marksOf(picked))
        const sizes = (await connection.runAndReadAll(bytesSql(plan, paths, marked.name))).getRows()
        const bytes = new Map(sizes.map(([file, row, size]) => [`${file} ${row}`, Number(size)]))
        let [total, count] = [0, 0]
        for (const [file, row] of rows) {
          if (total >= bytesMax) break
          total += bytes.get(`${file} ${row}`)!
          count++
        }
        return found.slice(0, count)
      }),
    )
  }

  async restage(request: RestageRequest): Promise<Restaged> {
    const { definition, plan, letters, records } = request
    const { storage, clock } = this.#options
    const files = letters.map(({ file }) => file)
    return this.#withDuck(({ connection, marked }) =>
      withLocalFiles(storage, clock, files, async (paths) => {
        marked.feed(marksOf(letters))
        const batches = await letterBatches(connection, plan.deadLetters, paths, marked.name, definition.topic)
        assertWhole(
          request,
          batches.reduce((sum, { count }) => sum + count, 0),
        )
        const staged = await this.#stage(request, batches)
        try {
          const failed = await this.#positions(connection, plan.deadLetters, staged.deadLetterFiles)
          const lost = new Set(failed.map((position) => recordText(definition.topic, position)))
          const rest = await this.#without(connection, marked, plan.deadLetters, letters, paths, definition.topic, lost)
          const resolved = await this.#copy(connection, marked, plan.deadLetters, rest, paths, 'resolved')
          if (records.size !== lost.size + rest.reduce((sum, { rows }) => sum + rows.length, 0))
            throw new LakeError('internal', `${definition.name}: not every dead letter was read again`)
          return { staged, resolved, failed: [...lost] }
        } catch (error) {
          await removePartials({ tables: [staged] })
          throw error
        }
      }),
    )
  }

  settle(plan: WritePlan, letters: readonly LetterRows[], status: 'discarded'): Promise<DataFile> {
    const { storage, clock } = this.#options
    const files = letters.map(({ file }) => file)
    return this.#withDuck(({ connection, marked }) =>
      withLocalFiles(
        storage,
        clock,
        files,
        async (paths) => (await this.#copy(connection, marked, plan, letters, paths, status))!,
      ),
    )
  }

  offsetsOf(plan: WritePlan, rows: readonly LetterRows[]): Promise<BigInt64Array> {
    if (rows.length === 0) return Promise.resolve(new BigInt64Array())
    const { storage, clock } = this.#options
    const files = rows.map(({ file }) => file)
    return this.#withDuck(({ connection, marked }) =>
      withLocalFiles(storage, clock, files, async (paths) => {
        marked.feed(marksOf(rows))
        const found = (await connection.runAndReadAll(offsetsSql(plan, paths, marked.name))).getRows()
        return BigInt64Array.from(found, ([offset]) => BigInt(offset as bigint))
      }),
    )
  }

  async later(request: LaterRequest): Promise<LaterAnswer> {
    const asked = new AskedKeys(request)
    const lost: PartitionId[] = []
    for (const [id, cursor] of request.from)
      try {
        await this.#scan(request, id, cursor, asked)
      } catch (error) {
        if (!(error instanceof LakeError) || error.code !== 'kafka.gap') throw error
        lost.push(id)
      }
    return { isLater: asked.isLater, lost }
  }

  /** Reads what one partition holds of operations on keys. */
  async #scan(request: LaterRequest, id: PartitionId, cursor: Cursor, asked: AskedKeys): Promise<void> {
    const { clock, onStep, openLog } = this.#options
    const until: Positions = new Map([[id, request.until.get(id)!]])
    if (cursor.offset >= until.get(id)!) return
    // What cannot be read was a dead letter then, and is none of our business now.
    const definition = { ...request.definition, onError: 'skip', onTruncate: 'apply' } as const
    const log = openLog(request.archives, until)
    try {
      const encoder = await openEncoder({ ...this.#options, tables: [definition] })
      try {
        const { windows: _, ...plan } = request.plan
        const tables = [{ ...plan, isKeysOnly: true }]
        const from = new Map([[id, cursor]])
        const assignment: Assignment = { lane: 0, from, until, tables, microBatch: SCANNED, fatal: new Set() }
        const signal = new AbortController().signal
        for await (const { tables: staged } of stage(log, assignment, encoder, clock, signal)) {
          onStep?.()
          for (const { keys } of staged) if (keys !== undefined) asked.saw(keys)
        }
      } finally {
        await encoder.close()
      }
    } finally {
      await log.close()
    }
  }

  async #stage(request: RestageRequest, batches: Awaited<ReturnType<typeof letterBatches>>): Promise<StagedTable> {
    const { definition, windows, plan, records, baseless } = request
    const { clock } = this.#options
    const encoder = await openEncoder({ ...this.#options, tables: [definition], windows })
    try {
      const { source, from } = recordsOf(batches)
      const assignment: Assignment = {
        lane: 0,
        from,
        tables: [plan],
        microBatch: UNLIMITED,
        fatal: new Set(),
        baseless: new Set([...baseless].map((record) => `${plan.table} ${record}`)),
        clocksMs: {},
        retried: records,
      }
      for await (const { tables } of stage(source, assignment, encoder, clock, new AbortController().signal))
        return tables[0]!
      throw new LakeError('internal', `${definition.name}: there was no dead letter to read again`)
    } finally {
      await encoder.close()
    }
  }

  async #positions(
    connection: DuckDBConnection,
    plan: WritePlan,
    files: readonly DataFile[],
  ): Promise<readonly { partition: number; offset: bigint }[]> {
    if (files.length === 0) return []
    const { storage, clock } = this.#options
    return withLocalFiles(storage, clock, files, async (paths) => {
      const rows = (await connection.runAndReadAll(positionsSql(plan, paths))).getRows()
      return rows.map(([, , partition, offset]) => ({ partition: Number(partition), offset: BigInt(offset as bigint) }))
    })
  }

  /** Those whose records are not among `lost`. */
  async #without(
    connection: DuckDBConnection,
    marked: MarkedRows,
    plan: WritePlan,
    letters: readonly LetterRows[],
    paths: readonly string[],
    topic: string,
    lost: ReadonlySet<string>,
  ): Promise<readonly LetterRows[]> {
    if (lost.size === 0) return letters
    marked.feed(marksOf(letters))
    const all = (await connection.runAndReadAll(positionsSql(plan, paths, marked.name))).getRows()
    const left = letters.map((): number[] => [])
    for (const [file, row, partition, offset] of all) {
      const record = recordText(topic, { partition: Number(partition), offset: BigInt(offset as bigint) })
      if (!lost.has(record)) left[Number(file)]!.push(Number(row))
    }
    return letters.map(({ file }, k) => ({ file, rows: left[k]! }))
  }

  /** Those rows with another status; undefined when there are none. */
  async #copy(
    connection: DuckDBConnection,
    marked: MarkedRows,
    plan: WritePlan,
    letters: readonly LetterRows[],
    paths: readonly string[],
    status: 'resolved' | 'discarded',
  ): Promise<DataFile | undefined> {
    const rows = letters.reduce((sum, each) => sum + each.rows.length, 0)
    if (rows === 0) return undefined
    const { storage, clock } = this.#options
    marked.feed(marksOf(letters))
    const from = settledSql(plan, paths, marked.name, status)
    // Values may be large, and a row group is in memory as a whole.
    return copyDataFile(connection, storage, clock, plan, { from, rows, tuple: [], groupRows: 2_048 })
  }

  async #withDuck<T>(work: (duck: Duck) => Promise<T>): Promise<T> {
    const { storage, memoryMaxBytes = 512 * 1024 * 1024 } = this.#options
    await mkdir(storage.scratch, { recursive: true })
    const instance = await openDuckDb({ memoryMaxBytes })
    const connection = await instance.connect()
    try {
      return await work({ instance, connection, marked: new MarkedRows(connection) })
    } finally {
      connection.closeSync()
      instance.closeSync()
    }
  }
}

/** Letters by the file that they stand in, in the order of the files; every file is there. */
export function pickedOf(files: readonly DataFile[], letters: readonly FoundLetter[]): readonly LetterRows[] {
  const rows = new Map(files.map(({ key }) => [key, [] as number[]]))
  for (const { file, row } of letters) rows.get(file)!.push(row)
  return files.map((file) => ({ file, rows: rows.get(file.key)!.toSorted((a, b) => a - b) }))
}

function marksOf(letters: readonly LetterRows[]): readonly Uint32Array[] {
  const marks = new Marks(letters.map(({ file }) => file.recordCount))
  for (const [k, { rows }] of letters.entries()) for (const row of rows) marks.add(k, row)
  return letters.map(({ file }, k) => marks.of(k) ?? new Uint32Array((file.recordCount + 31) >>> 5))
}

/** A record that nobody asked for, or one that is missing, is a mistake of ours. */
function assertWhole({ definition, records }: RestageRequest, count: number): void {
  if (count === records.size) return
  throw new LakeError(
    'internal',
    `${definition.name}: ${records.size} dead letters were to be read, ${count} are there`,
  )
}
