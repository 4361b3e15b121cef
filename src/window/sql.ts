// The door of the folder: what aggregates and the tables of windows are in SQL. Lanes and the fold write with it, queries
// put open windows together with it. Texts alone; what runs in DuckDB is in exact-double.ts, the folder's other door.

export { PART_COLUMN, SIGN_COLUMN } from './aggregate.ts'
export { aggregateSql, isOverflow } from './aggregates.ts'
export { CELL_COLUMNS } from './cells.ts'
export { computedFrom, lateColumns, partialColumns, resultColumns, type WindowShape } from './columns.ts'
export { squareFits } from './exact-sums.ts'
export { PIECE_KINDS, pieceColumns, piecesOf } from './double-pieces.ts'
export { mergeSql, partialsSql, resultsSql, scansOf } from './long-rows.ts'
export { sqlTypeOf } from './sql-type.ts'
