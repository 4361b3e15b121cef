"""A session of PyIceberg that stays open: read_refresh.py URI TABLE; reads, and for each line on stdin refreshes and reads again."""
import json
import sys
import warnings

from pyiceberg.catalog import load_catalog

warnings.filterwarnings("ignore")
uri, name = sys.argv[1:]
table = load_catalog("kappalake", type="rest", uri=uri).load_table(name)


def tell():
    rows = table.scan().to_arrow()
    print(json.dumps({
        "uuid": str(table.metadata.table_uuid),
        "sequenceNumber": table.metadata.last_sequence_number,
        "columns": [[field.field_id, field.name, str(field.field_type)] for field in table.schema().fields],
        "fields": [field.name for field in table.spec().fields],
        "rows": sorted(([str(value) for value in row.values()] for row in rows.to_pylist())),
    }), flush=True)


tell()
for _ in sys.stdin:
    table.refresh()
    tell()
