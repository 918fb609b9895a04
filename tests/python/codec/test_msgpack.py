"""msgpack bodies: the scan, the forms of a tensor, and the msgpack package as the oracle."""

from __future__ import annotations

import contextlib
import math
import pickle
import struct
import time
import tracemalloc
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from pelton.codec import DecodeLimits, InferResponse, Tensor, TensorSpec
from pelton.codec._msgpack import Blob, parse_msgpack
from pelton.codec.msgpack import decode_request, encode_response
from pelton.codec.types import InferRequest, RequestedOutput
from pelton.errors import Error, InvalidInput, PayloadTooLarge

LIMITS = DecodeLimits()
F4 = np.array([[1, 2.5], [3, -4]], np.float32)


def parse(body: bytes, limits: DecodeLimits = LIMITS) -> Any:
    return parse_msgpack(memoryview(body), limits)


def plain(value: Any) -> Any:
    """Blobs as bytes, as the oracle gives them."""
    if isinstance(value, Blob):
        return bytes(value.raw)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        *(
            sign * 2**bits + step
            for bits in range(0, 63, 3)
            for sign in (1, -1)
            for step in (-1, 0)
        ),
        2**64 - 1,
        -(2**63),
        0.1,
        math.inf,
        *("é" * size for size in (0, 1, 15, 16, 127, 128, 32767, 32768)),
        *(b"\xff" * size for size in (0, 1, 255, 256, 65535, 65536)),
        *([0] * size for size in (0, 1, 15, 16, 65535, 65536)),
        [0.5] * 100,
        [300] * 100,
        [-1] * 100,
        [1, 300, 70000, 2**40, -1, -200, 0.5, None, True] * 10,
        [b"a", "b"] * 20,
        {},
        {str(n): n for n in range(16)},
        {"a": {"b": [{"c": [1, 2]}]}},
    ],
    ids=lambda value: type(value).__name__,
)
def test_reads_what_the_msgpack_package_reads(value: Any) -> None:
    body = msgpack.packb(value)
    assert plain(parse(body)) == msgpack.unpackb(body)


@pytest.mark.parametrize("single", [True, False])
def test_floats_of_both_widths_are_read_alone_and_in_runs(single: bool) -> None:
    values = [0.5, -1.25, math.inf] * 10
    assert parse(msgpack.packb(values, use_single_float=single)) == values
    assert parse(msgpack.packb(0.5, use_single_float=single)) == 0.5


def test_blobs_are_views() -> None:
    body = bytearray(msgpack.packb({"data": b"abcd"}))
    blob = parse_msgpack(memoryview(body), LIMITS)["data"]
    body[-1] = ord("z")
    assert bytes(blob.raw) == b"abcz"
    assert bytes(body[blob.offset :]) == b"abcz"


@pytest.mark.parametrize(
    ("body", "offset", "message"),
    [
        (b"\xc1", 0, "0xC1 is never used"),
        (b"\x92\x01\xc1", 2, "0xC1 is never used"),
        (b"\x01\x02", 1, "1 bytes follow the value"),
        (b"\x81\xa1a", 3, "ends where a value was expected"),
        (b"\x81", 0, "1 items of map cannot fit 0 bytes"),
        (b"\x93\x01\x02", 0, "3 items of array cannot fit 2 bytes"),
        (b"\x92\x91\x01", 3, "ends where a value was expected"),
        (b"\xdd\xff\xff\xff\xff", 0, "4294967295 items of array cannot fit 0 bytes"),
        (b"\xdf\x80\x00\x00\x00\x01", 0, "2147483648 items of map cannot fit 1 bytes"),
        (b"\xdc\x00", 0, "ends inside a length"),
        (b"\xc6\x00\x00\x01", 0, "ends inside a length"),
        (b"\xc4\x05ab", 0, "5 bytes of bin are declared, 2 are left"),
        (b"\xc6\xff\xff\xff\xffab", 0, "4294967295 bytes of bin are declared"),
        (b"\xa3ab", 0, "3 bytes of str are declared, 2 are left"),
        (b"\xcb\x00\x00", 0, "8 bytes of scalar are declared, 2 are left"),
        (b"\xd9", 0, "ends inside a length"),
        (b"\xd4", 0, "ends inside an extension"),
        (b"\xd4\x54", 0, "1 bytes of ext are declared, 0 are left"),
        (b"\xa2\xff\xfe", 1, "not UTF-8"),
        (b"\xa3\xed\xa0\x80", 1, "not UTF-8"),
        (b"\x81\xa1\xff\x01", 2, "not UTF-8"),
        (b"\x81\x01\x02", 1, "map key is of kind scalar"),
        (b"\x81\xc0\x02", 1, "map key is of kind scalar"),
        (b"\x81\x90\x02", 1, "map key is of kind array"),
        (b"\x82\xa1a\x01\xa1a\x02", 4, "'a' comes twice"),
        (b"\x82\xa1a\x01\xc4\x01a\x02", 4, "'a' comes twice"),
        (b"\xd6\xff\x00\x00\x00\x00", 0, "extension type 0xff"),  # a timestamp
        (b"\xd4\x01\x00", 0, "extension type 0x1"),
        (b"\x91\xc7\x01\x05\x00", 1, "extension type 0x5"),
        (b"\x91" * 9 + b"\x01", 8, "deeper than 8"),
        (b"\x81\xa1a" * 9 + b"\x01", 24, "deeper than 8"),
    ],
)
def test_says_at_which_byte_a_body_stops_being_msgpack(
    body: bytes, offset: int, message: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"{message}.*, at byte {offset}$") as caught:
        parse(body)
    assert caught.value.offset == offset


