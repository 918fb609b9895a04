"""The native msgpack codec against the Python one: the same requests, the same refusals, the same
answers, for bodies that are right, wrong in a member, or wrong in a byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton import _native
from pelton.codec import DecodeLimits, InferResponse, Tensor, TensorSpec
from pelton.codec.msgpack import decode_request, encode_response
from pelton.codec.types import DATATYPES
from python.codec.outcomes import outcome, plain_request, plain_tensor, same_nans

# NumPy warns when it narrows a signalling NaN.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")

SPECS = (TensorSpec("input 'x'", "FP32", (-1, 2)),)
SMALL: dict[str, int] = {
    "tensors_max": 3,
    "rank_max": 3,
    "elements_max": 20,
    "nodes_max": 60,
    "containers_max": 12,
    "parameters_max": 3,
    "string_bytes_max": 24,
    "name_bytes_max": 12,
}
MEMORY_NAMES = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


def by_oracle(body: bytes, limits: dict[str, int], specs: tuple[TensorSpec, ...]) -> Any:
    return outcome(lambda: plain_request(decode_request(body, DecodeLimits(**limits), specs)))


def by_native(body: bytes, limits: dict[str, int], specs: tuple[TensorSpec, ...]) -> Any:
    found = outcome(lambda: _native.decode_msgpack(body, limits, specs))
    if isinstance(found, dict) and not found["is_for_python"]:
        found["inputs"] = [same_nans(tensor) for tensor in found["inputs"]]
    return found


def agree(
    body: bytes, limits: dict[str, int] | None = None, specs: tuple[TensorSpec, ...] = SPECS
) -> Any:
    """Asserts that both codecs make the same of `body`; returns what."""
    limits = limits or {}
    native = by_native(body, limits, specs)
    oracle = by_oracle(body, limits, specs)
    if native == {"is_for_python": True}:
        # The Python path answers from the same bytes, whatever it says of them.
        assert any(name.encode() in body for name in (*MEMORY_NAMES, "classification"))
        return native
    assert native == oracle, body.hex()
    return native


# -- bodies ----------------------------------------------------------------------------------------
class Maker:
    """Draws values of a request, each member now and then something else."""

    def __init__(self, source: random.Random, *, junk: float) -> None:
        self.source = source
        self.junk_share = junk

    def chance(self, share: float) -> bool:
        return self.source.random() < share

    def number(self) -> Any:
        source = self.source
        return source.choice(
            [
                source.randint(-40, 200),
                source.randint(-(2**63), 2**64 - 1),
                source.choice([0, 1, 2**31, 2**32, 2**63, -(2**31), 255, 256, -128, -129]),
                source.uniform(-10, 10),
                source.choice([0.0, -0.0, 1e39, -1e308, 65504.0, 65520.0, 3.4e38, 1e-46, 2.0]),
                source.choice([float("nan"), float("inf"), -float("inf")]),
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
        return word if self.chance(0.8) else word * self.source.randint(1, 30)

    def blob(self) -> bytes:
        return self.source.randbytes(self.source.choice([0, 1, 2, 4, 8, 9, 16, 70]))

    def junk(self, depth: int = 0) -> Any:
        source = self.source
        kind = source.randint(0, 9 if depth < 3 else 6)
        if kind <= 1:
            return self.number()
        if kind == 2:
            return source.choice([None, True, False])
        if kind == 3:
            return self.text()
        if kind == 4:
            return self.blob()
        if kind == 5:
            return msgpack.ExtType(source.choice([0x54, 0x54, 0x54, 1, 0x53]), self.blob())
        if kind == 6:
            return [source.randint(0, 3)] * source.choice([0, 1, 15, 16, 40])
        if kind == 7:
            return {self.text(): self.junk(depth + 1) for _ in range(source.randint(0, 3))}
        return [self.junk(depth + 1) for _ in range(source.randint(0, 4))]

    def maybe(self, value: Any) -> Any:
        return self.junk() if self.chance(self.junk_share) else value

    def shape(self) -> list[int]:
        return [self.source.choice([0, 1, 1, 2, 3]) for _ in range(self.source.randint(0, 3))]

    def array(self, datatype: str, shape: list[int]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape))
        storage = DATATYPES[datatype].storage
        if datatype == "BOOL":
            raw = bytes(self.source.randint(0, 1) for _ in range(count))
        else:
            raw = self.source.randbytes(count * storage.itemsize)
        return np.frombuffer(raw, storage).reshape(shape)

    def elements(self, datatype: str, shape: list[int]) -> Any:
        """A nested or flat list, mostly of what fits the datatype."""
        source, kind = self.source, DATATYPES[datatype].kind

        def element() -> Any:
            if self.chance(self.junk_share / 3):
                return self.junk()
            if kind == "bool":
                return source.choice([True, False, 0, 1])
            if kind == "bytes":
                return source.choice([self.text(), self.blob()])
            if kind == "int":
                info = DATATYPES[datatype]
                return source.choice([source.randint(info.low, info.high), 0, 1, info.high])
            return self.number() if self.chance(self.junk_share) else source.uniform(-100, 100)

        flat = [element() for _ in range(int(np.prod(shape)))]
        if len(shape) < 2 or self.chance(0.5):
            return flat if shape or self.chance(0.5) else flat[0]
        for dim in reversed(shape[1:]):
            flat = [flat[i : i + dim] for i in range(0, len(flat), dim)] if dim else []
        return flat

    def tensor(self, depth: int = 0) -> Any:
        source = self.source
        datatype = source.choice(list(DATATYPES))
        shape = self.shape()
        form = source.randint(0, 4 if depth < 2 else 3)
        if form == 0 and datatype not in ("BF16", "BYTES"):
            return self.numpy(datatype, shape)
        if form == 1:
            return self.extension(datatype, shape)
        tensor: dict[Any, Any] = {"datatype": self.maybe(datatype), "shape": self.maybe(shape)}
        if form == 2:
            tensor["data"] = self.maybe(self.raw(datatype, shape))
        elif form == 3:
            tensor["data"] = self.maybe(self.elements(datatype, shape))
        else:
            inner = self.tensor(depth + 1)
            tensor = {"data": inner}
            if isinstance(inner, dict) and self.chance(0.4):
                tensor["datatype"] = self.maybe(inner.get("datatype", datatype))
            if isinstance(inner, dict) and self.chance(0.4):
                repeated = inner.get("shape", shape)
                if isinstance(repeated, list) and self.chance(0.5):
                    repeated = [
                        source.choice([float, bool, lambda dim: dim])(dim)
                        if isinstance(dim, (int, float))
                        else dim
                        for dim in repeated
                    ]
                tensor["shape"] = self.maybe(repeated)
        if self.chance(self.junk_share / 2):
            tensor[source.choice(["complex", "nd", "kind", "other", "parameters"])] = self.junk()
        return tensor

    def raw(self, datatype: str, shape: list[int]) -> bytes:
        count = int(np.prod(shape))
        if datatype == "BYTES":
            blobs = [self.blob() for _ in range(count)]
            data = b"".join(len(blob).to_bytes(4, "little") + blob for blob in blobs)
        else:
            data = self.array(datatype, shape).tobytes()
        if self.chance(self.junk_share):
            data = data[:-1] if self.chance(0.5) else data + b"\2"
        return data

    def numpy(self, datatype: str, shape: list[int]) -> dict[Any, Any]:
        array = self.array(datatype, shape)
        if self.chance(0.3):
            array = array.astype(array.dtype.newbyteorder(">"))
        is_scalar = not shape and self.chance(0.7)
        code: Any = array.dtype.str
        if self.chance(0.5):
            code = code.encode()
        tensor: dict[Any, Any] = {"nd": self.maybe(not is_scalar), "type": self.maybe(code)}
        if not is_scalar:
            kinds: list[Any] = [b"", "", None, "O", b"O", b"V", "\xff", 0, []]
            tensor["kind"] = kinds[0] if self.chance(0.8) else self.source.choice(kinds)
            tensor["shape"] = self.maybe(shape)
        tensor["data"] = self.maybe(array.tobytes())
        return {k.encode() if self.chance(0.5) else k: v for k, v in tensor.items()}

    def extension(self, datatype: str, shape: list[int]) -> Any:
        head = bytes((1, DATATYPES[datatype].number, len(shape), 0))
        head += b"".join(dim.to_bytes(4, "little") for dim in shape)
        head += bytes(-len(head) % 8)
        raw = bytearray(head + self.raw(datatype, shape))
        if self.chance(self.junk_share):
            raw[self.source.randrange(len(head))] = self.source.randint(0, 20)
        if self.chance(self.junk_share / 4):
            del raw[self.source.randrange(len(raw)) :]
        return msgpack.ExtType(0x54, bytes(raw))

    def parameters(self) -> dict[str, Any]:
        source = self.source
        known = {
            "priority": source.choice([0, 1, 4, 9, 2**64 - 1]),
            "timeout": source.choice([0, 5, 2**63 - 1, 2**63]),
            "binary_data_output": True,
            "truncate": False,
            "non_finite": source.choice(["null", "literal"]),
            "sequence_id": source.choice([0, "", 1, "a", 2**64 - 1]),
            "sequence_start": True,
            "sequence_end": False,
            "headers": 1,
            "triton_x": 1,
            "own": self.number(),
            "it's": self.text(),
        }
        names = source.sample(list(known), source.randint(0, 4))
        if self.chance(0.7):
            names = [name for name in names if name not in ("headers", "triton_x", "sequence_id")]
        return {name: self.maybe(known[name]) for name in names}

    def output(self) -> dict[str, Any]:
        output: dict[str, Any] = {"name": self.maybe(self.source.choice(["y", "z'"]))}
        if self.chance(0.5):
            parameters: dict[str, Any] = {"binary_data": self.maybe(self.chance(0.5))}
            if self.chance(0.2):
                name = self.source.choice(["classification", *MEMORY_NAMES])
                parameters[name] = self.source.choice([0, 3, "region"])
            output["parameters"] = self.maybe(parameters)
        return output

    def inputs(self) -> Any:
        tensors = [self.tensor() for _ in range(self.source.choice([1, 1, 1, 2, 4, 0]))]
        if self.chance(0.3):
            return {f"x{i}" if self.chance(0.95) else "": t for i, t in enumerate(tensors)}
        return [
            self.maybe(
                {"name": self.maybe(f"x{i}"), **tensor} if isinstance(tensor, dict) else tensor
            )
            for i, tensor in enumerate(tensors)
        ]

    def request(self) -> Any:
        if self.chance(0.1):
            return self.maybe(self.tensor())
        if self.chance(0.05):
            return [self.maybe(self.number()) for _ in range(self.source.choice([0, 1, 2, 3, 20]))]
        request: dict[str, Any] = {"inputs": self.maybe(self.inputs())}
        if self.chance(0.3):
            request["id"] = self.maybe(self.text())
        if self.chance(0.3):
            request["parameters"] = self.maybe(self.parameters())
        if self.chance(0.3):
            outputs = [self.maybe(self.output()) for _ in range(self.source.randint(0, 4))]
            request["outputs"] = self.maybe(outputs)
        if self.chance(0.1):
            request[self.text()] = self.junk()
        names = list(request)
        self.source.shuffle(names)
        return {name: request[name] for name in names}


def pack(value: Any, source: random.Random) -> bytes:
    try:
        packed: bytes = msgpack.packb(value, use_single_float=source.random() < 0.2)
    except OverflowError:  # some number is too large for that
        packed = msgpack.packb(value)
    return packed


def mutate(body: bytes, source: random.Random) -> bytes:
    changed = bytearray(body)
    for _ in range(source.choice([1, 1, 1, 2, 5])):
        at = source.randrange(len(changed) + 1)
        kind = source.randint(0, 3)
        if kind == 0 and at < len(changed):
            changed[at] = source.choice([source.randrange(256), 0xC1, 0xDF, 0xC6, 0xD8, 0xFF])
        elif kind == 1:
            changed[at:at] = source.randbytes(source.choice([1, 1, 2, 4]))
        elif kind == 2:
            del changed[at : at + source.choice([1, 1, 2, 8])]
        elif at < len(changed):
            changed[at] ^= 1 << source.randrange(8)
    return bytes(changed)


def compare_many(seed: int, count: int) -> None:
    source = random.Random(seed)
    taken = refused = 0
    for _ in range(count):
        maker = Maker(source, junk=source.choice([0.0, 0.02, 0.1]))
        body = pack(maker.request(), source)
        limits = SMALL if source.random() < 0.2 else {}
        specs = SPECS if source.random() < 0.8 else SPECS * source.choice([0, 2])
        found = agree(body, limits, specs)
        taken += isinstance(found, dict)
        refused += not isinstance(found, dict)
        for _ in range(2):
            agree(mutate(body, source), limits, specs)
    # Both kinds are there, so that agreement says something.
    assert taken > count // 10
    assert refused > count // 10


def test_bodies_drawn_at_random(pytestconfig: pytest.Config) -> None:
    compare_many(pytestconfig.getoption("--seed"), 600)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(8))
def test_many_bodies_drawn_at_random(pytestconfig: pytest.Config, share: int) -> None:
    compare_many(1000 * pytestconfig.getoption("--seed") + share, 15_000)


# -- the scan --------------------------------------------------------------------------------------
TOKENS = st.sampled_from(
    [
        *(bytes((tag,)) for tag in range(0x00, 0x100, 7)),
        b"\xc1",
        b"\xc4\x01",
        b"\xc5\x00\x02ab",
        b"\xc6\x00\x00\x00\x01a",
        b"\xc6\xff\xff\xff\xff",
        b"\xc7\x01\x54a",
        b"\xd4\x54a",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xa1a",
        b"\xa1\xff",
        b"\xa2\xc3\xa9",
        b"\xd9\x01b",
        b"\xdb\x00\x00\x00\x01c",
        b"\xca\x3f\x80\x00\x00",
        b"\xcb" + bytes(8),
        b"\xcf" + b"\xff" * 8,
        b"\xdc\x00\x10" + b"\x01" * 16,
        b"\xdc\x00\x10" + b"\xcd\x01\x00" * 16,
        b"\xdc\x00\x10" + b"\xcd\x01\x00" * 15,
        b"\xdd\x00\x00\x00\x02",
        b"\xde\x00\x01",
        b"\xdf\x00\x00\x00\x41",
        b"\x81\xa1a",
        b"\x82\xa1a\x01\xa1a",
        b"\x91",
        b"\x90",
        b"\x80",
    ]
)


@settings(max_examples=300)
@given(st.lists(TOKENS, max_size=24), st.sampled_from([{}, SMALL]))
def test_tokens_in_any_order(tokens: list[bytes], limits: dict[str, int]) -> None:
    agree(b"".join(tokens), limits)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(st.lists(TOKENS, max_size=40), st.sampled_from([{}, SMALL]))
def test_many_tokens_in_any_order(tokens: list[bytes], limits: dict[str, int]) -> None:
    agree(b"".join(tokens), limits)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    agree(body)


BOMBS: dict[str, Callable[[], bytes]] = {
    "nested arrays": lambda: b"\x91" * 100_000,
    "nested maps": lambda: b"\x81\xa1a" * 100_000,
    "claimed arrays": lambda: b"\xdd\x00\x03\x0d\x40" * 500,
    "claimed bin": lambda: b"\xc6\xff\xff\xff\xff",
    "empty arrays": lambda: b"\xdd\x00\x01\x11\x70" + b"\x90" * 70_000,
    "empty strings": lambda: b"\xdd\x00\x20\x00\x00" + b"\xa0" * (1 << 21),
    "values": lambda: b"\xdd\x00\x50\x00\x00" + b"\xc0" * (0x50 << 16),
    "numbers": lambda: b"\xdd\x00\x50\x00\x00" + b"\x01" * (0x50 << 16),
    "a map of 65 entries": lambda: msgpack.packb({str(i): i for i in range(65)}),
    "1,100 entries": lambda: msgpack.packb([{str(i): i for i in range(55)}] * 20),
    "a key of 300 bytes": lambda: msgpack.packb({"k" * 300: 1}),
    "a str of 2 MB": lambda: msgpack.packb("s" * (2 << 20)),
    "300 extensions": lambda: msgpack.packb([msgpack.ExtType(0x54, b"")] * 300),
    "a pickle": lambda: msgpack.packb(
        {"nd": True, "kind": b"O", "type": "O", "data": b"\x80\x04."}
    ),
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_alike(name: str) -> None:
    assert agree(BOMBS[name]())[0] == "refused"


# -- answers ---------------------------------------------------------------------------------------
def compare_answers(seed: int, count: int) -> None:
    source = random.Random(seed)
    maker = Maker(source, junk=0.0)
    for _ in range(count):
        tensors = []
        for _ in range(source.choice([0, 1, 2, 17])):
            datatype = source.choice(list(DATATYPES))
            shape = [source.choice([0, 1, 3, 40, 300]) for _ in range(source.randint(0, 2))]
            data: Any
            if datatype == "BYTES":
                data = [maker.blob() for _ in range(int(np.prod(shape)))]
            else:
                data = maker.array(datatype, shape)
            tensors.append(Tensor(maker.text(), datatype, tuple(shape), data))
        id_text = source.choice([None, maker.text()])
        answer = InferResponse(
            model_name=maker.text(), model_version="1", id=id_text, outputs=tuple(tensors)
        )
        native = _native.encode_msgpack(
            answer.model_name, "1", id_text, [plain_tensor(tensor) for tensor in tensors]
        )
        assert native == encode_response(answer).to_bytes()


def test_answers_drawn_at_random(pytestconfig: pytest.Config) -> None:
    compare_answers(pytestconfig.getoption("--seed"), 200)


def test_an_answer_whose_bin_needs_each_head() -> None:
    for size in (255, 256, 65535, 65536):
        tensor = Tensor("y", "UINT8", (size,), np.zeros(size, np.uint8))
        answer = InferResponse(model_name="m" * size, model_version="1", outputs=(tensor,))
        native = _native.encode_msgpack("m" * size, "1", None, [plain_tensor(tensor)])
        assert native == encode_response(answer).to_bytes()
