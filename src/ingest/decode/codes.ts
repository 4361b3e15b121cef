/**
 * Why a record is a dead letter. Stable: stored in the `code` column of `<table>__dlq`, never renamed.
 *
 * One record has one code. `too_large` and `utf8` are judged on the value as a whole and come first; then the faults of
 * the JSON text (`json`, `depth`, `duplicate_key`, `utf8` of an escaped surrogate), the first in the text; only a text
 * without such a fault is judged against the columns, again the first fault in the text. So the code does not depend on
 * the order in which a reader happens to look.
 */
export type DeadLetterCode =
  /** The value is no JSON text of RFC 8259: a byte order mark, a trailing comma, bytes after the end, `NaN`, `01`. */
  | 'decode.json'
  /** Bytes that are not UTF-8, or an escaped surrogate without its partner. */
  | 'decode.utf8'
  /** Arrays and objects nested deeper than `DEPTH_MAX`. */
  | 'decode.depth'
  /** A key that stands twice in one object. */
  | 'decode.duplicate_key'
  /** The value is larger than `RECORD_BYTES_MAX`. The dead letter has its coordinates, key and headers, not its bytes. */
  | 'decode.too_large'
  /** Another kind of value than the column takes: text where a number is due, a fraction in an integer column. */
  | 'decode.type'
  /** The right kind of value, outside of what the column can hold exactly: 2^31 in an int, an unknown enum symbol. */
  | 'decode.range'
  /** A required column that is absent or null. */
  | 'decode.required'
  /** Avro whose bytes are not what the schema says, end too early or go on behind the value. */
  | 'decode.avro'
  /** The id of a schema that the registry does not know. */
  | 'schema.unknown'
  /** A schema that does not fit the columns, in a table with `onIncompatible: dead-letter`. */
  | 'schema.incompatible'
  /** A field that no column has, in a table with `unknown: fail`. */
  | 'decode.unknown_field'
  /** A keyed table's record without its key: a key column that is null or absent, or a null value without a key. */
  | 'key.null'
  /** A null value whose record key is not what the key columns are read from. */
  | 'key.unmappable'
  /** A record without the value that orders it among those of its key. */
  | 'version.null'
  /** A record that keeps values of a row which its key does not have. */
  | 'cdc.unavailable_without_base'
  /** No change event: not the envelope of a change stream, an unknown operation, a row that is missing. */
  | 'decode.debezium'
  /** A computed column, or the filter, fails on the values of the record: a cast, an overflow. */
  | 'transform.failed'
  /** The record killed its lane twice; nobody looked inside again. */
  | 'decode.fatal'

/** Nesting of arrays and objects, the record's own object included. */
export const DEPTH_MAX = 100

/** Bytes of a record's value. */
export const RECORD_BYTES_MAX = 16 * 1024 * 1024

/** A reason in words: the column's path and the byte position in the value, never the value itself. */
export interface Reason {
  readonly code: DeadLetterCode
  readonly message: string
}