def test_an_empty_body() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        parse(b"")


def test_bounds_of_maps_and_strings() -> None:
    assert len(parse(msgpack.packb({str(n): n for n in range(64)}))) == 64
    for value, message in [
        ({str(n): n for n in range(65)}, "more than 64 entries in a map"),
        ([{str(n): n for n in range(64)}] * 17, "1024 in all"),
        ({"k" * 257: 1}, "key has more than 256 bytes"),
        ("x" * (2**20 + 1), "str has more than 1048576 bytes"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            parse(msgpack.packb(value))


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ([1] * 20, DecodeLimits(nodes_max=20)),
        ([1, 0.5] * 10, DecodeLimits(nodes_max=20)),
        (["ab"] * 20, DecodeLimits(containers_max=19)),
        ([[]] * (1 << 16), DecodeLimits()),
    ],
)
def test_bounds_how_many_values_are_built(value: Any, limits: DecodeLimits) -> None:
    with pytest.raises(PayloadTooLarge):
        parse(msgpack.packb(value), limits)


def test_what_is_too_many_is_not_walked_to_its_end() -> None:
    body = b"\xdd" + struct.pack(">I", 1 << 20) + b"\xc0" * (1 << 20)
    with pytest.raises(PayloadTooLarge) as caught:
        parse(body, DecodeLimits(nodes_max=20))
    assert caught.value.offset == 5 + 20  # the array itself is one of them


QUARTER_MEGABYTE = 1 << 18


#: Heads of one array and the item that it is filled with.
HOSTILE = {
    "empty arrays": b"\x90",
    "empty maps": b"\x80",
    "small integers": b"\x01",
    "nil": b"\xc0",
    "mixed numbers": b"\x01\xcd\x01\x01",
    "floats": b"\xcb" + b"\x3f" * 8,
    "strings": b"\xa2ab",
    "long strings": b"\xd9\x02ab",
    "blobs": b"\xc4\x02ab",
    "extensions": b"\xd4\x54a",
    "nested arrays": b"\x91",
    "arrays that claim 200,000 items": b"\xdd\x00\x03\x0d\x40",
}


