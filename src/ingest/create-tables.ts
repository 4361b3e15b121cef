import { deadLetterTable, deletesTable, tableNames, type PipelineDefinition, type TableDefinition } from '../define.ts'
import { definitionText } from '../define-code.ts'
import { archiveProperties } from '../archive-property.ts'
import type { Clock } from '../clock.ts'
import { LakeError } from '../error.ts'
import { claimTable, createTable, folderOf, openTable, type Storage, type TableSpec } from '../lake/table.ts'
import type { Positions } from '../log.ts'
import { definitionProperties } from '../stored-definition.ts'
import type { Clocks, TableVersion } from '../version.ts'
import { clocksOf } from './clocks.ts'
import { sourceOf, tableCodes } from './codes.ts'
import { deadLetterColumns, deletesColumns, tableColumns } from './decode/columns.ts'
import { firstColumns, type Subjects } from './first-columns.ts'
import { definitionAt, withRegistryColumns } from './growing.ts'
import { windowSpecs } from './window/create.ts'

export interface EmptyTablesOptions {
  /**
   * Clocks at which the tables begin, of a replay from the middle of the log (rule R2): a window that starts at or before
   * one of its source lacks what came earlier, and is left out.
   */
  readonly seededMs?: Clocks
  /** The positions at which the tables begin; an archive is read by replays only where it knows them. */
  readonly begins?: Positions
  /** Where the first columns of growing tables come from that were not there before. */
  readonly registry?: Subjects | undefined
}

/**
 * Source tables and windows of a definition before their first record, companions included. Those that `base` has are
 * successors: the same table to whoever knew it, its uuid, folder and ids of columns that stayed, with numbers of sequence
 * and metadata far above. Nobody refers to them until a version does. Throws `table.claimed`.
 */
export async function emptyTables(
  definition: PipelineDefinition,
  only: ReadonlySet<string>,
  base: Readonly<Record<string, TableVersion>>,
  storage: Storage,
  clock: Clock,
  { seededMs, begins, registry }: EmptyTablesOptions = {},
): Promise<Readonly<Record<string, TableVersion>>> {
  const wanted = [...definition.tables, ...definition.windows].filter(({ name }) => only.has(name))
  for (const table of wanted)
    for (const name of tableNames(table)) {
      assertFree(name, base)
      await claimTable(storage, name, definition.name, clock)
    }
  const codes = tableCodes(definition)
  const made: (readonly [string, TableVersion])[] = []
  for (const table of wanted) {
    const code = codes.get(table.name)!
    const specs =
      table.kind === 'table'
        ? tableSpecs(await withFirstColumns(table, base, storage, registry), begins)
        : windowSpecs(table, sourceOf(table, definition), windowsFromMs(table.source, seededMs))
    const create = async (spec: TableSpec): Promise<readonly [string, TableVersion]> => {
      const before = Object.hasOwn(base, spec.name) ? await openTable(storage, base[spec.name]!.metadata) : undefined
      const { metadata, snapshot } = await createTable(storage, spec, clock, before)
      return [spec.name, { metadata, snapshot, code }]
    }
    made.push(...(await Promise.all(specs.map(create))))
  }
  return Object.fromEntries(made)
}

/** What came from a registry stays; a table that is new begins with what its subject's newest schema has. */
async function withFirstColumns(
  table: TableDefinition,
  base: Readonly<Record<string, TableVersion>>,
  storage: Storage,
  registry: Subjects | undefined,
): Promise<TableDefinition> {
  if (table.evolve === undefined) return table
  const before = Object.hasOwn(base, table.name) ? await openTable(storage, base[table.name]!.metadata) : undefined
  if (before !== undefined) return definitionAt(table, before)
  return withRegistryColumns(table, registry === undefined ? [] : await firstColumns(table, registry))
}

/** The name that a table had before stays that of its folder. Throws `table.claimed`. */
function assertFree(name: string, base: Readonly<Record<string, TableVersion>>): void {
  const owner = Object.entries(base).find(([other, { metadata }]) => other !== name && folderOf(metadata) === name)
  if (owner === undefined) return
  throw new LakeError('table.claimed', `${name} is the name that ${owner[0]} had before: its files are there`, {
    context: { table: name, owner: owner[0] },
    fix: 'Give the new table another name.',
  })
}

/** The least start of a window that lacks nothing; undefined: all do not. */
function windowsFromMs(source: string, seededMs: Clocks | undefined): number | undefined {
  const clocks = Object.values(clocksOf(seededMs, source) ?? {})
  return clocks.length === 0 ? undefined : Math.max(...clocks) + 1
}

/**
 * What a source table and its companions are made from. Those that lose rows some day are v3 from the start. `begins`:
 * where the tables begin, of a table that is made now.
 */
export function tableSpecs(table: TableDefinition, begins?: Positions): readonly TableSpec[] {
  const { name, topic, partitionBy, key } = table
  const isArchive = table.isArchive === true && begins !== undefined
  const properties = {
    ...definitionProperties(definitionText(table)),
    ...(isArchive ? archiveProperties(topic, begins) : {}),
  }
  const specs: TableSpec[] = [
    { name, columns: tableColumns(table), partitionBy, formatVersion: key.length > 0 ? 3 : 2, key, properties },
    { name: deadLetterTable(name), columns: deadLetterColumns, partitionBy: [], formatVersion: 3 },
  ]
  if (table.version !== undefined)
    specs.push({ name: deletesTable(name), columns: deletesColumns(table), partitionBy: [], formatVersion: 3 })
  return specs
}
