"""Changes of the content of a file: of its bytes, and of the values, cells or arrays that it holds."""

import contextlib
import copy
import csv
import gzip
import io
import json
import re
import struct
import tomllib
import warnings
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import tomli_w

Change = Callable[[bytes, Random], bytes]
MOST_BYTES = 2**21
NUMBERS = (0, 1, -1, 2, 7, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63))
TEXTS = (
    *("", " ", "a", "\0", "\n", "é\u202e", "\U0001f9e0", "../../etc/passwd", "/", "nan", "1e999", "-0", "9" * 400),
    *("x" * 5000, "[red]", "<b>", "dice", "=1+1", "NaN", "Infinity", "whole", "2024-01-01"),
)
ODD: tuple[Any, ...] = (
    *(True, False, 0, -1, 1, 3, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e308, 5e-324),
    *(float("inf"), float("-inf"), float("nan"), [], {}, [[]], {"": ""}, [0] * 500, ["a", 1, None], None),
    *TEXTS,
)


def damaged(content: bytes, ending: str, draw: Random) -> bytes:
    """Other content for a file of this ending: changed values, or changed bytes, or both."""
    inner = BY_ENDING.get(ending)
    kind = draw.random() if inner else 0.0
    if inner and kind > 0.35:
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            with contextlib.suppress(Exception):  # of what was changed before
                content = inner(content, draw)
    if kind < 0.4:
        for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
            content = draw.choice(OF_BYTES)(content, draw)
    return content[:MOST_BYTES]


def _flip(content: bytes, draw: Random) -> bytes:
    at = _place(content, draw)
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :] if content else b"\0"


def _cut(content: bytes, draw: Random) -> bytes:
    return content[: _place(content, draw)]


def _leave_out(content: bytes, draw: Random) -> bytes:
    at = _place(content, draw)
    return content[:at] + content[at + draw.choice((1, 2, 8, 100)) :]


def _repeat(content: bytes, draw: Random) -> bytes:
    at = _place(content, draw)
    part = content[at : at + draw.choice((1, 4, 32, 1000))]
    return content[:at] + part * draw.choice((2, 3, 50)) + content[at + len(part) :]


def _splice(content: bytes, draw: Random) -> bytes:
    return content[: _place(content, draw)] + content[_place(content, draw) :]


def _insert(content: bytes, draw: Random) -> bytes:
    at = _place(content, draw)
    part = draw.choice(
        (b"\0", b"\xff", b"\n", b'"', b"[", b"[" * 3000, b'{"a":' * 3000, b",", b";", b"\xef\xbb\xbf", b"PK")
    )
    return content[:at] + part + content[at:]


def _number(content: bytes, draw: Random) -> bytes:
    """A number of one, two, four or eight bytes in place of others, in either order, also as a float."""
    at = _place(content, draw)
    with contextlib.suppress(struct.error):
        kind = draw.choice("bBhHiIqQfd")
        value = draw.choice(NUMBERS) if kind not in "fd" else draw.choice((0.0, -1.0, 1e30, 1e-30, np.inf, np.nan))
        part = struct.pack(draw.choice("<>") + kind, value)
        return content[:at] + part + content[at + len(part) :]
    return content


