"""Requests that a model takes, as documents and as command lines to paste."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any, Final

from pelton._specs import TensorSpec
from pelton.codec.types import DATATYPES
from pelton.model import Model

__all__ = [
    "binary_sample",
    "infer_body",
    "json_sample",
    "msgpack_sample",
    "post_sample",
]

_TEXTS: Final = ("hello world", "a second text")
# More is not shown: the shape says how many there are to be.
_NUMBERS_MAX: Final = 1024
# Numbers of a command line; more are zeros.
_WRITTEN_MAX: Final = 16
_JSON: Final = "application/json"
_STRUCT_CODES: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


def _shape(spec: TensorSpec) -> list[int]:
    return [1 if dim < 0 else dim for dim in spec.shape]


def _count(spec: TensorSpec) -> int:
    return math.prod(_shape(spec))


def _values(spec: TensorSpec) -> list[Any]:
    """Numbers of one row, or a text."""
    count = _count(spec)
    if spec.dtype == "BYTES":
        return [_TEXTS[index % len(_TEXTS)] for index in range(count)]
    if DATATYPES[spec.dtype].kind == "bool":
        return [index % 2 == 0 for index in range(count)]
    if DATATYPES[spec.dtype].kind == "int":
        return [index % 100 for index in range(count)]
    return [round((index % 10) / 10, 1) for index in range(count)]


def _is_shown(specs: Sequence[TensorSpec]) -> bool:
    return sum(map(_count, specs)) <= _NUMBERS_MAX


def infer_body(model: Model) -> dict[str, Any]:
    """A request of one row, without its numbers where they would be too many to read."""
    shown = _is_shown(model.inputs)
    return {
        "inputs": [
            {
                "name": spec.name,
                "shape": _shape(spec),
                "datatype": spec.dtype,
                "data": _values(spec) if shown else [],
            }
            for spec in model.inputs
        ]
    }


def json_sample(url: str, model: Model) -> str:
    if _is_shown(model.inputs):
        return post_sample(url, infer_body(model))
    inputs = ", ".join(f'{_python_map(spec)}, "data": {_listed(spec)}}}' for spec in model.inputs)
    script = f'import json; print(json.dumps({{"inputs": [{inputs}]}}))'
    return f"python3 -c {shlex.quote(script)} |\n  curl -s {url} {_type(_JSON)} -d @-"


def post_sample(url: str, body: Any) -> str:
    """POST `body` as JSON."""
    text = json.dumps(body, ensure_ascii=False)
    return f"curl -s {url} {_type(_JSON)} \\\n  -d {shlex.quote(text)}"


def binary_sample(url: str, model: Model) -> str:
    """The head as it is, the numbers made by Python, which has them in every datatype."""
    raw = [(spec, _raw(spec)) for spec in model.inputs]
    inputs = [
        {
            "name": spec.name,
            "shape": _shape(spec),
            "datatype": spec.dtype,
            "parameters": {"binary_data_size": size},
        }
        for spec, (size, _) in raw
    ]
    head = json.dumps({"inputs": inputs}, separators=(",", ":"))
    tensors = " + ".join(expression for _, (_, expression) in raw)
    script = f"import struct, sys; sys.stdout.buffer.write({tensors})"
    return (
        f"{{ printf %s {shlex.quote(head)}\n  python3 -c {shlex.quote(script)}; }} |\n"
        f"  curl -s {url} {_type('application/octet-stream')} \\\n"
        f"    -H 'Inference-Header-Content-Length: {len(head.encode())}' --data-binary @-"
    )


def msgpack_sample(url: str, model: Model) -> str:
    """Needs PyPI's msgpack on the client."""
    inputs = ", ".join(f'{_python_map(spec)}, "data": {_packed(spec)}}}' for spec in model.inputs)
    script = (
        "import msgpack, struct, sys; "
        f'sys.stdout.buffer.write(msgpack.packb({{"inputs": [{inputs}]}}))'
    )
    return (
        f"python3 -c {shlex.quote(script)} |\n"
        f"  curl -s {url} {_type('application/msgpack')} \\\n"
        "    -H 'Accept: application/json' --data-binary @-"
    )


def _type(media_type: str) -> str:
    return f"-H 'Content-Type: {media_type}'"


def _python_map(spec: TensorSpec) -> str:
    """The begin of a tensor's dict; the data is to follow. Double quotes, as the shell's are single
    ones."""
    return f'{{"name": {json.dumps(spec.name)}, "shape": {_shape(spec)}, "datatype": "{spec.dtype}"'


def _listed(spec: TensorSpec) -> str:
    """A Python expression for as many elements as there are to be, all the same."""
    element = json.dumps(_TEXTS[0]) if spec.dtype == "BYTES" else "0"
    return f"[{element}]" if _count(spec) == 1 else f"[{element}] * {_count(spec)}"


def _packed(spec: TensorSpec) -> str:
    """A Python expression for the data in msgpack."""
    return _listed(spec) if spec.dtype == "BYTES" else _raw(spec)[1]


def _raw(spec: TensorSpec) -> tuple[int, str]:
    """How many bytes the tensor has, and a Python expression for them. Needs `struct`."""
    count = _count(spec)
    if spec.dtype == "BYTES":
        text = _TEXTS[0]  # ASCII, without quotes
        one = f'struct.pack("<I", {len(text)}) + b"{text}"'
        return count * (len(text) + 4), one if count == 1 else f"({one}) * {count}"
    size = count * DATATYPES[spec.dtype].width
    if count > _WRITTEN_MAX or spec.dtype == "BF16":
        return size, f"bytes({size})"
    values = ", ".join(map(str, _values(spec)))
    return size, f'struct.pack("<{count}{_STRUCT_CODES[spec.dtype]}", {values})'
