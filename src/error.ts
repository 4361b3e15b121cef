/**
 * Every failure that kappalake names. A code is stable: it is documented in docs/errors.md, answered over HTTP
 * and stored as the reason of a stopped pipeline; it is never renamed.
 */
export type LakeErrorCode =
  | 'config.invalid' // a definition or setting is wrong; the message names the field and the fix
  | 'config.unknown_key'
  | 'config.unsupported' // a feature that a definition may ask for later, but not in this release
  | 'request.invalid'
  | 'request.too_large'
  | 'request.forbidden' // Host or Origin is not local
  | 'auth.missing' // the API asks for a key, and none was sent
  | 'auth.invalid' // no such key, or its time is over
  | 'auth.forbidden' // the key may not do this
  | 'table.unknown'
  | 'table.claimed' // the table name belongs to another pipeline of this store
  | 'table.not_window' // only window tables have what was asked for
  | 'pipeline.unknown'
  | 'pipeline.paused'
  | 'pipeline.not_owner' // another process writes this pipeline
  | 'pipeline.stopped'
  | 'version.unknown'
  | 'snapshot.expired'
  | 'rollback.not_kept' // the version's tables can no longer be read, or soon cannot
  | 'rollback.offsets_expired' // the log no longer reaches back to the version's positions
  | 'job.unknown'
  | 'replay.unknown'
  | 'replay.running' // the pipeline has a replay that is not over
  | 'replay.state' // what was asked does not apply to the replay as it is
  | 'replay.diff_unapproved' // a cut-over must name the difference that it accepts
  | 'replay.nothing_changed' // the definition is the one that made the tables
  | 'replay.range_keyed' // a range of a table whose rows depend on more than the range
  | 'replay.offsets_expired' // neither log nor archive reaches back to where the replay begins
  | 'replay.compacted' // the topic no longer has the history of a table without a key
  | 'replay.base_moved' // the main chain was rolled back or repaired behind the version that the fork began at
  | 'code.changed' // the definition is not the one that made the tables: replay, or accept it from here on
  | 'code.not_continuable' // the change of code cannot be taken over from here on
  | 'idempotency.mismatch' // an Idempotency-Key that was used for another request
  | 'format.unsupported'
  | 'sql.syntax'
  | 'sql.denied'
  | 'sql.multiple_statements'
  | 'sql.failed'
  | 'sql.timeout'
  | 'sql.cancelled'
  | 'sql.crashed'
  | 'result.too_large'
  | 'limit.queries'
  | 'limit.rate' // a key asks more queries a second than it may
  | 'query.unknown' // no such query is running
  | 'commit.stale'
  | 'commit.unknown'
  | 'code.superseded'
  | 'store.unavailable'
  | 'store.denied'
  | 'store.no_conditional_write'
  | 'store.disk_full'
  | 'store.corrupt' // bytes that must be whole are not: a checksum, a length, a missing reference
  | 'kafka.unavailable'
  | 'kafka.denied'
  | 'kafka.corrupt' // CRC mismatch or a batch that cannot be read
  | 'kafka.topic_missing'
  | 'kafka.topic_replaced'
  | 'kafka.log_truncated'
  | 'kafka.gap'
  | 'publish.expression_failed' // the filter of a change topic fails on the values of a row
  | 'publish.too_large' // a change topic refuses records of the size of a row
  | 'registry.unavailable' // the schema registry does not answer, or not as one
  | 'registry.denied' // it refuses our credentials
  | 'schema.incompatible' // a schema of the registry, or of the definition, does not fit the columns
  | 'schema.evolves' // records need columns that their table is about to get: lanes say so, nobody else sees it
  | 'lane.failed'
  | 'lookup.ambiguous' // a record would find two rows of the table that is looked up in
  | 'lookup.not_found' // the table, version or column that a look-up names is not there
  | 'lookup.too_large'
  | 'testing.does_not_hold' // of a lab: the same records gave other rows when they were run in another way
  | 'transform.map_refused' // the function of a table asks for what is another thing in a replay, or is none
  | 'transform.not_row_wise' // an expression of a definition is more than deterministic scalars over one row
  | 'decode.too_many_dead_letters'
  | 'decode.stopped' // a record that could not be read, in a table with `onError: stop`
  | 'cdc.truncate' // the source of a change stream was truncated, in a table with `onTruncate: stop`
  | 'decode.fatal' // a record that killed its lane twice; used as the code of a dead letter
  | 'upsert.key_in_two_partitions' // no version column says which of its records is the later one
  | 'window.open_rows_max' // a window table holds more open cells than `openRowsMax`
  | 'window.old_values_max' // a window over rows would hold the values of more keys than it may
  | 'window.memory_max' // open windows need more memory at once than `windows.memory`, whatever is written to disk
  | 'window.fold_failed' // the process that holds the open windows died, or its disk is full
  | 'aggregate.overflow' // an exact sum no longer fits its column
  | 'aggregate.negative_count' // more rows were taken back than were counted: the source table contradicts the log
  | 'not_ready'
  | 'internal'

export interface LakeErrorOptions {
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable?: boolean
  /** Facts for the operator and for programs: plain JSON values, never secrets, never record values. */
  readonly context?: Readonly<Record<string, unknown>>
  /** What the reader of the message should do next, one sentence. */
  readonly fix?: string
  readonly cause?: unknown
}

/** The one error class. `code` tells programs what happened, `message` and `fix` tell people. */
export class LakeError extends Error {
  override readonly name = 'LakeError'
  readonly code: LakeErrorCode
  readonly retryable: boolean
  readonly context: Readonly<Record<string, unknown>>
  readonly fix: string | undefined

  constructor(code: LakeErrorCode, message: string, options: LakeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = options.retryable ?? false
    this.context = options.context ?? {}
    this.fix = options.fix
  }
}

/** A LakeError as it crosses a process boundary: structured clone keeps no classes. */
export interface ErrorMessage {
  readonly code: LakeErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly context: Readonly<Record<string, unknown>>
  readonly fix: string | undefined
}

export function asLakeError(error: unknown, code: LakeErrorCode = 'internal'): LakeError {
  if (error instanceof LakeError) return error
  return new LakeError(code, error instanceof Error ? error.message : String(error), { cause: error })
}

export function toErrorMessage(error: unknown): ErrorMessage {
  const { code, message, retryable, context, fix } = asLakeError(error)
  return { code, message, retryable, context, fix }
}

export function fromErrorMessage(error: ErrorMessage): LakeError {
  return new LakeError(error.code, error.message, {
    retryable: error.retryable,
    context: error.context,
    ...(error.fix === undefined ? {} : { fix: error.fix }),
  })
}
