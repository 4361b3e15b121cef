import { openTable, type LakeTable, type Storage } from '../lake/table.ts'
import type { TableVersion } from '../version.ts'

/** The tables of one version by name, companions included. */
export type Tables = ReadonlyMap<string, LakeTable>

/** The tables after a change of each. */
export async function changeEach(
  tables: Tables,
  change: (name: string, table: LakeTable) => Promise<LakeTable>,
): Promise<Tables> {
  return new Map(
    await Promise.all([...tables].map(async ([name, table]) => [name, await change(name, table)] as const)),
  )
}

/** All tables of a version. */
export async function openTables(storage: Storage, versions: Readonly<Record<string, TableVersion>>): Promise<Tables> {
  const names = Object.entries(versions)
  return new Map(
    await Promise.all(
      names.map(async ([name, { metadata }]): Promise<[string, LakeTable]> => [
        name,
        await openTable(storage, metadata, name),
      ]),
    ),
  )
}
