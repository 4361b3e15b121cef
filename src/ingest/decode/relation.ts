import duckdb from '@duckdb/node-bindings'
import {
  BIGINT,
  BLOB,
  BOOLEAN,
  DATE,
  DECIMAL,
  DOUBLE,
  DuckDBStructType,
  DuckDBTableFunction,
  FLOAT,
  INTEGER,
  LIST,
  MAP,
  TIMESTAMP,
  TIMESTAMPTZ,
  UUID,
  VARCHAR,
  type DuckDBConnection,
  type DuckDBType,
} from '@duckdb/node-api'
import type { Column, ColumnType } from '../../batch.ts'
import type { Slab, SlabColumn } from './slab.ts'

/** A column of slabs, by number, or one that is made of them. */
export type RelationColumn = number | DerivedColumn

/** What it gives must last until the next column is asked for. */
export type DerivedColumn = (slab: Slab) => { readonly buffer: ArrayBuffer; readonly column: SlabColumn }

/** Slabs as a relation: a table function of this name. It may be scanned as often as one likes while it is fed. */
export class Relation {
  readonly name: string
  readonly columns: readonly Column[]
  #slabs: readonly Slab[] = []

  /** `at` says what the columns are made of. Without it they are the slabs' first ones. */
  constructor(connection: DuckDBConnection, name: string, columns: readonly Column[], at?: readonly RelationColumn[]) {
    this.name = name
    this.columns = columns
    const picked: readonly RelationColumn[] = at ?? columns.map((_, k) => k)
    connection.registerTableFunction(
      DuckDBTableFunction.create({
        name,
        bindFunction: (info) => {
          for (const column of columns) info.addResultColumn(column.name, duckType(column.type))
          info.setCardinality(
            this.#slabs.reduce((sum, { rows }) => sum + rows, 0),
            true,
          )
        },
        initFunction: (info) => {
          const scan: Scan = {
            slabs: this.#slabs[Symbol.iterator](),
            at: info.getColumnIndexes().map((k) => picked[k]),
          }
          info.setInitData(scan)
        },
        mainFunction: (info, output) => {
          const { slabs, at } = info.getInitData() as Scan
          const slab = slabs.next().value as Slab | undefined
          output.rowCount = slab?.rows ?? 0
          if (slab !== undefined) fill(output.chunk, slab, at)
        },
        supportsProjectionPushdown: true,
      }),
    )
  }

  /** What the next statements that name the function will see. */
  feed(slabs: readonly Slab[]): void {
    this.#slabs = slabs
  }
}

interface Scan {
  readonly slabs: Iterator<Slab>
  /** What is asked for; undefined: a column that is not ours, when rows are but counted. */
  readonly at: readonly (RelationColumn | undefined)[]
}

export function duckType(type: ColumnType): DuckDBType {
  switch (type.kind) {
    case 'boolean':
      return BOOLEAN
    case 'int':
      return INTEGER
    case 'long':
      return BIGINT
    case 'float':
      return FLOAT
    case 'double':
      return DOUBLE
    case 'decimal':
      return DECIMAL(type.precision, type.scale)
    case 'string':
    case 'enum':
      return VARCHAR
    case 'binary':
      return BLOB
    case 'date':
      return DATE
    case 'timestamp':
      return TIMESTAMP
    case 'timestamptz':
      return TIMESTAMPTZ
    case 'uuid':
      return UUID
    case 'list':
      return LIST(duckType(type.element))
    case 'map':
      return MAP(VARCHAR, duckType(type.value))
    case 'struct':
      // Not STRUCT(): an object would put fields that are named like numbers first.
      return new DuckDBStructType(
        type.fields.map((field) => field.name),
        type.fields.map((field) => duckType(field.type)),
      )
  }
}

function fill(chunk: duckdb.DataChunk, slab: Slab, picked: Scan['at']): void {
  for (const [k, at] of picked.entries()) {
    if (at === undefined) continue
    const vector = duckdb.data_chunk_get_vector(chunk, k)
    if (typeof at === 'number') fillVector(vector, slab.buffer, slab.columns[at]!)
    else {
      const { buffer, column } = at(slab)
      fillVector(vector, buffer, column)
    }
  }
}

function fillVector(vector: duckdb.Vector, buffer: ArrayBuffer, column: SlabColumn): void {
  const { layout, rows, width, dataAt, validAt, children } = column
  if (rows === 0) return
  if (layout !== 'struct') duckdb.copy_data_to_vector(vector, 0, buffer, dataAt, rows * width)
  if (validAt >= 0) {
    duckdb.vector_ensure_validity_writable(vector)
    duckdb.copy_data_to_vector_validity(vector, 0, buffer, validAt, Math.ceil(rows / 64) * 8)
  }
  if (layout === 'struct')
    children.forEach((child, k) => fillVector(duckdb.struct_vector_get_child(vector, k), buffer, child))
  if (layout !== 'list') return
  const elements = children[0]!
  duckdb.list_vector_reserve(vector, elements.rows)
  duckdb.list_vector_set_size(vector, elements.rows)
  fillVector(duckdb.list_vector_get_child(vector), buffer, elements)
}
