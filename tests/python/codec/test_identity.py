"""What is encoded is decoded as it was, in every format; what is not valid is refused, never
worse."""

from __future__ import annotations

import contextlib
import json
import random
import tracemalloc
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton import TensorSpec
from pelton.codec import (
    DecodeLimits,
    EncodedBody,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    answer_format,
    decode_infer,
    decode_infer_response,
    encode_infer,
    encode_infer_request,
)
from pelton.codec.embeddings import decode_embeddings
from pelton.codec.negotiate import error_media_type
from pelton.codec.types import DATATYPES
from pelton.errors import InvalidInput, NotAcceptable, PayloadTooLarge, UnsupportedMediaType

LIMITS = DecodeLimits()
FORMATS = ("json", "binary", "msgpack")
REFUSALS = (InvalidInput, PayloadTooLarge, UnsupportedMediaType)


def headers_of(body: EncodedBody) -> dict[str, str]:
    named = {"Content-Type": body.content_type, **body.headers}
    return {name.lower(): value for name, value in named.items()}


def bits(tensor: Tensor) -> Any:
    """What must survive: every bit but the payload of a NaN, which JSON has no way to write."""
    if isinstance(tensor.data, list):
        return tensor.data
    array = tensor.data.ravel()
    kind = DATATYPES[tensor.datatype]
    unsigned = array.view(f"u{kind.width}").astype(np.uint64)
    if kind.kind != "float":
        return unsigned.tolist()
    if tensor.datatype == "BF16":
        nan = (unsigned & 0x7FFF) > 0x7F80
    else:
        nan = np.isnan(array)
    return np.where(nan, np.uint64(1), unsigned).tolist()


def assert_same_tensors(got: tuple[Tensor, ...], sent: tuple[Tensor, ...]) -> None:
    for tensor, original in zip(got, sent, strict=True):
        assert tensor.name == original.name
        assert tensor.datatype == original.datatype
        assert tensor.shape == original.shape
        assert bits(tensor) == bits(original)
        if not isinstance(tensor.data, list):
            assert tensor.data.shape == original.shape
            assert tensor.data.dtype == DATATYPES[original.datatype].storage


def assert_same_request(got: InferRequest, sent: InferRequest) -> None:
    assert_same_tensors(got.inputs, sent.inputs)
    for name in ("id", "parameters", "priority", "timeout_us", "truncate", "non_finite_null"):
        assert getattr(got, name) == getattr(sent, name)
    assert got.binary_output_default == sent.binary_output_default


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), (), (5,), (2, 3), (1, 2, 1)])
@pytest.mark.parametrize("datatype", [*DATATYPES])
def test_every_datatype_of_no_one_and_some_elements(
    datatype: str, shape: tuple[int, ...], form: Any
) -> None:
    kind = DATATYPES[datatype]
    count = int(np.prod(shape, dtype=int))
    data: Any
    if kind.kind == "bytes":
        data = [b"element\0 %d" % index for index in range(count)]
    else:
        raw = np.random.default_rng(count).integers(0, 2, count * kind.width, dtype=np.uint8)
        data = raw.view(kind.storage).reshape(shape)
    tensor = Tensor("x", datatype, shape, data)
    odd = Tensor("an odd size", "BOOL", (3,), np.array([True, False, True]))
    request = InferRequest(inputs=(odd, tensor, tensor))
    body = encode_infer_request(request, form)
    decoded = decode_infer(headers_of(body), body.to_bytes(), LIMITS)
    assert_same_tensors(decoded.inputs, request.inputs)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
MEANINGS = {
    "headers",
    "priority",
    "timeout",
    "binary_data_output",
    "truncate",
    "non_finite",
    "sequence_id",
    "sequence_start",
    "sequence_end",
}
PARAMETERS = st.dictionaries(
    NAMES.filter(lambda name: name not in MEANINGS and not name.startswith("triton_")),
    VALUES,
    max_size=4,
)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from([*DATATYPES]))
    kind = DATATYPES[datatype]
    shape = draw(SHAPES)
    count = int(np.prod(shape, dtype=int))
    if kind.kind == "bytes":
        elements = draw(st.lists(TEXTS, min_size=count, max_size=count))
        return Tensor(draw(NAMES), datatype, shape, [element.encode() for element in elements])
    size = count * kind.width
    raw: Any = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    if kind.kind == "bool":
        raw = raw & 1
    return Tensor(draw(NAMES), datatype, shape, raw.view(kind.storage).reshape(shape))


