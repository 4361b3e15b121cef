import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import type { ArchiveFields } from './archive-files.ts'
import type { KeptRange } from './archive.ts'

/** A file of this machine, and what its columns are called. */
export interface ArchivePath {
  readonly path: string
  readonly fields: ArchiveFields
}

/** The records of some ranges of offsets, by partition, in order, with the columns of `CHUNK_COLUMNS`. */
export function recordsSql(files: readonly ArchivePath[], ranges: ReadonlyMap<number, KeptRange>): string {
  const kinds = [...new Set(files.map(({ fields }) => fields))]
  const parts = kinds.map((fields) => {
    const paths = files.filter((file) => file.fields === fields).map(({ path }) => path)
    const { partition, offset, key, value, headers, timestampType } = fields
    const [k, v] = [nameOf(key), nameOf(value)]
    const type = timestampType === undefined ? '0' : `coalesce((${nameOf(timestampType)} = 'append')::INTEGER, 0)`
    return `SELECT ${nameOf(partition)} AS p, ${nameOf(offset)} AS o, ${timestampSql(fields)} AS ts, ${type} AS append,
coalesce(octet_length(${k}), -1)::INTEGER AS kl, coalesce(octet_length(${v}), -1)::INTEGER AS vl,
coalesce(${k}, ''::BLOB) || coalesce(${v}, ''::BLOB) AS bytes, coalesce(${nameOf(headers)}, []) AS headers
FROM ${filesSql(paths, fieldList(fields))} WHERE ${withinSql(fields, ranges)}`
  })
  return `SELECT p, o, ts, append, kl, vl, bytes, headers FROM (${parts.join(' UNION ALL ')}) ORDER BY p, o`
}

/** The first offset of a partition below `until` whose record is not older than a time; null when none is. */
export function firstAtSql(
  path: string,
  fields: ArchiveFields,
  partition: number,
  timestampMs: number,
  until: bigint,
): string {
  const [p, o] = [nameOf(fields.partition), nameOf(fields.offset)]
  return `SELECT min(${o}) FROM ${filesSql([path], fieldList(fields))}
WHERE ${p} = ${partition} AND ${o} < ${until} AND ${timestampSql(fields)} >= ${timestampMs}`
}

/** Milliseconds; −1 of a record without a timestamp. */
function timestampSql({ timestamp, timestampMs }: ArchiveFields): string {
  const outside = timestampMs === undefined ? '' : `${nameOf(timestampMs)}, `
  return `coalesce(${outside}epoch_us(${nameOf(timestamp)}) // 1000, -1)`
}

/** The bounds of all ranges come first: row groups are left out by them. */
function withinSql({ partition, offset }: ArchiveFields, ranges: ReadonlyMap<number, KeptRange>): string {
  const [p, o] = [nameOf(partition), nameOf(offset)]
  const all = [...ranges.values()]
  const from = all.reduce((least, range) => (range.from < least ? range.from : least), all[0]!.from)
  const until = all.reduce((most, range) => (range.until > most ? range.until : most), all[0]!.until)
  const each = [...ranges].map(
    ([number, range]) => `(${p} = ${number} AND ${o} >= ${range.from} AND ${o} < ${range.until})`,
  )
  return `${o} >= ${from} AND ${o} < ${until} AND (${each.join(' OR ')})`
}

function fieldList(fields: ArchiveFields) {
  return Object.values(fields).filter((field) => field !== undefined)
}
