"""Compares the ledger with what PyIceberg and DuckDB's Iceberg extension read of the tables at the newest version.

Reads one JSON object from argv: {store, s3, pipeline, tables: [{name, key, columns: {name: DuckDB type}, rows, dead}]};
`rows` is a file of JSON lines with every value as text, `dead` one of `partition,offset` lines. Prints one JSON line a
reader and table with counts that must all be 0. Knows nothing of our code: it reads version files, Iceberg metadata,
deletion vectors and Parquet like any stranger.
"""
import glob
import importlib.util
import json
import sys

import duckdb
import fsspec
from pyiceberg.table import StaticTable

args = json.loads(sys.argv[1])
store, s3 = args["store"], args.get("s3")

if s3:
    files = fsspec.filesystem("s3", key=s3["key"], secret=s3["secret"], client_kwargs={"endpoint_url": s3["endpoint"]})
    properties = {
        "s3.endpoint": s3["endpoint"],
        "s3.access-key-id": s3["key"],
        "s3.secret-access-key": s3["secret"],
        "s3.region": "us-east-1",
    }
else:
    files, properties = fsspec.filesystem("file"), {}
root = store if s3 else store.removeprefix("file://")

versions = sorted(files.glob(f"{root.removeprefix('s3://') if s3 else root}/pipelines/{args['pipeline']}/v*.json"))
with files.open(versions[-1]) as head:
    version = json.load(head)


def metadata(name):
    key = version["tables"][name]["metadata"]
    return f"{store}/{key}" if s3 else f"file://{root}/{key}"


db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
# With it the extension now and then takes one deletion vector of a file for another (docs/format.md).
db.execute("set enable_external_file_cache = false")
db.execute("set timezone = 'UTC'")


def count(sql):
    return db.execute(sql).fetchone()[0]


def judge(reader, table, rows, dead):
    key = " and ".join(f't."{name}" = l."{name}"' for name in table["key"])
    columns = [*table["columns"], "_kafka_partition", "_offset"]
    wrong = " or ".join(f't."{name}" is distinct from l."{name}"' for name in columns)
    keys = ", ".join(f'"{name}"' for name in table["key"])
    result = {
        "reader": reader,
        "table": table["name"],
        "version": version["number"],
        "rows": count(f"select count(*) from {rows}"),
        "expected": count("select count(*) from ledger"),
        "missing": count(f"select count(*) from ledger l anti join {rows} t on {key}"),
        "extra": count(f"select count(*) from {rows} t anti join ledger l on {key}"),
        "twice": count(f"select coalesce(sum(c - 1), 0)::bigint from (select count(*) c from {rows} group by {keys})"),
        "wrong": count(f"select count(*) from {rows} t join ledger l on {key} where {wrong}"),
        "dead": count(
            f"select count(*) from (from ledger_dead except all (from {dead}) union all (from {dead} except all from ledger_dead))"
        ),
    }
    print(json.dumps(result), flush=True)


def read_ledger(table):
    names = {**table["columns"], "_kafka_partition": "int", "_offset": "bigint"}
    texts = {name: "varchar" for name in names}
    # A blob's text in the ledger is base64, as over HTTP.
    casts = ", ".join(
        f'from_base64("{name}") as "{name}"' if kind == "blob" else f'"{name}"::{kind} as "{name}"'
        for name, kind in names.items()
    )
    db.execute(
        f"create or replace table ledger as select {casts} from read_json('{table['rows']}', format = 'newline_delimited', columns = {texts}, maximum_object_size = 100000000)"
    )
    db.execute(
        f"create or replace table ledger_dead as select * from read_csv('{table['dead']}', header = false, columns = {{'p': 'int', 'o': 'bigint'}})"
    )


def arrow(name):
    return StaticTable.from_metadata(metadata(name), properties).scan().to_arrow()


for extension in ("avro", "httpfs", "iceberg"):
    # The wheels hold the extensions, so that nothing is downloaded at run time.
    folder = importlib.util.find_spec(f"duckdb_extension_{extension}").submodule_search_locations[0]
    db.execute(f"load '{glob.glob(folder + '/**/*.duckdb_extension', recursive=True)[0]}'")
if s3:
    host = s3["endpoint"].split("//")[1]
    db.execute(
        f"create secret (type s3, key_id '{s3['key']}', secret '{s3['secret']}', endpoint '{host}', region 'us-east-1', url_style 'path', use_ssl false)"
    )


def scanned(name):
    path = metadata(name) if s3 else metadata(name).removeprefix("file://")
    return f"iceberg_scan('{path}')"


for table in args["tables"]:
    read_ledger(table)
    dead_name = f"{table['name']}__dlq"
    py_arrow, py_dead_arrow = arrow(table["name"]), arrow(dead_name)
    casts = ", ".join(f'"{name}"::{kind} as "{name}"' for name, kind in table["columns"].items())
    db.execute(f"create or replace table py_rows as select {casts}, _kafka_partition, _offset from py_arrow")
    db.execute("create or replace table py_dead as select _kafka_partition p, _offset o from py_dead_arrow")
    judge("pyiceberg", table, "py_rows", "py_dead")
    db.execute(f"create or replace table duck_rows as select * from {scanned(table['name'])}")
    db.execute(f"create or replace table duck_dead as select _kafka_partition p, _offset o from {scanned(dead_name)}")
    judge("duckdb-iceberg", table, "duck_rows", "duck_dead")