REQUESTS = st.builds(
    InferRequest,
    inputs=st.lists(tensors(), min_size=1, max_size=4).map(tuple),
    outputs=st.none()
    | st.lists(
        st.builds(RequestedOutput, name=NAMES, binary=st.booleans()), min_size=1, max_size=3
    ).map(tuple),
    id=st.none() | TEXTS,
    parameters=PARAMETERS,
    binary_output_default=st.booleans(),
    priority=st.integers(1, 4),
    timeout_us=st.integers(0, 2**63 - 1),
    truncate=st.none() | st.booleans(),
    non_finite_null=st.booleans(),
)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=150)
@given(request=REQUESTS)
def test_requests(form: Any, request: InferRequest) -> None:
    body = encode_infer_request(request, form)
    decoded = decode_infer(headers_of(body), body.to_bytes(), LIMITS)
    assert_same_request(decoded, request)
    if form == "msgpack":  # which has raw data anyway
        names = None if request.outputs is None else [output.name for output in request.outputs]
        got = None if decoded.outputs is None else [output.name for output in decoded.outputs]
        assert got == names
    else:
        assert decoded.outputs == request.outputs


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "application/octet-stream", "application/msgpack"]
)
@settings(max_examples=100)
@given(
    outputs=st.lists(tensors(), max_size=4, unique_by=lambda tensor: tensor.name).map(tuple),
    identity=st.none() | TEXTS,
    parameters=PARAMETERS,
    binary=st.booleans(),
)
def test_answers(accept: str, outputs: Any, identity: Any, parameters: Any, binary: bool) -> None:
    request = InferRequest(inputs=(), id=identity, binary_output_default=binary)
    response = InferResponse(
        model_name="m", model_version="1", outputs=outputs, parameters=parameters
    )
    body = encode_infer(response, request, answer_format({"accept": accept}, "json"))
    decoded = decode_infer_response(headers_of(body), body.to_bytes(), LIMITS)
    assert_same_tensors(decoded.outputs, outputs)
    assert (decoded.model_name, decoded.model_version) == ("m", "1")
    assert (decoded.id, decoded.parameters) == (identity, parameters)


def sample() -> InferRequest:
    """A request with something of everything."""
    return InferRequest(
        id="42",
        parameters={"mine": "yes", "share": 0.5},
        priority=1,
        truncate=True,
        inputs=(
            Tensor("x", "FP32", (2, 2), np.array([[1, 2.5], [-3, 0.1]], np.float32)),
            Tensor("flag", "BOOL", (3,), np.array([True, False, True])),
            Tensor("text", "BYTES", (2,), [b"a text", "é".encode()]),
            Tensor("n", "INT64", (1,), np.array([2**62], np.int64)),
            Tensor("h", "FP16", (0, 4), np.zeros((0, 4), np.float16)),
        ),
        outputs=(RequestedOutput("y", binary=True),),
    )


SPECS = (TensorSpec("x", "FP32", (-1, 2)),)


SPLINTERS = [
    b"9" * 20, b"-", b'"', b"[" * 30, b"{", b"1e999", b"NaN", b"Inf", b"\\ud800", b"\xdd\xff",
]  # fmt: skip


def mutate(body: bytes, dice: random.Random) -> bytes:
    """The body with one to four small damages."""
    damaged = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(damaged) + 1)
        match dice.randrange(7):
            case 0 if at < len(damaged):
                damaged[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(damaged):
                damaged[at] = dice.choice(b'\0\xff\xc1"[]{},:0-9eN')
            case 2:
                damaged[at:at] = dice.choice(SPLINTERS)
            case 3:
                del damaged[at : at + dice.randint(1, 8)]
            case 4:
                damaged[at:at] = damaged[at : at + dice.randint(1, 40)]
            case 5:
                del damaged[at:]
            case _:
                other = dice.randrange(len(damaged) + 1)
                damaged[at : at + 4] = damaged[other : other + 4]
    return bytes(damaged)


ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1.5, 2**63, 2**70, 1e308, float("nan"), "", "x", "FP32", "BYTES", [], {},
    [[]], [1, [2]], {"data": 1}, [2**31, 2**31], [0, 2**62], "\0", [None],
]  # fmt: skip


