import * as z from 'zod'
import { APPEND, STORED, type TableDefinition } from './define.ts'
import { invalidField, name, nameProblem, type FieldPath } from './define-fields.ts'
import { ARCHIVE_COLUMNS } from './define-raw.ts'

/** Of a pipeline: the one name that its archives are called after, or a name for each topic that is kept. */
export type ArchiveOption = string | Readonly<Record<string, string>>

export const archiveSchema = z.union([name, z.record(z.string(), name)], {
  error: 'must be a table name, or topics with their table names',
})

/**
 * The tables that keep the raw log of a pipeline's topics, one per topic: `<table>` when there is one topic, else
 * `<table>_<topic>`, the topic in lower case with an underscore for whatever is neither letter nor digit. Where topics
 * have table names of their own, these are kept and no other. `tables` are those of the pipeline, checked before. Throws
 * `config.invalid`.
 */
export function archiveTables(
  given: ArchiveOption | undefined,
  tables: readonly TableDefinition[],
  at: FieldPath,
): readonly TableDefinition[] {
  if (given === undefined) return []
  const topics = [...new Set(tables.map(({ topic }) => topic))]
  const names = typeof given === 'string' ? namesAfter(given, topics, at) : new Map(Object.entries(given))
  for (const [topic, table] of names) {
    const path = typeof given === 'string' ? at : [...at, topic]
    if (!topics.includes(topic))
      throw invalidField(path, `no table of the pipeline reads "${topic}"`, `Its topics: ${topics.join(', ')}.`)
    const wrong = nameProblem(table)
    if (wrong !== undefined) throw invalidField(path, wrong.message, wrong.fix)
  }
  for (const [topic] of names) {
    const other = tables.find((each) => each.topic === topic && each.redact !== undefined)
    if (other !== undefined)
      throw invalidField(
        at,
        `would keep the records of "${topic}" as they are, of which the table "${other.name}" redacts fields`,
        'Leave the topic out: archive: {other_topic: table}, or remove "redact".',
      )
  }
  return [...names].map(([topic, table]) => archiveTable(table, topic, tables))
}

function namesAfter(given: string, topics: readonly string[], at: FieldPath): ReadonlyMap<string, string> {
  const wrong = nameProblem(given)
  if (wrong !== undefined) throw invalidField(at, wrong.message, wrong.fix)
  if (topics.length === 1) return new Map([[topics[0]!, given]])
  const names = new Map<string, string>()
  for (const topic of topics) {
    const table = `${given}_${wordOf(topic)}`
    const twin = [...names].find(([, other]) => other === table)?.[0]
    const fix = `Name the tables by topic: archive: {${topics.map((each) => `${each}: …`).join(', ')}}.`
    if (twin !== undefined) throw invalidField(at, `"${twin}" and "${topic}" would both be kept in "${table}"`, fix)
    if (nameProblem(table) !== undefined)
      throw invalidField(at, `"${topic}" would be kept in "${table}", which is too long a name for a table`, fix)
    names.set(topic, table)
  }
  return names
}

/** Table names have no double underscore: that is for companions. */
function wordOf(topic: string): string {
  return topic
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '')
}

function archiveTable(table: string, topic: string, tables: readonly TableDefinition[]): TableDefinition {
  return {
    kind: 'table',
    name: table,
    topic,
    value: 'raw',
    // A pipeline reads a topic once.
    startAt: tables.find((each) => each.topic === topic)!.startAt,
    columns: ARCHIVE_COLUMNS,
    eventTime: undefined,
    partitionBy: [],
    onError: 'dead-letter',
    unknown: 'ignore',
    ...APPEND,
    ...STORED,
    isArchive: true,
  }
}
