"""A Spark with the settings of a block of documentation: run_spark.py JARS PROPERTIES. Prints how many rows each table has.

The Iceberg runtime comes from a folder: `--packages` would ask the internet.
"""
import glob
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop/python"))
from read_spark import connect  # noqa: E402

jars, properties = sys.argv[1:]
settings = dict(line.split("=", 1) for line in properties.splitlines() if "=" in line and not line.startswith("#"))
session = connect(",".join(glob.glob(jars + "/*.jar")), settings)
for (namespace,) in session.sql("SHOW NAMESPACES IN lake").collect():
    for table in session.sql(f"SHOW TABLES IN lake.{namespace}").collect():
        name = f"{namespace}.{table['tableName']}"
        print(name, session.table(f"lake.{name}").count())
session.stop()
