import { SYSTEM_COLUMNS } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import type { IcebergField, WritePlan } from '../../lake/table.ts'
import { LETTER_CLOCK } from '../decode/columns.ts'
import { literal, quoted } from '../decode/data-file-writer.ts'
import { filesSql, nameOf } from '../table-work/stored-sql.ts'
import { NEVER_RETRIED, RETRIED_BY_NAME, type FindRequest } from './letters.ts'

// SQL over the files of a table of dead letters. `isMarked` is a function of file and row: see `MarkedRows`.

const PLACE = 'file_index, file_row_number'

/** Dead letters in order: file, row, partition, offset, code, attempts, clock. Marked rows are dead. */
export function findSql(plan: WritePlan, paths: readonly string[], isMarked: string, request: FindRequest): string {
  const name = (column: string): string => nameOf(fieldOf(plan, column))
  const [partition, offset] = [name(SYSTEM_COLUMNS.partition), name(SYSTEM_COLUMNS.offset)]
  const clock = plan.schema.fields.find((field) => field.name === LETTER_CLOCK)
  const { status, where, behind, limit } = request
  const byName = RETRIED_BY_NAME.filter((code) => code !== where.code)
  const conditions = [
    `NOT ${isMarked}(${PLACE})`,
    `${name('status')} = ${literal(status)}`,
    ...(request.isReadAgain
      ? [`${name('code')} NOT IN (${[...NEVER_RETRIED, ...byName].map(literal).join(', ')})`]
      : []),
    ...(where.code === undefined ? [] : [`${name('code')} = ${literal(where.code)}`]),
    ...(where.stage === undefined ? [] : [`${name('stage')} = ${literal(where.stage)}`]),
    ...(where.partition === undefined ? [] : [`${partition} = ${where.partition}`]),
    ...(where.from === undefined ? [] : [`${offset} >= ${BigInt(where.from)}`]),
    ...(where.until === undefined ? [] : [`${offset} < ${BigInt(where.until)}`]),
    ...(behind === undefined
      ? []
      : [`(${partition}, ${offset}) > (${behind.partition}, CAST(${BigInt(behind.offset)} AS BIGINT))`]),
  ]
  return `SELECT ${PLACE}, ${partition}, ${offset}, ${name('code')}, ${name('attempts')},
${clock === undefined ? 'NULL' : `epoch_us(${nameOf(clock)}) // 1000`}
FROM ${filesSql(paths, plan.schema.fields)} WHERE ${conditions.join(' AND ')} ORDER BY ${partition}, ${offset} LIMIT ${limit}`
}

/** Bytes of the records of marked rows: file, row, bytes. */
export function bytesSql(plan: WritePlan, paths: readonly string[], isMarked: string): string {
  const size = (column: string): string => `coalesce(octet_length(${nameOf(fieldOf(plan, column))}), 0)`
  return `SELECT ${PLACE}, ${size('key')} + ${size('value')} FROM ${filesSql(paths, plan.schema.fields)} WHERE ${isMarked}(${PLACE})`
}

/** Records of marked rows, in order of partition and offset, with the columns of `CHUNK_COLUMNS` (archive/record-chunks.ts). */
export function recordsSql(plan: WritePlan, paths: readonly string[], isMarked: string): string {
  const name = (column: string): string => nameOf(fieldOf(plan, column))
  const [key, value] = [name('key'), name('value')]
  return `SELECT ${name(SYSTEM_COLUMNS.partition)} AS p, ${name(SYSTEM_COLUMNS.offset)} AS o,
coalesce(epoch_us(${name(SYSTEM_COLUMNS.timestamp)}) // 1000, -1) AS ts, 0::INTEGER AS append,
coalesce(octet_length(${key}), -1)::INTEGER AS kl, coalesce(octet_length(${value}), -1)::INTEGER AS vl,
coalesce(${key}, ''::BLOB) || coalesce(${value}, ''::BLOB) AS bytes, coalesce(${name('headers')}, []) AS headers
FROM ${filesSql(paths, plan.schema.fields)} WHERE ${isMarked}(${PLACE}) ORDER BY p, o`
}

/** Where rows stand and where their records do: file, row, partition, offset. Of marked rows, where they are told. */
export function positionsSql(plan: WritePlan, paths: readonly string[], isMarked?: string): string {
  const columns = [SYSTEM_COLUMNS.partition, SYSTEM_COLUMNS.offset].map((name) => nameOf(fieldOf(plan, name)))
  const which = isMarked === undefined ? '' : ` WHERE ${isMarked}(${PLACE})`
  return `SELECT ${PLACE}, ${columns.join(', ')} FROM ${filesSql(paths, plan.schema.fields)}${which} ORDER BY ${PLACE}`
}

/** Offsets of marked rows of a source table, in the order of files and rows. */
export function offsetsSql(plan: WritePlan, paths: readonly string[], isMarked: string): string {
  const offset = fieldOf(plan, SYSTEM_COLUMNS.offset)
  return `SELECT ${nameOf(offset)} FROM ${filesSql(paths, [offset])} WHERE ${isMarked}(${PLACE}) ORDER BY ${PLACE}`
}

/** Marked rows with another status, one attempt on when they were read again. */
export function settledSql(
  plan: WritePlan,
  paths: readonly string[],
  isMarked: string,
  status: 'resolved' | 'discarded',
): string {
  const columns = plan.schema.fields.map((field) => {
    const isCounted = field.name === 'attempts' && status === 'resolved'
    const stored = isCounted ? `${nameOf(field)} + 1::INTEGER` : nameOf(field)
    return `${field.name === 'status' ? literal(status) : stored} AS ${quoted(field.name)}`
  })
  return `SELECT ${columns.join(', ')} FROM ${filesSql(paths, plan.schema.fields)} WHERE ${isMarked}(${PLACE})`
}

function fieldOf({ table, schema }: WritePlan, name: string): IcebergField {
  const found = schema.fields.find((field) => field.name === name)
  if (found === undefined) throw new LakeError('internal', `${table} has no column ${name}`)
  return found
}
