import type { Column, ColumnType } from './batch.ts'
import { archiveTables, type ArchiveOption } from './define-archive.ts'
import type { AvroOptions, WrittenFormat } from './define-avro.ts'
import type { ProtobufFormat, ProtobufOptions } from './define-protobuf.ts'
import { checkLake, checkTable } from './define-check.ts'
import {
  columnsAs,
  conditionText,
  EXPRESSIONS,
  type ColumnsOf,
  type Condition,
  type Expressions,
} from './define-expression.ts'
import { fieldError, invalidField } from './define-fields.ts'
import type { ColumnSpecs, KindsOf } from './define-kinds.ts'
import type { LookupDefinition, LookupOptions } from './define-lookup.ts'
import type { Evolve } from './evolve-columns.ts'
import { writtenMap, type MapDefinition, type MapFunction } from './define-map.ts'
import type { Redaction, Redactions } from './define-redact.ts'
import type { FormatAs, InputOf, UnknownFields } from './define-produced.ts'
import type { KeyFormat, WrittenKey } from './define-record-key.ts'
import { withDeadLetters, type Table } from './define-reference.ts'
import type { AnyRow, DeclaredRow, RawRow, RowOf, SystemRow } from './define-row.ts'
import { writtenTopic, type ChangeTopic, type TopicOptions } from './define-topic.ts'
import { parseColumn, specText, type TypeSpec } from './define-type.ts'
import { windowTableNames, type WindowDefinition } from './define-window.ts'
import type { StartAt } from './log.ts'

export { t, type TypeSpec } from './define-type.ts'
export type { LookupOptions, MapFunction, Redaction, TopicOptions }
export { cumulate, hopping, session, tumbling, windowSql } from './define-window-options.ts'

/** What a user writes of a table. YAML takes the same keys and texts; defaults are filled in by `table`. */
export interface TableOptions<
  C extends string = string,
  S extends ColumnSpecs<C> = ColumnSpecs<C>,
  Q extends C = C,
  M extends ComputedSpecs = ComputedSpecs,
  F extends ValueFormat | WrittenFormat = ValueFormat | WrittenFormat,
  U extends UnknownFields = UnknownFields,
  P extends object | null | string = object | null | string,
> {
  readonly from: {
    readonly topic: string
    /** `json()` (default), `avro()`, `protobuf()`, `raw()` or `debezium()`. */
    readonly value?: F
    /** How the record's key names the row that a null value removes. */
    readonly key?: RecordKey | WrittenKey
    /** Where the first start begins: `earliest` (default), `latest`, or an RFC 3339 time with its zone. */
    readonly startAt?: 'earliest' | 'latest' | (string & {}) | { readonly timestamp: string }
  }
  /** `{ id: t.string().required(), amount: t.decimal(12, 2) }`, or the text form of types. Not for `raw()`. */
  readonly columns?: S
  /**
   * More columns, computed from the others: `(o, { mul }) => ({ total: t.decimal(14, 2).as(mul(o.price, o.quantity)) })`.
   * Those that rows are partitioned by stand in `columns`.
   */
  readonly computed?: (columns: ColumnsOf<RowOfColumns<S>>, expressions: Expressions) => M
  /** Row-wise: records for which it is not true are dropped, and counted. They do not move the clock. */
  readonly where?: Condition<RowOfColumns<S>>
  /**
   * What schemas of the registry may do to the columns: `add-widen` (default where no columns are declared), `add-only` or
   * `strict`. With it, declared columns stay as they are, and all others come from the schemas.
   */
  readonly evolve?: Evolve
  /** Whether rows are kept (default), or only fed to windows. */
  readonly store?: boolean
  /** Columns that name a row: a later record of the same key replaces it. */
  readonly key?: readonly Q[]
  /** What orders the records of a key instead of their offsets: a column, or a field of the change's source, `source.lsn`. */
  readonly version?: NoInfer<C> | `source.${string}`
  /** What a column is that the record does not carry: `null` (default), or what the key's row has. */
  readonly missing?: TableDefinition['missing'] | null
  /** What a truncate event of a change stream does: `stop` (default), or `apply`, for a topic of one partition. */
  readonly onTruncate?: TableDefinition['onTruncate']
  readonly eventTime?: {
    readonly column: NoInfer<C> | '_timestamp'
    /** Of a `long` column. */
    readonly unit?: 's' | 'ms' | 'us'
    readonly outOfOrderness?: string
    readonly idleAfter?: string
    readonly maxFutureSkew?: string
  }
  readonly partitionBy?: readonly PartitionText<NoInfer<C> | SystemName>[]
  /** What it was called before: its rows stay, and are found by the new name. */
  readonly renamedFrom?: string
  readonly onError?: TableDefinition['onError']
  readonly unknown?: U
  /**
   * From the JSON of a record to another, or null for none; slower than SQL. A function that needs nothing around it, or
   * the file whose default export it is, relative to that of the definition.
   */
  readonly map?: ((row: Record<string, any>) => P) | (P & string)
  /** Rows of other tables, as a version has them, that computed columns and the filter may read. */
  readonly lookup?: Readonly<Record<string, LookupOptions>>
  /** Fields of the record, columns or not, that are stored masked, hashed or not at all; dead letters have none of them. */
  readonly redact?: Readonly<Record<string, Redaction>>
  /** Where committed rows are published. */
  readonly to?: TopicOptions
}

