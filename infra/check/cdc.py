"""Compares the ledger with what PyIceberg and DuckDB's Iceberg extension read of the tables at the newest version.

Reads one JSON object from argv: {store, s3, pipeline, tables: [{name, key, columns: {name: DuckDB type}, rows, dead}]};
`rows` is a file of JSON lines with every value as text, `dead` one of `partition,offset` lines. Prints one JSON line a
reader and table with counts that must all be 0. Knows nothing of our code: it reads version files, Iceberg metadata,
deletion vectors and Parquet like any stranger.
"""
import json

from readers import args, arrow, count, db, scanned, version

db.execute("set timezone = 'UTC'")


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
