"""Spark as a judge: one job a line on stdin, one answer a line on stdout (../readers.ts). One session for all tables."""
import glob
import json
import sys

from pyspark.sql import SparkSession

import canonical

SQL_TYPES = {
    "boolean": "BOOLEAN",
    "int": "INT",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "STRING",
    "date": "DATE",
    # Spark has no such type and shows its text.
    "uuid": "STRING",
    "timestamp": "TIMESTAMP_NTZ",
    "timestamptz": "TIMESTAMP",
}
# Scans of one query: each is planned and pruned for itself, and the cost of starting a query is shared.
SCANS_AT_ONCE = 24


def connect(jars):
    settings = {
        "spark.jars": jars,
        "spark.ui.enabled": "false",
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "1",
        # Compiling a query takes longer than running it over a few rows.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.k": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.k.catalog-impl": "org.apache.iceberg.inmemory.InMemoryCatalog",
        "spark.sql.catalog.k.io-impl": "org.apache.iceberg.hadoop.HadoopFileIO",
        "spark.sql.catalog.k.cache-enabled": "false",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    session.sql("CREATE NAMESPACE k.lake")
    return session


def answer(session, job, name):
    session.sql(f"CALL k.system.register_table(table => 'lake.{name}', metadata_file => '{job['metadata']}')")
    table = f"k.lake.{name}"
    kinds = {field["name"]: field["type"] for field in job["fields"]}
    key = f"CAST({quoted(job['key'])} AS STRING)"
    where = [(table, expression(p, kinds[p["column"]])) for p in job["predicates"]]
    result = {
        "rows": canonical.rows(session.sql(f"SELECT * FROM {table}").toArrow(), list(kinds.items())),
        "count": session.sql(f"SELECT count(*) FROM {table}").collect()[0][0],
        "snapshots": {id: keys(session, key, [(f"{table} VERSION AS OF {id}", "true")])[0] for id in job["snapshots"]},
        "predicates": [
            found for at in range(0, len(where), SCANS_AT_ONCE) for found in attempt(session, key, where[at:][:SCANS_AT_ONCE])
        ],
        "problems": [],
    }
    if job["lineage"]:
        found = session.sql(f"SELECT {key}, _row_id, _last_updated_sequence_number FROM {table}").collect()
        result["lineage"] = {id: [str(row_id), str(number)] for id, row_id, number in found}
    return result


def keys(session, key, scans):
    """The keys that each scan finds."""
    parts = [f"SELECT {at} AS scan, {key} AS id FROM {table} WHERE {where}" for at, (table, where) in enumerate(scans)]
    found = [[] for _ in scans]
    for at, id in session.sql(" UNION ALL ".join(parts)).collect():
        found[at].append(id)
    return found


def attempt(session, key, scans):
    try:
        return keys(session, key, scans)
    except Exception as error:
        # Which of them was it?
        if len(scans) == 1:
            return [[f"{type(error).__name__}: {error}"[:500]]]
        return [found for scan in scans for found in attempt(session, key, [scan])]


def quoted(name):
    return "`" + name.replace("`", "``") + "`"


def expression(predicate, kind):
    column, op = quoted(predicate["column"]), predicate["op"]
    if op == "isNaN":
        return f"{column} = CAST('NaN' AS {SQL_TYPES[kind]})"
    if op in ("isNull", "notNull"):
        return f"{column} IS {'NOT ' if op == 'notNull' else ''}NULL"
    sign, text = {"eq": "=", "lt": "<", "gteq": ">="}[op], predicate["value"]
    if kind == "binary":
        return f"{column} {sign} X'{text[1:]}'"
    if kind in ("float", "double"):
        text = repr(canonical.from_bits(text, ">f" if kind == "float" else ">d"))
    if kind == "string":
        return f"{column} {sign} CAST(X'{text.encode().hex()}' AS STRING)"
    return f"{column} {sign} CAST('{text}' AS {SQL_TYPES.get(kind, kind)})"


session = connect(",".join(glob.glob(sys.argv[1] + "/*.jar")))
for number, line in enumerate(sys.stdin):
    job = json.loads(line)
    try:
        result = answer(session, job, f"t{number}")
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"[:2000]}
    print(json.dumps({"table": job["table"], **result}), flush=True)
session.stop()
