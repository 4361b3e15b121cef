import { systemClock } from '../clock.ts'
import type { LakeDefinition, PipelineDefinition, TableDefinition } from '../define.ts'
import { parseDuration } from '../define-fields.ts'
import type { ProducedOf } from '../define-produced.ts'
import type { RowIn, TableLike } from '../define-reference.ts'
import type { AnyRow, DeadLetterRow } from '../define-row.ts'
import type { Salts } from '../define-redact.ts'
import { LakeError } from '../error.ts'
import type { MemoryStorage } from '../lake/storage/memory.ts'
import type { TableDifference } from '../replay-status.ts'
import { readingOf, type Lake } from '../lake-handle.ts'
import type { RowsOptions } from '../row-filter.ts'
import { bytesOf, RecordEncoder, type Encoded, type Produced, type ProducedKey } from './encode-record.ts'
import { holds, type Held, type HoldsOptions } from './holds.ts'
import type { LabLog } from './lab-log.ts'
import type { LabRegistry } from './lab-registry.ts'
import type { LookupTables } from './lookups.ts'
import { PipelineLab } from './pipeline-lab.ts'
import { Reader, type ReadRequest, type Row } from './reader.ts'
import { deadLettersOf, findRole, lateOf, nameOf, plainRows, type PlainRow } from './select.ts'
import type { World } from './world.ts'

export interface ProduceOptions {
  /** Default: by the hash of the key; without a key 0. */
  readonly partition?: number
  /** Of the records. Default: the row's event time; where it has none, the time of the lab. */
  readonly timestamp?: Date | number
  /** Of the records. Default: as the table's key and its `from.key` say. */
  readonly key?: ProducedKey
}

/** A record as its bytes. */
export interface RawRecord {
  readonly value: string | Uint8Array | null
  readonly key?: string | Uint8Array
  readonly headers?: readonly { readonly key: string; readonly value?: string | Uint8Array }[]
}

/** Where a record stands. */
export interface RecordPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

export interface LabReplay {
  /** No table is `different`. */
  readonly isEqual: boolean
  /** Of the tables that were built again. */
  readonly tables: readonly TableDifference[]
}

export interface LabParts {
  readonly definition: LakeDefinition
  readonly seed: number
  readonly world: World
  readonly startMs: number
  readonly log: LabLog
  readonly storage: MemoryStorage
  readonly salts: Salts
  readonly registry: LabRegistry
  readonly lookups: LookupTables
  readonly partitionsOf: (topic: string) => number
}

/**
 * A lake without broker and disk, in virtual time. What is produced is read when something is asked for; no time passes
 * but in `tick`. One method works at a time, others wait.
 */