def hostile(name: str, size: int) -> bytes:
    item = HOSTILE[name]
    if "arrays" in name and name != "empty arrays":
        return item * (size // len(item))
    items = size // len(item) * (2 if name == "mixed numbers" else 1)
    return b"\xdd" + struct.pack(">I", items) + item * (size // len(item))


@pytest.mark.parametrize("name", [*HOSTILE])
def test_a_hostile_body_takes_bounded_time_and_memory(name: str) -> None:
    body = hostile(name, QUARTER_MEGABYTE)
    started = time.thread_time()
    with contextlib.suppress(Error):
        parse(body)
    assert time.thread_time() - started < 3

    body = hostile(name, QUARTER_MEGABYTE // 8)  # tracing makes each allocation many times slower
    tracemalloc.start()
    with contextlib.suppress(Error):
        parse(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80 * len(body)


def tensor(**changes: Any) -> dict[str, Any]:
    members = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": F4.tobytes(), **changes}
    return {name: value for name, value in members.items() if value is not None}


def decode(document: Any, specs: Any = None) -> InferRequest:
    return decode_request(msgpack.packb(document), LIMITS, specs)


def refusal(document: Any, specs: Any = None) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        decode(document, specs)
    return caught.value


def numpy_dict(array: np.ndarray[Any, Any], keys: type = bytes, **changes: Any) -> dict[Any, Any]:
    """An array as msgpack-numpy writes it; its older versions have `str` keys."""
    members = {
        "nd": True,
        "type": array.dtype.str,
        "kind": b"" if keys is bytes else "",
        "shape": list(array.shape),
        "data": array.tobytes(),
        **changes,
    }
    named = {name: value for name, value in members.items() if value is not None}
    return {name.encode(): value for name, value in named.items()} if keys is bytes else named


def blob(array: np.ndarray[Any, Any], number: int, version: int = 1, **changes: Any) -> Any:
    head = struct.pack(f"<BBBB{array.ndim}I", version, number, array.ndim, 0, *array.shape)
    pad = changes.get("pad", b"\0" * (-len(head) % 8))
    return msgpack.ExtType(0x54, head + pad + array.tobytes())


def test_a_request_with_everything() -> None:
    decoded = decode(
        {
            "id": "42",
            "parameters": {"priority": 1, "mine": 2**64 - 1, "truncate": False},
            "inputs": [
                tensor(),
                {"name": "t", "datatype": "BYTES", "shape": [3], "data": [b"\xff", "é", b""]},
                {"name": "n", "datatype": "UINT64", "shape": [1], "data": [2**64 - 1]},
            ],
            "outputs": [{"name": "y"}],
            "unknown": {"deep": [1, [2, [3]]]},
        }
    )
    x, t, n = decoded.inputs
    np.testing.assert_array_equal(x.array, F4)
    assert t.elements == [b"\xff", "é".encode(), b""]
    assert n.array.tolist() == [2**64 - 1]
    assert (decoded.id, decoded.priority, decoded.truncate) == ("42", 1, False)
    assert decoded.parameters == {"mine": 2**64 - 1}
    assert decoded.outputs == (RequestedOutput("y"),)


SAME = [
    {"inputs": [tensor()]},
    {"inputs": [tensor(data=F4.ravel().tolist())]},
    {"inputs": [tensor(data=F4.tolist())]},
    {"inputs": {"x": tensor(name=None)}},
    {"inputs": {"x": blob(F4, 12)}},
    {"inputs": {"x": numpy_dict(F4)}},
    {"inputs": {"x": numpy_dict(F4, str)}},
    {"inputs": {"x": numpy_dict(F4, kind=None)}},
    {"inputs": {"x": numpy_dict(F4.astype(">f4"))}},
    {"inputs": [{"name": "x", "data": numpy_dict(F4)}]},
    {"inputs": [{"name": "x", "data": blob(F4, 12)}]},
    {"inputs": [tensor(data=numpy_dict(F4))]},
    {"inputs": [{"name": "x", **numpy_dict(F4, str)}]},
]


@pytest.mark.parametrize("document", SAME)
def test_the_forms_of_a_tensor(document: Any) -> None:
    (x,) = decode(document).inputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", (2, 2))
    assert x.array.dtype == np.dtype("<f4")
    np.testing.assert_array_equal(x.array, F4)


SPEC = TensorSpec("x", "FP32", (-1, 2))


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        (tensor(name=None), (2, 2)),
        (tensor(name="ignored"), (2, 2)),
        (numpy_dict(F4), (2, 2)),
        (blob(F4, 12), (2, 2)),
        ([1, 2.5], (1, 2)),
    ],
)
def test_a_tensor_alone_is_the_only_input(document: Any, shape: tuple[int, ...]) -> None:
    decoded = decode(document, [SPEC])
    (x,) = decoded.inputs
    assert (x.name, x.datatype, x.shape) == ("x", "FP32", shape)
    assert x.array.ravel()[:2].tolist() == [1, 2.5]
    for specs in (None, [], [SPEC, SPEC]):
        assert "needs a model of one input" in str(refusal(document, specs))


@pytest.mark.parametrize("dtype", ["|b1", "|u1", "|i1", "<u2", "<i2", "<f2", "<u4", "<i4", "<f4"])
@pytest.mark.parametrize("wide", [False, True])
def test_numpy_dicts_of_every_type(dtype: str, wide: bool) -> None:
    if wide and dtype[1:] in ("u4", "i4", "f4"):
        dtype = dtype[:2] + "8"
    array = np.array([[0, 1, 1]]).astype(dtype)
    for sent in (array, array.astype(array.dtype.newbyteorder(">"))):
        (x,) = decode({"inputs": {"x": numpy_dict(sent)}}).inputs
        assert x.array.dtype == array.dtype
        np.testing.assert_array_equal(x.array, array)


def test_a_numpy_scalar_has_no_shape() -> None:
    (x,) = decode({"inputs": {"x": {b"nd": False, b"type": "<f8", b"data": b"\0" * 8}}}).inputs
    assert x.shape == ()
    assert x.array == 0.0


def test_bytes_in_one_blob() -> None:
    raw = struct.pack("<I", 2) + b"ab" + struct.pack("<I", 0)
    decoded = decode({"inputs": [tensor(datatype="BYTES", shape=[2], data=raw)]})
    assert decoded.inputs[0].elements == [b"ab", b""]
    ext = msgpack.ExtType(0x54, struct.pack("<BBBBI", 1, 14, 1, 0, 2) + raw)
    assert decode({"inputs": {"t": ext}}).inputs[0].elements == [b"ab", b""]


class Trap:
    """Unpickling this would show itself."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was read",)


@pytest.mark.parametrize("kind", [b"O", "O"])
def test_pickles_are_never_read(kind: Any) -> None:
    trap = {"nd": True, "type": "|O", "kind": kind, "shape": [1], "data": pickle.dumps(Trap())}
    assert "never read" in str(refusal({"inputs": {"x": trap}}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (numpy_dict(F4, kind=b"V"), "inputs.x.kind (tensor 'x'): arrays of kind the string 'V'"),
        (numpy_dict(F4, type="|S4"), "inputs.x.type (tensor 'x'): expected one of |b1"),
        (numpy_dict(F4, type="<c8"), "got the string '<c8'"),
        (numpy_dict(F4, type="=f4"), "got the string '=f4'"),
        (numpy_dict(F4, type="O"), "got the string 'O'"),
        (numpy_dict(F4, type=None), "got null or nothing"),
        (numpy_dict(F4, type=[["a", "<f4"]]), "got an array of 1"),
        (numpy_dict(F4, nd=1), "inputs.x.nd (tensor 'x'): expected true or false"),
        (numpy_dict(F4, shape=[2, 3]), "expected 24 bytes for FP32 of shape [2, 3], got 16 bytes"),
        (numpy_dict(F4, shape=[2, -2]), "inputs.x.shape[1]"),
        (numpy_dict(F4, shape=None), "inputs.x.shape (tensor 'x'): expected an array"),
        (numpy_dict(F4, data=None), "inputs.x.data (tensor 'x'): expected bin"),
        (numpy_dict(F4, data=[1.0] * 4), "expected bin, got an array of 4"),
        ({b"complex": True, b"data": "1j"}, "complex numbers are not supported"),
        (blob(F4, 12, version=2), "expected version 1 and 0, got 2 and 0"),
        (blob(F4, 0), "expected a datatype from 1 to 14, got 0"),
        (blob(F4, 15), "expected a datatype from 1 to 14, got 15"),
        (blob(F4, 13), "expected 32 bytes for FP64"),
        (blob(F4, 12, pad=b"\0\0\0\1"), "expected zeros as padding, got 00000001"),
        (blob(np.zeros([1] * 17, np.float32), 12), "at most 16 dimensions, got 17"),
        (msgpack.ExtType(0x54, b"\1\14"), "expected a head of 4 bytes, got 2 bytes"),
        (msgpack.ExtType(0x54, b"\1\14\2\0\1"), "expected a head of 16 bytes, got 5 bytes"),
        (
            msgpack.ExtType(0x54, struct.pack("<BBBB3I", 1, 12, 3, 0, *[2**31] * 3)),
            "at most 2147483648 elements",
        ),
        (b"raw", "expected a map or an extension, got 3 bytes"),
        (5, "expected an object, got the number 5"),
        ([1.0], "expected an object, got an array of 1"),
        (tensor(name=None, datatype="F32"), "inputs.x.datatype (tensor 'x'): expected one of BOOL"),
        (tensor(name=None, shape=[2, 3]), "expected 24 bytes"),
        (tensor(name=None, shape=[2**40, 2**40]), "at most 2147483648 elements"),
        (tensor(name=None, data=[1.0]), "expected 4 elements for shape [2, 2], got 1"),
        (tensor(name=None, data=None), "expected 4 elements for shape [2, 2], got no data"),
        (tensor(name=None, data="text"), "expected an array, got the string 'text'"),
        (
            tensor(name=None, data=[1, 2, 3, "4"]),
            "inputs.x.data[3] (tensor 'x'): expected a number",
        ),
        (tensor(name=None, data=[1, 2, 3, 1e39]), "a number that fits 32-bit"),
        (tensor(name=None, data=[1, 2, 3, True]), "got true"),
        (tensor(name=None, data=[[1, 2], [3]]), "inputs.x.data[1]"),
        (tensor(name=None, data=numpy_dict(F4), datatype="FP64"), "expected FP32 as in data"),
        (tensor(name=None, data=numpy_dict(F4), shape=[4]), "expected [2, 2] as in data"),
        (tensor(name=None, datatype="BYTES", data=[b"a", 1, b"", b""]), "bin or str for BYTES"),
        (tensor(name=None, datatype="BOOL", data=b"\1\0\2\0"), "expected a byte of 0 or 1"),
    ],
)
def test_what_is_wrong_with_a_tensor_is_named(value: Any, message: str) -> None:
    error = refusal({"inputs": {"x": value}})
    assert message in str(error)
    assert error.tensor == "x"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (5, "the body: expected an object"),
        ({}, "inputs: expected an array, got null or nothing"),
        ({"inputs": []}, "expected at least one input"),
        ({"inputs": {}}, "expected at least one input"),
        ({"inputs": [tensor(name=None)]}, "inputs[0].name: expected a string"),
        ({"inputs": [blob(F4, 12)]}, "inputs[0]: expected an object"),
        ({"inputs": {"": tensor()}}, "expected a name"),
        ({"inputs": [tensor()], "id": b"bin"}, "id: expected a string, got 3 bytes"),
        ({"inputs": [tensor()], "parameters": {"sequence_id": 5}}, "sequences are not supported"),
        ({"inputs": [tensor()], "parameters": {"a": b"bin"}}, "a string, number or boolean"),
        ({"inputs": [tensor()], "outputs": [{"name": 1}]}, "outputs[0].name"),
    ],
)
def test_what_is_wrong_with_a_request_is_named(document: Any, message: str) -> None:
    assert message in str(refusal(document))


def test_infinities_are_read_and_left_to_the_contract() -> None:
    (x,) = decode({"inputs": [tensor(data=[math.inf, math.nan, 1, 2])]}).inputs
    assert x.array[0, 0] == math.inf


def test_an_answer_is_what_the_msgpack_package_reads() -> None:
    small = np.ones(1 << 7, np.float32)
    response = InferResponse(
        model_name="m",
        model_version="1",
        id="42",
        parameters={"a": 1},
        outputs=(
            Tensor("y", "FP32", (2, 2), F4),
            Tensor("big", "FP32", (1 << 14,), np.ones(1 << 14, np.float32)),
            Tensor("small", "FP32", (1 << 7,), small),
            Tensor("t", "BYTES", (2,), [b"\xff", b""]),
            Tensor("z", "INT8", (0,), np.zeros(0, np.int8)),
        ),
    )
    body = encode_response(response)
    assert body.content_type == "application/msgpack"
    ones = b"\0\0\x80?" * (1 << 14)
    assert msgpack.unpackb(body.to_bytes()) == {
        "model_name": "m",
        "model_version": "1",
        "id": "42",
        "parameters": {"a": 1},
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": F4.tobytes()},
            {"name": "big", "datatype": "FP32", "shape": [1 << 14], "data": ones},
            {"name": "small", "datatype": "FP32", "shape": [1 << 7], "data": small.tobytes()},
            {"name": "t", "datatype": "BYTES", "shape": [2], "data": [b"\xff", b""]},
            {"name": "z", "datatype": "INT8", "shape": [0], "data": b""},
        ],
    }
