"""Arrow tables as rows of plain JSON in which no type of any engine is left: the forms of ../value.ts."""
import datetime as dt
import struct

import pyarrow as pa
import pyarrow.types as types

EPOCH = dt.date(1970, 1, 1).toordinal()


def rows(table, fields):
    """`fields`: names and Iceberg types in order. Columns that are not among them are left out."""
    table = table.combine_chunks()
    columns = [(name, column(table.column(name).combine_chunks(), kind)) for name, kind in fields]
    return [{name: values[i] for name, values in columns} for i in range(table.num_rows)]


def column(array, kind):
    """`kind`: the Iceberg type as its JSON has it."""
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.chunks)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if types.is_null(array.type):
        return [None] * len(array)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if isinstance(kind, dict):
        return nested(array, kind)
    if kind in ("timestamp", "timestamptz"):
        zone = "+00:00" if kind == "timestamptz" else ""
        if bool(array.type.tz) != bool(zone):
            raise TypeError(f"{array.type} for {kind}")
        micros = array.cast(pa.timestamp("us", tz=array.type.tz)).cast(pa.int64()).to_pylist()
        return [None if v is None else timestamp(v) + zone for v in micros]
    if kind == "date":
        return [None if v is None else v.isoformat() for v in array.to_pylist()]
    text = {
        "long": str,
        "float": lambda v: bits(v, ">f"),
        "double": lambda v: bits(v, ">d"),
        "uuid": uuid,
        "binary": lambda v: "x" + v.hex(),
    }.get(kind, decimal if kind.startswith("decimal") else lambda v: v)
    return [None if v is None else text(v) for v in array.to_pylist()]


def nested(array, kind):
    valid = array.is_valid().to_pylist()
    if kind["type"] == "struct":
        inner = [(f["name"], column(array.field(f["name"]), f["type"])) for f in kind["fields"]]
        return [{name: values[i] for name, values in inner} if ok else None for i, ok in enumerate(valid)]
    starts = array.offsets.to_pylist()
    if kind["type"] == "list":
        items = column(array.values, kind["element"])
        return [items[starts[i] : starts[i + 1]] if ok else None for i, ok in enumerate(valid)]
    keys, items = column(array.keys, "string"), column(array.items, kind["value"])
    pairs = [list(pair) for pair in zip(keys, items)]
    order = lambda pair: pair[0].encode()
    return [sorted(pairs[starts[i] : starts[i + 1]], key=order) if ok else None for i, ok in enumerate(valid)]


def decimal(value):
    return format(value, "f")


def bits(value, form):
    return "NaN" if value != value else "0x" + struct.pack(form, value).hex()


def uuid(value):
    if isinstance(value, (bytes, bytearray)):
        value = value.hex()
        return "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
    return str(value)


def timestamp(micros):
    seconds, fraction = divmod(micros, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    day = dt.date.fromordinal(days + EPOCH).isoformat()
    return f"{day}T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def from_bits(text, form):
    return struct.unpack(form, bytes.fromhex(text[2:]))[0]