/** Columns that are computed. */
export type ComputedSpecs = Readonly<Record<string, TypeSpec>>

/** What conditions and computed columns of a table may read: declared columns, those of the system, and look-ups. */
type RowOfColumns<S extends ColumnSpecs> = string extends keyof S ? Readonly<Record<string, any>> : DeclaredRow<S>

type SystemName = '_kafka_partition' | '_offset' | '_timestamp'

/** What `partitionBy` may say of a column. */
type PartitionText<C> = C extends string
  ?
      | C
      | `${'year' | 'month' | 'day' | 'hour' | 'identity'}(${C})`
      | `${'bucket' | 'truncate'}(${number},${'' | ' '}${C})`
  : never

/** Rows of a table as its options say. */
type RowOfOptions<S extends ColumnSpecs, Q extends string, M extends ComputedSpecs, F> = [F] extends ['raw']
  ? RawRow & Omit<SystemRow, '_extra'>
  : RowOf<S, Q, string extends keyof M ? Record<never, string> : M>

/**
 * A table over a topic. Pure. Throws LakeError `config.invalid`, `config.unknown_key` or `config.unsupported` with the
 * path of the field and what to write instead.
 */
export function table<
  const S extends ColumnSpecs,
  const Q extends keyof S & string = never,
  const M extends ComputedSpecs = Record<never, TypeSpec>,
  const F extends ValueFormat | WrittenFormat = 'json',
  const U extends UnknownFields = 'extra',
  const P extends object | null | string = never,
>(
  name: string,
  options: TableOptions<keyof S & string, S, Q, M, F, U, P>,
): Table<KindsOf<string extends keyof M ? S : S & M>, RowOfOptions<S, Q, M, F>, InputOf<S, Q, F, U, P>> {
  return withDeadLetters(checkTable(name, writtenTable(name, options as unknown as TableOptions), [name]))
}

/** The form that is checked: types, conditions and functions as texts. */
function writtenTable(name: string, { columns, computed, where, map, to, ...rest }: TableOptions): object {
  // In plain JavaScript anything may stand there: what is wrong is told by the check.
  const declared = typeof columns === 'object' && columns !== null ? columns : undefined
  const refs = columnsAs<AnyRow>((column) => typeOf(declared?.[column]))
  const more = computed === undefined ? {} : computed(refs, EXPRESSIONS)
  const twin = Object.keys(more).find((column) => declared !== undefined && Object.hasOwn(declared, column))
  if (twin !== undefined)
    throw invalidField([name, 'computed', twin], 'stands in "columns", too', 'Give it another name.')
  const specs = Object.entries<TypeSpec | string>({ ...declared, ...more })
  return {
    ...rest,
    ...(columns === undefined ? {} : { columns }),
    ...(specs.length === 0
      ? {}
      : { columns: Object.fromEntries(specs.map(([column, spec]) => [column, specText(spec)])) }),
    ...(where === undefined ? {} : { where: conditionText(where, refs) }),
    ...(map === undefined ? {} : { map: writtenMap(map) }),
    ...(to === undefined ? {} : { to: writtenTopic(to) }),
  }
}

