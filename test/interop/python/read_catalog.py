"""The REST catalog as PyIceberg and DuckDB's own extension see it: read_catalog.py URI KEY S3, one JSON object on stdout.

S3 is what a reader has of its own: {"key", "secret", "endpoint"}, or {} for a lake on disk.
"""
import json
import sys
import warnings

import duckdb
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, UnauthorizedError

from read_duckdb import connect

warnings.filterwarnings("ignore")
uri, key, s3 = sys.argv[1:]
s3 = json.loads(s3)


def by_pyiceberg():
    # The endpoint is the catalog's to say; credentials are the reader's.
    own = {"s3.access-key-id": s3["key"], "s3.secret-access-key": s3["secret"]} if s3 else {}
    catalog = load_catalog("kappalake", type="rest", uri=uri, token=key, **own)
    found = {}
    for (namespace,) in catalog.list_namespaces():
        for identifier in catalog.list_tables(namespace):
            table = catalog.load_table(identifier)
            rows = table.scan().to_arrow()
            found[".".join(identifier)] = [rows.num_rows, sums(rows)]
    return found, [refusal(lambda: catalog.load_table("nobody.orders"), NoSuchTableError, NoSuchNamespaceError),
                   refusal(lambda: catalog.load_table("shop.nothing"), NoSuchTableError),
                   refusal(lambda: load_catalog("kappalake", type="rest", uri=uri), UnauthorizedError),
                   refusal(lambda: catalog.drop_table("shop.orders"), Exception)]


def sums(rows):
    return sum(rows.column("_offset").to_pylist()) if "_offset" in rows.column_names else None


def refusal(work, *kinds):
    try:
        work()
        return "done"
    except kinds as error:
        return type(error).__name__


def by_duckdb(names):
    connection = connect()
    connection.execute(f"CREATE SECRET kappalake (TYPE iceberg, TOKEN '{key}')")
    if s3:
        connection.execute(f"CREATE SECRET store (TYPE s3, KEY_ID '{s3['key']}', SECRET '{s3['secret']}', "
                           f"ENDPOINT '{s3['endpoint'].split('//')[1]}', URL_STYLE 'path', USE_SSL false)")
    connection.execute(f"ATTACH '' AS lake (TYPE iceberg, ENDPOINT '{uri}', SECRET kappalake)")
    found = {}
    for name in names:
        source = "lake." + ".".join(f'"{part}"' for part in name.split("."))
        found[name] = [connection.execute(f"SELECT count(*) FROM {source}").fetchone()[0],
                       offsets(connection, source)]
    return found


def offsets(connection, source):
    try:
        return int(connection.execute(f"SELECT coalesce(sum(_offset), 0) FROM {source}").fetchone()[0])
    except duckdb.BinderException:
        return None


tables, refusals = by_pyiceberg()
print(json.dumps({"pyiceberg": tables, "duckdb": by_duckdb(tables), "refusals": refusals}))
