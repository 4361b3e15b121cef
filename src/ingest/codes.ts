import { tableNames, type PipelineDefinition, type TableDefinition } from '../define.ts'
import { codeHash, windowCodeHash } from '../define-code.ts'
import type { WindowDefinition } from '../define-window.ts'
import { LakeError } from '../error.ts'
import type { Version } from '../version.ts'

/** The code of each source table and window. Companions are of the code of their table. */
export function tableCodes(definition: PipelineDefinition): ReadonlyMap<string, string> {
  return new Map([
    ...definition.tables.map((table) => [table.name, codeHash(table)] as const),
    ...definition.windows.map((window) => [window.name, windowCodeHash(window, sourceOf(window, definition))] as const),
  ])
}

/** Source tables and windows that the head does not have, or that other code made. */
export function changedTables(definition: PipelineDefinition, { tables }: Pick<Version, 'tables'>): readonly string[] {
  const codes = [...tableCodes(definition)]
  return codes.filter(([name, code]) => own(tables, name)?.code !== code).map(([name]) => name)
}

export function sourceOf({ name, source }: WindowDefinition, { tables }: PipelineDefinition): TableDefinition {
  const found = tables.find((table) => table.name === source)
  if (found === undefined) throw new LakeError('config.invalid', `${name}: the pipeline has no table ${source}`)
  return found
}

/** Every table that a definition makes, companions included. */
export function namesOf({ tables, windows }: PipelineDefinition): readonly string[] {
  return [...tables, ...windows].flatMap((table) => tableNames(table))
}

/** Tables that can be asked: those of the head, in the order of the definition as far as it has them. */
export function tablesAt({ tables, windows }: PipelineDefinition, head: Version | undefined): readonly string[] {
  const all = [...tables, ...windows]
  const names = [...all.map(({ name }) => name), ...all.flatMap((table) => tableNames(table).slice(1))]
  if (head === undefined) return names
  const others = Object.keys(head.tables).filter((name) => !names.includes(name))
  return [...names.filter((name) => Object.hasOwn(head.tables, name)), ...others]
}

/** `constructor` is a table like any other. */
function own<V>(record: Readonly<Record<string, V>>, key: string): V | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