export class Lab implements AsyncDisposable {
  readonly seed: number
  readonly #parts: LabParts
  readonly #pipelines: readonly PipelineLab[]
  readonly #encoders = new Map<string, RecordEncoder>()
  readonly #reader: Reader
  readonly #reading: Pick<Lake, 'rows' | 'sql'>
  #before: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(parts: LabParts) {
    const { definition, seed, storage, world } = parts
    this.seed = seed
    this.#parts = parts
    this.#pipelines = definition.pipelines.map((each) => new PipelineLab({ ...parts, definition: each }))
    this.#reader = new Reader(
      storage,
      definition.pipelines.map(({ name }) => name),
      world.clock,
    )
    const rows = (request: ReadRequest) => this.#read(request)
    const batches = async function* (request: ReadRequest) {
      yield await rows(request)
    }
    this.#reading = readingOf({ rows, batches }, definition)
  }

  /** The time of the lab. */
  get now(): Date {
    return new Date(this.#parts.world.clock.nowMs())
  }

  /**
   * Writes rows to the topic of a table, in its format. Null is a tombstone, which needs `key`; of a change stream a row
   * is an insert, and `{ op, before?, after?, source? }` any change. Resolves with where the records stand. Of a table that
   * is given by its name the compiler takes any row: so are written those that do not fit.
   */
  produce<const T extends TableLike>(
    table: T,
    rows: readonly ProducedOf<NoInfer<T>>[],
    { partition, timestamp, key }: ProduceOptions = {},
  ): Promise<readonly RecordPlace[]> {
    return this.#inTurn(async () => {
      const definition = this.#table(table)
      const encoder = this.#encoders.get(definition.name) ?? new RecordEncoder(definition, this.#parts.registry)
      this.#encoders.set(definition.name, encoder)
      // All or nothing: a row that cannot be written is a mistake of the test.
      const encoded = rows.map((row) => encoder.encode(row as Produced, key))
      return encoded.map((record) => this.#append(definition.topic, record, partition, timestamp))
    })
  }

  /**
   * The next version of a subject of the registry, as text or as JSON: rows are written with it from here on. Gives the id
   * that its records name.
   */
  register(subject: string, schema: string | object): Promise<number> {
    return this.#inTurn(() => Promise.resolve(this.#parts.registry.register(subject, schema)))
  }

  /** Writes records as they are. */
  produceRaw(
    table: TableLike,
    records: readonly RawRecord[],
    { partition, timestamp }: Omit<ProduceOptions, 'key'> = {},
  ): Promise<readonly RecordPlace[]> {
    return this.#inTurn(async () => {
      const { topic } = this.#table(table)
      return records.map(({ value, key, headers = [] }) => {
        const record: Encoded = {
          key: bytesOf(key),
          value: bytesOf(value),
          headers: headers.map((header) => ({ key: header.key, value: bytesOf(header.value) })),
          eventMs: undefined,
          routing: bytesOf(key),
        }
        return this.#append(topic, record, partition, timestamp)
      })
    })
  }

  /** Lets time pass: `500ms 5s 10m 1h 7d`. What is idle becomes idle, and what waits for time is done. */
  async tick(duration: string): Promise<void> {
    const ms = parseDuration(duration)
    return this.#inTurn(async () => {
      await this.#settle()
      await this.#parts.world.pass(ms)
      await this.#settle()
    })
  }

  /**
   * Rows of a table or window with all that was produced, as `lake.rows` gives them and with its options, in the order of
   * the key, of time, or of the log. The columns of the system only with `system: true`.
   */
  rows<const T extends TableLike>(
    table: T,
    options: RowsOptions<RowIn<T>> & { readonly system: true },
  ): Promise<readonly RowIn<T>[]>
  rows<const T extends TableLike>(table: T, options?: RowsOptions<RowIn<T>>): Promise<readonly PlainRow<T>[]>
  async rows(
    table: TableLike,
    { system = false, ...options }: RowsOptions<any> & { readonly system?: boolean } = {},
  ): Promise<readonly any[]> {
    const rows = await this.#reading.rows(nameOf(table), options)
    return system ? rows : plainRows(findRole(this.#parts.definition, nameOf(table)), rows)
  }

  /** The records that came too late for a window, or could not be assigned, as its `__late` lists them. */
  late<const W extends { readonly name: string; readonly late: TableLike }>(
    window: W,
    options?: RowsOptions<RowIn<W['late']>>,
  ): Promise<readonly RowIn<W['late']>[]>
  late(window: TableLike, options?: RowsOptions<AnyRow>): Promise<readonly AnyRow[]>
  async late(window: TableLike, options: RowsOptions<any> = {}): Promise<readonly any[]> {
    return this.#reading.rows(lateOf(this.#parts.definition, nameOf(window)), options)
  }

  /** The records that are no rows of a table, with the reason. */
  async deadLetters(table: TableLike, options: RowsOptions<DeadLetterRow> = {}): Promise<readonly DeadLetterRow[]> {
    const name = deadLettersOf(this.#parts.definition, nameOf(table))
    return (await this.#reading.rows(name, options as RowsOptions<AnyRow>)) as unknown as readonly DeadLetterRow[]
  }

  /** Rows of one SELECT, as `lake.sql` gives them. */
  async sql<R = Row>(text: string | TemplateStringsArray, ...values: unknown[]): Promise<readonly R[]> {
    return this.#reading.sql<R>(text, ...values)
  }

  /** The combined watermark of what a table or window is made of: what ends before it is final. */
  watermark(table: TableLike): Promise<Date | undefined> {
    return this.#inTurn(async () => {
      await this.#settle()
      const { source } = findRole(this.#parts.definition, nameOf(table))
      const pipeline = this.#pipelines.find(({ definition }) => definition.tables.includes(source))!
      const ms = pipeline.watermarkMs(source.name)
      return ms === undefined ? undefined : new Date(ms)
    })
  }

  /**
   * What a replay of all records through a changed definition would make of the tables, by key; without one, through the
   * same: then it is equal. The lab goes on with its own definition.
   */
  replay(changed?: LakeDefinition): Promise<LabReplay> {
    return this.#inTurn(async () => {
      const tables: TableDifference[] = []
      for (const pipeline of this.#pipelines) {
        const other = changed && this.#changed(this.#parts.lookups.bound(changed), pipeline.definition)
        const found = await pipeline.replay(other)
        tables.push(...(found?.tables ?? []))
      }
      return { isEqual: tables.every(({ kind }) => kind !== 'different'), tables }
    })
  }

  /**
   * Proves that rows follow from the records alone: runs all that was produced again in other batches, interleavings of
   * partitions, numbers of lanes, with crashes at commits, and as a replay, and compares every table. Throws
   * `testing.does_not_hold` with the first difference.
   */
  holds(options: HoldsOptions = {}): Promise<readonly Held[]> {
    return this.#inTurn(async () => {
      const held: Held[] = []
      for (const pipeline of this.#pipelines) {
        const { definition } = pipeline
        const replay = async () => (await pipeline.replay())!
        held.push(await holds({ ...this.#parts, definition, replay, realClock: systemClock }, options))
      }
      return held
    })
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#inTurn(async () => {
      for (const pipeline of this.#pipelines) await pipeline.close()
      await this.#parts.storage.close()
    }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const isClosed = this.#closing !== undefined
    const now = this.#before.then(() => {
      if (isClosed) throw new LakeError('request.invalid', 'the lab is closed')
      return work()
    })
    this.#before = now.catch(() => undefined)
    return now
  }

  #read(request: ReadRequest): Promise<readonly Row[]> {
    return this.#inTurn(async () => {
      await this.#settle()
      return (await this.#reader.read(request)).rows
    })
  }

  async #settle(): Promise<void> {
    for (const pipeline of this.#pipelines) await pipeline.settle()
  }

  #append(
    topic: string,
    { eventMs, routing, ...record }: Encoded,
    partition: number | undefined,
    timestamp: Date | number | undefined,
  ): RecordPlace {
    const count = this.#parts.partitionsOf(topic)
    const at = partition ?? partitionFor(routing, count)
    if (!Number.isInteger(at) || at < 0 || at >= count)
      throw new LakeError('request.invalid', `${topic} has ${count} partitions, and no partition ${at}`, {
        fix: 'Open the lab with more: testLake(lake, { partitions: 8 }).',
      })
    const nowMs = this.#parts.world.clock.nowMs()
    const timestampMs = timestamp === undefined ? (eventMs ?? nowMs) : Number(timestamp)
    return { topic, partition: at, offset: this.#parts.log.append(topic, at, { ...record, timestampMs }) }
  }

  #table(table: TableLike): TableDefinition {
    const role = findRole(this.#parts.definition, nameOf(table))
    if (role.kind === 'rows') return role.source
    throw new LakeError('request.invalid', `nobody produces to ${nameOf(table)}`, {
      fix: `Produce to the table that it belongs to: ${role.source.name}.`,
    })
  }

  #changed({ pipelines }: LakeDefinition, { name }: PipelineDefinition): PipelineDefinition | undefined {
    const found = pipelines.find((each) => each.name === name)
    if (found !== undefined) return found
    throw new LakeError('pipeline.unknown', `the changed definition has no pipeline ${name}`)
  }
}

/** The same key, the same partition. FNV-1a. */
function partitionFor(key: Uint8Array | undefined, partitions: number): number {
  if (key === undefined) return 0
  let hash = 0x811c9dc5
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % partitions
}
