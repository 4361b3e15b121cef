import type { PipelineDefinition, TableDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import { changedTables, partOf, type Part } from '../ingest/pipeline.ts'
import type { ReplayOptions } from '../replay-status.ts'
import type { Version } from '../version.ts'

/** What a replay makes anew, of the source tables and windows of a definition. */
export interface TablesPlan {
  readonly rebuilt: readonly string[]
  readonly shared: readonly string[]
}

/**
 * Which tables a replay of a definition makes anew, and which it shares with the version that it begins at. What feeds
 * a window is part of the window: a source that is made anew takes its windows with it. Pure. Throws `table.unknown`,
 * `replay.nothing_changed`, `replay.range_keyed`.
 */
export function planTables(definition: PipelineDefinition, base: Version, options: ReplayOptions): TablesPlan {
  const all = namesOf(definition)
  const unknown = options.tables?.find((name) => !all.includes(name))
  if (unknown !== undefined)
    throw new LakeError('table.unknown', `${definition.name} has no table ${unknown}`, {
      context: { table: unknown },
      fix: `Tables and windows of ${definition.name}: ${all.join(', ')}.`,
    })
  const wanted = new Set(wantedTables(definition, base, options))
  for (const { name, source } of definition.windows) if (wanted.has(source)) wanted.add(name)
  const rebuilt = all.filter((name) => wanted.has(name))
  if (rebuilt.length === 0) throw nothingChanged(definition)
  if (options.mode === 'range') assertRange(definition, base, rebuilt)
  return { rebuilt, shared: all.filter((name) => !wanted.has(name)) }
}

/** The part of the definition that a replay runs until it has reached its base. */
export function partOfPlan(definition: PipelineDefinition, { rebuilt }: Pick<TablesPlan, 'rebuilt'>): Part {
  return partOf(definition, new Set(rebuilt))
}

function wantedTables(
  definition: PipelineDefinition,
  base: Version,
  { mode, tables }: ReplayOptions,
): readonly string[] {
  // An archive is what is read: it would be compared with itself.
  const archives = new Set(definition.tables.filter(({ isArchive }) => isArchive === true).map(({ name }) => name))
  if (mode === 'verify') return tables ?? namesOf(definition).filter((name) => !archives.has(name))
  const changed = changedTables(definition, base)
  if (mode === 'range') return tables ?? changed
  // What changed must be made anew in any case: all tables of a version are made by the code that it names.
  return [...changed, ...(tables ?? [])]
}

/** Rows of a range are of the range alone only where neither a key nor a window takes them together with others. */
function assertRange(definition: PipelineDefinition, base: Version, rebuilt: readonly string[]): void {
  for (const name of rebuilt) {
    const table = definition.tables.find((each) => each.name === name)
    const window = definition.windows.find((each) => each.name === name || each.source === name)
    const why =
      table === undefined || window !== undefined
        ? `rows of ${window?.name ?? name} depend on more than the range`
        : table.key.length > 0
          ? `a row of ${name} may come from outside the range`
          : undefined
    if (why === undefined && Object.hasOwn(base.tables, name)) continue
    throw new LakeError('replay.range_keyed', why ?? `${name} is new: there is nothing to replace`, {
      context: { table: name },
      fix: 'Replay the whole table: leave mode away, or set it to reprocess.',
    })
  }
  const left = changedTables(definition, base).filter((name) => !rebuilt.includes(name))
  if (left.length > 0)
    throw new LakeError('replay.range_keyed', `the code of ${left.join(', ')} changed too`, {
      context: { tables: left },
      fix: 'Replay these first, or name them too.',
    })
}

function nothingChanged({ name }: PipelineDefinition): LakeError {
  return new LakeError('replay.nothing_changed', `the definition of ${name} is the one that made its tables`, {
    context: { pipeline: name },
    fix: 'Ask a process that was started with the changed definition; or name tables to rebuild all the same, or verify.',
  })
}

/** A table whose rows need records that compaction takes: each of them counts. */
export function needsAllRecords(
  definition: PipelineDefinition,
  table: TableDefinition,
  rebuilt: ReadonlySet<string>,
): boolean {
  const isRead = definition.windows.some(
    (window) => window.source === table.name && window.input !== 'rows' && rebuilt.has(window.name),
  )
  return isRead || (rebuilt.has(table.name) && table.key.length === 0)
}

function namesOf({ tables, windows }: PipelineDefinition): readonly string[] {
  return [...tables, ...windows].map(({ name }) => name)
}