def replace_somewhere(value: Any, dice: random.Random) -> Any:
    """The document with one value anywhere in it replaced, removed or renamed."""
    if isinstance(value, (dict, list)) and value and dice.random() < 0.85:
        keys: list[Any] = [*value] if isinstance(value, dict) else [*range(len(value))]
        key = dice.choice(keys)
        copied: Any = value.copy()
        if dice.random() < 0.2:
            del copied[key]
        else:
            copied[key] = replace_somewhere(value[key], dice)
        return copied
    return dice.choice(ODD_VALUES)


def refused_or_decoded(headers: dict[str, str], body: bytes) -> bool:
    """Whether a body was refused, as it should be where it is not valid: any other exception fails
    the test."""
    try:
        decode_infer(headers, body, LIMITS, SPECS)
    except REFUSALS:
        return True
    return False


@pytest.mark.parametrize("form", FORMATS)
def test_two_thousand_damaged_bodies(form: Any, seed: int) -> None:
    encoded = encode_infer_request(sample(), form)
    headers, body = headers_of(encoded), encoded.to_bytes()
    assert not refused_or_decoded(headers, body)
    dice = random.Random(seed)
    refused = sum(refused_or_decoded(headers, mutate(body, dice)) for _ in range(2000))
    assert refused > 1500


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_hundred_thousand_damaged_bodies(form: Any, seed: int) -> None:
    encoded = encode_infer_request(sample(), form)
    headers, body = headers_of(encoded), encoded.to_bytes()
    dice = random.Random(seed + 1)
    refused = sum(refused_or_decoded(headers, mutate(body, dice)) for _ in range(100_000))
    assert refused > 75_000


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_two_thousand_wrong_documents(form: str, seed: int) -> None:
    body = encode_infer_request(sample(), "json").to_bytes()
    document = json.loads(body)
    dice = random.Random(seed)
    headers = {"content-type": f"application/{form}"}
    refused = 0
    for _ in range(2000):
        wrong = replace_somewhere(document, dice)
        try:
            sent = json.dumps(wrong).encode() if form == "json" else msgpack.packb(wrong)
        except OverflowError:  # msgpack has no integers over 64 bits
            continue
        refused += refused_or_decoded(headers, sent)
    assert refused > 1000


def test_two_thousand_damaged_bodies_of_embeddings(seed: int) -> None:
    document = {"model": "m", "input": ["a", "bé"], "encoding_format": "base64", "dimensions": 8}
    body = json.dumps(document).encode()
    dice = random.Random(seed)
    refused = 0
    for index in range(2000):
        wrong = json.dumps(replace_somewhere(document, dice)).encode()
        try:
            decode_embeddings({}, mutate(body, dice) if index % 2 else wrong, LIMITS)
        except REFUSALS:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    "headers",
    [{}, {"content-type": "application/msgpack"}, {"inference-header-content-length": "20"}],
)
@settings(max_examples=200)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_refused_or_decoded(headers: dict[str, str], body: bytes) -> None:
    refused_or_decoded(headers, body)


@settings(max_examples=200)
@given(value=st.text(max_size=30))
def test_any_header_is_refused_or_understood(value: str) -> None:
    for name in ("content-type", "inference-header-content-length"):
        refused_or_decoded({name: value}, b"{}")
    with contextlib.suppress(NotAcceptable):
        answer_format({"accept": value}, "json")
    assert error_media_type({"accept": value, "content-type": value})


@pytest.mark.parametrize("form", FORMATS)
def test_memory_is_bounded_by_the_body(form: Any) -> None:
    values = np.random.default_rng(1).standard_normal(100_000).astype(np.float32)
    request = InferRequest(inputs=(Tensor("x", "FP32", values.shape, values),))
    encoded = encode_infer_request(request, form)
    headers, body = headers_of(encoded), encoded.to_bytes()
    tracemalloc.start()
    decode_infer(headers, body, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (8 if form == "json" else 0.1) * len(body)