/** Undefined where a text is none; the check says why. */
function typeOf(declared: TypeSpec | string | undefined): ColumnType | undefined {
  if (typeof declared !== 'string') return declared?.type
  try {
    return parseColumn('', declared).type
  } catch {
    return undefined
  }
}

/**
 * Values are JSON objects; their fields become columns. With `framing: 'confluent'` each has a zero and the id of its
 * JSON Schema before it, as have keys that are JSON: both are passed over.
 */
export const json = (options: { readonly framing?: 'confluent' } = {}): FormatAs<'json'> =>
  options.framing === undefined ? 'json' : { format: 'json', ...options }

/** Key, value and headers are kept as they are, in the columns `key`, `value` and `headers`. */
export const raw = () => 'raw' as const

/** Values are Avro: of the schema given here, whose fields may be the columns, or of a registry's schemas. */
export const avro = (options: AvroOptions = {}): WrittenFormat & { readonly format: 'avro' } => ({
  format: 'avro',
  ...options,
})

/** Values, or keys, are messages of Protocol Buffers: of the schema given here, whose fields may be the columns, or of a registry's schemas. */
export const protobuf = (options: ProtobufOptions = {}): ProtobufOptions & { readonly format: 'protobuf' } => ({
  format: 'protobuf',
  ...options,
})

/** Values are change envelopes of Debezium, bare or with their schema; columns are those of the row after the change. */
export const debezium = (
  options: { readonly encoding?: 'json' | 'avro'; readonly framing?: 'confluent' } & AvroOptions = {},
): FormatAs<'debezium'> => ({ format: 'debezium', ...options })

/** The whole of a lake: pipelines by name, each a list of tables and windows, or an object with the pipeline's own options. */
export function defineLake(
  pipelines: Readonly<Record<string, readonly (TableDefinition | WindowDefinition)[] | PipelineOptions>>,
): LakeDefinition {
  const list = Object.entries(pipelines).map(([name, given]): PipelineDefinition => {
    if (!('tables' in given)) {
      const tables = given.filter((one) => one.kind === 'table')
      return { name, tables, windows: given.filter((one) => one.kind === 'window'), onDataLoss: 'stop' }
    }
    const { tables, windows = [], onDataLoss = 'stop', archive, ...rest } = given
    const unknown = Object.keys(rest)[0]
    if (unknown !== undefined)
      throw fieldError([
        {
          code: 'config.unknown_key',
          path: [name, unknown],
          message: `there is no key "${unknown}"`,
          fix: 'A pipeline has tables, windows, onDataLoss and archive.',
        },
      ])
    return { name, tables: [...tables, ...archiveTables(archive, tables, [name, 'archive'])], windows, onDataLoss }
  })
  return checkLake(list, [])
}

export interface PipelineOptions {
  readonly tables: readonly TableDefinition[]
  readonly windows?: readonly WindowDefinition[]
  readonly onDataLoss?: PipelineDefinition['onDataLoss']
  /** Tables that keep the raw log: one name to call them after, or a name for each topic that is to be kept. */
  readonly archive?: ArchiveOption
}

/** How a record's value becomes columns. `raw` keeps key, value and headers as they are; `debezium` is a change envelope. */
export type ValueFormat = 'json' | 'raw' | 'debezium' | 'avro' | 'protobuf'

/** Of values in Avro. */
export interface AvroFormat {
  /** Text of the schema of all values; undefined: each value names one of a registry. */
  readonly schema: string | undefined
  /** What becomes of records whose schema does not fit the columns. */
  readonly onIncompatible: 'stop' | 'dead-letter'
}

export interface EventTime {
  /** A declared column of type timestamp, timestamptz or long, or `_timestamp` (the record's own timestamp). */
  readonly column: string
  /** Unit of a `long` column; timestamps carry their own. */
  readonly unit: 's' | 'ms' | 'us'
  readonly outOfOrdernessMs: number
  readonly idleAfterMs: number
  /** An event further ahead of its record's timestamp does not move the clock. */
  readonly maxFutureSkewMs: number
}

