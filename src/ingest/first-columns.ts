import type { Column } from '../batch.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import { evolveColumns, type Evolved } from '../evolve-columns.ts'
import { wantedOfEntry } from './growing-reader.ts'
import type { SchemaUse } from './holds.ts'
import type { SchemaEntry } from './decode/avro-schemas.ts'

/** What a registry has under a name, rather than under an id. */
export interface Subjects {
  /** The newest version of a subject; `unknown` while there is none. Throws as `SchemaRegistry.schema` does. */
  newest(subject: string): Promise<SchemaEntry>
  /** Subjects and versions that are the schema of an id. Throws as `newest` does. */
  usesOf(id: number): Promise<readonly SchemaUse[]>
}

/**
 * The columns that a growing table begins with: those of the newest schema of its topic's values. Without one it begins
 * with what is declared, and grows with its first records. Throws `registry.*`: the pipeline waits.
 */
export async function firstColumns(table: TableDefinition, registry: Subjects): Promise<readonly Column[]> {
  const subject = `${table.topic}-value`
  const entry = await registry.newest(subject)
  const wanted = wantedOfEntry(entry, table)
  const evolved = wanted && evolveColumns([], wanted, 'add-widen')
  // Its columns stay what they are now: with none it could never take a record.
  if (table.evolve === 'strict' && evolved?.kind !== 'fits')
    throw new LakeError('registry.unavailable', `${table.name} is strict, and ${problemOf(entry, evolved, subject)}`, {
      retryable: true,
      context: { table: table.name, subject },
      fix: 'Register the schema, or let the table grow: evolve: add-widen.',
    })
  return evolved?.kind === 'fits' ? evolved.columns : []
}

function problemOf(entry: SchemaEntry, evolved: Evolved | undefined, subject: string): string {
  if (entry.kind === 'unknown') return `the registry has no subject ${subject}`
  if (evolved?.kind === 'incompatible')
    return `the newest schema of ${subject} gives no columns: ${evolved.problems.join('; ')}`
  const problem = entry.kind === 'unreadable' ? entry.message : 'its values are no records of this format'
  return `the newest schema of ${subject} gives no columns: ${problem}`
}
