"""PyIceberg as a judge: one job a line on stdin, one answer a line on stdout (../readers.ts)."""
import json
import sys
import uuid
import warnings
from decimal import Decimal

from pyiceberg import expressions as e
from pyiceberg.table import StaticTable

import canonical

warnings.filterwarnings("ignore")


def answer(job):
    table = StaticTable.from_metadata(job["metadata"])
    schema = json.loads(table.schema().model_dump_json())["fields"]
    kinds = {field["name"]: field["type"] for field in schema}

    def scan(snapshot=None, where=e.AlwaysTrue(), fields=("*",)):
        return table.scan(row_filter=where, snapshot_id=snapshot, selected_fields=fields).to_arrow()

    def keys(snapshot=None, where=e.AlwaysTrue()):
        # All columns: PyIceberg forgets to read those that only the filter needs.
        return [str(v) for v in scan(snapshot, where).column(job["key"]).to_pylist()]

    rows = canonical.rows(scan(), list(kinds.items()))
    return {
        "rows": rows,
        "count": table.scan().count(),
        "snapshots": {id: keys(int(id)) for id in job["snapshots"]},
        "predicates": [attempt(lambda: keys(where=expression(p, kinds[p["column"]]))) for p in job["predicates"]],
        "problems": [],
    }


def attempt(find):
    try:
        return find()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def expression(predicate, kind):
    column, op = predicate["column"], predicate["op"]
    if op in ("isNull", "notNull", "isNaN"):
        return {"isNull": e.IsNull, "notNull": e.NotNull, "isNaN": e.IsNaN}[op](column)
    return {"eq": e.EqualTo, "lt": e.LessThan, "gteq": e.GreaterThanOrEqual}[op](column, value(kind, predicate["value"]))


def value(kind, text):
    """A value from its canonical form."""
    if kind.startswith("decimal"):
        return Decimal(text)
    parse = {
        "long": int,
        "float": lambda v: canonical.from_bits(v, ">f"),
        "double": lambda v: canonical.from_bits(v, ">d"),
        "uuid": uuid.UUID,
        "binary": lambda v: bytes.fromhex(v[1:]),
    }
    return parse.get(kind, lambda v: v)(text)


for line in sys.stdin:
    job = json.loads(line)
    try:
        result = answer(job)
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"table": job["table"], **result}), flush=True)