/** A table as it runs: every default filled in, nothing optional left to interpretation. Made by define.ts or config.ts. */
export interface TableDefinition {
  readonly kind: 'table'
  readonly name: string
  readonly topic: string
  readonly value: ValueFormat
  /** Present where values, or the envelopes of a change stream, are Avro. */
  readonly avro?: AvroFormat
  /** Present where values are Protocol Buffers. */
  readonly protobuf?: ProtobufFormat
  /** What stands before each value, and before keys that are JSON, and is passed over. */
  readonly framing?: 'confluent'
  readonly startAt: StartAt
  /** Those of the definition; where a table stands in a version, those that came from a registry's schemas too. */
  readonly columns: readonly Column[]
  /** Present where the schemas of a registry add columns to those that are declared. */
  readonly evolve?: Evolve | undefined
  readonly eventTime: EventTime | undefined
  /** Iceberg transforms over columns: `status`, `day(updatedAt)`, `bucket(16, orderId)`, `truncate(4, zip)`, `hour month year`. */
  readonly partitionBy: readonly string[]
  readonly onError: 'dead-letter' | 'stop' | 'skip'
  readonly unknown: 'extra' | 'ignore' | 'fail'
  /** Columns that name a row: a later record of the same key replaces it. Empty: an append table. */
  readonly key: readonly string[]
  /** How the record's key becomes the key columns when its value is null; `none`: null values are counted and ignored. */
  readonly recordKey: RecordKey
  /** Present where record keys are Protocol Buffers. */
  readonly keyFormat?: KeyFormat
  /** Column of int, long, date or timestamp that orders the records of a key instead of their offsets; or a field of the change's source. */
  readonly version: string | undefined
  /** What a column is that the record does not carry: null, or what the key's row has. */
  readonly missing: 'null' | 'keep'
  /** What a truncate event of a change stream does; `apply` needs a topic of one partition. */
  readonly onTruncate: 'stop' | 'apply'
  /** SQL, row-wise over the columns: records for which it is not true are dropped. */
  readonly where: string | undefined
  /** Whether rows are kept. False: the table stays empty, and feeds windows. */
  readonly store: boolean
  /** What becomes of values before they are read. */
  readonly map?: MapDefinition | undefined
  /** Rows of other tables that its SQL reads. */
  readonly lookup?: readonly LookupDefinition[] | undefined
  /** What is not stored as the record has it. */
  readonly redact?: Redactions | undefined
  /** Where committed rows are published; no part of its code. */
  readonly to?: ChangeTopic | undefined
  /** What it was called before; no part of its code. */
  readonly renamedFrom?: string | undefined
  /** It keeps the raw log of its topic, for replays to read where the log itself no longer reaches. */
  readonly isArchive?: true
}

export type RecordKey = 'string' | 'json' | 'avro' | 'protobuf' | 'debezium' | 'none'

/** What a table without a key has in its place. */
export const APPEND = { key: [], recordKey: 'none', version: undefined, missing: 'null', onTruncate: 'stop' } as const

/** What a table has that neither filters nor feeds windows alone. */
export const STORED = { where: undefined, store: true } as const

export interface PipelineDefinition {
  readonly name: string
  readonly tables: readonly TableDefinition[]
  /** Over tables of the same pipeline. */
  readonly windows: readonly WindowDefinition[]
  readonly onDataLoss: 'stop' | 'record-gap'
}

export interface LakeDefinition {
  readonly pipelines: readonly PipelineDefinition[]
}

/** Columns that the definition itself has: those that a registry's schemas added are none of it. */
export function declaredColumns({ columns }: Pick<TableDefinition, 'columns'>): readonly Column[] {
  return columns.filter(({ fromRegistry }) => fromRegistry !== true)
}

/** Name of the companion table that keeps a table's dead letters. Names with `__` are ours alone. */
export function deadLetterTable(name: string): string {
  return `${name}__dlq`
}

/** Name of the companion that keeps what was deleted of a keyed table with a version column, and at which version. */
export function deletesTable(name: string): string {
  return `${name}__deletes`
}

/** All tables that a definition makes: the source table or the window first, then its companions. */
export function tableNames(table: TableDefinition | WindowDefinition): readonly string[] {
  if (table.kind === 'window') return windowTableNames(table)
  const names = [table.name, deadLetterTable(table.name)]
  return table.version === undefined ? names : [...names, deletesTable(table.name)]
}

/** Whether the version is a field of the change's source, which gets a column of its own, `_version`. */
export function isSourceVersion(table: TableDefinition): boolean {
  return table.version?.startsWith('source.') === true
}
