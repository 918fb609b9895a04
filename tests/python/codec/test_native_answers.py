"""The native encoders of answers, and the choice of formats, against the Python ones: the same
bytes."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pelton import _native, codec
from pelton.codec import InferRequest, InferResponse, RequestedOutput, Tensor
from pelton.codec.types import DATATYPES
from python.codec.oip_bodies import LENGTH, Maker, agree
from python.codec.outcomes import outcome, plain_tensor

# NumPy warns when it narrows a signalling NaN.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")

FORMATS = ("json", "binary", "msgpack")


# -- which format ----------------------------------------------------------------------------------
def choose(headers: dict[str, str], requested: str) -> Any:
    fields = {name: value.encode("latin-1") for name, value in headers.items()}
    content_type, accept = fields.get("content-type"), fields.get("accept")
    return outcome(lambda: _native.answer_format(content_type, accept, FORMATS.index(requested)))


def agree_on_formats(headers: dict[str, str]) -> None:
    fields = {name: value.encode("latin-1") for name, value in headers.items()}
    found = outcome(
        lambda: FORMATS[_native.request_format(fields.get("content-type"), fields.get(LENGTH))]
    )
    assert found == outcome(lambda: codec.request_format(headers)), headers
    for requested in FORMATS:
        native = choose(headers, requested)
        oracle = outcome(lambda wanted=requested: codec.answer_format(headers, wanted))
        if isinstance(oracle, codec.AnswerFormat):
            kind = "json" if oracle.kind == "oip" else oracle.kind
            oracle = (FORMATS.index(kind), oracle.kind == "json", oracle.media_type)
        assert native == oracle, headers


TYPES = (
    *("application/json", "application/octet-stream", "application/msgpack", "*/*", "text/html"),
    *("application/vnd.msgpack", "application/*", "APPLICATION/JSON", "text/json", "a+json", ""),
    *("application/x+json", "application/problem+json", "image/*", " application/json ", "é", "'"),
)
TAILS = (
    *("", ";q=0", ";q=0.5", "; Q = 1.0", ';q="0.3"', ";q=1e-1", ";q=nan", ";q=inf", ";q=2", ";q="),
    *(";q=0_1", ";q=.5", ";q=1;q=0", ";charset=utf-8", "; charset=UTF8", ";charset=latin-1", ";;"),
    *(";q=\xa00.2\x85", ";q=-0", ";q=+.5", ";q=1__0", ";a=b;q=0.1", ";charset='utf-8'"),
)


@settings(max_examples=250)
@given(st.data())
def test_formats_are_chosen_alike(data: st.DataObject) -> None:
    item = st.tuples(st.sampled_from(TYPES), st.sampled_from(TAILS)).map("".join)
    headers = {
        "content-type": data.draw(st.none() | item),
        "accept": data.draw(st.none() | st.lists(item, max_size=3).map(",".join)),
        LENGTH: data.draw(st.none() | st.just("1")),
    }
    agree_on_formats({name: value for name, value in headers.items() if value is not None})


@settings(max_examples=200)
@given(st.text(st.characters(max_codepoint=255), max_size=100), st.booleans())
def test_any_field_is_read_alike(value: str, accept: bool) -> None:
    agree_on_formats({"accept" if accept else "content-type": value})


# -- answers ---------------------------------------------------------------------------------------
ACCEPTS = (
    None,
    "application/json",
    "application/octet-stream",
    "application/msgpack",
    "application/vnd.msgpack;q=0.9",
)


def agree_on_answer(response: InferResponse, request: InferRequest, accept: str | None) -> Any:
    headers = {} if accept is None else {"accept": accept}
    form = codec.answer_format(headers, "json")

    def by_oracle() -> Any:
        body = codec.encode_infer(response, request, form)
        length = body.headers.get("Inference-Header-Content-Length", "-1")
        return (body.content_type, int(length), body.to_bytes())

    by_name = {tensor.name: tensor for tensor in response.outputs}
    wanted = request.outputs or [
        RequestedOutput(tensor.name, request.binary_output_default) for tensor in response.outputs
    ]
    outputs = [(*plain_tensor(by_name[output.name]), output.binary) for output in wanted]
    native = outcome(
        lambda: _native.encode_infer(
            response.model_name,
            response.model_version,
            request.id,
            outputs,
            request.non_finite_null,
            choose(headers, "json"),
        )
    )
    assert native == outcome(by_oracle)
    return native


def draw_answer(source: random.Random) -> tuple[InferResponse, InferRequest]:
    maker = Maker(source, junk=0.0)
    tensors = []
    for index in range(source.choice([0, 1, 1, 2, 3])):
        datatype = source.choice(list(DATATYPES))
        shape = [source.choice([0, 1, 3, 20, 150]) for _ in range(source.randint(0, 2))]
        data: Any
        if datatype == "BYTES":
            pool = [
                b"",
                b"a",
                "ü€😀".encode(),
                b'"\\\x00\n',
                b"\xff" if source.random() < 0.1 else b"b",
            ]
            data = source.choices(pool, k=math.prod(shape))
        else:
            raw = maker.raw(datatype, shape)
            data = np.frombuffer(raw, DATATYPES[datatype].storage).reshape(shape)
            if datatype == "FP32" and source.random() < 0.7:
                data = np.float32(np.random.default_rng(len(raw)).standard_normal(shape))
        tensors.append(Tensor(f"y{index}{maker.text()}", datatype, tuple(shape), data))
    names = [tensor.name for tensor in tensors]
    outputs = tuple(
        RequestedOutput(name, source.random() < 0.5)
        for name in source.sample(names, source.randint(0, len(names)))
    )
    request = InferRequest(
        inputs=(),
        id=source.choice([None, maker.text()]),
        outputs=outputs or None,
        binary_output_default=source.random() < 0.5,
        non_finite_null=source.random() < 0.5,
    )
    response = InferResponse(
        model_name=maker.text(), model_version="1", outputs=tuple(tensors), id="unused"
    )
    return response, request


def compare_answers(seed: int, count: int) -> None:
    source = random.Random(seed)
    for _ in range(count):
        agree_on_answer(*draw_answer(source), source.choice(ACCEPTS))


def test_answers_drawn_at_random(seed: int) -> None:
    compare_answers(seed, 600)


@pytest.mark.slow
def test_many_answers_drawn_at_random(seed: int) -> None:
    compare_answers(1000 * seed, 20_000)


# The oracle prints few values by NumPy, which takes one digit more for these than it needs.
TWO_OF_FP16 = (0x2400, 0xA400)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
@pytest.mark.parametrize("at_once", [65536, 100])
def test_every_16_bit_float_prints_alike(datatype: str, at_once: int) -> None:
    bits = np.arange(65536, dtype=np.uint16)
    request = InferRequest(inputs=())
    for start in range(0, 65536, at_once):
        part = bits[start : start + at_once]
        if datatype == "FP16" and at_once == 100:
            part = part[~np.isin(part, TWO_OF_FP16)]
        part = part.view(DATATYPES[datatype].storage)
        tensor = Tensor("y", datatype, part.shape, part)
        response = InferResponse(model_name="m", model_version="1", outputs=(tensor,))
        assert agree_on_answer(response, request, None)[0] == "application/json"


def compare_floats(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    any_bits = generator.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    normal = generator.standard_normal(count) * 10.0 ** generator.integers(-9, 9, count)
    whole = generator.integers(-(2**40), 2**40, count).astype(np.float64)
    wide = generator.integers(0, 2**64, count, dtype=np.uint64).view(np.float64)
    powers = np.concatenate([2.0 ** np.arange(-149, 128), 10.0 ** np.arange(-44, 39)])
    arrays = [any_bits, normal.astype(np.float32), whole.astype(np.float32)]
    for array in (*arrays, powers.astype(np.float32), wide, normal, whole, powers):
        datatype = "FP32" if array.dtype == np.float32 else "FP64"
        tensor = Tensor("y", datatype, array.shape, array)
        response = InferResponse(model_name="m", model_version="1", outputs=(tensor,))
        *_, body = agree_on_answer(response, InferRequest(inputs=()), None)
        # And what was printed reads back.
        sent = {"inputs": json.loads(body)["outputs"]}
        agree({}, json.dumps(sent).encode())


def test_floats_print_and_read_back_alike(seed: int) -> None:
    compare_floats(seed, 4_000)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
def test_many_floats_print_and_read_back_alike(seed: int, share: int) -> None:
    compare_floats(1000 * seed + share, 500_000)


def test_an_answer_with_an_output_that_json_cannot_carry_is_refused() -> None:
    tensor = Tensor("it's", "BYTES", (2,), [b"a", b"\xff"])
    response = InferResponse(model_name="m", model_version="1", outputs=(tensor,))
    request = InferRequest(inputs=())
    assert agree_on_answer(response, request, None)[0] == "refused"
    assert agree_on_answer(response, replace(request, binary_output_default=True), None)[1] > 0
