import type { Hono } from 'hono'
import { deadLetterTable, type LakeDefinition } from './define.ts'
import type { RowIn, TableLike } from './define-reference.ts'
import { windowTableNames } from './define-window.ts'
import { LakeError } from './error.ts'
import type { LakeEvent } from './event.ts'
import { partitionId, type Positions } from './log.ts'
import type { Replay, ReplayInput } from './replay-handle.ts'
import type { Replays } from './replay-status.ts'
import { asOfText, rowsSql, type RowsOptions } from './row-filter.ts'
import { rowsOf, type Rows } from './row-stream.ts'
import { rowChange } from './row-values.ts'
import { checkedParam, template } from './sql-template.ts'
import type { PipelineControl } from './status.ts'
import { columnsOfTable } from './table-columns.ts'
import type { Version } from './version.ts'

/** A running lake: its pipelines ingest, its tables answer. One object, one life; nothing global is touched. */
export interface Lake {
  readonly pipelines: readonly PipelineControl[]
  /**
   * Rows of a table, as its `$row` says: all of them with `await`, or as they come with `for await`. Companions are asked for
   * by reference, `orders.deadLetters`, `revenue.late`. Throws `request.invalid`, `table.unknown`, `version.unknown`, and as `sql`.
   */
  rows<const T extends TableLike>(table: T, options?: RowsOptions<RowIn<T>>): Rows<RowIn<T>>
  /**
   * Rows of one SELECT as objects: int64 are bigint, decimals text, instants bigint microseconds. Values of a template are
   * parameters; a table, a window or a companion of one stands for its name. Throws `sql.*`, `result.too_large`; a
   * `for await` takes results of any size.
   */
  sql<Row = Record<string, unknown>>(text: string | TemplateStringsArray, ...values: unknown[]): Rows<Row>
  /**
   * Calls the listener whenever that happens, until what it returns is called. What a listener throws stops nothing: it
   * becomes a warning of the process.
   */
  on<Kind extends keyof LakeEvents>(kind: Kind, listener: (event: LakeEvents[Kind]) => unknown): () => void
  /**
   * Read your writes: resolves with the first version beyond the offset, whatever became of the record. Rejects with
   * the reason when the pipeline is stopped or paused.
   */
  waitFor(table: TableLike, at: RecordAddress): Promise<Version>
  /**
   * Runs history again through the definition of this lake, beside the live tables: a fork, all its tables at once.
   * Throws `replay.running`, `replay.nothing_changed`, `request.invalid` and other `replay.*`.
   */
  replay(pipeline: string, input?: ReplayInput): Promise<Replay>
  /** One that was started before, in any process. Throws `replay.unknown`. */
  findReplay(id: string): Promise<Replay>
  /** Those of the store, as data. */
  readonly replays: Replays
  /** The HTTP API as a Hono app, to be served or mounted. */
  http(): Hono
  /** The same for any runtime that has requests and responses. */
  readonly fetch: (request: Request) => Promise<Response>
  /** Stops fetching, commits once more, ends every child process. Takes at most ten seconds. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface LakeEvents {
  /** A newer version of a pipeline was seen here, whoever committed it. A process that follows may pass some over. */
  readonly version: { readonly pipeline: string; readonly version: Version }
  /** Whatever happens: what `observer` is given. */
  readonly event: LakeEvent
}

export interface RecordAddress {
  /** Default: the topic of the table. */
  readonly topic?: string
  readonly partition: number
  readonly offset: bigint
  readonly signal?: AbortSignal
}

type Row = Record<string, unknown>

/** What runs SQL, as far as a lake needs it. */
interface SqlEngine {
  rows(request: SqlRequest, signal?: AbortSignal): Promise<readonly Row[]>
  batches(request: SqlRequest, signal?: AbortSignal): AsyncGenerator<readonly Row[], void, undefined>
}

interface SqlRequest {
  readonly sql: string
  readonly where?: string | undefined
  readonly params?: readonly unknown[] | undefined
  readonly asOf?: string | undefined
}

/** What a lake is asked for rows with. */
export function readingOf(engine: SqlEngine, definition: LakeDefinition): Pick<Lake, 'rows' | 'sql'> {
  const asked = (request: () => SqlRequest, signal?: AbortSignal, change?: (row: Row) => Row) => {
    const changed = (rows: readonly Row[]) => (change === undefined ? rows : rows.map(change))
    return rowsOf(
      async () => changed(await engine.rows(request(), signal)),
      async function* () {
        for await (const rows of engine.batches(request(), signal)) yield changed(rows)
      },
    )
  }
  return {
    sql: <R>(text: string | TemplateStringsArray, ...values: unknown[]) =>
      asked(() =>
        typeof text === 'string'
          ? { sql: text, params: values.map((value, index) => checkedParam(value, index + 1)) }
          : template(text, values),
      ) as Rows<unknown> as Rows<R>,
    rows: <T extends TableLike>(table: T, options: RowsOptions<RowIn<T>> = {}) => {
      const columns = columnsOfTable(definition, nameOf(table))
      const { where } = options
      const request = () => ({
        sql: rowsSql(columns, options),
        // A text may come from anywhere: it must be one condition and nothing else.
        where: typeof where === 'string' ? where : undefined,
        asOf: asOfText(options.asOf),
      })
      return asked(request, options.signal, rowChange(columns.columns)) as Rows<unknown> as Rows<RowIn<T>>
    },
  }
}

export async function waitFor(
  { pipelines }: LakeDefinition,
  waiting: readonly { waitUntil(positions: Positions, signal?: AbortSignal): Promise<Version> }[],
  given: TableLike,
  at: RecordAddress,
): Promise<Version> {
  const table = nameOf(given)
  if (typeof at.offset !== 'bigint')
    throw new LakeError('request.invalid', `offset: ${String(at.offset)} is no bigint`, {
      fix: 'Write it as 1234n, or BigInt(text).',
    })
  for (const [index, { tables, windows }] of pipelines.entries()) {
    const window = windows.find((each) => windowTableNames(each).includes(table))
    const source = window?.source ?? table
    const found = tables.find(({ name }) => name === source || deadLetterTable(name) === source)
    if (found === undefined) continue
    const id = partitionId(at.topic ?? found.topic, at.partition)
    return waiting[index]!.waitUntil(new Map([[id, at.offset + 1n]]), at.signal)
  }
  const names = pipelines.flatMap(({ tables, windows }) => [...tables, ...windows].map(({ name }) => name))
  throw new LakeError('table.unknown', `no table ${table}`, { fix: `Tables of this lake: ${names.join(', ')}.` })
}

function nameOf(table: TableLike): string {
  return typeof table === 'string' ? table : table.name
}
