"""Runs a block of documentation in DuckDB: run_duckdb.py SQL. Rows of its last statement are printed.

Extensions come from packages: INSTALL would ask the internet, and LOAD is done already.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop/python"))
from read_duckdb import connect  # noqa: E402

connection = connect()
sql = re.sub(r"(?m)^\s*INSTALL \w+;\s*LOAD \w+;", "", sys.argv[1])
for row in connection.execute(sql).arrow().read_all().to_pylist():
    print(tuple(row.values()))
