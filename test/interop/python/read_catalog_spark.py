"""The REST catalog as Spark sees it: read_catalog_spark.py JARS URI KEY S3, one JSON object on stdout.

JARS are patterns, separated by colons; S3 is as in read_catalog.py.
"""
import glob
import json
import sys

from read_spark import connect

jars, uri, key, s3 = sys.argv[1:]
s3 = json.loads(s3)
settings = {"": "org.apache.iceberg.spark.SparkCatalog", ".type": "rest", ".uri": uri,
            ".header.Authorization": f"Bearer {key}", ".cache-enabled": "false"}
if s3:
    settings |= {".io-impl": "org.apache.iceberg.aws.s3.S3FileIO", ".s3.access-key-id": s3["key"],
                 ".s3.secret-access-key": s3["secret"]}
session = connect(",".join(file for pattern in jars.split(":") for file in glob.glob(pattern)),
                  {f"spark.sql.catalog.lake{name}": value for name, value in settings.items()})
found = {}
for (namespace,) in session.sql("SHOW NAMESPACES IN lake").collect():
    for listed in session.sql(f"SHOW TABLES IN lake.`{namespace}`").collect():
        table = session.table(f"lake.`{namespace}`.`{listed['tableName']}`")
        offsets = table.selectExpr("coalesce(sum(_offset), 0)").first()[0] if "_offset" in table.columns else None
        found[f"{namespace}.{listed['tableName']}"] = [table.count(), offsets]
try:
    session.sql("DROP TABLE lake.shop.orders")
    refusal = "done"
except Exception as error:
    refusal = type(error).__name__
print(json.dumps({"spark": found, "refusal": refusal}))
session.stop()
