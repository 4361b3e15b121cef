import { createHash } from 'node:crypto'
import { SYSTEM_COLUMNS } from '../batch.ts'
import type { PipelineDefinition } from '../define.ts'
import { LakeError } from '../error.ts'
import type { ChangedRows, Comparison, TableWork } from '../ingest/pipeline.ts'
import { storedFiles } from '../lake/scan.ts'
import { openTable, readDeletedRows, writePlan, type LakeTable, type Storage } from '../lake/table.ts'
import type { ReplayDifference, RowDifference, TableDifference } from '../replay-status.ts'
import type { Version } from '../version.ts'
import { planComparison, roleOf, type ComparedTable, type ComparedVersions, type TableRole } from './compared.ts'

/** What a difference shows of each table. */
const SAMPLES_MAX = 20
const GROUPS_MAX = 20

/**
 * What the rebuilt tables of a fork are, against those of the version that it began at. The fork stands at that version's
 * positions. What is found is a pure function of the files of both: it can be asked for as often as one likes.
 */
export async function verify(
  base: Version,
  fork: Version,
  definition: PipelineDefinition,
  storage: Storage,
  work: TableWork,
): Promise<ReplayDifference> {
  const rebuilt = fork.fork?.rebuilt ?? []
  const roles = rebuilt.flatMap((name) => {
    const role = roleOf(definition, name)
    return role === undefined ? [] : [{ name, role }]
  })
  const tables = await Promise.all(
    roles.map(({ name, role }) => compareTable(name, role, { base, fork }, storage, work)),
  )
  return differenceOf(base, tables)
}

/** Equal is what differs nowhere; a table that is new takes nothing from anybody. */
function differenceOf(base: Version, tables: readonly TableDifference[]): ReplayDifference {
  const version = String(base.number)
  // Of samples the rows say when they were written too, which is no part of what was found.
  const found = tables.map(({ samples, ...table }) => ({
    ...table,
    samples: samples.map(({ change, key }) => ({ change, key })),
  }))
  return {
    id: createHash('sha256')
      .update(JSON.stringify({ version, tables: found }))
      .digest('hex'),
    isEqual: tables.every(({ kind }) => kind !== 'different'),
    version,
    tables,
  }
}

async function compareTable(
  name: string,
  role: TableRole,
  versions: ComparedVersions,
  storage: Storage,
  work: TableWork,
): Promise<TableDifference> {
  const after = await tableAt(storage, versions.fork, name)
  if (after === undefined)
    throw new LakeError('internal', `the fork has no table ${name}`, { context: { table: name } })
  const before = await tableAt(storage, versions.base, name)
  if (before === undefined) return newTable(name, storage, after, work)
  const plan = planComparison(role, before, after, versions)
  const { changes, leftOut, ...compared } = plan
  const comparison = await work.compare({
    ...compared,
    before: { plan: writePlan(before), rows: await rowsOf(storage, before) },
    after: { plan: writePlan(after), rows: await rowsOf(storage, after) },
    samplesMax: SAMPLES_MAX,
    groupsMax: GROUPS_MAX,
  })
  const hasChanged = comparison.groupsDifferent > 0 || Object.values(changes).some((names) => names.length > 0)
  return {
    table: name,
    kind: hasChanged ? 'different' : 'equal',
    columns: changes,
    ...numbersOf(comparison),
    groups: comparison.groups.map(({ values, rowsBefore, rowsAfter }) => ({
      group: groupText(role, values),
      rowsBefore: String(rowsBefore),
      rowsAfter: String(rowsAfter),
    })),
    samples: comparison.samples.map((sample) => sampleOf(role, plan, sample)),
    leftOut,
  }
}

/** All of it is added: its digest is what an approval is of. */
async function newTable(name: string, storage: Storage, after: LakeTable, work: TableWork): Promise<TableDifference> {
  const plan = writePlan(after)
  const comparison = await work.compare({
    before: { plan, rows: [] },
    after: { plan, rows: await rowsOf(storage, after) },
    columns: after.schema.fields.map((field) => field.name),
    key: [],
    group: [],
    samplesMax: 0,
    groupsMax: 0,
  })
  return {
    table: name,
    kind: 'new',
    columns: { added: [], removed: [], retyped: [] },
    ...numbersOf(comparison),
    added: String(comparison.rowsAfter),
    groups: [],
    samples: [],
    leftOut: [],
  }
}

function numbersOf(
  found: Comparison,
): Omit<TableDifference, 'table' | 'kind' | 'columns' | 'groups' | 'samples' | 'leftOut'> {
  const { digestBefore, digestAfter, groupsCompared, groupsDifferent } = found
  return {
    rowsBefore: String(found.rowsBefore),
    rowsAfter: String(found.rowsAfter),
    digestBefore,
    digestAfter,
    groupsCompared,
    groupsDifferent,
    added: String(found.added),
    removed: String(found.removed),
    changed: String(found.changed),
  }
}

function groupText(role: TableRole, values: readonly unknown[]): string {
  if (role.kind === 'window') return values.join('/')
  return values[0] === null || values.length === 0 ? 'no partition' : `partition ${String(values[0])}`
}

function sampleOf(
  role: TableRole,
  { key }: ComparedTable,
  { before, after }: Comparison['samples'][number],
): RowDifference {
  const row = (after ?? before)!
  return {
    change: before === undefined ? 'added' : after === undefined ? 'removed' : 'changed',
    key: Object.fromEntries(key.map((name) => [name, row[name]])),
    before: before ?? null,
    after: after ?? null,
    record: recordOf(role, row),
  }
}

function recordOf({ kind, source }: TableRole, row: Readonly<Record<string, unknown>>): string | null {
  const [partition, offset] = [row[SYSTEM_COLUMNS.partition], row[SYSTEM_COLUMNS.offset]]
  if (kind === 'window' || partition === null || offset === null) return null
  return `${source.topic}/${String(partition)}@${String(offset)}`
}

async function tableAt(storage: Storage, { tables }: Version, name: string): Promise<LakeTable | undefined> {
  // `constructor` is a table like any other.
  return Object.hasOwn(tables, name) ? openTable(storage, tables[name]!.metadata, name) : undefined
}

/** All rows of a table that live. */
async function rowsOf(storage: Storage, table: LakeTable): Promise<ChangedRows[]> {
  if (table.snapshot === undefined) return []
  const files = await storedFiles(storage, table)
  return Promise.all(files.map(async (file) => ({ file, deleted: await readDeletedRows(storage, file) })))
}
