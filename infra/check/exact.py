"""Compares the producer's ledger with what PyIceberg and DuckDB read of the tables at the newest version.

Reads one JSON object from argv: {store, s3, pipeline, table, ledger}. Prints one JSON line per reader with the counts
of records missing, twice, wrong and dead letters that differ; all must be 0. Knows nothing of our code: it reads
version files, Iceberg metadata and Parquet like any stranger.
"""
import json

from readers import args, arrow, count, db, scanned, version

table = args["table"]


def judge(reader, rows, dead):
    """`rows` and `dead` are names of relations with (p, o, id, n) and (p, o)."""
    print(
        json.dumps(
            {
                "reader": reader,
                "version": version["number"],
                "rows": count(f"select count(*) from {rows}"),
                "expected": count("select count(*) from ledger where kind = 'r'"),
                "missing": count(
                    f"select count(*) from ledger l where kind = 'r' and not exists (select 1 from {rows} t where t.p = l.p and t.o = l.o and t.id = l.id and t.n = l.n)"
                ),
                "twice": count(f"select coalesce(sum(c - 1), 0)::bigint from (select count(*) c from {rows} group by p, o)"),
                "wrong": count(
                    f"select count(*) from {rows} t where not exists (select 1 from ledger l where kind = 'r' and t.p = l.p and t.o = l.o and t.id = l.id and t.n = l.n)"
                ),
                "deadMissing": count(
                    f"select count(*) from ledger l where kind = 'd' and not exists (select 1 from {dead} t where t.p = l.p and t.o = l.o)"
                ),
                "deadTwice": count(f"select coalesce(sum(c - 1), 0)::bigint from (select count(*) c from {dead} group by p, o)"),
                "deadWrong": count(
                    f"select count(*) from {dead} t where not exists (select 1 from ledger l where kind = 'd' and t.p = l.p and t.o = l.o)"
                ),
            }
        ),
        flush=True,
    )


db.execute(
    f"create table ledger as select * from read_csv('{args['ledger']}', header = false, columns = {{'p': 'int', 'o': 'bigint', 'kind': 'varchar', 'id': 'varchar', 'n': 'bigint'}})"
)

py_rows = arrow(table, ("_kafka_partition", "_offset", "id", "n"))
py_dead = arrow(f"{table}__dlq", ("_kafka_partition", "_offset"))
db.execute("create table py_rows as select _kafka_partition p, _offset o, id, n from py_rows")
db.execute("create table py_dead as select _kafka_partition p, _offset o from py_dead")
judge("pyiceberg", "py_rows", "py_dead")
db.execute(f"create table duck_rows as select _kafka_partition p, _offset o, id, n from {scanned(table)}")
db.execute(f"create table duck_dead as select _kafka_partition p, _offset o from {scanned(table + '__dlq')}")
judge("duckdb-iceberg", "duck_rows", "duck_dead")
