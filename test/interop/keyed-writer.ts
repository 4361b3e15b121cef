import type { Column } from '../../src/batch.ts'
import type { Clock } from '../../src/clock.ts'
import {
  changeTable,
  createTable,
  DeletedRows,
  writeVersionHints,
  type AddedFile,
  type DataFile,
  type Storage,
} from '../../src/lake/table.ts'
import type { Written } from './tables.ts'
import type { Row } from './value.ts'
import type { Writer } from './writer.ts'

/** One commit of a keyed table. */
export interface KeyedStep {
  /** New rows and new versions of old ones. Of two versions of a key in one commit, one is deleted at once. */
  readonly upserts?: readonly Row[]
  readonly deletes?: readonly number[]
  /** Whether all files that lost rows are rewritten first: a `replace`, in which `deletes` came meanwhile. */
  readonly compacts?: boolean
}

export interface KeyedPlan {
  readonly name: string
  readonly columns: readonly Column[]
  readonly key: string
  readonly partitionBy?: readonly string[]
  readonly steps: readonly KeyedStep[]
}

/** A data file and what became of its rows. */
interface Placed {
  readonly file: DataFile
  readonly rows: readonly Row[]
  readonly deleted: DeletedRows
}

type Lineage = readonly [string, string]

/** Writes a keyed table commit by commit, keeping in mind where the row of each key stands. */
export async function writeKeyed(storage: Storage, writer: Writer, plan: KeyedPlan, clock: Clock): Promise<Written> {
  const { name, columns, key, partitionBy = [] } = plan
  let table = await createTable(storage, { name, columns, partitionBy, formatVersion: 3, key: [key] }, clock)
  const keyOf = (row: Row) => String(row[key])
  const live = new Map<string, { readonly placed: Placed; readonly position: number }>()
  const lineage = new Map<Row, Lineage>()
  const snapshots = new Map<string, readonly string[]>()
  const files = new Set<Placed>()
  const liveRows = () => [...live.values()].map(({ placed, position }) => placed.rows[position]!)
  for (const { upserts = [], deletes = [], compacts = false } of plan.steps) {
    const last = table.raw['last-sequence-number']
    const touched = new Set<Placed>()
    const remove = (id: string) => {
      const there = live.get(id)
      if (there === undefined) return
      there.placed.deleted.add(there.position)
      touched.add(there.placed)
      live.delete(id)
    }
    const added: AddedFile[] = []
    const place = (written: { readonly files: readonly DataFile[]; readonly rows: readonly Row[] }, old?: bigint) => {
      let at = 0
      for (const file of written.files) {
        const rows = written.rows.slice(at, (at += file.recordCount))
        const placed = { file, rows, deleted: new DeletedRows(file.recordCount) }
        files.add(placed)
        for (const [position, row] of rows.entries()) {
          if (old === undefined) remove(keyOf(row))
          live.set(keyOf(row), { placed, position })
        }
        added.push({ ...file, ...(old === undefined ? {} : { sequenceNumber: old }) })
      }
      return written.files
    }
    const gone = compacts ? [...files].filter(({ deleted }) => deleted.count > 0) : []
    for (const placed of gone) files.delete(placed)
    const kept = gone.flatMap(({ rows, deleted }) => rows.filter((_, position) => !deleted.has(position)))
    if (kept.length > 0) place(await writer.write(table, kept, (row) => lineage.get(row)!), last)
    let rowId = table.raw['next-row-id']! + BigInt(kept.length)
    if (upserts.length > 0) {
      const written = await writer.write(table, upserts)
      for (const row of written.rows) lineage.set(row, [String(rowId++), String(last + 1n)])
      place(written)
    }
    for (const id of deletes) remove(String(id))
    const change = {
      kind: compacts ? ('replace' as const) : ('write' as const),
      added,
      deletes: [...touched].map(({ file, deleted }) => ({ file, rows: deleted })),
      removed: gone.map(({ file }) => file.key),
    }
    const stamp = { commitId: clock.uuid(), version: BigInt(snapshots.size + 2), ranges: 't:0=0-1' }
    table = await changeTable(storage, table, change, stamp, clock)
    snapshots.set(String(table.snapshot), [...live.keys()])
  }
  await writeVersionHints(storage, [table])
  const rows = liveRows()
  return { table, key, rows, snapshots, lineage: new Map(rows.map((row) => [keyOf(row), lineage.get(row)!])) }
}

/** The same key with the values of another row. */
export function upserted(rows: readonly Row[], ids: readonly number[], key: string, shift: number): Row[] {
  return ids.map((id) => ({ ...rows[(id + shift) % rows.length]!, [key]: rows[id]![key]! }))
}
