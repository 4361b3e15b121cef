import type { Column } from '../../batch.ts'
import { LakeError } from '../../error.ts'
import { applyTransform, type DataFile, type IcebergType, type WritePlan } from '../../lake/table.ts'
import { gather, type Slab, type SlabPool } from './slab.ts'
import { valueReader } from './slab-value.ts'

export type PartitionTuple = DataFile['partition']

/** Rows with one partition tuple: one data file. */
export interface TupleRows {
  readonly tuple: PartitionTuple
  readonly slabs: readonly Slab[]
  readonly rows: number
}

/** Where rows went: by their number through all slabs, the index of their group and their position in it. */
export interface RowPlaces {
  readonly files: Int32Array
  readonly rows: Uint32Array
}

/** One micro-batch writes at most so many files per table; more would cost more in files than the rows are worth. */
export const TUPLES_MAX = 1_024

/**
 * Divides slabs by partition tuple, in the order in which tuples come up, and writes down where each row went when
 * `places` are given. Throws `config.invalid` when one micro-batch has more than `TUPLES_MAX` tuples.
 */
export function divide(
  slabs: readonly Slab[],
  columns: readonly Column[],
  plan: WritePlan,
  pool: SlabPool,
  places?: RowPlaces,
): readonly TupleRows[] {
  const fields = plan.spec.fields.map((field) => {
    const source = plan.schema.fields.find(({ id }) => id === field['source-id'])
    const index = columns.findIndex(({ name }) => name === source?.name)
    if (index < 0 || source === undefined)
      throw new LakeError('internal', `${plan.table}: partition field ${field.name} has no column`)
    return { index, type: columns[index]!.type, source: source.type, transform: field.transform }
  })
  if (fields.length === 0) {
    for (let row = 0; row < (places?.rows.length ?? 0); row++) places!.rows[row] = row
    return [{ tuple: [], slabs, rows: slabs.reduce((sum, { rows }) => sum + rows, 0) }]
  }
  const groups = new Map<string, { tuple: PartitionTuple; slabs: Slab[]; rows: number; index: number }>()
  let first = 0
  for (const slab of slabs) {
    const picked = new Map<string, { tuple: PartitionTuple; rows: number[] }>()
    const readers = fields.map(({ index, type, source, transform }) =>
      transformed(valueReader(slab, slab.columns[index]!, type), source, transform),
    )
    for (let row = 0; row < slab.rows; row++) {
      const tuple = readers.map((read) => read(row))
      const key = tuple.length === 1 ? keyOf(tuple[0]!) : keysOf(tuple)
      const rows = picked.get(key)
      if (rows === undefined) picked.set(key, { tuple, rows: [row] })
      else rows.rows.push(row)
    }
    for (const [key, { tuple, rows }] of picked) {
      let group = groups.get(key)
      if (group === undefined) groups.set(key, (group = { tuple, slabs: [], rows: 0, index: groups.size }))
      group.slabs.push(picked.size === 1 ? slab : gather(slab, Int32Array.from(rows), pool))
      if (places !== undefined) place(places, rows, first, group)
      group.rows += rows.length
    }
    first += slab.rows
    if (picked.size > 1) pool.give(slab)
    if (groups.size > TUPLES_MAX)
      throw new LakeError('config.invalid', `${plan.table}: over ${TUPLES_MAX} partition values in one micro-batch`, {
        fix: 'Partition the table by a coarser transform.',
      })
  }
  return [...groups.values()]
}

/** Rows of a slab, whose first has number `first`, go behind those that the group has. */
function place(
  places: RowPlaces,
  rows: readonly number[],
  first: number,
  group: { index: number; rows: number },
): void {
  for (let k = 0; k < rows.length; k++) {
    places.files[first + rows[k]!] = group.index
    places.rows[first + rows[k]!] = group.rows + k
  }
}

/** The partition value of a row. A value that repeats from row to row is transformed once. */
function transformed(
  read: (row: number) => PartitionTuple[number],
  source: IcebergType,
  transform: string,
): (row: number) => PartitionTuple[number] {
  let last: PartitionTuple[number] = null
  let result: PartitionTuple[number] = null
  return (row) => {
    const value = read(row)
    if (value !== last) {
      last = value
      result = applyTransform(transform, source, value)
    }
    return result
  }
}

/** A text may hold whatever could stand between two: each says how long it is. */
function keysOf(tuple: PartitionTuple): string {
  let keys = ''
  for (const value of tuple) {
    const key = keyOf(value)
    keys += `${key.length}:${key}`
  }
  return keys
}

function keyOf(value: PartitionTuple[number]): string {
  if (value === null) return 'null'
  return value instanceof Uint8Array ? `x${Buffer.from(value).toString('hex')}` : `${typeof value}${value}`
}
