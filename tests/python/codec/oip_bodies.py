"""Inference requests in JSON and with raw tensors, drawn at random, and what both codecs make of
one."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np

from pelton import _native, codec
from pelton.codec import DecodeLimits, TensorSpec
from pelton.codec._raw import join_bytes
from pelton.codec.types import DATATYPES
from python.codec.outcomes import outcome, plain_request, same_nans

__all__ = ["LENGTH", "SPECS", "Maker", "Raw", "agree", "write"]

LENGTH = "inference-header-content-length"
SPECS = (
    (TensorSpec("x", "FP32", (-1, 4)),),
    (TensorSpec("it's", "BYTES", (-1,)),),
    (TensorSpec("x", "BOOL", (-1, 2, -1)),),
    (TensorSpec("x", "INT64", (2, 0, -1)),),
    (TensorSpec("x", "FP16", (-1, -1, -1)),),
    (TensorSpec("x", "UINT8", (4,)), TensorSpec("y", "UINT8", (4,))),
)
MEMORY_NAMES = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


# -- one request by both ---------------------------------------------------------------------------
def by_native(headers: dict[str, str], body: bytes, limits: dict[str, int], specs: Any) -> Any:
    fields = {name: value.encode("latin-1") for name, value in headers.items()}
    found = outcome(
        lambda: _native.decode_infer(
            fields.get("content-type"), fields.get(LENGTH), body, limits, specs
        )
    )
    if isinstance(found, dict) and not found["is_for_python"]:
        found["inputs"] = [same_nans(tensor) for tensor in found["inputs"]]
    return found


def agree(
    headers: dict[str, str],
    body: bytes,
    limits: dict[str, int] | None = None,
    specs: Any = SPECS[0],
) -> Any:
    """Asserts that both codecs make the same of a request; returns what."""
    limits = limits or {}
    native = by_native(headers, body, limits, specs)
    if native == {"is_for_python": True}:
        # The Python path answers from the same bytes, whatever it says of them.
        assert any(name.encode() in body for name in (*MEMORY_NAMES, "classification"))
        return native
    oracle = outcome(
        lambda: plain_request(codec.decode_infer(headers, body, DecodeLimits(**limits), specs))
    )
    if isinstance(oracle, tuple) and "Illegal trailing comma" in oracle[2]:
        assert native[0] == "refused"  # Python 3.13 names this mistake for itself
        return native
    # By repr too: equality takes True for 1.
    assert native == oracle, (headers, body, limits, specs)
    assert repr(native) == repr(oracle), (headers, body, limits, specs)
    return native


# -- requests drawn at random ----------------------------------------------------------------------
class Raw(str):
    """JSON text that is written as it is."""


def write(value: Any, source: random.Random) -> str:
    """JSON in one of its layouts."""
    if isinstance(value, Raw):
        return str(value)
    comma, colon = source.choice([(",", ":"), (", ", ": "), (" ,\n", " :\t")])
    if isinstance(value, dict):
        members = (json.dumps(k) + colon + write(v, source) for k, v in value.items())
        return "{" + comma.join(members) + "}"
    if isinstance(value, list):
        return "[" + comma.join(write(item, source) for item in value) + "]"
    return json.dumps(value, ensure_ascii=source.random() < 0.5)


class Maker:
    """Draws requests, each member now and then something else."""

    def __init__(self, source: random.Random, *, junk: float) -> None:
        self.source = source
        self.junk_share = junk

    def chance(self, share: float) -> bool:
        return self.source.random() < share

    def number(self) -> Any:
        source = self.source
        return source.choice(
            [
                source.randint(-300, 300),
                source.randint(-(2**63), 2**64 - 1),
                source.choice([0, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 255, 256, -128, -129]),
                Raw(source.choice(["-0", "-0.0", "1.0", "0.0", "1e0", "-1E2", "10e-1", "1e-400"])),
                source.uniform(-10, 10),
                Raw(
                    source.choice(["1e39", "65504.0", "65519.9", "65520", "3.4028235e38", "1e-46"])
                ),
                Raw(
                    source.choice(["3.39e38", "3.4e38", "340282356779733661637539395458142568448"])
                ),
                Raw(source.choice(["NaN", "Inf", "-Inf", "Infinity", "-Infinity"])),
                Raw(source.choice(["1e400", "-1e400", "1" + "0" * 308, "1" + "0" * 309])),
                2**1024 - 2**970 - source.choice([0, 1]),
                int(np.finfo(np.float64).max) + source.choice([-1, 0, 1]),
                10 ** source.choice([38, 39, 40, 41, 60, 400]),
            ]
        )

    def text(self) -> str:
        pool = [
            "",
            "x",
            "FP32",
            "it's",
            'say "hi"',
            "both '\"",
            "ü€😀",
            "\x00\x7f\x85\xad",
            "\\\n\t",
        ]
        word = self.source.choice(pool)
        return word if self.chance(0.8) else word * self.source.randint(1, 90)

    def junk(self, depth: int = 0) -> Any:
        kind = self.source.randint(0, 7 if depth < 2 else 3)
        if kind <= 1:
            return self.number()
        if kind == 2:
            return self.source.choice([None, True, False])
        if kind == 3:
            return self.text()
        if kind == 4:
            return {self.text(): self.junk(depth + 1) for _ in range(self.source.randint(0, 3))}
        return [self.junk(depth + 1) for _ in range(self.source.randint(0, 4))]

    def maybe(self, value: Any) -> Any:
        return self.junk() if self.chance(self.junk_share) else value

    def shape(self) -> list[int]:
        return [self.source.choice([0, 1, 1, 2, 3, 4]) for _ in range(self.source.randint(0, 3))]

    def element(self, datatype: str) -> Any:
        source, kind = self.source, DATATYPES[datatype]
        if self.chance(self.junk_share / 3):
            return self.junk()
        if kind.kind == "bool":
            return source.choice([True, False, 0, 1])
        if kind.kind == "bytes":
            return self.text()
        if kind.kind == "int":
            return source.choice([source.randint(kind.low, kind.high), 0, kind.low, kind.high])
        if self.chance(self.junk_share):
            return self.number()
        texts = [f"{source.uniform(-9, 9):.{source.randint(0, 17)}g}", str(source.randint(-9, 9))]
        return Raw(source.choice([*texts, "2.5e-3", "0.1", "-0.0", "-0", "123456789.125e-4"]))

    def data(self, datatype: str, shape: list[int]) -> Any:
        flat: list[Any] = [self.element(datatype) for _ in range(math.prod(shape))]
        if self.chance(self.junk_share / 2):
            flat = flat[1:] if self.chance(0.5) else [*flat, self.element(datatype)]
        if not shape:
            return flat if self.chance(0.5) else (flat or [None])[0]
        if self.chance(0.5):
            return flat
        dims = shape if self.chance(1 - self.junk_share) else self.shape()
        for dim in reversed(dims[1:]):
            flat = [flat[i : i + dim] for i in range(0, len(flat), dim)] if dim else []
        return self.nest_zeros(flat, dims) if 0 in dims else flat

    def nest_zeros(self, flat: list[Any], dims: list[int]) -> Any:
        return np.zeros(dims).tolist() if self.chance(0.7) else flat

    def raw(self, datatype: str, shape: list[int]) -> bytes:
        count = math.prod(shape)
        if datatype == "BYTES":
            data = join_bytes(self.text().encode() for _ in range(count))
        elif datatype == "BOOL":
            data = bytes(self.source.choices([0, 1], k=count))
        else:
            data = self.source.randbytes(count * DATATYPES[datatype].width)
        if data and self.chance(self.junk_share):
            data = self.source.choice([data[:-1], data + b"\2", b"\xff" + data[1:]])
        return data

    def parameters(self) -> Any:
        source = self.source
        known = {
            "priority": source.choice([0, 1, 4, 9, 2**64 - 1, 2**64]),
            "timeout": source.choice([0, 5, 2**63 - 1, 2**63]),
            "binary_data_output": source.choice([True, False]),
            "truncate": source.choice([True, False]),
            "non_finite": source.choice(["null", "literal"]),
            "sequence_id": source.choice([0, "", 1, "a", Raw("-0"), 2**64 - 1]),
            "sequence_start": True,
            "sequence_end": False,
            "headers": 1,
            "triton_x": 1,
            "own": self.number(),
            "it's": self.text(),
        }
        names = source.sample(list(known), source.randint(0, 4))
        if self.chance(0.8):
            names = [name for name in names if name not in ("headers", "triton_x", "sequence_id")]
        return {name: self.maybe(known[name]) for name in names}

    def tensor_parameters(self, parameters: dict[str, Any]) -> Any:
        if self.chance(self.junk_share / 2):
            name = self.source.choice([*MEMORY_NAMES, "classification", "content_type"])
            parameters[name] = self.junk()
        return self.maybe(parameters)

    def tensor(self, name: str, *, binary: bool) -> tuple[Any, bytes]:
        datatype, shape = self.source.choice(list(DATATYPES)), self.shape()
        tensor: dict[str, Any] = {
            "name": self.maybe(name),
            "shape": self.maybe([self.maybe(dim) for dim in shape]),
            "datatype": self.maybe(datatype),
        }
        raw = b""
        if binary:
            raw = self.raw(datatype, shape)
            if self.chance(0.93):
                sizes = {"binary_data_size": self.maybe(len(raw))}
                tensor["parameters"] = self.tensor_parameters(sizes)
        if not binary or self.chance(self.junk_share / 2):
            tensor["data"] = self.maybe(self.data(datatype, shape))
            if self.chance(0.2):
                tensor["parameters"] = self.tensor_parameters({})
        return self.maybe(self.shuffled(tensor)), raw

    def output(self) -> Any:
        output: dict[str, Any] = {"name": self.maybe(self.source.choice(["y", "z'", "ü"]))}
        if self.chance(0.6):
            wanted = {"binary_data": self.maybe(self.chance(0.5))} if self.chance(0.8) else {}
            output["parameters"] = self.tensor_parameters(wanted)
        return self.maybe(output)

    def shuffled(self, members: dict[str, Any]) -> dict[str, Any]:
        names = list(members)
        if self.chance(0.5):
            self.source.shuffle(names)
        return {name: members[name] for name in names}

    def request(self) -> tuple[dict[str, str], bytes, int]:
        """Headers, body, bytes of the head."""
        source = self.source
        binary = self.chance(0.5)
        head: dict[str, Any] = {}
        section = b""
        inputs = []
        for index in range(source.choice([1, 1, 1, 2, 3, 0])):
            tensor, raw = self.tensor(f"x{index}", binary=binary and self.chance(0.8))
            inputs.append(tensor)
            section += raw
        head["inputs"] = self.maybe(inputs)
        if self.chance(0.3):
            head["id"] = self.maybe(self.text())
        if self.chance(0.4):
            head["parameters"] = self.maybe(self.parameters())
        if self.chance(0.4):
            head["outputs"] = self.maybe([self.output() for _ in range(source.randint(0, 3))])
        if self.chance(0.1):
            head[self.text()] = self.junk()
        text = write(self.shuffled(head), source).encode("utf-8", "replace")
        headers: dict[str, str] = {}
        if binary and self.chance(0.97):
            headers[LENGTH] = str(len(text))
        return headers, text + section, len(text)

    def mutated(self, body: bytes) -> bytes:
        source, changed = self.source, bytearray(body)
        pieces = [b'"', b",", b"[", b"]", b"{", b"}", b"0", b"-", b"1e999", b"null", b"NaN", b"\\"]
        for _ in range(source.choice([1, 1, 2])):
            at = source.randrange(len(changed) + 1)
            kind = source.randint(0, 4)
            if kind == 0 and at < len(changed):
                changed[at] ^= 1 << source.randrange(8)
            elif kind == 1:
                changed[at:at] = source.choice(pieces)
            elif kind == 2:
                del changed[at : at + source.choice([1, 1, 2, 8])]
            elif kind == 3:
                del changed[at:]
            else:
                other = source.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + 12]
        return bytes(changed)