def _digits(content: bytes, draw: Random) -> bytes:
    """Another number in place of one that is written in digits."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", content[:50_000]))
    if not found:
        return content
    match = draw.choice(found)
    number = draw.choice(
        (b"0", b"-1", b"9" * 20, b"9" * 5000, b"1e400", b"-1e400", b"0x10", b"1_0", b"nan", b"inf", b"1.5")
    )
    return content[: match.start()] + number + content[match.end() :]


OF_BYTES: tuple[Change, ...] = (_flip, _flip, _cut, _leave_out, _repeat, _splice, _insert, _number, _digits)


def _place(content: bytes, draw: Random) -> int:
    """Often near the beginning or the end, where headers are."""
    span = draw.choice((len(content), min(len(content), 400)))
    at = draw.randrange(max(1, span))
    return at if draw.random() < 0.7 else max(0, len(content) - 1 - at)


def changed(value: Any, draw: Random) -> Any:
    """Another value in one place of a nest of dicts and lists, which may be changed in place."""
    places = list(_places(value))
    if not places or draw.random() < 0.02:
        return copy.deepcopy(draw.choice(ODD))
    inside, key = draw.choice(places)
    action = draw.random()
    if action < 0.6:
        inside[key] = copy.deepcopy(draw.choice(ODD))
    elif action < 0.7:
        del inside[key]
    elif action < 0.8:
        other, there = draw.choice(places)
        inside[key] = other[there] if there in other or isinstance(other, list) else None
        return json.loads(json.dumps(value))  # no circles
    elif action < 0.85:
        for _ in range(draw.choice((3, 200))):
            inside[key] = [inside[key]] if draw.random() < 0.5 else {"a": inside[key]}
    elif isinstance(inside, list):
        inside.extend([inside[key]] * draw.choice((1, 300)))
    else:
        inside[draw.choice(TEXTS)] = inside[key]
    return value


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _json(content: bytes, draw: Random) -> bytes:
    return json.dumps(changed(json.loads(content), draw), indent=1, ensure_ascii=draw.random() < 0.5).encode()


def _toml(content: bytes, draw: Random) -> bytes:
    return tomli_w.dumps(changed(tomllib.loads(content.decode()), draw)).encode()


def _table(content: bytes, draw: Random) -> bytes:
    delimiter = "\t" if b"\t" in content.partition(b"\n")[0] else ","
    rows = list(csv.reader(io.StringIO(content.decode()), delimiter=delimiter))
    row = draw.randrange(min(len(rows), draw.choice((1, 5, len(rows)))))
    column = draw.randrange(len(rows[row]))
    action = draw.random()
    if action < 0.6:
        rows[row][column] = draw.choice((*TEXTS, "inf", "-1", "0", "1.5", "1e400", "9" * 5000, "true", "last", '"'))
    elif action < 0.7:
        rows.insert(row, rows[row] * draw.choice((1, 2, 50)))
    elif action < 0.8:
        del rows[row]
    elif action < 0.9:
        rows = [cells[:column] + cells[column + 1 :] for cells in rows]
    else:
        rows = [[*cells, cells[column]] for cells in rows if len(cells) > column]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _header(content: bytes, draw: Random) -> bytes:
    """Another number in the header of an image."""
    at = draw.choice((*range(40, 124, 2), *range(252, 328, 4), *range(0, 540, 2)))
    kind = draw.choice("hif")
    value = draw.choice(
        (0.0, -1.0, 1e30, 1e-30, np.inf, np.nan, 0.5) if kind == "f" else NUMBERS[: 9 if kind == "h" else 10]
    )
    part = struct.pack("<" + kind, value)
    return content[:at] + part + content[at + len(part) :]


def _packed(content: bytes, draw: Random) -> bytes:
    inner = gzip.decompress(content)
    for _ in range(draw.choice((1, 1, 3))):
        inner = draw.choice((_header, _header, *OF_BYTES))(inner, draw)
    members = draw.choice((1, 1, 1, 2))
    return gzip.compress(inner, 1, mtime=0) * members + draw.choice((b"", b"", b"\0\0", b"more"))


def _arrays(content: bytes, draw: Random) -> bytes:
    """An archive with one array changed: its bytes, its text, or all of it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        chosen = draw.choice(old.namelist())
        packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(out, "w", packing, compresslevel=1) as new:
            for name in old.namelist():
                inner = old.read(name)
                if name == chosen:
                    if draw.random() < 0.1:
                        continue
                    inner = _array(inner, draw)
                new.writestr(name, inner)
    return out.getvalue()


def _array(content: bytes, draw: Random) -> bytes:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    action = draw.random()
    if array.dtype.kind == "U" and action < 0.8:
        with contextlib.suppress(ValueError):
            array = np.array(json.dumps(changed(json.loads(str(array)), draw)))
    elif action < 0.3:
        return draw.choice(OF_BYTES)(content, draw)
    elif action < 0.5:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = array.astype(draw.choice((np.float32, np.int64, np.uint8, np.bool_, np.complex64)))
    elif action < 0.55:
        array = np.zeros(array.shape, draw.choice(("U8", "S3", "M8[s]", "f2", ">i4")))
    elif action < 0.7:
        array = array.reshape(-1)[: draw.choice((0, 1, 5))].reshape(draw.choice(((-1,), (1, -1), (-1, 1, 1))))
    elif action < 0.9 and array.size:
        array = array.copy()
        array.reshape(-1)[draw.randrange(array.size)] = draw.choice((0, -1, 10**9, 2**40, 2**62, np.nan, np.inf))
    else:
        array = np.array(draw.choice((0, "", "x", 1.5, [], [[1, 2]], [2**62], [np.nan])))
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _tensors(content: bytes, draw: Random) -> bytes:
    """A safetensors file with another header that is as long as it says."""
    length = int.from_bytes(content[:8], "little")
    record = json.loads(content[8 : 8 + length])
    texts = record.get("__metadata__", {})
    if texts and draw.random() < 0.3:
        key = draw.choice(list(texts))
        texts[key] = draw.choice((*TEXTS, "[" * 5000, "{}", "null", texts[key].replace("1", "2")))
    else:
        record = changed(record, draw)
        for entry in list(record.values()) if isinstance(record, dict) else ():
            if isinstance(entry, dict) and "dtype" in entry and draw.random() < 0.1:
                entry["dtype"] = draw.choice(
                    ("F32", "F8_E4M3", "F8_E8M0", "F4", "C64", "BOOL", "I8", "U64", "BF16", "U16")
                )
    header = json.dumps(record).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


BY_ENDING: dict[str, Change] = {
    ".json": _json,
    ".toml": _toml,
    ".csv": _table,
    ".tsv": _table,
    ".nii": _header,
    ".gz": _packed,
    ".npz": _arrays,
    ".safetensors": _tensors,
}
