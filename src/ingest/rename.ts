import type { Clock } from '../clock.ts'
import { tableNames, type PipelineDefinition, type TableDefinition } from '../define.ts'
import type { WindowDefinition } from '../define-window.ts'
import type { VersionContent } from '../lake/chain.ts'
import { claimTable, evolveTable, openTable, type Storage } from '../lake/table.ts'
import type { TableVersion, Version } from '../version.ts'
import { storedWindow } from '../window-property.ts'
import { changedTables, sourceOf, tableCodes } from './codes.ts'
import { tableSpecs } from './create-tables.ts'
import { definitionAt } from './growing.ts'
import { windowSpecs } from './window/create.ts'

/** Whether tables of a version have other names than in the definition, which says so, and nothing else differs. */
export function isRenamed(definition: PipelineDefinition, head: Pick<Version, 'tables'>): boolean {
  const before = namesBefore(definition, head)
  return before.size > 0 && changedTables(withNames(definition, before), head).length === 0
}

/**
 * What the version says that gives tables their new names: the same rows in the same files, in the folder of the first
 * name; only what the metadata says of the definition is written again.
 */
export async function renamedContent(
  definition: PipelineDefinition,
  head: Version,
  storage: Storage,
  commit: { readonly writer: string; readonly commitId: string },
  clock: Clock,
): Promise<VersionContent> {
  const before = namesBefore(definition, head)
  const codes = tableCodes(definition)
  const tables: Record<string, TableVersion> = { ...head.tables }
  const all = [...definition.tables, ...definition.windows].filter(
    (each) => before.has(each.name) || (each.kind === 'window' && before.has(each.source)),
  )
  for (const each of all) for (const name of oldTables(each, before)) delete tables[name]
  for (const each of all) {
    for (const name of tableNames(each)) await claimTable(storage, name, definition.name, clock)
    const old = oldTables(each, before)
    const stored = await Promise.all(
      tableNames(each).map((name, k) => openTable(storage, head.tables[old[k]!]!.metadata, name)),
    )
    const fromMs = storedWindow(stored[0]!.properties)?.fromMs
    const specs =
      each.kind === 'table'
        ? tableSpecs(definitionAt(each, stored[0]))
        : windowSpecs(each, sourceOf(each, definition), fromMs)
    for (const { name, columns, properties = {} } of specs) {
      const table = stored.find((candidate) => candidate.name === name)!
      const next = await evolveTable(storage, table, columns, properties, commit.commitId, clock)
      tables[name] = { metadata: next.metadata, snapshot: next.snapshot, code: codes.get(each.name)! }
    }
  }
  const after = new Map([...before].map(([name, old]) => [old, name]))
  const renamed = <V>(of: Readonly<Record<string, V>>): Record<string, V> =>
    Object.fromEntries(Object.entries(of).map(([name, value]) => [after.get(name) ?? name, value]))
  return {
    ...head,
    kind: 'cutover',
    writer: commit.writer,
    tables,
    clocksMs: renamed(head.clocksMs),
    watermarksMs: renamed(head.watermarksMs),
    published: renamed(head.published),
    released: false,
    fork: undefined,
  }
}

/** By name of a source table or window the one that the version has it by. */
function namesBefore(
  { tables, windows }: PipelineDefinition,
  head: Pick<Version, 'tables'>,
): ReadonlyMap<string, string> {
  const isThere = (name: string): boolean => Object.hasOwn(head.tables, name)
  return new Map(
    [...tables, ...windows].flatMap(({ name, renamedFrom }) =>
      renamedFrom !== undefined && !isThere(name) && isThere(renamedFrom) ? [[name, renamedFrom] as const] : [],
    ),
  )
}

function withNames(definition: PipelineDefinition, names: ReadonlyMap<string, string>): PipelineDefinition {
  const nameOf = (name: string): string => names.get(name) ?? name
  return {
    ...definition,
    tables: definition.tables.map((table) => ({ ...table, name: nameOf(table.name) })),
    windows: definition.windows.map((window) => ({
      ...window,
      name: nameOf(window.name),
      source: nameOf(window.source),
    })),
  }
}

function oldTables(table: TableDefinition | WindowDefinition, before: ReadonlyMap<string, string>): readonly string[] {
  return tableNames({ ...table, name: before.get(table.name) ?? table.name })
}
