"""Compares the producer's ledger with what PyIceberg and DuckDB read of the tables at the newest version.

Reads one JSON object from argv: {store, s3, pipeline, table, ledger}. Prints one JSON line per reader with the counts
of records missing, twice, wrong and dead letters that differ; all must be 0. Knows nothing of our code: it reads
version files, Iceberg metadata and Parquet like any stranger.
"""
import glob
import importlib.util
import json
import sys

import duckdb
import fsspec
from pyiceberg.table import StaticTable

args = json.loads(sys.argv[1])
store, s3, table = args["store"], args.get("s3"), args["table"]

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


def judge(reader, rows, dead):
    """`rows` and `dead` are names of relations with (p, o, id, n) and (p, o)."""
    one = lambda sql: db.execute(sql).fetchone()[0]
    print(
        json.dumps(
            {
                "reader": reader,
                "version": version["number"],
                "rows": one(f"select count(*) from {rows}"),
                "expected": one("select count(*) from ledger where kind = 'r'"),
                "missing": one(
                    f"select count(*) from ledger l where kind = 'r' and not exists (select 1 from {rows} t where t.p = l.p and t.o = l.o and t.id = l.id and t.n = l.n)"
                ),
                "twice": one(f"select coalesce(sum(c - 1), 0)::bigint from (select count(*) c from {rows} group by p, o)"),
                "wrong": one(
                    f"select count(*) from {rows} t where not exists (select 1 from ledger l where kind = 'r' and t.p = l.p and t.o = l.o and t.id = l.id and t.n = l.n)"
                ),
                "deadMissing": one(
                    f"select count(*) from ledger l where kind = 'd' and not exists (select 1 from {dead} t where t.p = l.p and t.o = l.o)"
                ),
                "deadTwice": one(f"select coalesce(sum(c - 1), 0)::bigint from (select count(*) c from {dead} group by p, o)"),
                "deadWrong": one(
                    f"select count(*) from {dead} t where not exists (select 1 from ledger l where kind = 'd' and t.p = l.p and t.o = l.o)"
                ),
            }
        ),
        flush=True,
    )


db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
# With it the extension now and then takes one deletion vector of a file for another (docs/format.md).
db.execute("set enable_external_file_cache = false")
db.execute(
    f"create table ledger as select * from read_csv('{args['ledger']}', header = false, columns = {{'p': 'int', 'o': 'bigint', 'kind': 'varchar', 'id': 'varchar', 'n': 'bigint'}})"
)


def arrow(name, columns):
    return StaticTable.from_metadata(metadata(name), properties).scan(selected_fields=columns).to_arrow()


py_rows = arrow(table, ("_kafka_partition", "_offset", "id", "n"))
py_dead = arrow(f"{table}__dlq", ("_kafka_partition", "_offset"))
db.execute("create table py_rows as select _kafka_partition p, _offset o, id, n from py_rows")
db.execute("create table py_dead as select _kafka_partition p, _offset o from py_dead")
judge("pyiceberg", "py_rows", "py_dead")

for extension in ("avro", "httpfs", "iceberg"):
    # The wheels hold the extensions, so that nothing is downloaded at run time.
    folder = importlib.util.find_spec(f"duckdb_extension_{extension}").submodule_search_locations[0]
    db.execute(f"load '{glob.glob(folder + '/**/*.duckdb_extension', recursive=True)[0]}'")
if s3:
    host = s3["endpoint"].split("//")[1]
    db.execute(
        f"create secret (type s3, key_id '{s3['key']}', secret '{s3['secret']}', endpoint '{host}', region 'us-east-1', url_style 'path', use_ssl false)"
    )
source = lambda name: f"iceberg_scan('{metadata(name) if s3 else metadata(name).removeprefix('file://')}')"
db.execute(f"create table duck_rows as select _kafka_partition p, _offset o, id, n from {source(table)}")
db.execute(f"create table duck_dead as select _kafka_partition p, _offset o from {source(table + '__dlq')}")
judge("duckdb-iceberg", "duck_rows", "duck_dead")
