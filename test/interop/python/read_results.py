"""A result as Arrow stream and as Parquet: the types that pyarrow finds, and whether both hold the same values."""
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types


def plain(table):
    """Instants as numbers: Python's have no nanoseconds."""
    columns = []
    for column in table.columns:
        columns.append((column.cast(pa.int64()) if types.is_timestamp(column.type) else column).to_pylist())
    return columns


with pa.ipc.open_stream(sys.argv[1]) as stream:
    batches = list(stream)
    arrow = pa.Table.from_batches(batches, stream.schema)
arrow.validate(full=True)
parquet = pq.read_table(sys.argv[2])
parquet.validate(full=True)
left, right = plain(arrow), plain(parquet)
print(
    json.dumps(
        {
            "types": {field.name: str(field.type) for field in arrow.schema},
            "parquetTypes": {field.name: str(field.type) for field in parquet.schema},
            "rows": arrow.num_rows,
            "batches": len(batches),
            "rowGroups": pq.ParquetFile(sys.argv[2]).num_row_groups,
            "different": [name for name, a, b in zip(arrow.column_names, left, right) if a != b],
            "second": {name: str(values[1]) for name, values in zip(arrow.column_names, left) if len(values) > 1},
        }
    )
)
