import * as z from 'zod'
import { SYSTEM_COLUMNS } from './batch.ts'
import type { LakeDefinition, TableDefinition } from './define.ts'
import { invalidField, name, strict, type FieldPath } from './define-fields.ts'

/**
 * What becomes of a field before anything is stored: it is not kept; a fixed text stands for it; or the SHA-256 of a
 * salt and its text, in hexadecimal digits. A salt is a setting, here it has only its name.
 */
export type Redaction = 'drop' | 'mask' | { readonly hash: string }

/** Fields of the record by name: declared columns, and others that would come into `_extra`. */
export type Redactions = readonly (readonly [field: string, how: Redaction])[]

/** What stands for a text that is masked. It fits into the 12 bytes that short texts have in place. */
export const MASK = '****'

export const redactSchema = z.record(
  z.string().min(1),
  z.union([z.enum(['drop', 'mask']), strict({ hash: name })], {
    error: 'must be drop, mask or {hash: name of a salt}',
  }),
)

/** In the order of the names, so that how a definition is written is no part of its code. */
export function toRedactions(given: z.output<typeof redactSchema> | undefined): { readonly redact?: Redactions } {
  const list = Object.entries(given ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return list.length === 0 ? {} : { redact: list }
}

/** Throws `config.invalid` with the field and a fix. */
export function checkRedact(table: TableDefinition, at: FieldPath): void {
  if (table.redact === undefined) return
  if (table.value === 'raw')
    throw invalidField(
      [...at, 'redact'],
      'a raw table keeps records as they are',
      'Remove "redact", or declare columns.',
    )
  if (table.protobuf !== undefined && table.unknown === 'extra')
    throw invalidField(
      [...at, 'redact'],
      'what no column has is kept in _extra as the message has it, unredacted',
      'Say unknown: ignore, or unknown: fail.',
    )
  for (const [field, how] of table.redact) checkField(table, field, how, [...at, 'redact', field])
}

function checkField(table: TableDefinition, field: string, how: Redaction, at: FieldPath): void {
  const column = table.columns.find((each) => each.name === field)
  const role = roleOf(table, field)
  if (role !== undefined) throw invalidField(at, `"${field}" is ${role}`, 'Redact other columns.')
  if (column === undefined) {
    if (table.unknown !== 'fail') return
    throw invalidField(
      at,
      `there is no column "${field}", and unknown: fail refuses records that have it`,
      'Declare it.',
    )
  }
  if (column.as !== undefined)
    throw invalidField(at, `"${field}" is computed`, 'Say in its SQL what may be kept, or remove the column.')
  if (how === 'drop' && column.required === true)
    throw invalidField(at, `"${field}" is required, and would never be there`, 'Remove "required", or hash it.')
  if (how !== 'drop' && column.type.kind !== 'string')
    throw invalidField(
      at,
      `"${field}" is of type ${column.type.kind}, and what stands for it is a text`,
      'Declare it as a string, or drop it.',
    )
}

/** What a record is found, ordered or placed by must be as the record says it. */
function roleOf(table: TableDefinition, field: string): string | undefined {
  if (Object.values<string>(SYSTEM_COLUMNS).includes(field)) return 'a column of the system'
  if (table.key.includes(field)) return 'part of the key, by which rows are found'
  if (table.version === field) return 'the version, which orders rows'
  return table.eventTime?.column === field ? 'the event time' : undefined
}

/** Names of the salts that tables hash by, each with one of the tables. */
export function saltsOf(tables: readonly TableDefinition[]): ReadonlyMap<string, string> {
  const salts = new Map<string, string>()
  for (const { name: table, redact = [] } of tables)
    for (const [, how] of redact) if (typeof how === 'object') salts.set(how.hash, salts.get(how.hash) ?? table)
  return salts
}

/** Salts by name, as settings give them. */
export type Salts = Readonly<Record<string, string>>

/** Makes sure that there is a salt for whatever is hashed. Throws `config.invalid`. */
export function assertSalts({ pipelines }: LakeDefinition, salts: Salts = {}): void {
  for (const [salt, table] of saltsOf(pipelines.flatMap(({ tables }) => tables)))
    if (!Object.hasOwn(salts, salt))
      throw invalidField(
        ['salts', salt],
        `is missing: the table ${table} hashes by it`,
        `Give it in the settings, salts: {${salt}: \${file:/run/secrets/${salt}}}, or as KAPPALAKE__SALTS__${salt.toUpperCase()}.`,
      )
}
