"""Spark as a judge: one job a line on stdin, one answer a line on stdout (../readers.ts). One session for all tables."""
import functools
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


def connect(jars, more=None):
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
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in (settings | (more or {})).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def answer(session, job):
    def table(snapshot=None):
        options = {} if snapshot is None else {"versionAsOf": snapshot}
        # A path that ends so is taken for the table's metadata; no catalog is asked.
        return session.read.format("iceberg").options(**options).load(job["metadata"])

    kinds = {field["name"]: field["type"] for field in job["fields"]}
    key = f"CAST({quoted(job['key'])} AS STRING) AS id"
    where = [expression(p, kinds[p["column"]]) for p in job["predicates"]]
    result = {
        "rows": rows(table, kinds),
        "count": table().count(),
        "snapshots": {id: [row.id for row in table(id).selectExpr(key).collect()] for id in job["snapshots"]},
        "predicates": [
            found
            for at in range(0, len(where), SCANS_AT_ONCE)
            for found in attempt(table(), key, where[at : at + SCANS_AT_ONCE])
        ],
        "problems": [],
    }
    if job["lineage"]:
        found = table().selectExpr(key, "_row_id", "_last_updated_sequence_number").collect()
        result["lineage"] = {id: [str(row_id), str(number)] for id, row_id, number in found}
    return result


def rows(table, kinds):
    return canonical.rows(table().toArrow(), list(kinds.items()))


def attempt(table, key, filters):
    """The keys that each filter finds."""
    try:
        scans = [table.where(filter).selectExpr(f"{at} AS scan", key) for at, filter in enumerate(filters)]
        found = [[] for _ in filters]
        for at, id in functools.reduce(lambda a, b: a.unionAll(b), scans).collect():
            found[at].append(id)
        return found
    except Exception as error:
        # Which of them was it?
        if len(filters) == 1:
            return [[f"{type(error).__name__}: {error}"[:300]]]
        return [found for filter in filters for found in attempt(table, key, [filter])]


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


if __name__ == "__main__":
    session = connect(",".join(glob.glob(sys.argv[1] + "/*.jar")))
    for line in sys.stdin:
        job = json.loads(line)
        try:
            result = answer(session, job)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps({"table": job["table"], **result}), flush=True)
    session.stop()
