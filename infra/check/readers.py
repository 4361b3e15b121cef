"""What the checkers share: the store of `json.loads(argv[1])`, its newest version, and DuckDB with its Iceberg extension.

Knows nothing of our code: it reads version files, Iceberg metadata, deletion vectors and Parquet like any stranger.
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
    """Where the metadata of a table of the newest version stands."""
    key = version["tables"][name]["metadata"]
    return f"{store}/{key}" if s3 else f"file://{root}/{key}"


def arrow(name, columns=("*",)):
    """A table as PyIceberg reads it."""
    return StaticTable.from_metadata(metadata(name), properties).scan(selected_fields=columns).to_arrow()


def scanned(name):
    """A table as DuckDB's Iceberg extension reads it, for a FROM."""
    path = metadata(name) if s3 else metadata(name).removeprefix("file://")
    return f"iceberg_scan('{path}')"


db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
# With it the extension now and then takes one deletion vector of a file for another (docs/format.md).
db.execute("set enable_external_file_cache = false")
for extension in ("avro", "httpfs", "iceberg"):
    # The wheels hold the extensions, so that nothing is downloaded at run time.
    folder = importlib.util.find_spec(f"duckdb_extension_{extension}").submodule_search_locations[0]
    db.execute(f"load '{glob.glob(folder + '/**/*.duckdb_extension', recursive=True)[0]}'")
if s3:
    host = s3["endpoint"].split("//")[1]
    db.execute(
        f"create secret (type s3, key_id '{s3['key']}', secret '{s3['secret']}', endpoint '{host}', region 'us-east-1', url_style 'path', use_ssl false)"
    )


def count(sql):
    return db.execute(sql).fetchone()[0]
