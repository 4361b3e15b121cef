"""Compares window tables as PyIceberg and DuckDB's Iceberg extension read them with rows that were computed elsewhere.

Reads one JSON object from argv: {store, s3, pipeline, tables: [{name, columns: {name: [DuckDB type, expression]}, rows}]};
`rows` is a file of JSON lines with every value as text. Prints one JSON line a reader and table with the rows that are
missing and those that are too many, as multisets; both must be 0. Knows nothing of our code.
"""
import json

from readers import args, arrow, count, db, scanned, version

db.execute("set timezone = 'UTC'")


def judge(reader, table, relation):
    names = ", ".join(f"{expression}::{kind} as \"{name}\"" for name, (kind, expression) in table["columns"].items())
    db.execute(f"create or replace table found as select {names} from {relation}")
    result = {
        "reader": reader,
        "table": table["name"],
        "version": version["number"],
        "rows": count("select count(*) from found"),
        "expected": count("select count(*) from wanted"),
        "missing": count("select count(*) from (from wanted except all from found)"),
        "extra": count("select count(*) from (from found except all from wanted)"),
    }
    if result["missing"] + result["extra"] > 0:
        sample = "(from wanted except all from found limit 2) union all by name (from found except all from wanted limit 2)"
        result["first"] = [str(row) for row in db.execute(sample).fetchall()]
    print(json.dumps(result), flush=True)


for table in args["tables"]:
    texts = {name: "varchar" for name in table["columns"]}
    casts = ", ".join(f'"{name}"::{kind} as "{name}"' for name, (kind, _) in table["columns"].items())
    db.execute(
        f"create or replace table wanted as select {casts} from read_json('{table['rows']}', format = 'newline_delimited', columns = {texts})"
    )
    py_arrow = arrow(table["name"])
    judge("pyiceberg", table, "py_arrow")
    judge("duckdb-iceberg", table, scanned(table["name"]))
