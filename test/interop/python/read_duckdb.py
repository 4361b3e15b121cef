"""DuckDB's own Iceberg extension as a judge: one job a line on stdin, one answer a line on stdout (../readers.ts)."""
import glob
import importlib.util
import json
import sys

import duckdb

import canonical

SQL_TYPES = {
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    "uuid": "UUID",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
}


def connect():
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "2"})
    for name in ("avro", "httpfs", "iceberg"):
        folder = importlib.util.find_spec(f"duckdb_extension_{name}").submodule_search_locations[0]
        connection.execute(f"LOAD '{glob.glob(folder + '/**/*.duckdb_extension', recursive=True)[0]}'")
    connection.execute("SET TimeZone='UTC'")
    # With it, one deletion vector of a Puffin file is now and then taken for the next one (docs/format.md).
    connection.execute("SET enable_external_file_cache=false")
    return connection


def answer(connection, job):
    source = f"iceberg_scan('{job['metadata']}')"
    kinds = {field["name"]: field["type"] for field in job["fields"]}

    def keys(source, where="true", values=()):
        found = connection.execute(f'SELECT "{job["key"]}" FROM {source} WHERE {where}', list(values)).fetchall()
        return [str(v) for (v,) in found]

    at = lambda id: f"iceberg_scan('{job['metadata']}', snapshot_from_id={id})"
    result = {
        "rows": canonical.rows(connection.execute(f"SELECT * FROM {source}").to_arrow_table(), list(kinds.items())),
        "count": connection.execute(f"SELECT count(*) FROM {source}").fetchone()[0],
        "snapshots": {id: keys(at(id)) for id in job["snapshots"]},
        "predicates": [attempt(lambda: keys(source, *expression(p, kinds[p["column"]]))) for p in job["predicates"]],
        "problems": [],
    }
    if job["lineage"]:
        found = connection.execute(
            f'SELECT "{job["key"]}", _row_id, _last_updated_sequence_number FROM {source}'
        ).fetchall()
        result["lineage"] = {str(key): [str(row_id), str(number)] for key, row_id, number in found}
    return result


def attempt(find):
    try:
        return find()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def expression(predicate, kind):
    column, op = f'"{predicate["column"]}"', predicate["op"]
    if op == "isNaN":
        return f"{column} = 'NaN'::{SQL_TYPES[kind]}", ()
    if op in ("isNull", "notNull"):
        return f"{column} IS {'NOT ' if op == 'notNull' else ''}NULL", ()
    sign, text = {"eq": "=", "lt": "<", "gteq": ">="}[op], predicate["value"]
    if kind == "binary":
        return f"{column} {sign} from_hex('{text[1:]}')", ()
    if kind in ("float", "double"):
        number = canonical.from_bits(text, ">f" if kind == "float" else ">d")
        return f"{column} {sign} '{number!r}'::{SQL_TYPES[kind]}", ()
    if kind == "string":
        return f"{column} {sign} ?", (text,)
    return f"{column} {sign} CAST('{text}' AS {SQL_TYPES.get(kind, kind)})", ()


if __name__ == "__main__":
    connection = connect()
    for line in sys.stdin:
        job = json.loads(line)
        try:
            result = answer(connection, job)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"table": job["table"], **result}), flush=True)
