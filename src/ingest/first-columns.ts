import type { Column } from '../batch.ts'
import type { TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import { evolveColumns } from '../evolve-columns.ts'
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
  if (entry.kind === 'unknown' && table.evolve === 'strict')
    throw new LakeError('registry.unavailable', `${table.name} is strict, and the registry has no subject ${subject}`, {
      retryable: true,
      context: { table: table.name, subject },
      fix: 'Register the schema, or let the table grow: evolve: add-widen.',
    })
  const wanted = wantedOfEntry(entry, table)
  const evolved = wanted && evolveColumns([], wanted, 'add-widen')
  return evolved?.kind === 'fits' ? evolved.columns : []
}
